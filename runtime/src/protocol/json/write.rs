use serde::ser::{Serialize, SerializeSeq, Serializer};

use crate::protocol::{ApiError, Data, InferRequest, InferResponse, Parameters, Tensor, binary};

/// A body, and how much of it is JSON where elements follow in binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The body.
    pub body: Vec<u8>,
    /// Bytes of JSON in it, where something follows.
    pub json: Option<usize>,
}

/// A request, its tensors in binary or in JSON.
///
/// # Errors
/// When a tensor has no binary form.
pub fn write_request(request: &InferRequest, in_binary: bool) -> Result<Encoded, ApiError> {
    #[derive(serde::Serialize)]
    struct Raw<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        #[serde(skip_serializing_if = "Parameters::is_empty")]
        parameters: &'a Parameters,
        inputs: Vec<RawTensor<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        outputs: Vec<Named<'a>>,
    }
    #[derive(serde::Serialize)]
    struct Named<'a> {
        name: &'a str,
    }
    let mut tail = Vec::new();
    let raw = Raw {
        id: request.id.as_deref(),
        parameters: &request.parameters,
        inputs: raw(&request.inputs, |_| in_binary, &mut tail)?,
        outputs: request
            .outputs
            .iter()
            .map(|wanted| Named { name: &wanted.name })
            .collect(),
    };
    joined(&raw, &request.inputs, &tail)
}

/// An answer; `in_binary` says of each output whether it goes in binary.
///
/// # Errors
/// When a tensor has no binary form.
pub fn write_response(
    response: &InferResponse,
    in_binary: impl Fn(&str) -> bool,
) -> Result<Encoded, ApiError> {
    #[derive(serde::Serialize)]
    struct Raw<'a> {
        model_name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        model_version: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        #[serde(skip_serializing_if = "Parameters::is_empty")]
        parameters: &'a Parameters,
        outputs: Vec<RawTensor<'a>>,
    }
    let mut tail = Vec::new();
    let raw = Raw {
        model_name: &response.model_name,
        model_version: response.model_version.as_deref(),
        id: response.id.as_deref(),
        parameters: &response.parameters,
        outputs: raw(&response.outputs, |t| in_binary(&t.name), &mut tail)?,
    };
    joined(&raw, &response.outputs, &tail)
}

fn joined(raw: &impl Serialize, tensors: &[Tensor], tail: &[u8]) -> Result<Encoded, ApiError> {
    // A pixel as text takes four bytes, a float up to twelve.
    let elements: usize = tensors.iter().map(|t| t.data.len()).sum();
    let room = if tail.is_empty() { 512 + 6 * elements } else { 512 + tail.len() };
    let mut body = Vec::with_capacity(room);
    serde_json::to_writer(&mut body, raw).map_err(|e| ApiError::internal(format!("failed to write JSON: {e}")))?;
    let json = (!tail.is_empty()).then_some(body.len());
    body.extend_from_slice(tail);
    Ok(Encoded { body, json })
}

#[derive(serde::Serialize)]
struct RawTensor<'a> {
    name: &'a str,
    shape: &'a [usize],
    datatype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Elements<'a>>,
}

#[derive(serde::Serialize)]
struct Size {
    binary_data_size: usize,
}

fn raw<'a>(
    tensors: &'a [Tensor],
    in_binary: impl Fn(&Tensor) -> bool,
    tail: &mut Vec<u8>,
) -> Result<Vec<RawTensor<'a>>, ApiError> {
    tensors
        .iter()
        .map(|tensor| {
            let mut size = None;
            if in_binary(tensor) {
                let before = tail.len();
                binary::encode(tensor, tail).map_err(ApiError::internal)?;
                size = Some(Size {
                    binary_data_size: tail.len() - before,
                });
            }
            Ok(RawTensor {
                name: &tensor.name,
                shape: &tensor.shape,
                datatype: tensor.datatype.as_str(),
                data: size.is_none().then_some(Elements(&tensor.data)),
                parameters: size,
            })
        })
        .collect()
}

struct Elements<'a>(&'a Data);

impl Serialize for Elements<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Data::Bool(v) => to.collect_seq(v),
            Data::U8(v) => to.collect_seq(v),
            Data::I64(v) => to.collect_seq(v),
            Data::F32(v) => to.collect_seq(v),
            Data::Text(v) => to.collect_seq(v),
            Data::Bytes(v) => {
                let mut list = to.serialize_seq(Some(v.len()))?;
                for bytes in v {
                    list.serialize_element(&String::from_utf8_lossy(bytes))?;
                }
                list.end()
            }
        }
    }
}
