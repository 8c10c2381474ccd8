//! Follows the node's own `MEANetNode`: brings the revision wanted there into service, and says so in its status.

mod pace;
mod report;

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Config, ResourceExt};
use meanet_crds::naming::twin_name;
use meanet_crds::node::EdgePhase;
use meanet_crds::revision::MEANetRevisionSpec;
use meanet_crds::{MEANetNode, MEANetRevision};
use snafu::ResultExt;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::live::Live;
use super::stats::Stats;
use super::{Args, Error, KubernetesSnafu};
use crate::report::words;
use pace::Pace;
use report::Reporter;

/// How long a request to the API server may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// A watch is renewed this often, so that a connection that died without a word is noticed.
const WATCH_SECONDS: u32 = 40;

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

impl From<MEANetNode> for Wish {
    fn from(twin: MEANetNode) -> Self {
        Self {
            uid: twin.uid(),
            generation: twin.metadata.generation,
            revision: twin.spec.revision,
        }
    }
}

pub(super) struct Follower {
    twin: String,
    nodes: Api<MEANetNode>,
    revisions: Api<MEANetRevision>,
    live: Live,
    reporter: Reporter,
    /// What went wrong at the start; said until a wish is fulfilled, and with that wish.
    note: Option<String>,
    /// The first wish that was fulfilled. The word of it may reach the API server without the answer coming back, so what
    /// is said of a later wish does not depend on whether it did.
    mended_by: Option<Wish>,
}

impl Follower {
    pub(super) fn new(
        args: &Args,
        client: Client,
        live: Live,
        stats: Arc<Stats>,
        note: Option<String>,
    ) -> Self {
        let twin = twin_name(&args.deployment, &args.node);
        let nodes: Api<MEANetNode> = Api::namespaced(client.clone(), &args.namespace);
        let mut reporter = Reporter::new(&twin, &args.pod, nodes.clone(), stats, PATIENCE);
        if let Some(active) = live.active() {
            reporter.answers(&active.name);
        }
        Self {
            twin,
            nodes,
            revisions: Api::namespaced(client, &args.namespace),
            live,
            reporter,
            note,
            mended_by: None,
        }
    }

    /// Follows until `token` is cancelled; nothing that the API server or the store does ends it. A newer wish ends the work
    /// on the one before, however far that has come.
    pub(super) async fn run(mut self, token: CancellationToken) {
        let config = watcher::Config::default()
            .fields(&format!("metadata.name={}", self.twin))
            .timeout(WATCH_SECONDS);
        let twins = watcher(self.nodes.clone(), config)
            .default_backoff()
            .applied_objects();
        let mut wishes = std::pin::pin!(twins.filter_map(async |twin| match twin {
            Ok(twin) => Some(Wish::from(twin)),
            Err(error) => {
                warn!("failed to watch the twin: {}", words(&error));
                None
            }
        }));
        let mut wish: Option<Wish> = None;
        let mut pace = Pace::asked(Instant::now());
        loop {
            tokio::select! {
                biased;
                () = token.cancelled() => return,
                newer = another(&mut wishes, wish.as_ref()) => {
                    let Some(newer) = newer else { return };
                    wish = Some(newer);
                    pace = Pace::asked(Instant::now());
                    self.reporter.again();
                }
                () = self.act(wish.as_ref(), &mut pace) => {}
            }
        }
    }

    /// Waits until something is due and does it.
    async fn act(&mut self, wish: Option<&Wish>, pace: &mut Pace) {
        let Some(wish) = wish else {
            return std::future::pending().await;
        };
        sleep_until(pace.due).await;
        if pace.fulfilled {
            let reached = self.reporter.write(wish).await;
            pace.reported(reached, Instant::now());
            return;
        }
        match self.obey(wish, pace.first()).await {
            Ok(true) => pace.fulfilled(Instant::now()),
            Ok(false) => pace.failed(Instant::now()),
            Err(message) => {
                error!(revision = wish.revision, "{message}");
                self.say(EdgePhase::Failed, Some(message));
                self.reporter.write(wish).await;
                pace.failed(Instant::now());
            }
        }
    }

    /// Brings the wanted revision into service; gives whether the API server knows. The one in service answers until then,
    /// and on if this fails.
    async fn obey(&mut self, wish: &Wish, first: bool) -> Result<bool, String> {
        // Work that a newer wish ended may have got as far as a change of revision.
        self.say_who_answers();
        if self.mended_by.as_ref().is_some_and(|first| first != wish) {
            self.note = None;
        }
        let Some(wanted) = &wish.revision else {
            self.say(
                EdgePhase::Waiting,
                Some("no revision is wanted on this node yet".to_owned()),
            );
            return Ok(self.reporter.write(wish).await);
        };
        if self.live.active().is_none_or(|active| active.name != *wanted) {
            let spec = self.revision(wanted).await?;
            if !self.live.reroute(wanted, &spec).await {
                // What failed before stays failed until it works, or every try would turn the conditions of the deployment.
                if first {
                    self.say(EdgePhase::Loading, Some(format!("loading {wanted}")));
                    self.reporter.write(wish).await;
                }
                self.live.load(wanted, &spec).await.map_err(|e| e.to_string())?;
            }
        }
        self.say_who_answers();
        self.mended_by.get_or_insert_with(|| wish.clone());
        self.say(EdgePhase::Live, None);
        Ok(self.reporter.write(wish).await)
    }

    fn say_who_answers(&mut self) {
        if let Some(active) = self.live.active() {
            self.reporter.answers(&active.name);
        }
    }

    fn say(&mut self, phase: EdgePhase, message: Option<String>) {
        let all: Vec<String> = message.into_iter().chain(self.note.clone()).collect();
        let text = (!all.is_empty()).then(|| all.join("; "));
        self.reporter.says(phase, text.as_deref());
    }

    async fn revision(&self, name: &str) -> Result<MEANetRevisionSpec, String> {
        if let Some(spec) = self.live.known(name) {
            return Ok(spec);
        }
        match timeout(PATIENCE, self.revisions.get(name)).await {
            Ok(Ok(revision)) => Ok(revision.spec),
            Ok(Err(error)) => Err(format!("failed to read MEANetRevision {name}: {}", words(&error))),
            Err(_) => Err(format!(
                "failed to read MEANetRevision {name}: the API server did not answer within {PATIENCE:?}"
            )),
        }
    }
}

/// The next wish that differs from `current`.
async fn another(wishes: &mut (impl Stream<Item = Wish> + Unpin), current: Option<&Wish>) -> Option<Wish> {
    while let Some(wish) = wishes.next().await {
        if Some(&wish) != current {
            return Some(wish);
        }
    }
    None
}
