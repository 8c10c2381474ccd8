//! What programs of the runtime begin and end with.

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;

use crate::report;

/// Does `work`, with logs on standard error; so is what went wrong.
pub fn run(work: impl Future<Output = Result<(), Box<dyn Error>>>) -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            // Clients that hang up, as an edge does when the cloud is too slow, are no errors of the server.
            tracing_subscriber::EnvFilter::try_from_env("MEANET_LOG")
                .unwrap_or_else(|_| "info,warp::server=off".into()),
        )
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
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
