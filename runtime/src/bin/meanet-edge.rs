//! `meanet edge` alone, for the image of edges: what trains, evaluates and serves the cloud is not in it, so that it is smaller on disk and in
//! memory. There it is called `meanet`, and takes the same arguments.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use meanet_runtime::{edge, program};

#[derive(Parser)]
#[command(name = "meanet", version, about = "Runs the edge part of a classifier")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the edge part on a node, as the node's `MEANetNode` says.
    Edge(edge::Args),
}

fn main() -> ExitCode {
    let Command::Edge(args) = Cli::parse().command;
    program::run(args.threads(), async {
        edge::run(args).await.map_err(Into::into)
    })
}
