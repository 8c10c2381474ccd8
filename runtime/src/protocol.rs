//! The Open Inference Protocol, version 2: what both tiers take and answer, whatever it travels by.
//!
//! [`v2`] has requests, answers and tensors without their encoding. [`json`], [`binary`] and [`grpc`] read and write them;
//! [`images`] makes images of them; [`http`] and [`grpc`] put a [`Model`] behind a transport.

pub mod binary;
mod caller;
mod error;
pub mod grpc;
pub mod http;
pub mod images;
mod intake;
pub mod json;
mod model;
mod target;
pub mod v2;

pub use caller::{Caller, EDGE_HEADER, TIMEOUT_HEADER};
pub use error::{ApiError, recover, retry_after};
pub use intake::{Body, Intake, Room};
pub use model::{Description, Model, Port, TensorDescription};
pub use target::{Target, target, target_then};
pub use v2::{Data, Datatype, InferRequest, InferResponse, Parameters, Requested, Tensor};

/// Largest body of a request in bytes: 64 images of 32×32 as JSON floats fit, a mistake does not.
pub const MAX_BODY: u64 = 8 * 1024 * 1024;

/// What the output of a cloud of ours is called. Other servers may call theirs so, too, where they are logits.
pub const LOGITS: &str = "logits";

/// Name of the binary tensor extension in a server's metadata.
pub const BINARY_EXTENSION: &str = "binary_tensor_data";
