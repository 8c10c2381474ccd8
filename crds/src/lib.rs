//! The Kubernetes API of MEANet: three kinds in the group `meanet.dev`, version `v1alpha1`.
//!
//! - [`MEANetDeployment`]: what a team wants, one classifier split over edge nodes and the cloud.
//! - [`MEANetRevision`]: weights and routing that run together, immutable and named by content.
//! - [`MEANetNode`]: the twin of one deployment on one edge node: what is wanted there, what runs there.
//!
//! This crate has no IO and knows no client: types, schema, validation rules, names. `crdgen` prints the
//! definitions that live in `manifests/crd/`.

#![allow(
    clippy::duplicated_attributes,
    reason = "printer columns of one type are no duplicates"
)]

pub mod condition;
pub mod deployment;
mod duration;
pub mod naming;
pub mod node;
pub mod report;
pub mod revision;

pub use deployment::{MEANetDeployment, MEANetDeploymentSpec, MEANetDeploymentStatus};
pub use duration::{Duration, ParseDurationError};
pub use node::{MEANetNode, MEANetNodeSpec, MEANetNodeStatus};
pub use report::JobReport;
pub use revision::{MEANetRevision, MEANetRevisionSpec, MEANetRevisionStatus};

/// API group of all kinds.
pub const GROUP: &str = "meanet.dev";
/// The one version served.
pub const VERSION: &str = "v1alpha1";
