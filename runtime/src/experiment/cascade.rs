//! Edge and cloud together, against the plain cascade from main block to cloud, which has no extension: at equal bytes, at
//! equal joules, and with other networks at the edge.

use std::error::Error;

use meanet_method::choose::{EXTEND_COST, Goal, choose, choose_both, extend_above};
use meanet_method::{
    Costs, EnergyProfile, EvaluateError, ExtensionRule, Judged, Outputs, Point, Proportion, Score, Tally,
    curve, judge,
};
use serde::{Deserialize, Serialize};

use super::ablation::{edge, local, sparing};
use super::aims::OFFLOAD;
use super::line::{Line, Routed};
use super::unshifted::Unshifted;
use crate::eval::setting::{RuleName, ScoreName, Setting, fit_router};

/// Shares that may be sent.
const BUDGETS: [f64; 5] = [0.1, 0.2, 0.3, 0.4, 0.5];
/// What a thrifty threshold takes, on held-out images, of what it may send and spend: other images are sent a little more or less.
pub(super) const THRIFTY: f64 = 0.95;
/// Points of a curve that are written.
const POINTS: usize = 60;

/// What edge and cloud do together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cascade {
    pub(super) edge_only: Line,
    pub(super) cloud_only: Line,
    pub(super) budgets: Vec<Budget>,
    /// What pays beside the cloud alone: see [`Ways::thrifty`]; absent where nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) thrifty: Option<Line>,
    pub(super) curves: Vec<Curve>,
}

/// Ways to answer that send about as much.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Budget {
    /// What may be sent; thresholds keep to it on the held-out images.
    pub(super) at_most: f64,
    pub(super) lines: Vec<Line>,
}

/// Every threshold of one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Curve {
    pub(super) name: String,
    pub(super) points: Vec<CurvePoint>,
}

/// One threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CurvePoint {
    pub(super) offload: f64,
    pub(super) accuracy: f64,
    pub(super) edge_macs: f64,
    pub(super) joules: f64,
}

/// Another network at the edge of a plain cascade.
pub(super) struct Peer {
    pub(super) name: String,
    /// Logits for the test images.
    pub(super) logits: Vec<Vec<f32>>,
    pub(super) macs: u64,
}

/// One way to answer, with all its thresholds.
struct Way {
    name: String,
    judged: Vec<Judged>,
    points: Vec<Point>,
    costs: Costs,
}

impl Way {
    fn new(name: &str, judged: Vec<Judged>, costs: Costs) -> Self {
        Self {
            name: name.to_owned(),
            points: curve(&judged, None),
            judged,
            costs,
        }
    }

    /// With the threshold whose `figure` is nearest to `target`: matching, not choosing, as no answer is looked at.
    fn matched(&self, figure: impl Fn(&Tally) -> f64, target: f64) -> Routed<'_> {
        let away = |point: &Point| (figure(&point.tally) - target).abs();
        let nearest = self.points.iter().min_by(|a, b| away(a).total_cmp(&away(b)));
        Routed {
            judged: &self.judged,
            offload_above: nearest.map_or(f32::INFINITY, |point| point.offload_above),
            extension_offload_above: None,
        }
    }

    fn curve(&self, profile: &EnergyProfile) -> Curve {
        let count = self.points.len();
        let most = POINTS.min(count);
        let point = |i: usize| {
            let tally = &self.points[i * (count - 1) / (most - 1).max(1)].tally;
            let spent = profile.spent(tally, &self.costs);
            CurvePoint {
                offload: tally.offload(),
                accuracy: tally.accuracy(),
                edge_macs: spent.edge_macs,
                joules: spent.joules,
            }
        };
        Curve {
            name: self.name.clone(),
            points: (0..most).map(point).collect(),
        }
    }
}

/// A setting that may be the thrifty one.
struct Candidate {
    name: String,
    /// Held-out images.
    chosen_by: Vec<Judged>,
    /// Test images.
    judged: Vec<Judged>,
}

