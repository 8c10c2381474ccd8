//! Training: the whole network once, in the cloud; adaptive and extension blocks again and again.

mod adapt;
mod average;
mod backend;
mod blend;
mod cache;
mod checkpoint;
mod classifier;
mod descent;
mod extension;
mod frozen;
pub(crate) mod initial;
mod loss;
mod metrics;
mod optimisation;
mod optimizer;
mod recipe;
mod retrain;
mod run;
mod schedule;
mod select;
mod settle;
mod teacher;
mod watch;

pub use adapt::{HeadRecipe, classifier_of, reestimate_norms, retrain_head};
pub use backend::{Backend, BackendError, Processor};
pub use classifier::{Classifier, Lessons, train_classifier};
pub use extension::{Examples, ExtensionRecipe, TrainedExtension, train_extension};
pub use metrics::{EpochLine, METRICS};
pub use optimisation::Optimisation;
pub use recipe::{Distillation, Recipe, Stage};
pub use retrain::{InService, Material, Retrained, retrain};
pub use run::{Run, TrainError};
pub use schedule::Decay;
pub use select::select_hard_classes;
pub use settle::{Settled, Settling, settle};
pub use teacher::Teacher;
