//! Both tiers over real sockets, with the networks that come with the repository; what a cluster adds is played by the tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot go on has failed"
)]

#[path = "serving/bad_input.rs"]
mod bad_input;
#[path = "serving/support.rs"]
mod support;
