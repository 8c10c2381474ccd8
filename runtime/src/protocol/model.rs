use std::future::Future;
use std::sync::Arc;

use serde::Serialize;

use super::{ApiError, Caller, InferRequest, InferResponse, Intake, Target};

/// What answers behind the transports.
pub trait Model: Send + Sync + 'static {
    /// Whether this server can infer.
    ///
    /// # Errors
    /// Why not.
    fn ready(&self) -> Result<(), ApiError>;

    /// Whether `target` is what serves.
    ///
    /// # Errors
    /// When it is not there, or not yet.
    fn check(&self, target: &Target) -> Result<(), ApiError>;

    /// What `target` names.
    ///
    /// # Errors
    /// Those of [`Self::check`].
    fn describe(&self, target: &Target) -> Result<Description, ApiError>;

    /// Whether a request of `caller` can be admitted at all, however small it is. Asked before its body is kept and again before
    /// the body is made sense of: under overload, that is most of what a refusal costs.
    ///
    /// # Errors
    /// 429 without room; 503 where any answer would be too late for the caller.
    fn admits(&self, caller: &Caller) -> Result<(), ApiError>;

    /// Answers a request.
    ///
    /// # Errors
    /// What is wrong with it, or why there is no answer now.
    fn infer(
        &self,
        target: &Target,
        request: InferRequest,
        caller: Caller,
    ) -> impl Future<Output = Result<InferResponse, ApiError>> + Send;

    /// Hears of an inference request that got an error.
    fn refused(&self, error: &ApiError);
}

/// A model's metadata, as the protocol has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// The model.
    pub name: String,
    /// Versions that can be asked for.
    pub versions: Vec<String>,
    /// What runs it.
    pub platform: &'static str,
    /// What it takes.
    pub inputs: Vec<TensorDescription>,
    /// What it gives.
    pub outputs: Vec<TensorDescription>,
}

/// A tensor's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorDescription {
    /// Its name.
    pub name: &'static str,
    /// Type of its elements.
    pub datatype: &'static str,
    /// Its dimensions, -1 where they vary.
    pub shape: Vec<i64>,
}

impl Description {
    /// A model of this version that takes images of `[3, height, width]`; `outputs` are name, datatype and shape.
    #[must_use]
    pub fn of_images(
        name: &str,
        version: &str,
        [height, width]: [usize; 2],
        outputs: &[(&'static str, &'static str, Vec<i64>)],
    ) -> Self {
        let side = |pixels: usize| i64::try_from(pixels).unwrap_or(-1);
        let described =
            |(name, datatype, shape): &(&'static str, &'static str, Vec<i64>)| TensorDescription {
                name,
                datatype,
                shape: shape.clone(),
            };
        Self {
            name: name.to_owned(),
            versions: vec![version.to_owned()],
            platform: "meanet",
            inputs: vec![TensorDescription {
                name: "image",
                datatype: "UINT8",
                shape: vec![-1, 3, side(height), side(width)],
            }],
            outputs: outputs.iter().map(described).collect(),
        }
    }
}

/// A model and the way in which requests come to it, shared by its transports.
#[derive(Debug)]
pub struct Port<M> {
    /// What answers.
    pub model: Arc<M>,
    /// What takes bodies in.
    pub intake: Intake,
}

impl<M> Clone for Port<M> {
    fn clone(&self) -> Self {
        Self {
            model: Arc::clone(&self.model),
            intake: self.intake.clone(),
        }
    }
}
