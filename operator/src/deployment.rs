//! A `MEANetDeployment`, from what is observed to what is written.

pub mod apply;
pub mod build;
pub mod observe;
pub mod plan;
pub mod report;
pub mod validate;
