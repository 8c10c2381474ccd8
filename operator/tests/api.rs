//! The operator against a real API server. No kubelet and no controller runs beside it: the tests play them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]
#![allow(clippy::too_many_lines, reason = "a story has as many steps as it has")]

#[path = "api/access.rs"]
mod access;
#[path = "api/cluster.rs"]
mod cluster;
#[path = "api/leader.rs"]
mod leader;
#[path = "api/path.rs"]
mod path;
#[path = "api/preflight.rs"]
mod preflight;
#[path = "api/retraining.rs"]
mod retraining;
#[path = "api/rollout.rs"]
mod rollout;
#[path = "api/world.rs"]
mod world;
