//! Both tiers over real sockets, with the networks that come with the repository; what a cluster adds is played by the tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![allow(
    clippy::too_many_lines,
    clippy::needless_pass_by_value,
    clippy::float_cmp,
    clippy::large_stack_arrays,
    clippy::assigning_clones,
    reason = "tests are told in one go, and count in whole numbers"
)]

mod bad_input;
mod bad_tensors;
mod batching;
mod connections;
mod dead_cloud;
mod other_cloud;
mod overload;
mod restart;
mod shutdown;
mod support;
mod swap;
mod tls;
mod transports;
mod twin;
