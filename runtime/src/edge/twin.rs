//! Follows the node's own MEANetNode: brings the revision wanted there into service, and says so in its status.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Config, ResourceExt};
use meanet_crds::naming::{MANAGER_EDGE, twin_name};
use meanet_crds::node::{EdgePhase, MEANetNodeStatus};
use meanet_crds::revision::MEANetRevisionSpec;
use meanet_crds::{GROUP, MEANetNode, MEANetRevision, VERSION};
use serde_json::json;
use snafu::ResultExt;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::active::{Active, Slot};
use super::loading::Loader;
use super::stats::Stats;
use super::{Args, Error, KubernetesSnafu};
use crate::report::words;

/// Pause between reports of counters; a change of revision is reported at once.
const REPORT: Duration = Duration::from_secs(30);
/// How long a request to the API server may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// A watch is renewed this often, so that a connection that died without a word is noticed.
const WATCH_SECONDS: u32 = 40;
/// First and longest pause before what failed is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A client for the API server whose silent connections are given up.
pub(super) async fn client() -> Result<Client, Error> {
    let infer = async {
        let mut config = Config::infer().await.map_err(kube::Error::InferConfig)?;
        config.connect_timeout = Some(PATIENCE);
        config.read_timeout = Some(Duration::from_secs(u64::from(WATCH_SECONDS) + 10));
        Client::try_from(config)
    };
    infer.await.context(KubernetesSnafu)
}

/// The wish that a twin carries.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wish {
    uid: Option<String>,
    generation: Option<i64>,
    revision: Option<String>,
}

pub(super) struct Follower {
    twin: String,
    pod: String,
    nodes: Api<MEANetNode>,
    revisions: Api<MEANetRevision>,
    loader: Loader,
    slot: Slot,
    stats: Arc<Stats>,
    status: MEANetNodeStatus,
    previous: Option<(String, MEANetRevisionSpec)>,
    reported: Option<MEANetNodeStatus>,
    failures: u32,
}

impl Follower {
    pub(super) fn new(args: &Args, client: Client, loader: Loader, slot: Slot, stats: Arc<Stats>) -> Self {
        let mut status = MEANetNodeStatus::default();
        if let Some(active) = slot.get() {
            status.revision = Some(active.name.clone());
            status.live_since = Some(MicroTime(Timestamp::now()));
        }
        Self {
            twin: twin_name(&args.deployment, &args.node),
            pod: args.pod.clone(),
            nodes: Api::namespaced(client.clone(), &args.namespace),
            revisions: Api::namespaced(client, &args.namespace),
            loader,
            slot,
            stats,
            status,
            previous: None,
            reported: None,
            failures: 0,
        }
    }

