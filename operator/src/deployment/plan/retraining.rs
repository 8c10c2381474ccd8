use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use meanet_crds::condition::{RETRAINED, Verdict};
use meanet_crds::deployment::{RetrainingPhase, RetrainingStatus};
use meanet_crds::naming::Component;
use meanet_crds::revision::{Cause, Evaluation, Weights};
use meanet_crds::{JobReport, MEANetRevision};

use super::history::{Draft, History, hex};
use super::import::{PATIENCE, remaining};
use super::lineage::Target;
use crate::deployment::observe::{JobSeen, Observed, Outcome, Progress};
use crate::deployment::validate::Validated;

/// Finished jobs that are kept, for their logs.
const KEEP: usize = 3;

/// What to do about retraining requests.
#[derive(Clone, Debug)]
pub(super) struct Retraining {
    /// A job that has to be there.
    pub start: Option<Start>,
    /// Jobs to delete.
    pub delete: Vec<String>,
    pub status: Option<RetrainingStatus>,
    pub verdict: Option<Verdict>,
    pub look_again: Option<Duration>,
}

/// A training job to make.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Name of the job.
    pub job: String,
    /// The request that it answers.
    pub request: String,
    /// Name of the revision that it starts from.
    pub base: String,
}

/// Name of the training job: `D-train-<8 hex of the request>`.
fn job_name(spec: &Validated, request: &str) -> String {
    format!("{}-train-{}", spec.name, hex(request, 8))
}

/// Follows the request being answered to its end, then takes the next one. Adds a revision when the gate lets it pass.
pub(super) fn retraining(
    observed: &Observed,
    spec: &Validated,
    base: &Target,
    history: &mut History,
    now: Timestamp,
) -> Retraining {
    let before = observed
        .deployment
        .status
        .as_ref()
        .and_then(|status| status.retraining.clone());
    let running = before
        .as_ref()
        .filter(|status| status.phase == RetrainingPhase::Running);
    let answered = before.as_ref().map(|status| &status.request);
    let request = match running {
        Some(status) => Some(status.request.clone()),
        None => spec.request.clone().filter(|request| Some(request) != answered),
    };
    let jobs: Vec<_> = observed
        .jobs
        .iter()
        .filter(|job| job.component == Component::Train)
        .collect();
    let mut plan = Retraining {
        start: None,
        delete: Vec::new(),
        status: before,
        verdict: None,
        look_again: None,
    };
    if let Some(request) = request {
        let name = job_name(spec, &request);
        match (jobs.iter().find(|job| job.name == name), base.revision()) {
            (Some(job), _) => {
                plan.look_again = last_words_due(job, now);
                plan.status = Some(match plan.look_again {
                    Some(_) => status(RetrainingPhase::Running, &name, &request, None),
                    None => follow(job, &request, spec, base, history),
                });
            }
            (None, Some(base)) => {
                plan.status = Some(status(RetrainingPhase::Running, &name, &request, None));
                plan.start = Some(Start {
                    job: name,
                    request,
                    base: base.name_any(),
                });
            }
            (None, None) => {
                let text = "retraining starts when there is a revision to start from";
                plan.verdict = Some(Verdict::unknown(RETRAINED, "WaitingForRevision", text));
            }
        }
    }
    if plan.verdict.is_none() {
        plan.verdict = plan.status.as_ref().map(verdict);
    }
    let busy = plan.status.as_ref().map(|status| status.job.clone());
    let finished: Vec<_> = jobs
        .iter()
        .filter(|job| job.finished() && Some(&job.name) != busy.as_ref())
        .collect();
    let spare = finished.len().saturating_sub(KEEP - 1);
    plan.delete = finished
        .into_iter()
        .take(spare)
        .map(|job| job.name.clone())
        .collect();
    plan
}

/// How long to wait for the report of a job that has ended without one.
fn last_words_due(job: &JobSeen, now: Timestamp) -> Option<Duration> {
    match &job.outcome {
        Outcome::Silent { at, .. } => remaining(PATIENCE, *at, now),
        _ => None,
    }
}

fn status(phase: RetrainingPhase, job: &str, request: &str, message: Option<String>) -> RetrainingStatus {
    RetrainingStatus {
        request: request.to_owned(),
        phase,
        job: job.to_owned(),
        revision: None,
        message,
        evaluation: None,
    }
}

