//! Messages, client and server of the Open Inference Protocol, version 2, over gRPC.
//!
//! `src/inference.rs` is generated from `proto/open_inference_grpc.proto`; a test compares the two, and writes it anew where
//! `MEANET_GENERATE` is set. So a build needs no protobuf compiler.

#[rustfmt::skip]
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "generated"
)]
mod inference;

pub use inference::grpc_inference_service_client::GrpcInferenceServiceClient;
pub use inference::grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer};
pub use inference::*;
