//! The operator's program: everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use meanet_operator::{Settings, run};

#[tokio::main]
async fn main() -> ExitCode {
    match run::until_signal(Settings::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the operator stops");
            ExitCode::FAILURE
        }
    }
}
