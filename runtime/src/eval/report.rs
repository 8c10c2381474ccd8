//! `meanet report`: all that a stored evaluation says, as JSON and as a page, without running the model.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use meanet_crds::deployment::Routing as RoutingSpec;
use meanet_method::ranking::{Coverage, aurc, auroc, best_aurc, risk_coverage};
use meanet_method::choose::{Goal, choose};
use meanet_method::{EnergyProfile, Exit, Judged, Outputs, Spent, Tally, best, curve};
use serde::Serialize;

use super::calibrated::{Calibration, calibrations};
use super::figures::{Figures, Line, thin};
use super::page::page;
use super::setting::{RuleName, ScoreName, Setting, energy, present};
use super::stored::{Config, Stored};

/// Points of a curve that are written.
const POINTS: usize = 200;
/// Offload budgets at which scores are compared.
const BUDGETS: [f64; 4] = [0.1, 0.2, 0.3, 0.5];

/// Writes report.json and report.html of a stored evaluation again, with another energy profile or present setting.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of a stored evaluation (`meanet eval --out`).
    #[arg(long)]
    eval: PathBuf,
    #[command(flatten)]
    view: View,
}

/// What a report depends on beside the outputs.
#[derive(Debug, Default, clap::Args)]
pub(super) struct View {
    /// Manifest of the `MEANetDeployment` whose spec.routing is the present setting; without it the API's defaults are.
    #[arg(long)]
    deployment: Option<PathBuf>,
    /// Energy profile, YAML; without it that of docs/evaluation.md.
    #[arg(long)]
    energy: Option<PathBuf>,
}

/// Figures are of images that nothing was fitted to, unless they say otherwise.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EvaluationReport {
    #[serde(flatten)]
    pub(super) config: Config,
    pub(super) selection_images: usize,
    pub(super) report_images: usize,
    pub(super) energy_profile: EnergyProfile,
    pub(super) lines: Vec<Line>,
    pub(super) ways_out: Vec<WayOut>,
    /// `[true class easy, hard][main exit says easy, hard]`.
    pub(super) hardness: [[Hardness; 2]; 2],
    pub(super) scores: Vec<ScoreReport>,
    pub(super) calibration: Vec<Calibration>,
}

/// What one image costs that leaves in one way.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WayOut {
    pub(super) name: &'static str,
    #[serde(flatten)]
    pub(super) spent: Spent,
}

/// Images of one kind, and how many of them the main exit and the edge get right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hardness {
    pub(super) images: usize,
    pub(super) main_right: usize,
    pub(super) edge_right: usize,
}

/// How well one score ranks, and what every threshold of it does.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ScoreReport {
    pub(super) score: ScoreName,
    /// Of telling the edge's wrong answers from its right ones.
    pub(super) auroc_wrong: Option<f64>,
    /// Of telling where the cloud mends the edge's answer.
    pub(super) auroc_gain: Option<f64>,
    /// Mean risk of the edge's answers over all coverages; lower is better.
    pub(super) aurc: f64,
    /// What no score can be better than.
    pub(super) best_aurc: f64,
    pub(super) risk_coverage: Vec<Coverage>,
    pub(super) curve: Vec<CurvePoint>,
    /// Thresholds for a few budgets, chosen on the selection images. Empty without a cloud.
    pub(super) budgets: Vec<Budget>,
}

/// What a threshold that was chosen for an offload budget on the selection images does on the others.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Budget {
    pub(super) budget: f64,
    pub(super) offload_above: f32,
    pub(super) offload: f64,
    pub(super) accuracy: f64,
}

/// One threshold.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CurvePoint {
    pub(super) offload_above: f32,
    pub(super) accuracy: f64,
    pub(super) offload: f64,
    pub(super) main: f64,
    pub(super) extension: f64,
    pub(super) joules: f64,
    pub(super) bytes: f64,
}

/// Runs the sub-command.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let report = args.view.write(&Stored::open(&args.eval)?, &args.eval)?;
    println!("{}", super::summary(&report));
    Ok(())
}

impl View {
    /// Writes both files into `folder`.
    pub(super) fn write(&self, stored: &Stored, folder: &Path) -> Result<EvaluationReport, Box<dyn Error>> {
        let report = build(
            stored,
            energy(self.energy.as_deref())?,
            &present(self.deployment.as_deref())?.1,
        )?;
        for (name, bytes) in [
            ("report.json", serde_json::to_vec_pretty(&report)?),
            ("report.html", page(&report).into_bytes()),
        ] {
            let path = folder.join(name);
            fs::write(&path, bytes).map_err(|e| format!("failed to write {}: {e}", path.display()))?;
        }
        Ok(report)
    }
}