/// All ways to answer.
struct Ways<'a> {
    /// The extension is not asked about what the main exit is sure of.
    meanet: Way,
    /// The extension is asked about every hard class.
    every: Way,
    plain: Way,
    others: Vec<Way>,
    /// Held-out images, judged by entropy: thresholds of the model are chosen on these.
    chosen_by: Vec<Judged>,
    /// Held-out and test images, judged by the learned router. Absent without a cloud that ever mends an answer: then there is
    /// nothing to learn.
    learned: Option<(Vec<Judged>, Vec<Judged>)>,
    profile: &'a EnergyProfile,
    costs: Costs,
}

/// Absent where the model has no cloud.
pub(super) fn cascade(
    unshifted: &Unshifted,
    peers: &[Peer],
    profile: &EnergyProfile,
) -> Result<Option<Cascade>, Box<dyn Error>> {
    let stored = &unshifted.stored;
    let (selection, report, costs) = (&stored.selection, &stored.report, stored.config.costs());
    if !report.has_cloud() {
        return Ok(None);
    }
    let without = Unshifted::with_hard(report, Vec::new());
    let other = |peer: &Peer| -> Result<Way, Box<dyn Error>> {
        let outputs = Outputs {
            main: peer.logits.clone(),
            ..without.clone()
        };
        let costs = Costs {
            main_macs: peer.macs,
            ..costs
        };
        let name = format!(
            "plain cascade from {}, {:.1} M MACs",
            peer.name,
            peer.macs as f64 / 1e6
        );
        Ok(Way::new(&name, by_entropy(&outputs)?, costs))
    };
    let ways = Ways {
        meanet: Way::new("MEANet", sparing(selection, by_entropy(report)?)?, costs),
        every: Way::new("MEANet, every hard class extended", by_entropy(report)?, costs),
        plain: Way::new("plain cascade", by_entropy(&without)?, costs),
        others: peers.iter().map(other).collect::<Result<_, _>>()?,
        chosen_by: by_entropy(selection)?,
        learned: learned(selection, report).ok(),
        profile,
        costs,
    };
    let budgets = BUDGETS.into_iter().map(|at_most| ways.budget(at_most));
    let at_edge = edge(report, ExtensionRule::Extension)?;
    let curves = [&ways.plain, &ways.meanet].into_iter().chain(&ways.others);
    Ok(Some(Cascade {
        edge_only: local(&at_edge).line("edge only", None, profile, &costs),
        cloud_only: cloud_only(&ways.meanet.judged, profile, &costs),
        budgets: budgets.collect::<Result<_, _>>()?,
        thrifty: ways.thrifty(selection)?,
        curves: curves.map(|way| way.curve(profile)).collect(),
    }))
}

