//! The operator of MEANet: turns a `MEANetDeployment` into edge and cloud workloads, revisions and twins.
//!
//! [`deployment`] has one file a step: observe, validate, plan, build, apply, report. Only `apply` and `report` write;
//! `plan` is a pure function of what was observed, so that the operator can be killed anywhere.

pub mod cache;
pub mod client;
pub mod controller;
pub mod deployment;
pub mod http;
pub mod lease;
pub mod metrics;
pub mod run;
mod settings;

pub use settings::Settings;
