//! The networks of MEANet, their training and their evaluation; the only crate that knows the tensor library.

mod answerer;
mod backbone;
mod backend;
mod batch;
mod blocks;
mod calibrate;
mod card;
mod cloud;
mod domain;
mod edge;
pub mod evaluate;
mod extend;
mod grow;
mod input;
mod layout;
mod lower;
mod manifest;
mod network;
mod norms;
mod precision;
mod pytorch;
mod temperature;
pub mod train;
mod weights;

pub use backbone::{Backbone, UnknownBackboneError};
pub use backend::{Backend, BackendError, Processor};
pub use batch::{ImageBatch, ImageError};
pub use burn::tensor::Device;
pub use calibrate::{CALIBRATION_IMAGES, Calibrated, CalibratedBlobs, calibrate};
pub use card::{Block, Card, UnknownChoiceError, Variant};
pub use cloud::CloudNetwork;
pub use domain::Domain;
pub use edge::{Cost, EdgeBlobs, EdgeCost, EdgeNetwork, InferError, MainPass};
pub use input::InputSpec;
pub use layout::{Blueprint, Fusion};
pub use lower::{
    CloudGraph, Compute, EdgeGraph, FEATURES, LOGITS, LowerError, PlanError, TOLERANCE, TOLERANCE_DEVICE,
    TOLERANCE_INT8,
};
pub use manifest::{BlobDigests, Manifest, ManifestEvaluation, ModelBlobs, ModelError};
pub use norms::Norms;
pub use precision::{Precision, UnknownPrecisionError};
pub use pytorch::StateDict;
pub use temperature::Temperatures;
pub use weights::{WeightsError, digest, read_card};
