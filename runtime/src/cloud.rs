//! The cloud tier: answers what edges are unsure of, keeps it for retraining, and serves the store.

mod batch;
mod blobs;
mod collect;
mod estimate;
mod feedback;
mod http;
mod infer;
mod metrics;
mod queue;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use meanet_net::{Backend, CloudNetwork, Compute, InputSpec};
use meanet_store::{Blobs, Digest};
use prometheus_client::registry::Registry;
use snafu::{ResultExt, Snafu};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::protocol::{ApiError, Intake, Port, Target};
use crate::server::{self, Listener};
use crate::shutdown;
use metrics::Metrics;

/// Largest network in bytes.
const MAX_BLOB: u64 = 1 << 30;

/// How the cloud tier is started.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Name of the `MEANetDeployment`.
    #[arg(long, env = "MEANET_DEPLOYMENT")]
    pub deployment: String,
    /// Root of the store.
    #[arg(long, env = "MEANET_STORE")]
    pub store: PathBuf,
    /// Address to serve on.
    #[arg(long, env = "MEANET_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Samples kept at most.
    #[arg(long, env = "MEANET_MAX_SAMPLES", default_value_t = 20_000)]
    pub max_samples: usize,
    /// Digest of the network's weights; without it only the store is served.
    #[arg(long, env = "MEANET_WEIGHTS")]
    pub weights: Option<Digest>,
    /// Images in a batch at most.
    #[arg(long, env = "MEANET_MAX_BATCH", default_value_t = 32)]
    pub max_batch: usize,
    /// How long the first image of a batch waits at most for as many others as the last batch had.
    #[arg(long, env = "MEANET_MAX_DELAY", default_value = "2ms")]
    pub max_delay: meanet_crds::Duration,
    /// What computes the network: engine, flex, torch or cuda, where this build has it. Without it, all GPUs that the build can use and
    /// the process may see, or else the engine.
    #[arg(long, env = "MEANET_BACKEND")]
    pub backend: Option<Backend>,
    /// Batches that are computed at the same time on a GPU, or on the CPU, whose processors are shared among them.
    #[arg(long, env = "MEANET_MODEL_THREADS", default_value_t = 1)]
    pub model_threads: usize,
    /// Images that wait for a batch at most.
    #[arg(long, env = "MEANET_MAX_QUEUE", default_value_t = 512)]
    pub max_queue: usize,
}

/// Why the cloud tier ended.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum Error {
    /// No handler for the end of the process.
    #[snafu(display("failed to listen for signals"))]
    Signals {
        /// What the system says.
        source: std::io::Error,
    },
    /// The address is taken or not ours.
    #[snafu(display("failed to listen on {listen}"))]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The store cannot be used.
    #[snafu(display("failed to use the store"))]
    Store {
        /// Why.
        source: meanet_store::BlobError,
    },
    /// Samples cannot be kept.
    #[snafu(display("failed to keep samples"))]
    Samples {
        /// Why.
        source: meanet_store::SampleError,
    },
    /// The weights are not those of a cloud network.
    #[snafu(display("failed to load the cloud's network {digest}"))]
    Weights {
        /// Which.
        digest: Digest,
        /// Why.
        source: meanet_net::WeightsError,
    },
    /// What should compute the network is not there.
    #[snafu(display("failed to find what computes the network"))]
    Backend {
        /// Why.
        source: meanet_net::BackendError,
    },
    /// A thread could not be started.
    #[snafu(display("failed to start a thread"))]
    Threads {
        /// What the system says.
        source: std::io::Error,
    },
    /// The thread that computes, or the one that keeps samples, is gone.
    #[snafu(display("failed to go on: a thread ended"))]
    ThreadEnded,
}

/// Name of the one model.
const MODEL: &str = "cloud";

/// What the handlers share.
struct Cloud {
    blobs: Blobs,
    network: Option<Network>,
    samples: collect::Collector,
    intake: Intake,
    metrics: Metrics,
    registry: Registry,
}

struct Network {
    /// The digest of its weights.
    version: String,
    input: InputSpec,
    classes: usize,
    batcher: batch::Batcher,
}