fn follow(
    job: &JobSeen,
    request: &str,
    spec: &Validated,
    target: &Target,
    history: &mut History,
) -> RetrainingStatus {
    let say = |phase, message| status(phase, &job.name, request, message);
    let (weights, hard_classes, evaluation) = match &job.outcome {
        Outcome::Running(Progress::Quiet) => return say(RetrainingPhase::Running, None),
        Outcome::Running(Progress::Waiting(what)) => {
            return say(
                RetrainingPhase::Running,
                Some(format!("job {} waits: {what}", job.name)),
            );
        }
        Outcome::Running(Progress::Retrying(why)) => return say(RetrainingPhase::Running, Some(why.clone())),
        Outcome::Failed { message, .. }
        | Outcome::Reported {
            report: JobReport::Failed { message },
        } => {
            return say(RetrainingPhase::Failed, Some(message.clone()));
        }
        Outcome::Silent { message, .. } => {
            return say(
                RetrainingPhase::Failed,
                Some(format!("job {} ended, but {message}", job.name)),
            );
        }
        Outcome::Reported {
            report:
                JobReport::Succeeded {
                    weights,
                    hard_classes,
                    evaluation,
                },
        } => (weights, hard_classes, evaluation),
    };
    let base = job
        .base
        .as_ref()
        .and_then(|name| history.get(name))
        .or(target.revision())
        .cloned();
    let judged = match &base {
        Some(base) => judge(base, weights, evaluation.as_ref(), spec),
        None => Err((
            RetrainingPhase::Failed,
            "the revision that it started from is gone".to_owned(),
        )),
    };
    let mut answer = match judged {
        Err((phase, message)) => say(phase, Some(message)),
        Ok(message) => {
            let mut weights = weights.clone();
            if weights.cloud.is_none() {
                weights.cloud = base.as_ref().and_then(|base| base.spec.weights.cloud.clone());
            }
            let made = history.ensure(Draft {
                cause: Cause::Retrained,
                parent: base.map(|base| base.name_any()),
                model: spec.model.clone(),
                weights,
                hard_classes: hard_classes.clone(),
                routing: spec.routing.clone(),
                evaluation: evaluation.clone(),
            });
            RetrainingStatus {
                revision: Some(made),
                ..say(RetrainingPhase::Accepted, Some(message))
            }
        }
    };
    answer.evaluation.clone_from(evaluation);
    answer
}

type Refusal = (RetrainingPhase, String);

/// The gate.
fn judge(
    base: &MEANetRevision,
    weights: &Weights,
    evaluation: Option<&Evaluation>,
    spec: &Validated,
) -> Result<String, Refusal> {
    if !base.spec.model.begins_as(&spec.model) {
        let text = "spec.model was changed while the job ran: ask for another run with a new value of the annotation";
        return Err((RetrainingPhase::Rejected, text.to_owned()));
    }
    if weights.main != base.spec.weights.main {
        let text =
            "the job changed the main block, which edges keep: is the runtime's image of another version?";
        return Err((RetrainingPhase::Failed, text.to_owned()));
    }
    let Some((after, before)) = evaluation.and_then(|e| Some((e.accuracy, e.baseline_accuracy?))) else {
        let text = "the job measured no accuracy for both revisions: are there labelled samples to hold out?";
        return Err((RetrainingPhase::Failed, text.to_owned()));
    };
    let (gain, least) = (after - before, spec.gate.min_accuracy_gain);
    let margin = match evaluation.and_then(|e| e.margin_of_error) {
        _ if !spec.gate.beyond_chance => 0.0,
        Some(margin) => margin,
        None => {
            let text = "the job did not say how surely it measured the gain, which the gate asks for with beyondChance: is the runtime's image of another version?";
            return Err((RetrainingPhase::Failed, text.to_owned()));
        }
    };
    let measured = format!("accuracy {before:.4} became {after:.4}, a gain of {gain:+.4}");
    let measured = if margin > 0.0 {
        format!("{measured} ± {margin:.4}")
    } else {
        measured
    };
    // Nothing is worse than a gain of -1. A hair's breadth for the rounding of two shares.
    if (gain - margin).max(-1.0) + 1e-9 >= least {
        return Ok(format!("{measured}; the gate asks for {least:+.4}"));
    }
    let chance = if gain + 1e-9 >= least {
        ", beyond chance (beyondChance)"
    } else {
        ""
    };
    let text = format!("{measured}; the gate asks for {least:+.4}{chance}");
    Err((RetrainingPhase::Rejected, text))
}

fn verdict(status: &RetrainingStatus) -> Verdict {
    let message = status
        .message
        .clone()
        .unwrap_or_else(|| format!("job {} runs", status.job));
    match status.phase {
        RetrainingPhase::Running => Verdict::unknown(RETRAINED, "Running", message),
        RetrainingPhase::Accepted => Verdict::yes(RETRAINED, "Accepted", message),
        RetrainingPhase::Rejected => Verdict::no(RETRAINED, "Rejected", message),
        RetrainingPhase::Failed => Verdict::no(RETRAINED, "Failed", message),
    }
}
