//! The cloud tier: answers what edges are unsure of, keeps it for retraining, and serves the store.

mod batch;
mod blobs;
mod collect;
mod http;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use meanet_net::{CloudNetwork, InputSpec};
use meanet_store::{Blobs, Digest};
use snafu::{ResultExt, Snafu};
use tokio::net::TcpListener;
use tracing::info;

use crate::shutdown;

/// Largest network in bytes.
const MAX_BLOB: u64 = 1 << 30;

/// How the cloud tier is started.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Name of the MEANetDeployment.
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
    /// How long the first image of a batch waits for others.
    #[arg(long, env = "MEANET_MAX_DELAY", default_value = "2ms")]
    pub max_delay: meanet_crds::Duration,
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

/// What the handlers share.
struct Cloud {
    blobs: Blobs,
    network: Option<Network>,
    samples: collect::Collector,
}

struct Network {
    digest: Digest,
    input: InputSpec,
    classes: usize,
    batcher: batch::Batcher,
}

/// Serves until the process is asked to end.
pub async fn run(args: Args) -> Result<(), Error> {
    let token = shutdown::token().context(SignalsSnafu)?;
    let cloud = Arc::new(open(&args)?);
    let listener = TcpListener::bind(args.listen)
        .await
        .context(ListenSnafu { listen: args.listen })?;
    info!(listen = %args.listen, network = cloud.network.is_some(), "serving");
    tokio::select! {
        () = http::serve(listener, Arc::clone(&cloud), token.clone()) => Ok(()),
        () = ended(&cloud) => ThreadEndedSnafu.fail(),
    }
}

/// Returns when a thread that should run as long as the process has ended.
async fn ended(cloud: &Cloud) {
    let mut second = tokio::time::interval(std::time::Duration::from_secs(1));
    loop {
        second.tick().await;
        if cloud.samples.has_ended() || cloud.network.as_ref().is_some_and(|n| n.batcher.has_ended()) {
            return;
        }
    }
}

fn open(args: &Args) -> Result<Cloud, Error> {
    let blobs = Blobs::open(&args.store).context(StoreSnafu)?;
    let network = match args.weights {
        None => None,
        Some(digest) => {
            let bytes = blobs.get(&digest, MAX_BLOB).context(StoreSnafu)?;
            let network = CloudNetwork::load(&bytes).context(WeightsSnafu { digest })?;
            Some(Network {
                digest,
                input: network.input().clone(),
                classes: network.classes(),
                batcher: batch::Batcher::start(network, args.max_batch, args.max_delay.get())
                    .context(ThreadsSnafu)?,
            })
        }
    };
    let writer = meanet_store::SampleWriter::open(&args.store, &args.deployment, args.max_samples)
        .context(SamplesSnafu)?;
    let samples = collect::Collector::start(writer).context(ThreadsSnafu)?;
    Ok(Cloud {
        blobs,
        network,
        samples,
    })
}