/// The cloud's part: the store, the collection of samples, and the network where there is one.
pub struct Service(Arc<Cloud>);

/// Serves until the process is asked to end.
pub async fn run(args: Args) -> Result<(), Error> {
    let token = shutdown::token().context(SignalsSnafu)?;
    let service = Service::open(&args)?;
    let listener = Listener::tcp(args.listen).context(ListenSnafu { listen: args.listen })?;
    info!(listen = %args.listen, network = service.0.network.is_some(), "serving");
    service.server(listener, token).await
}

impl Service {
    /// Opens the store, loads the network and starts the threads.
    ///
    /// # Errors
    /// When one of these cannot be had.
    pub fn open(args: &Args) -> Result<Self, Error> {
        let (metrics, registry) = Metrics::new();
        let blobs = Blobs::open(&args.store).context(StoreSnafu)?;
        let network = args
            .weights
            .map(|digest| network(&blobs, digest, args, &metrics))
            .transpose()?;
        let writer = meanet_store::SampleWriter::open(&args.store, &args.deployment, args.max_samples)
            .context(SamplesSnafu)?;
        Ok(Self(Arc::new(Cloud {
            blobs,
            network,
            samples: collect::Collector::start(writer, &metrics).context(ThreadsSnafu)?,
            intake: Intake::default(),
            metrics,
            registry,
        })))
    }

    /// Answers requests until `token` is cancelled and those under way are answered.
    ///
    /// # Errors
    /// When a thread ends that should not.
    pub async fn server(self, listener: TcpListener, token: CancellationToken) -> Result<(), Error> {
        tokio::select! {
            () = self.serve(listener, token) => Ok(()),
            () = self.0.ended() => ThreadEndedSnafu.fail(),
        }
    }

    async fn serve(&self, listener: TcpListener, token: CancellationToken) {
        let port = Port {
            model: Arc::clone(&self.0),
            intake: self.0.intake.clone(),
        };
        let paths = http::routes(port.clone());
        server::serve(vec![listener.into()], paths, port, token).await;
    }
}

fn network(blobs: &Blobs, digest: Digest, args: &Args, metrics: &Metrics) -> Result<Network, Error> {
    let bytes = blobs.get(&digest, MAX_BLOB).context(StoreSnafu)?;
    let backend = args.backend.unwrap_or_else(Backend::best);
    let processors = backend.processors().context(BackendSnafu)?;
    let compute = Compute::one_of(args.model_threads).with_batches_of(args.max_batch);
    let load = |processor| CloudNetwork::load_on(&bytes, processor, compute).context(WeightsSnafu { digest });
    let networks = processors.iter().map(load).collect::<Result<Vec<_>, _>>()?;
    info!(%backend, devices = networks.len(), "the network is loaded");
    let settings = queue::Settings {
        max_batch: args.max_batch,
        max_delay: args.max_delay.get(),
        room: args.max_queue,
        workers: args.model_threads.max(1) * networks.len(),
    };
    Ok(Network {
        version: digest.to_string(),
        // There is at least one processor.
        input: networks[0].input().clone(),
        classes: networks[0].classes(),
        batcher: batch::Batcher::start(networks, settings, metrics).context(ThreadsSnafu)?,
    })
}

impl Cloud {
    /// Returns when a thread that should run as long as the process has ended.
    async fn ended(&self) {
        let mut second = tokio::time::interval(std::time::Duration::from_secs(1));
        loop {
            second.tick().await;
            if self.samples.has_ended() || self.network.as_ref().is_some_and(|n| n.batcher.has_ended()) {
                return;
            }
        }
    }

    /// The network, if it is what the path names.
    fn serving(&self, target: &Target) -> Result<&Network, ApiError> {
        target.check_model(MODEL)?;
        let network = self.network.as_ref().ok_or_else(|| {
            ApiError::unavailable(
                "no network is in service here, only the store: it was started without --weights",
            )
        })?;
        target.check(MODEL, &network.version)?;
        Ok(network)
    }
}
