//! `meanet report`: all that a stored evaluation says, as JSON and as a page, without running the model.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use meanet_crds::deployment::Routing as RoutingSpec;
use meanet_method::{EnergyProfile, Exit, Outputs, Router, Spent, Tally, best};
use serde::Serialize;

use super::calibrated::{Calibration, calibrations};
use super::figures::{Figures, Line};
use super::page::page;
use super::setting::{RuleName, ScoreName, Setting, energy, fit_router, present};
use super::stored::{Config, Stored};
use scores::score_report;
pub(super) use scores::{Budget, CurvePoint, ScoreReport};

mod scores;

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
    /// What the learned score was fitted to be; absent where there is nothing to learn.
    pub(super) router: Option<Router>,
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

/// Runs the sub-command.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let report = args.view.write(&Stored::open(&args.eval)?, &args.eval)?;
    Ok(writeln!(io::stdout().lock(), "{}", super::summary(&report))?)
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
    let present = Setting::try_from(routing)?;
    // Without a cloud, or where it never mends anything, there is nothing to learn.
    let fitted = || fit_router(&stored.selection, present.extension_rule.into()).ok();
    let router = present.learned.or_else(fitted);
    let scores = ScoreName::ALL
        .into_iter()
        .filter(|score| *score != ScoreName::Learned || router.is_some())
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
        router,
        calibration: calibrations(stored)?,
        config: stored.config.clone(),
    })
}

/// The fixed points of comparison, and the present setting.
fn lines(stored: &Stored, profile: &EnergyProfile, present: &Setting) -> Result<Vec<Line>, Box<dyn Error>> {
    let (outputs, costs) = (&stored.report, stored.config.costs());
    let figures = |setting: &Setting| {
        let judged = setting.judge(outputs, &stored.selection)?;
        Ok::<_, Box<dyn Error>>(Figures::new(&setting.tally(&judged), profile, &costs))
    };
    let edge = |rule| Setting {
        score: ScoreName::Entropy,
        learned: None,
        offload_above: None,
        extend_above: None,
        extension_offload_above: None,
        extension_rule: rule,
    };
    let easy = Outputs {
        extension_classes: Vec::new(),
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
    // Without a cloud it is one of those above, unless it extends fewer images.
    if outputs.has_cloud() || present.extend_above.is_some() {
        lines.push(line("present setting", Some(*present), figures(present)?));
    }
    if outputs.has_cloud() {
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
    let judged = present.judge(outputs, outputs)?;
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

#[cfg(test)]
mod tests;
