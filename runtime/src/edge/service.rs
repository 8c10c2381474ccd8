use std::future::Future;
use std::sync::Arc;

use kube::Client;
use meanet_crds::revision::MEANetRevisionSpec;
use meanet_net::Compute;
use snafu::ResultExt;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::active::Slot;
use super::infer::Edge;
use super::live::Live;
use super::twin::Follower;
use super::{Args, CacheSnafu, Error, compute, http, loading, offload, stats};
use crate::client::client;
use crate::protocol::{Intake, Port};
use crate::server::{self, Listener};

/// One edge: what answers requests, and what brings revisions into service. It needs no cluster; [`Service::follower`] ties
/// it to a twin, [`Service::bring`] does by hand what a twin's wish does.
pub struct Service {
    edge: Arc<Edge>,
    live: Live,
    damage: Option<String>,
}

impl Service {
    /// Starts what computes, on the runtime that this is called on, and opens the cache. What served before a restart serves again at once, whoever else is
    /// away; where it cannot, the twin's status will say why.
    ///
    /// # Errors
    /// When cache or HTTP client cannot be had.
    pub fn open(args: &Args) -> Result<Self, Error> {
        let threads = args.threads().count;
        let room = args.max_queue.unwrap_or(compute::ROOM * threads);
        let slot = Slot::default();
        let stats = Arc::new(stats::Stats::new(slot.clone()));
        let compute = compute::Pool::start(threads, room, stats.metrics.queue.clone());
        let client = client(args.authorities.as_deref(), |builder| builder)?;
        // Each thread computes batches of its own, alone.
        let each = Compute::one_of(usize::MAX).with_batches_of(compute::MAX_BATCH);
        let loader =
            loading::Loader::open(&args.cache_dir, &args.store_url, client, each).context(CacheSnafu)?;
        let mut damage = None;
        match loader.restore() {
            Ok(Some(active)) => {
                info!(
                    revision = active.name,
                    "serving the revision from before the restart"
                );
                slot.set(Arc::new(active));
            }
            Ok(None) => {}
            Err(error) => {
                let message = format!("what served before the restart could not be used: {error}");
                warn!("{message}");
                damage = Some(message);
            }
        }
        let edge = Arc::new(Edge {
            model: args.deployment.clone(),
            slot: slot.clone(),
            compute,
            cloud: offload::Cloud::new(
                &args.node,
                &args.cloud_url,
                args.authorities.clone(),
                stats.metrics.clone(),
            )?,
            stats,
        });
        Ok(Self {
            edge,
            live: Live::new(loader, slot),
            damage,
        })
    }

    /// Name of the revision in service.
    #[must_use]
    pub fn revision(&self) -> Option<String> {
        self.live.active().map(|active| active.name.clone())
    }

    /// Why what served before a restart does not serve now.
    #[must_use]
    pub fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// Brings a revision into service; the one before answers until then, and on if this fails.
    ///
    /// # Errors
    /// A sentence, as in a twin's status.
    pub async fn bring(&mut self, name: &str, spec: &MEANetRevisionSpec) -> Result<(), String> {
        if self.live.reroute(name, spec).await {
            return Ok(());
        }
        self.live.load(name, spec).await.map_err(|e| e.to_string())
    }

    /// Answers requests that come to the listeners until `token` is cancelled and those under way are answered.
    pub fn server(
        &self,
        listeners: Vec<Listener>,
        token: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let port = Port {
            model: Arc::clone(&self.edge),
            intake: Intake::default(),
        };
        async move {
            port.model.cloud.greet();
            server::serve(listeners, http::routes(port.clone()), port, token).await;
        }
    }

    /// Follows the twin that `args` name until `token` is cancelled.
    pub fn follower(
        self,
        args: &Args,
        client: Client,
        token: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let stats = Arc::clone(&self.edge.stats);
        Follower::new(args, client, self.live, stats, self.damage).run(token)
    }
}
