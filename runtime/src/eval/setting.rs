//! A routing as the command line names it, and what it starts from.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use meanet_crds::MEANetDeployment;
use meanet_crds::deployment::Routing as RoutingSpec;
use meanet_method::{
    EnergyProfile, ExtensionRule, Judged, Outputs, Ranking, Router, Score, ScoreError, Tally, judge, softmax,
};
use serde::Serialize;
use serde_json::Value;

use crate::edge::RoutingError;

/// Largest YAML file read.
const MAX_BYTES: u64 = 1 << 20;

/// A threshold as `spec.routing` takes it.
pub(crate) fn threshold(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| format!("{text} is no number"))?;
    if (0.0..=20.0).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{value} is not in 0..=20"))
    }
}

/// Which evaluation, and what it is compared with.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// Folder of a stored evaluation (`meanet eval --out`).
    #[arg(long)]
    pub(crate) eval: PathBuf,
    /// Manifest of the `MEANetDeployment` whose spec.routing is the present setting; without it the API's defaults are.
    #[arg(long)]
    pub(crate) deployment: Option<PathBuf>,
    /// Energy profile, YAML; without it that of docs/evaluation.md.
    #[arg(long)]
    pub(crate) energy: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Scores of the main exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
pub(crate) enum ScoreName {
    Entropy,
    LeastConfidence,
    Margin,
    /// A router: the deployment's, else one fitted to the selection images.
    Learned,
}

/// Whose answer counts when the extension was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
pub(crate) enum RuleName {
    Extension,
    MoreConfident,
}

impl From<RuleName> for ExtensionRule {
    fn from(name: RuleName) -> Self {
        match name {
            RuleName::Extension => Self::Extension,
            RuleName::MoreConfident => Self::MoreConfident,
        }
    }
}

impl ScoreName {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Entropy, Self::LeastConfidence, Self::Margin, Self::Learned];

    /// The function of the softmax; for the learned score, the one that the extension is judged by.
    pub(crate) fn score(self) -> Score {
        match self {
            Self::Entropy | Self::Learned => Score::Entropy,
            Self::LeastConfidence => Score::LeastConfidence,
            Self::Margin => Score::Margin,
        }
    }

    /// As the API writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Entropy => "Entropy",
            Self::LeastConfidence => "LeastConfidence",
            Self::Margin => "Margin",
            Self::Learned => "Learned",
        }
    }
}

/// A routing, as far as an evaluation can tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Setting {
    pub(crate) score: ScoreName,
    /// The router of the learned score; absent: one is fitted to the selection images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) learned: Option<Router>,
    /// Absent: nothing is sent by the main exit's score.
    pub(crate) offload_above: Option<f32>,
    /// Absent: the extension is asked about every input of a hard class.
    pub(crate) extend_above: Option<f32>,
    pub(crate) extension_offload_above: Option<f32>,
    pub(crate) extension_rule: RuleName,
}

impl TryFrom<&RoutingSpec> for Setting {
    type Error = RoutingError;

    fn try_from(spec: &RoutingSpec) -> Result<Self, RoutingError> {
        let routing = crate::edge::routing(spec)?;
        Ok(Self {
            score: match routing.score {
                Ranking::Score(Score::Entropy) => ScoreName::Entropy,
                Ranking::Score(Score::LeastConfidence) => ScoreName::LeastConfidence,
                Ranking::Score(Score::Margin) => ScoreName::Margin,
                Ranking::Learned(_) => ScoreName::Learned,
            },
            learned: crate::edge::router(spec)?,
            offload_above: Some(routing.offload_above),
            extend_above: routing.extend_above,
            extension_offload_above: routing.extension_offload_above,
            extension_rule: match routing.rule {
                ExtensionRule::Extension => RuleName::Extension,
                ExtensionRule::MoreConfident => RuleName::MoreConfident,
            },
        })
    }
}

impl Setting {
    /// Judges `outputs` by its score and rule, with the extension asked where this says. A learned score without a router is fitted to
    /// `selection` first.
    pub(crate) fn judge(
        &self,
        outputs: &Outputs,
        selection: &Outputs,
    ) -> Result<Vec<Judged>, Box<dyn Error>> {
        let rule = self.extension_rule.into();
        let score = match (self.score, self.learned) {
            (ScoreName::Learned, Some(router)) => Ranking::Learned(router),
            (ScoreName::Learned, None) => Ranking::Learned(fit_router(selection, rule)?),
            (score, _) => score.score().into(),
        };
        let judged = judge(outputs, score, rule)?.into_iter();
        Ok(judged.map(|one| one.extended_above(self.extend_above)).collect())
    }

    /// The same with another score; thresholds of the old one do not count for it.
    pub(crate) fn with(&self, score: ScoreName) -> Self {
        let of_main = |above: Option<f32>| above.filter(|_| score == self.score);
        let extension_offload_above = self
            .extension_offload_above
            .filter(|_| score.score() == self.score.score());
        Self {
            score,
            offload_above: of_main(self.offload_above),
            extend_above: of_main(self.extend_above),
            extension_offload_above,
            ..*self
        }
    }

