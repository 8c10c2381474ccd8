//! What programs of the runtime begin and end with.

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::report;

/// Threads that take requests in and send answers out; what is computed is computed on others.
pub const SERVING: usize = 2;

/// Does `work` with so many `threads` for what it starts, with logs on standard error; so is what went wrong.
pub fn run(threads: usize, work: impl Future<Output = Result<(), Box<dyn Error>>>) -> ExitCode {
    // Clients that hang up, as an edge does when the cloud is too slow, are no errors of the server.
    let usual = Targets::new()
        .with_default(Level::INFO)
        .with_target("warp::server", LevelFilter::OFF);
    let asked = std::env::var("MEANET_LOG").ok();
    let filter = asked.and_then(|text| text.parse().ok()).unwrap_or(usual);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "failed to start the runtime");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", report::words(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
