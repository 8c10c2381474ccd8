//! `meanet`: the runtime of MEANet on edge nodes, on cloud nodes and in jobs.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use meanet_runtime::program::Threads;
use meanet_runtime::{
    cloud, dataset, describe, edge, eval, experiment, export, import, infer, load, program, report, retrain,
    shutdown, train,
};

#[derive(Parser)]
#[command(
    name = "meanet",
    version,
    about = "Runs one classifier split over an edge and a cloud"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the edge part on a node, as the node's `MEANetNode` says.
    Edge(edge::Args),
    /// Serve the store and the cloud's network.
    Cloud(cloud::Args),
    /// Bring weights into the store, check them, and report them.
    Import(import::Args),
    /// Run a model over labelled images once, store what it says, and report.
    Eval(eval::Args),
    /// Report on a stored evaluation again.
    Report(eval::report::Args),
    /// Tell what other thresholds would do, from a stored evaluation.
    WhatIf(eval::what_if::Args),
    /// Choose thresholds by budget, accuracy or guaranteed risk, from a stored evaluation.
    Choose(eval::choose::Args),
    /// Measure what the method is worth, and write it down.
    Reproduce(experiment::Args),
    /// Tell what the blocks of a network cost: parameters, multiply-accumulates, bytes.
    Describe(describe::Args),
    /// Write a model's exits as ONNX files.
    Export(export::Args),
    /// Classify files with a model on this machine.
    Infer(infer::Args),
    /// Send labelled images in a closed loop and sum up what came back.
    Load(load::Args),
    /// Move data sets.
    Data {
        #[command(subcommand)]
        what: dataset::Command,
    },
    /// Train.
    Train {
        #[command(subcommand)]
        what: Train,
    },
}

#[derive(Subcommand)]
enum Train {
    #[command(flatten)]
    Here(train::Command),
    /// Retrain adaptive and extension blocks on what the store has collected, and report.
    Job(retrain::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let threads = match cli.command {
        // Where it shares a machine with the server, the server lacks what it takes: one does not wake another.
        Command::Load(_) => Threads::free(1),
        Command::Edge(ref args) => args.threads(),
        _ => Threads::FEW,
    };
    program::run(threads, async {
        match cli.command {
            Command::Edge(args) => edge::run(args).await.map_err(Into::into),
            Command::Cloud(args) => cloud::run(args).await.map_err(Into::into),
            Command::Import(args) => {
                aside(move || import::run(&args).map_err(|e| report::words(e.as_ref()))).await
            }
            Command::Describe(args) => describe::run(&args),
            Command::Export(args) => export::run(&args),
            Command::Infer(args) => infer::run(&args),
            Command::Load(args) => load::run(args).await.map_err(Into::into),
            Command::Data { what } => dataset::run(&what),
            Command::Eval(args) => eval::run(&args),
            Command::Report(args) => eval::report::run(&args),
            Command::WhatIf(args) => eval::what_if::run(&args),
            Command::Choose(args) => eval::choose::run(&args),
            Command::Reproduce(args) => experiment::run(&args),
            Command::Train {
                what: Train::Here(command),
            } => train::run(&command),
            Command::Train {
                what: Train::Job(args),
            } => aside(move || retrain::run(&args).map_err(|e| report::words(e.as_ref()))).await,
        }
    })
}

/// Runs a job that takes its time on a thread of its own, so that the process ends when it is asked to.
async fn aside(
    job: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Result<(), Box<dyn std::error::Error>> {
    let token = shutdown::token()?;
    let job = tokio::task::spawn_blocking(job);
    tokio::select! {
        result = job => Ok(result??),
        () = token.cancelled() => {
            tracing::error!("the job was asked to end before it was done");
            std::process::exit(1)
        }
    }
}