    /// Counts of what its thresholds make of judged images.
    pub(crate) fn tally(&self, judged: &[Judged]) -> Tally {
        Tally::of(judged, self.threshold(), self.extension_offload_above)
    }

    /// Which answers of judged images are right.
    pub(crate) fn answers(&self, judged: &[Judged]) -> Vec<bool> {
        let right = |one: &Judged| one.right(self.threshold(), self.extension_offload_above);
        judged.iter().map(right).collect()
    }

    /// The main threshold as a number; no score is above infinity.
    pub(crate) fn threshold(&self) -> f32 {
        self.offload_above.unwrap_or(f32::INFINITY)
    }
}

/// A router fitted to tell, from the main exit, where the cloud mends the edge's answer under `rule`.
pub(crate) fn fit_router(selection: &Outputs, rule: ExtensionRule) -> Result<Router, Box<dyn Error>> {
    let judged = judge(selection, Score::Entropy.into(), rule)?;
    let rows = selection
        .main
        .iter()
        .zip(&judged)
        .map(|(logits, one)| Ok((softmax(logits)?, one.gains())));
    Ok(Router::fit(&rows.collect::<Result<Vec<_>, ScoreError>>()?)?)
}

/// The deployment of a manifest, and its routing; the API's defaults without one.
pub(crate) fn present(
    path: Option<&Path>,
) -> Result<(Option<MEANetDeployment>, RoutingSpec), Box<dyn Error>> {
    let Some(path) = path else {
        return Ok((None, RoutingSpec::default()));
    };
    let documents: Vec<Value> = serde_saphyr::from_multiple(&read(path)?).map_err(|e| refused(path, &e))?;
    let document = documents
        .into_iter()
        .find(|document| {
            document
                .get("kind")
                .is_some_and(|kind| kind == "MEANetDeployment")
        })
        .ok_or_else(|| refused(path, &"no document of it is a MEANetDeployment"))?;
    let deployment: MEANetDeployment = serde_json::from_value(document).map_err(|e| refused(path, &e))?;
    let routing = deployment.spec.routing.clone();
    Ok((Some(deployment), routing))
}

/// The energy profile of a file, checked; the default one without a file.
pub(crate) fn energy(path: Option<&Path>) -> Result<EnergyProfile, Box<dyn Error>> {
    let Some(path) = path else {
        return Ok(EnergyProfile::default());
    };
    let profile: EnergyProfile = serde_saphyr::from_str(&read(path)?).map_err(|e| refused(path, &e))?;
    profile.check()?;
    Ok(profile)
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = fs::metadata(path).map_err(|e| refused(path, &e))?.len();
    if bytes > MAX_BYTES {
        return Err(refused(
            path,
            &format!("it has {bytes} bytes, more than {MAX_BYTES}"),
        ));
    }
    fs::read_to_string(path).map_err(|e| refused(path, &e))
}

fn refused(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("failed to read {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_energy_profile_is_read_and_a_misspelt_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile.yaml");
        let good = "edge: {joulesPerMac: 1.0e-10}\nuplink: {watts: 5, bytesPerSecond: 2.0e6}\n";
        fs::write(&path, good).unwrap();
        assert!((energy(Some(&path)).unwrap().uplink.watts - 5.0).abs() < 1e-9);
        fs::write(&path, good.replace("watts", "watt")).unwrap();
        assert!(energy(Some(&path)).unwrap_err().to_string().contains("watt"));
        fs::write(&path, good.replace("2.0e6", "0")).unwrap();
        assert!(
            energy(Some(&path))
                .unwrap_err()
                .to_string()
                .contains("bytesPerSecond")
        );
        assert_eq!(energy(None).unwrap(), EnergyProfile::default());
    }

    #[test]
    fn the_default_profile_is_the_documented_one() {
        let text =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/evaluation.md")).unwrap();
        let block = text
            .split("```yaml\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .unwrap();
        let said: EnergyProfile = serde_saphyr::from_str(block).unwrap();
        let default = EnergyProfile::default();
        for (said, is) in [
            (said.edge.joules_per_mac, default.edge.joules_per_mac),
            (said.uplink.watts, default.uplink.watts),
            (said.uplink.bytes_per_second, default.uplink.bytes_per_second),
            (said.cloud_joules_per_mac, default.cloud_joules_per_mac),
        ] {
            assert!((said - is).abs() <= 1e-6 * is, "{said} is said, {is} is");
        }
    }

    #[test]
    fn the_present_setting_is_the_deployments() {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/samples/street-cams.yaml");
        let (deployment, routing) = present(Some(&sample)).unwrap();
        assert_eq!(deployment.unwrap().metadata.name.as_deref(), Some("street-cams"));
        assert_eq!(
            Setting::try_from(&routing).unwrap().offload_above,
            Some(routing.offload_above as f32)
        );
    }
}