impl Ways<'_> {
    /// The most accurate setting on held-out images of those that send at most half of these and spend less than the cloud alone, both
    /// with something to spare: by entropy or by the learned router, with the extension asked or kept for when there is no cloud. Of
    /// equally accurate ones that which sends least.
    fn thrifty(&self, selection: &Outputs) -> Result<Option<Line>, Box<dyn Error>> {
        let (profile, costs) = (self.profile, &self.costs);
        let joules = THRIFTY * profile.cloud_only(costs).joules;
        let pays = |tally: &Tally| {
            tally.offload() <= THRIFTY * OFFLOAD && profile.spent(tally, costs).joules <= joules
        };
        let candidates = self.candidates(selection)?;
        let points = candidates.iter().flat_map(|candidate| {
            let points = curve(&candidate.chosen_by, None).into_iter();
            points.map(move |point| (candidate, point))
        });
        let best = points
            .filter(|(_, point)| pays(&point.tally))
            .reduce(|best, next| {
                let (a, b) = (&next.1.tally, &best.1.tally);
                let better = (a.right(), b.offload()) > (b.right(), a.offload());
                if better { next } else { best }
            });
        Ok(best.map(|(candidate, point)| {
            let routed = Routed {
                judged: &candidate.judged,
                offload_above: point.offload_above,
                extension_offload_above: None,
            };
            let sent = routed.tally().offload();
            let plain = self.plain.matched(Tally::offload, sent).answers();
            routed.line(&candidate.name, Some(&plain), profile, costs)
        }))
    }

    fn candidates(&self, selection: &Outputs) -> Result<Vec<Candidate>, Box<dyn Error>> {
        let by_entropy = sparing(selection, by_entropy(selection)?)?;
        let mut scores = vec![("MEANet", by_entropy, self.meanet.judged.clone())];
        if let Some((fitted, judged)) = self.learned.clone() {
            scores.push(("MEANet, learned router", fitted, judged));
        }
        let never = |all: &[Judged]| -> Vec<Judged> {
            let one = |one: &Judged| one.extended_above(Some(f32::INFINITY));
            all.iter().map(one).collect()
        };
        let both = scores.into_iter().flat_map(|(name, chosen_by, judged)| {
            let without = Candidate {
                name: format!("{name}, extension for want of the cloud"),
                chosen_by: never(&chosen_by),
                judged: never(&judged),
            };
            let name = name.to_owned();
            [
                Candidate {
                    name,
                    chosen_by,
                    judged,
                },
                without,
            ]
        });
        Ok(both.collect())
    }

    /// All ways, with thresholds that send about as much.
    fn budget(&self, at_most: f64) -> Result<Budget, Box<dyn Error>> {
        let Self {
            meanet,
            every,
            plain,
            profile,
            costs,
            ..
        } = self;
        let goal = Goal::OffloadBudget(at_most);
        let routed = Routed {
            judged: &meanet.judged,
            offload_above: choose(&self.chosen_by, None, goal)?.offload_above,
            extension_offload_above: None,
        };
        let sent = routed.tally().offload();
        let joules = profile.spent(&routed.tally(), costs).joules;
        let same_bytes = plain.matched(Tally::offload, sent);
        let same_joules = plain.matched(|tally| profile.spent(tally, costs).joules, joules);
        let against = same_bytes.answers();
        let line = |routed: &Routed<'_>, name: &str| routed.line(name, Some(&against), profile, costs);
        let all = Routed {
            judged: &every.judged,
            ..routed
        };
        let two = choose_both(&self.chosen_by, goal)?;
        let two = Routed {
            offload_above: two.offload_above,
            extension_offload_above: two.extension_offload_above,
            ..all
        };
        let mut lines = vec![
            same_bytes.line("plain cascade, equal bytes", None, profile, costs),
            line(&same_joules, "plain cascade, equal joules"),
            line(&routed, "MEANet"),
            line(&all, &every.name),
            line(&two, "MEANet, two-stage"),
        ];
        if let Some((fitted, judged)) = &self.learned {
            let routed = Routed {
                judged,
                offload_above: choose(fitted, None, goal)?.offload_above,
                extension_offload_above: None,
            };
            lines.push(line(&routed, "MEANet, learned router"));
        }
        lines.extend(self.others.iter().map(|other| {
            let matched = other.matched(Tally::offload, sent);
            matched.line(&other.name, Some(&against), profile, &other.costs)
        }));
        Ok(Budget { at_most, lines })
    }
}

fn by_entropy(outputs: &Outputs) -> Result<Vec<Judged>, EvaluateError> {
    judge(outputs, Score::Entropy.into(), ExtensionRule::Extension)
}

/// Selection and report images judged by the learned router.
fn learned(selection: &Outputs, report: &Outputs) -> Result<(Vec<Judged>, Vec<Judged>), Box<dyn Error>> {
    let mut setting = Setting {
        score: ScoreName::Learned,
        learned: Some(fit_router(selection, ExtensionRule::Extension)?),
        offload_above: None,
        extend_above: None,
        extension_offload_above: None,
        extension_rule: RuleName::Extension,
    };
    setting.extend_above = extend_above(&setting.judge(selection, selection)?, EXTEND_COST)?;
    Ok((
        setting.judge(selection, selection)?,
        setting.judge(report, selection)?,
    ))
}

fn cloud_only(judged: &[Judged], profile: &EnergyProfile, costs: &Costs) -> Line {
    let answers: Vec<bool> = judged.iter().map(|one| one.cloud_right == Some(true)).collect();
    Line {
        name: "cloud only".to_owned(),
        accuracy: Proportion::of(&answers),
        change: None,
        offload: 1.0,
        extended: 0.0,
        spent: profile.cloud_only(costs),
        note: None,
    }
}
