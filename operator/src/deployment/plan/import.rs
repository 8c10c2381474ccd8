use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use meanet_crds::JobReport;
use meanet_crds::condition::{Verdict, WEIGHTS_READY};
use meanet_crds::naming::Component;
use meanet_crds::revision::Cause;

use super::history::{Draft, History, hex};
use crate::deployment::observe::{JobSeen, Observed, Outcome, Progress};
use crate::deployment::validate::Validated;

/// Shortest and longest pause before an import is tried again.
const PAUSE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(5));
/// The job's end and its pod's last words reach us on two ways; only then is a missing report really missing.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What to do about the weights named in the spec.
#[derive(Clone, Debug)]
pub(super) struct Import {
    /// The job has to be there.
    pub wanted: bool,
    /// Jobs to delete.
    pub delete: Vec<String>,
    pub verdict: Verdict,
    pub look_again: Option<Duration>,
}

/// Name of the import job: `D-import-<8 hex of the model's digest>`.
pub(super) fn job_name(spec: &Validated) -> String {
    let digest = spec.model.weights.digest.trim_start_matches("sha256:");
    format!(
        "{}-import-{}",
        spec.name,
        digest.get(..8).map_or_else(|| hex(digest, 8), str::to_owned)
    )
}

/// Adds the first revision of the lineage when the job has reported.
pub(super) fn import(observed: &Observed, spec: &Validated, history: &mut History, now: Timestamp) -> Import {
    let name = job_name(spec);
    let jobs = || {
        observed
            .jobs
            .iter()
            .filter(|job| job.component == Component::Import)
    };
    let others = jobs()
        .filter(|job| job.name != name)
        .map(|job| job.name.clone())
        .collect();
    let mut import = Import {
        wanted: false,
        delete: others,
        verdict: Verdict::yes(
            WEIGHTS_READY,
            "Imported",
            format!("{} is in the store", spec.model.weights.digest),
        ),
        look_again: None,
    };
    if history
        .newest(|revision| revision.model.begins_as(&spec.model))
        .is_some()
    {
        return import;
    }
    import.wanted = true;
    let not_ready = |reason, message: String| Verdict::no(WEIGHTS_READY, reason, message);
    let Some(job) = jobs().find(|job| job.name == name) else {
        import.verdict = not_ready("Importing", format!("job {name} is made"));
        return import;
    };
    match &job.outcome {
        Outcome::Running(progress) => import.verdict = running(job, progress),
        Outcome::Reported {
            report:
                JobReport::Succeeded {
                    weights,
                    hard_classes,
                    evaluation,
                },
        } => {
            import.wanted = false;
            history.ensure(Draft {
                cause: Cause::WeightsImported,
                parent: None,
                model: spec.model.clone(),
                weights: weights.clone(),
                hard_classes: hard_classes.clone(),
                routing: spec.routing.clone(),
                evaluation: evaluation.clone(),
            });
        }
        Outcome::Reported {
            report: JobReport::Failed { message },
        } => {
            // A job that says so and ends well all the same is not run again by Kubernetes.
            import.verdict = not_ready("ImportFailed", message.clone());
            import.retry(job, job.created, PAUSE.1, now);
        }
        Outcome::Silent { at, message } => {
            import.verdict = not_ready("ImportFailed", format!("job {name} ended, but {message}"));
            import.retry(job, Some(*at), PATIENCE, now);
        }
        Outcome::Failed { at, ran, message } => {
            import.verdict = not_ready("ImportFailed", message.clone());
            import.retry(job, Some(*at), (*ran).clamp(PAUSE.0, PAUSE.1), now);
        }
    }
    import
}

impl Import {
    /// Deletes the job once `pause` has passed; it is made anew when it is gone.
    fn retry(&mut self, job: &JobSeen, since: Option<Timestamp>, pause: Duration, now: Timestamp) {
        self.wanted = false;
        self.look_again = since.and_then(|since| remaining(pause, since, now));
        if self.look_again.is_none() {
            self.delete.push(job.name.clone());
        }
    }
}

/// What is left of `pause` since then.
pub(super) fn remaining(pause: Duration, since: Timestamp, now: Timestamp) -> Option<Duration> {
    let passed = now.duration_since(since).max(SignedDuration::ZERO).unsigned_abs();
    pause.checked_sub(passed).filter(|rest| !rest.is_zero())
}

fn running(job: &JobSeen, progress: &Progress) -> Verdict {
    match progress {
        Progress::Quiet => Verdict::no(WEIGHTS_READY, "Importing", format!("job {} runs", job.name)),
        Progress::Waiting(what) => Verdict::no(
            WEIGHTS_READY,
            "Importing",
            format!("job {} waits: {what}", job.name),
        ),
        // Kubernetes runs it again, with pauses that grow to five minutes.
        Progress::Retrying(why) => Verdict::no(WEIGHTS_READY, "ImportFailed", why.clone()),
    }
}
