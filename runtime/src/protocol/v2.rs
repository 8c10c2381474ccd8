//! Requests, answers and tensors, whatever they are encoded in.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::ApiError;

/// Said of a request, an answer or a tensor, by name.
pub type Parameters = Map<String, Value>;

/// An inference request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferRequest {
    /// Comes back in the answer.
    pub id: Option<String>,
    /// Said of the whole request.
    pub parameters: Parameters,
    /// The tensors.
    pub inputs: Vec<Tensor>,
    /// The outputs wanted; all where there is none.
    pub outputs: Vec<Requested>,
}

/// An output that a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requested {
    /// Its name.
    pub name: String,
    /// Whether it is wanted in binary; as the request says where this does not.
    pub binary: Option<bool>,
}

/// An inference answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferResponse {
    /// The model that answered.
    pub model_name: String,
    /// Its version.
    pub model_version: Option<String>,
    /// The request's.
    pub id: Option<String>,
    /// Said of the whole answer.
    pub parameters: Parameters,
    /// The tensors.
    pub outputs: Vec<Tensor>,
}

/// A named tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// What its elements are called in the protocol.
    pub datatype: Datatype,
    /// Its elements, as many as the shape says.
    pub data: Data,
}

/// The types of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the protocol's own names")]
pub enum Datatype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Fp32,
    Fp64,
    Bytes,
}

/// Elements, in as few forms as suffice here.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// `BOOL`
    Bool(Vec<bool>),
    /// `UINT8`
    U8(Vec<u8>),
    /// All other whole numbers.
    I64(Vec<i64>),
    /// `FP16`, `FP32` and `FP64`
    F32(Vec<f32>),
    /// `BYTES` as a transport gave them.
    Bytes(Vec<Bytes>),
    /// `BYTES` as JSON gave them: text, which for files is base64.
    Text(Vec<String>),
}

const NAMES: [(&str, Datatype); 13] = [
    ("BOOL", Datatype::Bool),
    ("UINT8", Datatype::Uint8),
    ("UINT16", Datatype::Uint16),
    ("UINT32", Datatype::Uint32),
    ("UINT64", Datatype::Uint64),
    ("INT8", Datatype::Int8),
    ("INT16", Datatype::Int16),
    ("INT32", Datatype::Int32),
    ("INT64", Datatype::Int64),
    ("FP16", Datatype::Fp16),
    ("FP32", Datatype::Fp32),
    ("FP64", Datatype::Fp64),
    ("BYTES", Datatype::Bytes),
];

impl Datatype {
    /// The type of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|&(_, datatype)| datatype)
    }

    /// Its name in the protocol.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        NAMES
            .iter()
            .find(|&&(_, known)| known == self)
            .map_or("BYTES", |&(name, _)| name)
    }
}

impl Data {
    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bool(v) => v.len(),
            Self::U8(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::F32(v) => v.len(),
            Self::Bytes(v) => v.len(),
            Self::Text(v) => v.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As text, where it is `BYTES` in UTF-8.
    #[must_use]
    pub fn text(&self, index: usize) -> Option<&str> {
        match self {
            Self::Text(v) => v.get(index).map(String::as_str),
            Self::Bytes(v) => v.get(index).and_then(|v| std::str::from_utf8(v).ok()),
            _ => None,
        }
    }
}

impl Tensor {
    /// A tensor whose type is that of its elements: `INT64` for whole numbers, `FP32` for floats.
    #[must_use]
    pub fn new(name: &str, shape: Vec<usize>, data: Data) -> Self {
        let datatype = match &data {
            Data::Bool(_) => Datatype::Bool,
            Data::U8(_) => Datatype::Uint8,
            Data::I64(_) => Datatype::Int64,
            Data::F32(_) => Datatype::Fp32,
            Data::Bytes(_) | Data::Text(_) => Datatype::Bytes,
        };
        Self {
            name: name.to_owned(),
            shape,
            datatype,
            data,
        }
    }