fn build(
    stored: &Stored,
    profile: EnergyProfile,
    routing: &RoutingSpec,
) -> Result<EvaluationReport, Box<dyn Error>> {
    let present = Setting::from(routing);
    let scores = ScoreName::ALL
        .into_iter()
        // Without a cloud, or where it never mends anything, there is nothing to learn.
        .filter(|score| {
            *score != ScoreName::Learned
                || present
                    .with(*score)
                    .judge(&stored.report, &stored.selection)
                    .is_ok()
        })
        .map(|score| score_report(stored, &profile, &present.with(score)))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(EvaluationReport {
        selection_images: stored.selection.len(),
        report_images: stored.report.len(),
        energy_profile: profile,
        lines: lines(stored, &profile, &present)?,
        ways_out: ways_out(stored, &profile),
        hardness: hardness(&stored.report, &present)?,
        scores,
        calibration: calibrations(stored)?,
        config: stored.config.clone(),
    })
}

/// The fixed points of comparison, and the present setting.
fn lines(stored: &Stored, profile: &EnergyProfile, present: &Setting) -> Result<Vec<Line>, Box<dyn Error>> {
    let (outputs, costs) = (&stored.report, stored.config.costs());
    let figures = |setting: &Setting| {
        let judged = setting.judge(outputs, &stored.selection)?;
        let tally = Tally::of(&judged, setting.threshold(), setting.extension_offload_above);
        Ok::<_, Box<dyn Error>>(Figures::new(&tally, profile, &costs))
    };
    let edge = |rule| Setting {
        score: ScoreName::Entropy,
        offload_above: None,
        extension_offload_above: None,
        extension_rule: rule,
    };
    let easy = Outputs {
        hard_classes: Vec::new(),
        extension: vec![Vec::new(); outputs.len()],
        ..outputs.clone()
    };
    let main = Tally::of(
        &edge(RuleName::Extension).judge(&easy, &stored.selection)?,
        f32::INFINITY,
        None,
    );
    let line = |name: &str, setting: Option<Setting>, figures| Line {
        name: name.to_owned(),
        setting,
        figures,
    };
    let mut lines = vec![line(
        "main block alone",
        None,
        Figures::new(&main, profile, &costs),
    )];
    for (name, rule) in [
        ("edge, extension answers", RuleName::Extension),
        ("edge, the more confident answers", RuleName::MoreConfident),
    ] {
        lines.push(line(name, Some(edge(rule)), figures(&edge(rule))?));
    }
    if outputs.has_cloud() {
        lines.push(line("present setting", Some(*present), figures(present)?));
        let all = Tally::of(
            &present.judge(outputs, &stored.selection)?,
            f32::NEG_INFINITY,
            None,
        );
        let cloud = Figures {
            spent: profile.cloud_only(&costs),
            ..Figures::new(&all, profile, &costs)
        };
        lines.push(line("cloud alone", None, cloud));
    }
    Ok(lines)
}

fn ways_out(stored: &Stored, profile: &EnergyProfile) -> Vec<WayOut> {
    let costs = stored.config.costs();
    let mut ways = vec![("main", Exit::Main, false), ("extension", Exit::Extension, true)];
    if stored.report.has_cloud() {
        ways.extend([
            ("cloud, after main", Exit::Cloud, false),
            ("cloud, after extension", Exit::Cloud, true),
        ]);
    }
    let way = |(name, exit, extended)| WayOut {
        name,
        spent: profile.way_out(exit, extended, &costs),
    };
    ways.into_iter().map(way).collect()
}

fn hardness(outputs: &Outputs, present: &Setting) -> Result<[[Hardness; 2]; 2], Box<dyn Error>> {
    let hard = outputs.check()?;
    let judged = present.with(ScoreName::Entropy).judge(outputs, outputs)?;
    let mut table = [[Hardness::default(); 2]; 2];
    for ((label, logits), one) in outputs.labels.iter().zip(&outputs.main).zip(&judged) {
        let said = hard.contains(best(logits).0 as u32);
        let cell = &mut table[usize::from(hard.contains(*label))][usize::from(said)];
        cell.images += 1;
        cell.main_right += usize::from(one.main_right);
        cell.edge_right += usize::from(one.edge_right);
    }
    Ok(table)
}

