//! The life of the process: listen, lead, reconcile, stop.

use std::io::IsTerminal;
use std::time::Duration;

use kube::Config;
use snafu::{ResultExt, Snafu};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::cache::Cache;
use crate::http::Readiness;
use crate::lease::{Candidate, Lost};
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::{client, controller, http};

/// Why the operator stopped.
#[derive(Debug, Snafu)]
pub enum Error {
    /// No way to an API server.
    #[snafu(display("failed to find a cluster: {source}; run in a pod, or set KUBECONFIG"))]
    Cluster {
        /// What was tried.
        #[snafu(source(from(kube::config::InferConfigError, Box::new)))]
        source: Box<kube::config::InferConfigError>,
    },
    /// The client could not be made.
    #[snafu(display("failed to make a client: {source}"))]
    Client {
        /// Why.
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    /// The port could not be served.
    #[snafu(transparent)]
    Listen {
        /// Why.
        source: http::Error,
    },
    /// Signals cannot be caught.
    #[snafu(display("failed to wait for signals: {source}"))]
    Signals {
        /// Why.
        source: std::io::Error,
    },
    /// Another replica may lead.
    #[snafu(transparent)]
    Lost {
        /// Since when.
        source: Lost,
    },
}

/// Runs in the cluster at hand until SIGTERM or SIGINT.
pub async fn until_signal(settings: Settings) -> Result<(), Error> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    log.with_ansi(std::io::stderr().is_terminal()).init();
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context(SignalsSnafu)?;
    let mut interrupt = signal(SignalKind::interrupt()).context(SignalsSnafu)?;
    let listener = http::bind(settings.listen).await?;
    let config = Config::infer().await.context(ClusterSnafu)?;
    let work = until(settings, config, listener, stop.clone());
    tokio::pin!(work);
    tokio::select! {
        outcome = &mut work => return outcome,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    stop.cancel();
    work.await
}

/// Runs until `stop`: what has begun comes to its end, and the lease is given back.
pub async fn until(
    settings: Settings,
    config: Config,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), Error> {
    let (metrics, registry) = Metrics::new();
    let namespace = settings
        .namespace
        .clone()
        .unwrap_or_else(|| config.default_namespace.clone());
    let client = client::counting(config, metrics.clone()).context(ClientSnafu)?;
    let identity = settings
        .identity
        .clone()
        .or_else(|| std::env::var("HOSTNAME").ok());
    let identity = identity.unwrap_or_else(|| format!("meanet-operator-{}", std::process::id()));
    let duration = Duration::from_secs(u64::from(settings.lease_seconds));
    let candidate = Candidate::new(client.clone(), &namespace, identity.clone(), duration);

    let ready = Readiness::default();
    // The port outlives the work, so that the last scrape sees how it ended.
    let end = CancellationToken::new();
    let port = tokio::spawn(http::serve(listener, registry, ready.clone(), end.clone()));

    // A replica that stands by does all that it should.
    ready.set(true);
    let leads = tokio::select! {
        () = candidate.acquire() => true,
        () = stop.cancelled() => false,
    };
    let mut outcome = Ok(());
    if leads {
        tracing::info!(identity, "this replica leads");
        metrics.leads(true);
        ready.set(false);
        let (cache, triggers) = Cache::new(&client);
        let share = (settings.concurrency, identity);
        let filled = cache.clone();
        let images = settings.images();
        let work = controller::run(
            client,
            metrics.clone(),
            images,
            share,
            (cache, triggers),
            stop.clone(),
        );
        let filling = async {
            if filled.filled().await.is_ok() {
                ready.set(true);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = work => candidate.release().await,
            () = filling => {}
            // Not one more write: another replica may be at work.
            lost = candidate.hold() => outcome = Err(lost.into()),
        }
        metrics.leads(false);
    }
    end.cancel();
    if let Err(error) = port.await {
        tracing::error!(%error, "the HTTP server failed");
    }
    outcome
}
