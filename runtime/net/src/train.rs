//! Training: the whole network once, in the cloud; adaptive and extension blocks again and again.

mod adapt;
mod backend;
mod classifier;
mod extension;
mod retrain;
mod run;
mod schedule;
mod select;

pub use adapt::{HeadRecipe, classifier_of, reestimate_norms, retrain_head};
pub use backend::{Backend, BackendError};
pub use classifier::{Classifier, Recipe, Stage, train_classifier};
pub use extension::{ExtensionRecipe, TrainedExtension, train_extension};
pub use retrain::{Material, Retrained, retrain};
pub use run::{Run, TrainError};
pub use select::{select_by_gain, select_hard_classes};
