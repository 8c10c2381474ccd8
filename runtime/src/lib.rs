//! The MEANet runtime: what runs on edge nodes, on cloud nodes and in training jobs.

pub mod client;
pub mod cloud;
pub mod dataset;
pub mod describe;
pub mod edge;
pub mod eval;
pub mod experiment;
pub mod export;
pub mod import;
pub mod infer;
pub mod load;
mod machine;
mod metrics;
pub mod program;
pub mod protocol;
pub mod report;
pub mod retrain;
pub mod server;
pub mod shutdown;
pub mod train;
