//! The Open Inference Protocol, version 2, over HTTP with JSON: what both tiers take and answer.

mod body;
mod decode;
mod error;
mod intake;
mod target;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use body::{Decoded, Kind};
pub use decode::{MAX_IMAGES, one_image, request_images};
pub use error::{ApiError, recover};
pub use intake::{Body, Intake};
pub use target::{Target, target, target_then};

/// Largest body of a request in bytes: 64 images of 32×32 as JSON floats fit, a mistake does not.
pub const MAX_BODY: u64 = 8 * 1024 * 1024;

/// An inference request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InferRequest {
    /// Comes back in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Said of the whole request.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// The tensors.
    pub inputs: Vec<Tensor>,
}

/// An inference answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InferResponse {
    /// The model that answered.
    pub model_name: String,
    /// The request's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Said of the whole answer.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// The tensors.
    pub outputs: Vec<Tensor>,
}

/// A named tensor, row-major.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// `UINT8`, `FP32`, `INT64`, `BOOL` or `BYTES`.
    pub datatype: String,
    /// Its values, flat.
    pub data: Value,
}

impl Tensor {
    /// A tensor of these values.
    #[must_use]
    pub fn new(name: &str, datatype: &str, shape: Vec<usize>, data: Value) -> Self {
        Self {
            name: name.to_owned(),
            shape,
            datatype: datatype.to_owned(),
            data,
        }
    }

    /// Its values as floats, if all are finite numbers and as many as the shape says.
    #[must_use]
    pub fn floats(&self) -> Option<Vec<f32>> {
        let values = self.data.as_array()?;
        let count = self.shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d))?;
        (values.len() == count).then(|| {
            values
                .iter()
                .map(|v| v.as_f64().map(|v| v as f32).filter(|v| v.is_finite()))
                .collect()
        })?
    }
}

/// `GET /v2`
#[must_use]
pub fn server_metadata() -> Value {
    json!({"name": "meanet", "version": env!("CARGO_PKG_VERSION"), "extensions": []})
}

/// `GET /v2/models/M`: `input` is `[channels, height, width]`, `outputs` are name, datatype and shape.
#[must_use]
pub fn model_metadata(
    name: &str,
    version: &str,
    input: [usize; 3],
    outputs: &[(&str, &str, Vec<i64>)],
) -> Value {
    let input: Vec<i64> = std::iter::once(-1)
        .chain(input.iter().map(|&d| i64::try_from(d).unwrap_or(-1)))
        .collect();
    let outputs: Vec<Value> = outputs
        .iter()
        .map(|(name, datatype, shape)| json!({"name": name, "datatype": datatype, "shape": shape}))
        .collect();
    json!({
        "name": name, "versions": [version], "platform": "meanet",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": input}],
        "outputs": outputs,
    })
}
