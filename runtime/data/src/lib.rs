//! Labelled images: where they come from, how they are split and augmented. No tensors, no network.
//!
//! Training and selection code takes a [`Training`] value; only reports take a [`Test`] value. The two are made by
//! different functions, which open different files, so no training path can read test images by accident.

mod augment;
mod cifar;
mod decode;
mod images;
mod procedural;
mod shift;
mod source;
mod split;

pub use augment::{Augment, Augmentation, plain, scaled};
pub use cifar::{
    ReadCifarError, read_records, test as cifar100_test, train as cifar100_train, write_records,
};
pub use decode::{DecodeError, MAX_SIDE, decode, encode_png};
pub use images::{Images, Test, Training};
pub use procedural::procedural;
pub use shift::{Shift, ShiftKind, UnknownShift};
pub use source::{ReadSourceError, Source};
pub use split::{Shuffle, shares, split};
