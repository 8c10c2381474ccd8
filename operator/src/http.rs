//! `/metrics`, `/healthz` and `/readyz`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::registry::Registry;
use snafu::{ResultExt, Snafu};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use warp::http::{StatusCode, header};
use warp::{Filter, Reply};

use crate::metrics;

/// Why the port could not be served.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The port is taken, or not ours to take.
    #[snafu(display("failed to listen on {address}: {source}; choose another with --listen"))]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Whether the replica can do its work: as leader with a full cache, or standing by.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says so from here on.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Binds the port, so that a wrong address is an error before anything else starts.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.context(ListenSnafu { address })
}

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, registry: Registry, ready: Readiness, stop: CancellationToken) {
    let registry = Arc::new(registry);
    let prometheus = warp::path!("metrics").map(move || {
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        warp::reply::with_header(metrics::text(&registry), header::CONTENT_TYPE, kind).into_response()
    });
    let live = warp::path!("healthz").map(|| "ok\n".into_response());
    let readyz = warp::path!("readyz").map(move || {
        let (text, status) = if ready.get() {
            ("ok\n", StatusCode::OK)
        } else {
            ("caches fill\n", StatusCode::SERVICE_UNAVAILABLE)
        };
        warp::reply::with_status(text, status).into_response()
    });
    let routes = warp::get().and(prometheus.or(live).unify().or(readyz).unify());
    warp::serve(routes)
        .incoming(listener)
        .graceful(stop.cancelled_owned())
        .run()
        .await;
}