    /// Follows until `token` is cancelled; nothing that the API server or the store does ends it.
    pub(super) async fn run(mut self, token: CancellationToken) {
        let config = watcher::Config::default()
            .fields(&format!("metadata.name={}", self.twin))
            .timeout(WATCH_SECONDS);
        let mut events = watcher(self.nodes.clone(), config)
            .default_backoff()
            .applied_objects()
            .boxed();
        let mut wish: Option<Wish> = None;
        let mut done = true;
        let (mut retry, mut report) = (Instant::now(), Instant::now() + REPORT);
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                event = events.next() => match event {
                    Some(Ok(twin)) => {
                        let now = Wish {
                            uid: twin.uid(), generation: twin.metadata.generation, revision: twin.spec.revision.clone(),
                        };
                        if wish.as_ref() != Some(&now) {
                            wish = Some(now);
                            (done, retry, self.failures, self.reported) = (false, Instant::now(), 0, None);
                        }
                    }
                    Some(Err(error)) => warn!("failed to watch {}: {}", self.twin, words(&error)),
                    None => return,
                },
                () = sleep_until(retry), if !done => {}
                () = sleep_until(report), if wish.is_some() => {}
            }
            let Some(wanted) = &wish else { continue };
            if !done && Instant::now() >= retry {
                let wanted = wanted.clone();
                tokio::select! {
                    () = token.cancelled() => return,
                    result = self.obey(&wanted) => match result {
                        Ok(()) => (done, self.failures) = (true, 0),
                        Err(message) => {
                            self.failures = self.failures.saturating_add(1);
                            retry = Instant::now() + pause(self.failures);
                            error!(revision = wanted.revision, "{message}");
                            self.status.phase = Some(EdgePhase::Failed);
                            self.status.message = Some(message.chars().take(1000).collect());
                            let _ = self.report(&wanted).await;
                        }
                    }
                }
                report = Instant::now() + REPORT;
            } else if Instant::now() >= report {
                let wanted = wanted.clone();
                let reached = self.report(&wanted).await;
                report = Instant::now() + if reached { REPORT } else { REPORT / 6 };
            }
        }
    }

    /// Brings the wanted revision into service. The one in service answers until then, and on if this fails.
    async fn obey(&mut self, wish: &Wish) -> Result<(), String> {
        let active = self.slot.get();
        let Some(wanted) = &wish.revision else {
            self.status.phase = Some(EdgePhase::Waiting);
            self.status.message = Some("no revision is wanted on this node yet".to_owned());
            return self.acknowledge(wish).await;
        };
        if active.as_ref().is_none_or(|active| active.name != *wanted) {
            let spec = self.revision(wanted).await?;
            let next = if let Some(next) = active.as_ref().and_then(|active| active.reroute(wanted, &spec)) {
                next
            } else {
                self.status.phase = Some(EdgePhase::Loading);
                self.status.message = Some(format!("loading {wanted}"));
                let _ = self.report(wish).await;
                self.loader.load(wanted, &spec).await.map_err(|e| e.to_string())?
            };
            self.swap(next);
        }
        self.status.phase = Some(EdgePhase::Live);
        self.status.message = None;
        self.acknowledge(wish).await
    }

    async fn revision(&self, name: &str) -> Result<MEANetRevisionSpec, String> {
        if let Some((_, spec)) = self.previous.as_ref().filter(|(previous, _)| previous == name) {
            return Ok(spec.clone());
        }
        match timeout(PATIENCE, self.revisions.get(name)).await {
            Ok(Ok(revision)) => Ok(revision.spec),
            Ok(Err(error)) => Err(format!("failed to read MEANetRevision {name}: {}", words(&error))),
            Err(_) => Err(format!(
                "failed to read MEANetRevision {name}: the API server did not answer within {PATIENCE:?}"
            )),
        }
    }

    fn swap(&mut self, next: Active) {
        let next = Arc::new(next);
        let before = self.slot.get();
        self.slot.set(Arc::clone(&next));
        info!(
            revision = next.name,
            offload_above = next.routing.offload_above,
            "in service"
        );
        self.status.revision = Some(next.name.clone());
        self.status.live_since = Some(MicroTime(Timestamp::now()));
        if let Some(before) = before {
            self.status.previous_revision = Some(before.name.clone());
            self.previous = Some((before.name.clone(), before.spec.clone()));
        }
        let (loader, previous) = (
            self.loader.clone(),
            self.previous.as_ref().map(|(_, spec)| spec.clone()),
        );
        // What serves is not held up by the disk; a failure costs the next restart its quick start.
        if let Err(error) = loader.remember(&next, previous.as_ref()) {
            warn!("failed to remember {} for a restart: {error}", next.name);
        }
    }

    async fn acknowledge(&mut self, wish: &Wish) -> Result<(), String> {
        if self.report(wish).await {
            Ok(())
        } else {
            Err("failed to report to the API server".to_owned())
        }
    }

    /// Writes the status if it differs from what was written last; gives whether the API server has it.
    async fn report(&mut self, wish: &Wish) -> bool {
        self.status.state = None;
        self.status.reported_at = None;
        self.status.observed_generation = wish.generation;
        self.status.pod = (!self.pod.is_empty()).then(|| self.pod.clone());
        self.status.exits = Some(self.stats.exits());
        self.status.latency = self.stats.latency();
        self.status.score_histogram = Some(self.stats.scores());
        if self.reported.as_ref() == Some(&self.status) {
            return true;
        }
        let mut written = self.status.clone();
        written.reported_at = Some(Time(Timestamp::now()));
        let patch = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "MEANetNode",
            "metadata": {"name": self.twin}, "status": written,
        });
        let parameters = PatchParams::apply(MANAGER_EDGE).force();
        match timeout(
            PATIENCE,
            self.nodes
                .patch_status(&self.twin, &parameters, &Patch::Apply(patch)),
        )
        .await
        {
            Ok(Ok(_)) => {
                self.reported = Some(self.status.clone());
                true
            }
            Ok(Err(error)) => {
                warn!(
                    "failed to report in the status of {}: {}",
                    self.twin,
                    words(&error)
                );
                false
            }
            Err(_) => {
                warn!(
                    "failed to report in the status of {}: no answer within {PATIENCE:?}",
                    self.twin
                );
                false
            }
        }
    }
}

/// The pause after the `failures`th failure in a row.
fn pause(failures: u32) -> Duration {
    (PAUSES.0 * 2_u32.saturating_pow(failures.saturating_sub(1).min(16))).min(PAUSES.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        assert_eq!(
            [0, 1, 2, 3, 7, 100].map(|n| pause(n).as_secs()),
            [1, 1, 2, 4, 60, 60]
        );
    }
}
