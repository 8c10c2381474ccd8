//! Says in the deployment's status, and in events, how it stands. One write where something changed, else none.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Api, Client, Resource, ResourceExt};
use meanet_crds::condition::{self, PROGRESSING, READY, RETRAINED, Verdict};
use meanet_crds::{MEANetDeployment, MEANetDeploymentStatus};
use snafu::{ResultExt, Snafu};

use super::apply::{self, said, write_status};
use super::plan::Plan;
use super::validate;
use crate::metrics::Metrics;

/// Why the status could not be written.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The API server did not take it.
    #[snafu(display("failed to write the status of {name}: {}", said(source)))]
    Status {
        /// Name of the deployment.
        name: String,
        /// What the API server, or the way to it, said.
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    /// The status cannot be written as JSON.
    #[snafu(display("failed to write the status of {name} as JSON: {source}"))]
    Json {
        /// Name of the deployment.
        name: String,
        /// What the writer said.
        source: serde_json::Error,
    },
}

/// Writes statuses and events.
#[derive(Clone)]
pub struct Reporter {
    client: Client,
    recorder: Recorder,
    metrics: Metrics,
}

impl Reporter {
    /// One reporter serves all deployments.
    #[must_use]
    pub fn new(client: Client, recorder: Recorder, metrics: Metrics) -> Self {
        Self {
            client,
            recorder,
            metrics,
        }
    }

    /// Reports a plan, and whether it could be applied.
    pub async fn planned(
        &self,
        deployment: &MEANetDeployment,
        plan: Plan,
        applied: Result<(), &apply::Error>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut verdicts = plan.verdicts;
        if let Err(error) = applied {
            verdicts.retain(|verdict| verdict.type_ != READY);
            verdicts.insert(0, Verdict::no(READY, "ApplyFailed", error.to_string()));
        }
        let status = MEANetDeploymentStatus {
            observed_generation: deployment.metadata.generation,
            conditions: merged(deployment, &verdicts, now),
            current_revision: plan.current,
            target_revision: plan.target,
            nodes: Some(plan.nodes),
            cloud: Some(plan.cloud),
            retraining: plan.retraining,
        };
        self.write(deployment, status).await
    }

    /// Reports a spec that cannot be run. What runs goes on.
    pub async fn invalid(
        &self,
        deployment: &MEANetDeployment,
        error: &validate::Error,
        now: Timestamp,
    ) -> Result<(), Error> {
        let before = deployment.status.clone().unwrap_or_default();
        let status = MEANetDeploymentStatus {
            observed_generation: deployment.metadata.generation,
            conditions: merged(
                deployment,
                &[Verdict::no(READY, "InvalidSpec", error.to_string())],
                now,
            ),
            ..before
        };
        self.write(deployment, status).await
    }

    async fn write(
        &self,
        deployment: &MEANetDeployment,
        status: MEANetDeploymentStatus,
    ) -> Result<(), Error> {
        if deployment.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let name = deployment.name_any();
        let api = Api::namespaced(self.client.clone(), &deployment.namespace().unwrap_or_default());
        let json = serde_json::to_value(&status).context(JsonSnafu { name: &name })?;
        write_status::<MEANetDeployment>(&api, &name, json, &self.metrics)
            .await
            .context(StatusSnafu { name })?;
        let before = deployment
            .status
            .as_ref()
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default();
        for event in events(before, &status.conditions) {
            // An event is for people who watch; the status says the same, so a lost one loses nothing.
            if let Err(error) = self.recorder.publish(&event, &deployment.object_ref(&())).await {
                tracing::warn!(%error, reason = event.reason, "failed to publish an event");
            }
        }
        Ok(())
    }
}

fn merged(deployment: &MEANetDeployment, verdicts: &[Verdict], now: Timestamp) -> Vec<Condition> {
    let before = deployment
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    condition::merge(before, verdicts, deployment.metadata.generation, &Time(now))
}

/// One event for each condition that turned, or is what it is for another reason.
fn events(before: &[Condition], after: &[Condition]) -> Vec<Event> {
    after
        .iter()
        .filter(|condition| {
            let old = condition::find(before, &condition.type_);
            let turned =
                old.is_none_or(|old| old.status != condition.status || old.reason != condition.reason);
            // A new deployment is not ready in five ways at once; that is no news.
            // Ready repeats the first condition that holds it back, which has an event of its own.
            let repeats = condition.type_ == READY
                && after.iter().any(|other| {
                    other.type_ != READY
                        && (&other.reason, &other.message) == (&condition.reason, &condition.message)
                });
            turned
                && !repeats
                && !(old.is_none() && condition.status != "True" && condition.type_ != RETRAINED)
        })
        .map(|condition| {
            let routine = matches!(
                condition.reason.as_str(),
                "RollingOut"
                    | "Complete"
                    | "Paused"
                    | "Running"
                    | "Importing"
                    | "Starting"
                    | "Rejected"
                    | "EdgePodsNotReady"
            );
            let good =
                condition.status == "True" || condition.type_ == PROGRESSING || condition.status == "Unknown";
            let alarming = ["NodeFailed", "ProgressDeadlineExceeded", "PinnedRevisionMissing"];
            let warn = !routine && (!good || alarming.contains(&condition.reason.as_str()));
            Event {
                type_: if warn {
                    EventType::Warning
                } else {
                    EventType::Normal
                },
                reason: condition.reason.clone(),
                note: Some(condition.message.chars().take(1000).collect()),
                action: condition.type_.clone(),
                secondary: None,
            }
        })
        .collect()
}
