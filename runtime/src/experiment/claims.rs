//! The paper's claims, and whether they are seen here.

use std::error::Error;

use meanet_method::{
    Costs, Difference, EnergyProfile, Exit, ExtensionRule, Outputs, Proportion, Score, judge,
};
use serde::{Deserialize, Serialize};

use super::ablation::{edge, local};
use super::line::Routed;
use super::unshifted::Unshifted;

/// Whether a claim is seen here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Verdict {
    Reproduced,
    /// The interval of the difference holds 0.
    WithinNoise,
    NotReproduced,
    /// There is no such network here.
    NotTried,
}

/// One claim about one network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Claim {
    pub(super) network: String,
    pub(super) claim: String,
    pub(super) verdict: Verdict,
    /// By how much.
    pub(super) measured: String,
    pub(super) why: String,
}

/// What claims about one network are judged by.
pub(super) struct Evidence<'a> {
    /// Such as `ResNet32`.
    pub(super) network: String,
    /// Of the test images.
    pub(super) outputs: &'a Outputs,
    pub(super) costs: Costs,
    pub(super) profile: &'a EnergyProfile,
    pub(super) offload_above: f32,
    /// Whether the main block was trained on images that hard classes were then chosen by and the extension trained on.
    pub(super) has_seen_all: bool,
    /// Anything else that a reader has to know.
    pub(super) note: String,
}

const EXTENSION: &str = "adaptive and extension block make the edge more accurate than its main block alone";
const EASY: &str = "the main block answers easy classes more accurately than hard ones";
const CLOUD: &str = "with the cloud accuracy rises while most inputs stay at the edge";
const ENERGY: &str = "edge and cloud together take less energy than sending everything";
const NEAR: &str = "edge and cloud together are as accurate as the cloud alone";

/// Claims about a network that there is none of.
pub(super) fn not_tried(network: &str) -> Vec<Claim> {
    [EXTENSION, EASY, CLOUD, ENERGY, NEAR]
        .map(|claim| Claim {
            network: network.to_owned(),
            claim: claim.to_owned(),
            verdict: Verdict::NotTried,
            measured: "–".to_owned(),
            why: "neither weights of this project nor weights of others were given (MEANET_WEIGHTS)"
                .to_owned(),
        })
        .to_vec()
}

fn verdict(difference: &Difference) -> Verdict {
    if difference.is_gain() {
        Verdict::Reproduced
    } else if difference.is_loss() {
        Verdict::NotReproduced
    } else {
        Verdict::WithinNoise
    }
}

fn points(difference: &Difference) -> String {
    format!(
        "{:+.2} ± {:.2} points",
        100.0 * difference.share,
        100.0 * difference.reach
    )
}

/// Judges every claim.
pub(super) fn claims(evidence: &Evidence<'_>) -> Result<Vec<Claim>, Box<dyn Error>> {
    let outputs = evidence.outputs;
    let seen = if evidence.has_seen_all {
        "the main block has seen every training image, so on these it leaves little to correct; "
    } else {
        ""
    };
    let claim = |claim: &str, verdict, measured, why: String| Claim {
        network: evidence.network.clone(),
        claim: claim.to_owned(),
        verdict,
        measured,
        why: format!("{why}{}", evidence.note),
    };
    let main = edge(
        &Unshifted::with_hard(outputs, Vec::new()),
        ExtensionRule::Extension,
    )?;
    let at_edge = edge(outputs, ExtensionRule::Extension)?;
    let (alone, with) = (local(&main).answers(), local(&at_edge).answers());
    let gain = Difference::between(&alone, &with);
    let mut claims = vec![
        claim(EXTENSION, verdict(&gain), points(&gain), seen.to_owned()),
        easy(evidence, &alone)?,
    ];
    if outputs.has_cloud() {
        claims.extend(together(evidence, &with)?);
    }
    Ok(claims)
}

/// Images of easy classes against images of hard ones, both answered by the main block.
fn easy(evidence: &Evidence<'_>, alone: &[bool]) -> Result<Claim, Box<dyn Error>> {
    let hard = evidence.outputs.check()?;
    let of = |wanted: bool| -> Proportion {
        let pairs = evidence.outputs.labels.iter().zip(alone);
        let kept: Vec<bool> = pairs
            .filter(|(label, _)| hard.contains(**label) == wanted)
            .map(|(_, right)| *right)
            .collect();
        Proportion::of(&kept)
    };
    let (easy, hard) = (of(false), of(true));
    Ok(Claim {
        network: evidence.network.clone(),
        claim: EASY.to_owned(),
        verdict: if easy.low > hard.high {
            Verdict::Reproduced
        } else if easy.high < hard.low {
            Verdict::NotReproduced
        } else {
            Verdict::WithinNoise
        },
        measured: format!("{:.2} % against {:.2} %", 100.0 * easy.share, 100.0 * hard.share),
        why: evidence.note.clone(),
    })
}

fn together(evidence: &Evidence<'_>, with: &[bool]) -> Result<Vec<Claim>, Box<dyn Error>> {
    let judged = judge(evidence.outputs, Score::Entropy.into(), ExtensionRule::Extension)?;
    let routed = Routed {
        judged: &judged,
        offload_above: evidence.offload_above,
        extension_offload_above: None,
    };
    let (tally, answers) = (routed.tally(), routed.answers());
    let sent = tally.share(Exit::Cloud);
    let cloud: Vec<bool> = judged.iter().map(|one| one.cloud_right == Some(true)).collect();
    let (over_edge, over_cloud) = (
        Difference::between(with, &answers),
        Difference::between(&cloud, &answers),
    );
    let at = format!(
        " with {:.1} % sent (threshold {:.2})",
        100.0 * sent,
        evidence.offload_above
    );
    let claim = |claim: &str, verdict, measured: String| Claim {
        network: evidence.network.clone(),
        claim: claim.to_owned(),
        verdict,
        measured,
        why: evidence.note.clone(),
    };
    let rises = if sent < 0.5 {
        verdict(&over_edge)
    } else {
        Verdict::NotReproduced
    };
    let spent = evidence.profile.spent(&tally, &evidence.costs).joules;
    let all = evidence.profile.cloud_only(&evidence.costs).joules;
    let cheaper = if spent < all {
        Verdict::Reproduced
    } else {
        Verdict::NotReproduced
    };
    let near = if over_cloud.is_loss() {
        Verdict::NotReproduced
    } else {
        Verdict::Reproduced
    };
    Ok(vec![
        claim(CLOUD, rises, points(&over_edge) + &at),
        claim(
            ENERGY,
            cheaper,
            format!("{:.2} mJ against {:.2} mJ an image{at}", 1e3 * spent, 1e3 * all),
        ),
        claim(NEAR, near, points(&over_cloud) + &at),
    ])
}
