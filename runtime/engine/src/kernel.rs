//! The only unsafe code: vectors, kernels, shared memory and threads.
//!
//! What makes it sound, in one place:
//! - [`Program::new`] checks once that every value of every image lies inside its buffer, borders included, that packed
//!   weights are as long as the layers say, and that what a task writes is nothing that it reads.
//! - A training's [`learn::Program`] is checked the same way by [`learn::Lesson`], and hands out images, and stretches of weights, to
//!   one thread each.
//! - Kernels of an instruction set are only reached through a [`Kernels`] table, which is handed out where the machine has it.
//! - Several threads run one task on disjoint units, and a barrier lies between tasks; different rows of a batch have
//!   different memory.

#![allow(unsafe_code)]
#![allow(
    clippy::inline_always,
    reason = "kernels have to end up in the function that enables their instructions"
)]
#![allow(
    clippy::needless_range_loop,
    reason = "loops over registers run over constants, and index several arrays"
)]
#![allow(
    clippy::many_single_char_names,
    reason = "transforms are written with the letters of their formulas"
)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_vnni;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_vnni;
mod bounds;
mod curve;
mod depthwise;
mod direct;
mod frame;
pub(crate) mod learn;
mod memory;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;
mod portable;
mod program;
mod shares;
mod simd;
mod table;
mod threads;
mod tile;
mod winograd;
mod words;

pub(crate) use curve::Curve;
pub(crate) use depthwise::Depthwise;
pub(crate) use direct::{Cuts, Direct, Group, Menu, Walk, best_group, floats};
pub(crate) use frame::{Format, Home, Place, Rows};
pub use learn::{Descend, Numbers};
pub(crate) use memory::Memory;
pub(crate) use plain::{Fold, Normalise, Pool};
pub(crate) use program::{Addresses, Buffers, Job, Program, Sizes, Task, Work};
pub(crate) use table::Kernels;
pub(crate) use threads::Threads;
pub(crate) use winograd::{FREQUENCIES, Tiling, Winograd, step};
pub(crate) use words::direct::{Scaling, WordDirect};
pub(crate) use words::quantise::Grid;
pub(crate) use words::winograd::{WEIGHT_BITS, WordWinograd, largest};