fn score_report(
    stored: &Stored,
    profile: &EnergyProfile,
    setting: &Setting,
) -> Result<ScoreReport, Box<dyn Error>> {
    let judged = setting.judge(&stored.report, &stored.selection)?;
    let costs = stored.config.costs();
    let wrong: Vec<(f32, bool)> = judged
        .iter()
        .map(|one| (one.main_score, !one.edge_right))
        .collect();
    let gains: Vec<(f32, bool)> = judged.iter().map(|one| (one.main_score, one.gains())).collect();
    let point = |point: &meanet_method::Point| {
        let spent = profile.spent(&point.tally, &costs);
        CurvePoint {
            offload_above: point.offload_above,
            accuracy: point.tally.accuracy(),
            offload: point.tally.offload(),
            main: point.tally.share(Exit::Main),
            extension: point.tally.share(Exit::Extension),
            joules: spent.joules,
            bytes: spent.bytes,
        }
    };
    Ok(ScoreReport {
        score: setting.score,
        auroc_wrong: auroc(&wrong),
        auroc_gain: auroc(&gains),
        aurc: aurc(&wrong),
        best_aurc: best_aurc(&wrong),
        risk_coverage: thin(&risk_coverage(&wrong), POINTS),
        curve: thin(&curve(&judged, setting.extension_offload_above), POINTS)
            .iter()
            .map(point)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::stored::tests::stored;
    use super::*;

    fn report(stored: &Stored) -> EvaluationReport {
        build(stored, EnergyProfile::default(), &RoutingSpec::default()).unwrap()
    }

    #[test]
    fn the_parts_agree_with_each_other() {
        let report = report(&stored());
        let line = |name: &str| {
            &report
                .lines
                .iter()
                .find(|line| line.name == name)
                .unwrap()
                .figures
        };
        let images: usize = report.hardness.iter().flatten().map(|cell| cell.images).sum();
        let main: usize = report.hardness.iter().flatten().map(|cell| cell.main_right).sum();
        assert_eq!(images, 200);
        assert!((line("main block alone").accuracy - main as f64 / 200.0).abs() < 1e-9);
        assert!((line("cloud alone").accuracy - stored().report.cloud_accuracy().unwrap()).abs() < 1e-9);
        for score in &report.scores {
            let (first, last) = (score.curve.first().unwrap(), score.curve.last().unwrap());
            assert!(
                (last.accuracy - line("edge, extension answers").accuracy).abs() < 1e-9,
                "{:?}",
                score.score
            );
            assert!(last.offload.abs() < 1e-9 && first.offload >= last.offload);
            assert!(score.aurc >= score.best_aurc);
        }
        assert_eq!(report.scores.len(), 4);
        assert!(report.scores.iter().all(|score| score.budgets.len() == BUDGETS.len()));
        assert!(line("present setting").spent.joules > line("edge, extension answers").spent.joules);
    }

    #[test]
    fn without_a_cloud_there_is_still_a_report() {
        let mut alone = stored();
        alone.selection.cloud.clear();
        alone.report.cloud.clear();
        let report = report(&alone);
        assert_eq!(
            (
                report.scores.len(),
                report.ways_out.len(),
                report.calibration.len()
            ),
            (3, 2, 2)
        );
        assert!(page(&report).contains("</html>"));
    }

    #[test]
    fn nothing_is_fitted_to_the_images_reported_on() {
        // Labels of the report images decide what is reported, but nothing that was fitted: neither router nor
        // threshold nor temperature.
        let (as_is, mut other) = (stored(), stored());
        other.report.labels.reverse();
        let curve = |report: &EvaluationReport| {
            report.scores[3]
                .curve
                .iter()
                .map(|p| (p.offload_above, p.offload))
                .collect::<Vec<_>>()
        };
        let (a, b) = (report(&as_is), report(&other));
        assert_ne!(
            a.lines[0].figures.accuracy.to_bits(),
            b.lines[0].figures.accuracy.to_bits()
        );
        assert_eq!(curve(&a), curve(&b));
        let temperatures = |report: &EvaluationReport| {
            report
                .calibration
                .iter()
                .map(|c| c.temperature.to_bits())
                .collect::<Vec<_>>()
        };
        assert_eq!(temperatures(&a), temperatures(&b));
    }
}
