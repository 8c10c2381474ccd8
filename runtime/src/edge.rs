//! The edge tier: answers every input on its node, asks the cloud where it is unsure, and follows its twin.

mod active;
mod compute;
mod http;
mod infer;
mod live;
mod loading;
mod metrics;
mod offload;
mod pass;
mod queue;
mod service;
mod stats;
mod twin;

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::thread::available_parallelism;

use snafu::{ResultExt, Snafu};
use tokio::task::JoinSet;

use crate::program::Threads;
use crate::server::Listener;
use crate::shutdown;

pub(crate) use active::{RoutingError, precision, router, routing};
pub use service::Service;

/// How the edge tier is started.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Name of the `MEANetDeployment`.
    #[arg(long, env = "MEANET_DEPLOYMENT")]
    pub deployment: String,
    /// Its namespace.
    #[arg(long, env = "MEANET_NAMESPACE")]
    pub namespace: String,
    /// Name of the node that this runs on.
    #[arg(long, env = "MEANET_NODE")]
    pub node: String,
    /// Name of the pod that this runs in.
    #[arg(long, env = "MEANET_POD", default_value = "")]
    pub pod: String,
    /// URL of the store: the cloud tier's.
    #[arg(long, env = "MEANET_STORE_URL")]
    pub store_url: String,
    /// URL of the model that takes offloaded inputs.
    #[arg(long, env = "MEANET_CLOUD_URL")]
    pub cloud_url: String,
    /// File in PEM of authorities that are trusted beside the public ones, for a cloud with a certificate of your own.
    #[arg(long = "ca-file", env = "MEANET_CA_FILE")]
    pub authorities: Option<PathBuf>,
    /// Folder that survives restarts: blobs, and what served last.
    #[arg(long, env = "MEANET_CACHE_DIR", default_value = "/var/lib/meanet")]
    pub cache_dir: PathBuf,
    /// Address to serve on.
    #[arg(long, env = "MEANET_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Path of a Unix socket to serve on, too, for clients of the same node.
    #[arg(long, env = "MEANET_UNIX")]
    pub unix: Option<PathBuf>,
    /// Images that wait or are computed at most; requests beyond it are refused. 64 for each thread by default.
    #[arg(long, env = "MEANET_MAX_QUEUE")]
    pub max_queue: Option<usize>,
    /// Threads, which serve and compute; as many as there are processors by default.
    #[arg(long, env = "MEANET_COMPUTE_THREADS")]
    pub compute_threads: Option<usize>,
    /// Keep each of them on one of the processors that this process may use: for processes that have these to themselves.
    #[arg(long, env = "MEANET_PIN_THREADS")]
    pub pin_threads: bool,
}

impl Args {
    /// The threads that it wants.
    #[must_use]
    pub fn threads(&self) -> Threads {
        let processors = || available_parallelism().map_or(1, NonZero::get);
        Threads {
            count: self.compute_threads.unwrap_or_else(processors).max(1),
            pinned: self.pin_threads,
        }
    }
}

/// Why the edge tier ended.
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
    /// The socket cannot be made.
    #[snafu(display("failed to listen on the socket {}", path.display()))]
    Unix {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// No client for the cloud and the store.
    #[snafu(transparent)]
    Client {
        /// Why.
        source: crate::client::ClientError,
    },
    /// The API server cannot be spoken to at all.
    #[snafu(display(
        "failed to find the API server: run in a pod with a service account, or with KUBECONFIG"
    ))]
    Kubernetes {
        /// Why.
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    /// The cache folder cannot be used.
    #[snafu(display("failed to use the cache folder"))]
    Cache {
        /// Why.
        source: meanet_store::BlobError,
    },
    /// A task ended that should not have.
    #[snafu(display("failed to go on: the task {task} ended"))]
    TaskEnded {
        /// Which one.
        task: &'static str,
    },
}

/// Serves until the process is asked to end.
pub async fn run(args: Args) -> Result<(), Error> {
    let token = shutdown::token().context(SignalsSnafu)?;
    let service = Service::open(&args)?;
    let listener = Listener::tcp(args.listen).context(ListenSnafu { listen: args.listen })?;
    let mut listeners = vec![Listener::from(listener)];
    if let Some(path) = &args.unix {
        listeners.push(Listener::unix(path).context(UnixSnafu { path })?);
    }
    let client = twin::client().await?;

    let mut tasks: JoinSet<&'static str> = JoinSet::new();
    let server = service.server(listeners, token.clone());
    tasks.spawn(async move {
        server.await;
        "server"
    });
    let follower = service.follower(&args, client, token.clone());
    tasks.spawn(async move {
        follower.await;
        "twin"
    });
    while let Some(ended) = tasks.join_next().await {
        if !token.is_cancelled() {
            return TaskEndedSnafu {
                task: ended.unwrap_or("crashed"),
            }
            .fail();
        }
    }
    Ok(())
}
