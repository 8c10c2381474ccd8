use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::reflector::Store;
use meanet_crds::JobReport;
use meanet_crds::naming::{ANNOTATION_BASE, ANNOTATION_REQUEST, Component, LABEL_COMPONENT};

use super::pod::{container, waits_for};

/// A job and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSeen {
    /// Its name.
    pub name: String,
    /// Import or training.
    pub component: Component,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// The retraining request that it answers.
    pub request: Option<String>,
    /// The revision that training started from.
    pub base: Option<String>,
    /// Where it stands.
    pub outcome: Outcome,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Not at its end.
    Running(Progress),
    /// At its end, with its report.
    Reported {
        /// What it said.
        report: JobReport,
    },
    /// Complete by Kubernetes' account, but without a report that can be read.
    Silent {
        /// Since when.
        at: Timestamp,
        /// What is wrong with the report.
        message: String,
    },
    /// Given up by Kubernetes.
    Failed {
        /// Since when.
        at: Timestamp,
        /// How long it had run.
        ran: std::time::Duration,
        /// Why.
        message: String,
    },
}

/// How a job that is not at its end is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing to tell.
    Quiet,
    /// Its pod waits for something.
    Waiting(String),
    /// The last attempt failed; Kubernetes runs it again.
    Retrying(String),
}

impl JobSeen {
    /// Nothing more will come of it.
    #[must_use]
    pub fn finished(&self) -> bool {
        !matches!(self.outcome, Outcome::Running(_))
    }
}

pub(super) fn jobs<'a>(
    jobs: impl Iterator<Item = &'a Arc<Job>>,
    pods: &Store<Pod>,
    namespace: &str,
) -> Vec<JobSeen> {
    let mut seen: Vec<_> = jobs
        .filter(|job| job.metadata.deletion_timestamp.is_none())
        .filter_map(|job| {
            let component = match job.labels().get(LABEL_COMPONENT)?.as_str() {
                "import" => Component::Import,
                "train" => Component::Train,
                _ => return None,
            };
            let name = job.name_any();
            let mut pods = pods.state_filter(|pod| {
                pod.namespace().as_deref() == Some(namespace)
                    && pod.labels().get("batch.kubernetes.io/job-name") == Some(&name)
            });
            pods.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
            let annotation = |key: &str| job.annotations().get(key).cloned();
            Some(JobSeen {
                component,
                created: job.metadata.creation_timestamp.as_ref().map(|time| time.0),
                request: annotation(ANNOTATION_REQUEST),
                base: annotation(ANNOTATION_BASE),
                outcome: outcome(job, pods.last().map(AsRef::as_ref)),
                name,
            })
        })
        .collect();
    seen.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    seen
}

fn outcome(job: &Job, pod: Option<&Pod>) -> Outcome {
    let conditions = job
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let holds = |type_: &str| conditions.iter().find(|c| c.type_ == type_ && c.status == "True");
    let at = |c: &k8s_openapi::api::batch::v1::JobCondition| {
        c.last_transition_time
            .as_ref()
            .map_or(Timestamp::UNIX_EPOCH, |time| time.0)
    };
    let words = pod.and_then(last_words);
    if let Some(complete) = holds("Complete") {
        let Some(words) = words else {
            return Outcome::Silent {
                at: at(complete),
                message: "its pod is gone".to_owned(),
            };
        };
        return match serde_json::from_str(&words) {
            Ok(report) => Outcome::Reported { report },
            Err(error) => Outcome::Silent {
                at: at(complete),
                message: format!(
                    "failed to read its report: {error}; is the runtime's image of another version?"
                ),
            },
        };
    }
    if let Some(failed) = holds("Failed") {
        let started = job
            .status
            .as_ref()
            .and_then(|s| s.start_time.as_ref())
            .map_or(at(failed), |time| time.0);
        let ran = std::time::Duration::try_from(at(failed).duration_since(started)).unwrap_or_default();
        let message = words
            .map(|words| readable(&words))
            .or_else(|| failed.message.clone());
        return Outcome::Failed {
            at: at(failed),
            ran,
            message: message.unwrap_or_default(),
        };
    }
    // A pod that has done its work ends before its job is complete.
    let done = |words: &String| {
        serde_json::from_str(words).is_ok_and(|report| matches!(report, JobReport::Succeeded { .. }))
    };
    Outcome::Running(match (words, pod.and_then(waits_for)) {
        (Some(words), _) if done(&words) => Progress::Quiet,
        (Some(words), _) => Progress::Retrying(readable(&words)),
        (None, Some(what)) => Progress::Waiting(what),
        (None, None) => Progress::Quiet,
    })
}

/// The newest termination message of the job's container.
fn last_words(pod: &Pod) -> Option<String> {
    let container = container(pod)?;
    [&container.state, &container.last_state]
        .into_iter()
        .filter_map(|state| state.as_ref()?.terminated.as_ref())
        .find_map(|end| end.message.clone().filter(|message| !message.trim().is_empty()))
}

/// A failed report's message; any other text as it is.
fn readable(words: &str) -> String {
    match serde_json::from_str(words) {
        Ok(JobReport::Failed { message }) => message,
        _ => words.trim().chars().take(1000).collect(),
    }
}
