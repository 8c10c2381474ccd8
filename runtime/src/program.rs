//! What programs of the runtime begin and end with.

use std::error::Error;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Runtime};
use tracing::level_filters::LevelFilter;
use tracing::{Level, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::machine::{processors, stay_on};
use crate::report;

/// Threads of a program: they take requests in and send answers out, and at an edge they compute as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads {
    /// How many; at least one.
    pub count: usize,
    /// Whether each stays on one of the processors that the process may use.
    pub pinned: bool,
}

impl Threads {
    /// For what computes elsewhere, or hardly at all.
    pub const FEW: Self = Self::free(2);

    /// So many, which go where the system lets them.
    #[must_use]
    pub const fn free(count: usize) -> Self {
        Self { count, pinned: false }
    }
}

/// Does `work` with `threads` for what it starts, with logs on standard error; so is what went wrong.
pub fn run(threads: Threads, work: impl Future<Output = Result<(), Box<dyn Error>>>) -> ExitCode {
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
    let runtime = match runtime(threads) {
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

fn runtime(threads: Threads) -> io::Result<Runtime> {
    let count = threads.count.max(1);
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(count).enable_all();
    if threads.pinned {
        let processors = processors()?;
        let started = AtomicUsize::new(0);
        builder.on_thread_start(move || {
            // Those that come later wait for files and the like, for which any processor will do.
            let number = started.fetch_add(1, Ordering::Relaxed);
            if number < count
                && let Some(&processor) = processors.get(number % processors.len().max(1))
                && let Err(error) = stay_on(processor)
            {
                // It does the same anywhere.
                warn!(%error, number, "a thread could not be kept on its processor");
            }
        });
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_stay_where_they_are_told_to() {
        let pinned = Threads {
            count: 1,
            pinned: true,
        };
        let all = processors().unwrap();
        for (threads, expected) in [(pinned, &all[..1]), (Threads::FEW, &all[..])] {
            let runtime = runtime(threads).unwrap();
            let found =
                runtime.block_on(async { tokio::spawn(async { processors().unwrap() }).await.unwrap() });
            assert_eq!(found, expected);
        }
    }
}