    /// How many elements the shape says; `None` where that is more than a number holds.
    #[must_use]
    pub fn elements(&self) -> Option<usize> {
        self.shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d))
    }

    /// Its elements as floats, if all are finite numbers and as many as the shape says.
    #[must_use]
    pub fn floats(&self) -> Option<Vec<f32>> {
        let floats: Vec<f32> = match &self.data {
            Data::F32(v) => v.clone(),
            Data::I64(v) => v.iter().map(|&v| v as f32).collect(),
            Data::U8(v) => v.iter().map(|&v| f32::from(v)).collect(),
            _ => return None,
        };
        (self.elements() == Some(floats.len()) && floats.iter().all(|v| v.is_finite())).then_some(floats)
    }
}

impl InferRequest {
    /// Whether all outputs are wanted in binary, but for those that say otherwise.
    #[must_use]
    pub fn binary_output(&self) -> bool {
        self.parameters
            .get("binary_data_output")
            .and_then(Value::as_bool)
            .unwrap_or_default()
    }

    /// Whether every output asked for is one of `there`.
    ///
    /// # Errors
    /// 400, naming the first that is not.
    pub fn check_outputs(&self, there: &[&str]) -> Result<(), ApiError> {
        self.outputs
            .iter()
            .enumerate()
            .find(|(_, wanted)| !there.contains(&wanted.name.as_str()))
            .map_or(Ok(()), |(index, wanted)| {
                Err(ApiError::malformed(format!(
                    "outputs[{index}].name: there is no output {:?}; give some of {}",
                    wanted.name,
                    there.join(", ")
                )))
            })
    }
}

impl InferResponse {
    /// Leaves of the outputs those that a request wants, in its order.
    #[must_use]
    pub fn select(mut self, wanted: &[Requested]) -> Self {
        if !wanted.is_empty() {
            let mut there = std::mem::take(&mut self.outputs);
            for wanted in wanted {
                if let Some(at) = there.iter().position(|t| t.name == wanted.name) {
                    self.outputs.push(there.swap_remove(at));
                }
            }
        }
        self
    }
}

/// A list that a parameter holds: an array, or, since the protocol knows no arrays there, text with commas.
#[must_use]
pub fn list(value: &Value) -> Option<Vec<f64>> {
    match value {
        Value::Array(values) => values.iter().map(Value::as_f64).collect(),
        Value::String(text) => text.split(',').map(|v| v.trim().parse().ok()).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_those_asked_for_in_that_order() {
        let tensor = |name: &str| Tensor::new(name, vec![1], Data::I64(vec![1]));
        let answer = InferResponse {
            outputs: vec![tensor("label"), tensor("exit"), tensor("score")],
            ..InferResponse::default()
        };
        let wanted = |name: &str| Requested {
            name: name.to_owned(),
            binary: None,
        };
        let names = |answer: InferResponse| answer.outputs.into_iter().map(|t| t.name).collect::<Vec<_>>();
        assert_eq!(
            names(answer.clone().select(&[wanted("score"), wanted("label")])),
            ["score", "label"]
        );
        assert_eq!(names(answer.select(&[])).len(), 3);
        let request = InferRequest {
            outputs: vec![wanted("label"), wanted("colour")],
            ..InferRequest::default()
        };
        let error = request.check_outputs(&["label"]).unwrap_err();
        assert!(error.message.starts_with("outputs[1].name"), "{}", error.message);
    }

    #[test]
    fn lists_come_as_arrays_or_as_text() {
        assert_eq!(list(&serde_json::json!([1, 2.5])), Some(vec![1.0, 2.5]));
        assert_eq!(list(&serde_json::json!("1, 2.5")), Some(vec![1.0, 2.5]));
        assert_eq!(list(&serde_json::json!("1,x")), None);
        assert_eq!(list(&serde_json::json!(true)), None);
    }

    #[test]
    fn every_type_has_its_name() {
        for (name, datatype) in NAMES {
            assert_eq!((Datatype::named(name), datatype.as_str()), (Some(datatype), name));
        }
    }
}
