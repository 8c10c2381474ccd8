//! How well scores rank, and what their thresholds do.

use std::error::Error;

use meanet_method::choose::{Choice, Goal, choose, choose_both};
use meanet_method::ranking::{Coverage, aurc, auroc, best_aurc, risk_coverage};
use meanet_method::{EnergyProfile, Exit, Judged, Point, Tally, curve};
use serde::Serialize;

use crate::eval::figures::thin;
use crate::eval::setting::{ScoreName, Setting};
use crate::eval::stored::Stored;

/// Points of a curve that are written.
const POINTS: usize = 200;
/// Offload budgets at which scores are compared.
pub(super) const BUDGETS: [f64; 4] = [0.1, 0.2, 0.3, 0.5];

/// How well one score ranks, and what every threshold of it does.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::eval) struct ScoreReport {
    pub(in crate::eval) score: ScoreName,
    /// Of telling the edge's wrong answers from its right ones.
    pub(in crate::eval) auroc_wrong: Option<f64>,
    /// Of telling where the cloud mends the edge's answer.
    pub(in crate::eval) auroc_gain: Option<f64>,
    /// Mean risk of the edge's answers over all coverages; lower is better.
    pub(in crate::eval) aurc: f64,
    /// What no score can be better than.
    pub(in crate::eval) best_aurc: f64,
    pub(in crate::eval) risk_coverage: Vec<Coverage>,
    pub(in crate::eval) curve: Vec<CurvePoint>,
    /// Thresholds for a few budgets, chosen on the selection images. Empty without a cloud.
    pub(in crate::eval) budgets: Vec<Budget>,
    /// The same with the extension's threshold chosen as well.
    pub(in crate::eval) two_stage: Vec<Budget>,
}

/// What thresholds that were chosen for an offload budget on the selection images do on the others.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::eval) struct Budget {
    /// What may be sent.
    pub(in crate::eval) at_most: f64,
    pub(in crate::eval) offload_above: f32,
    /// Absent: the extension's answer is final.
    pub(in crate::eval) extension_offload_above: Option<f32>,
    /// What is sent.
    pub(in crate::eval) offload: f64,
    pub(in crate::eval) accuracy: f64,
}

/// One threshold.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::eval) struct CurvePoint {
    pub(in crate::eval) offload_above: f32,
    pub(in crate::eval) accuracy: f64,
    pub(in crate::eval) offload: f64,
    pub(in crate::eval) main: f64,
    pub(in crate::eval) extension: f64,
    pub(in crate::eval) joules: f64,
    pub(in crate::eval) bytes: f64,
}

/// Of the report images; what is fitted is fitted to the selection images.
pub(super) fn score_report(
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
    let point = |point: &Point| {
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
    let selection = setting.judge(&stored.selection, &stored.selection)?;
    let escalate = setting.extension_offload_above;
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
        budgets: budgets(&judged, |goal| choose(&selection, escalate, goal).ok()),
        two_stage: budgets(&judged, |goal| choose_both(&selection, goal).ok()),
    })
}

/// A budget that nothing keeps to, because escalation alone exceeds it, is left out.
fn budgets(report: &[Judged], choose: impl Fn(Goal) -> Option<Choice>) -> Vec<Budget> {
    let budget = |&at_most: &f64| {
        let Choice {
            offload_above,
            extension_offload_above,
            ..
        } = choose(Goal::OffloadBudget(at_most))?;
        let tally = Tally::of(report, offload_above, extension_offload_above);
        let (offload, accuracy) = (tally.offload(), tally.accuracy());
        Some(Budget {
            at_most,
            offload_above,
            extension_offload_above,
            offload,
            accuracy,
        })
    };
    BUDGETS.iter().filter_map(budget).collect()
}
