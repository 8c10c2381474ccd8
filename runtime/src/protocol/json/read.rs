use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;

use super::elements::{Elements, Read};
use crate::protocol::{
    ApiError, Data, Datatype, InferRequest, InferResponse, Parameters, Requested, Tensor, binary,
};

/// Tensors in a request or an answer at most.
const MAX_TENSORS: usize = 256;

/// A request, and the elements that follow it from `json` bytes on, where the binary extension is used.
///
/// # Errors
/// 400, naming the field.
pub fn read_request(body: &[u8], json: Option<usize>) -> Result<InferRequest, ApiError> {
    #[derive(Deserialize)]
    #[serde(expecting = "body: an inference request, which is an object")]
    struct Raw {
        #[serde(default)]
        id: Option<String>,
        #[serde(default)]
        parameters: Option<Parameters>,
        #[serde(deserialize_with = "inputs")]
        inputs: Vec<Head>,
        #[serde(default)]
        outputs: Option<Vec<RawRequested>>,
    }
    #[derive(Deserialize)]
    struct RawRequested {
        name: String,
        #[serde(default)]
        parameters: Option<Parameters>,
    }
    let (head, tail) = split(body, json)?;
    let raw: Raw = serde_json::from_slice(head).map_err(|e| said(&e, "inference request"))?;
    let outputs = raw.outputs.unwrap_or_default().into_iter().map(|wanted| Requested {
        name: wanted.name,
        binary: wanted
            .parameters
            .and_then(|p| p.get("binary_data").and_then(Value::as_bool)),
    });
    Ok(InferRequest {
        id: raw.id,
        parameters: raw.parameters.unwrap_or_default(),
        inputs: filled(raw.inputs, tail, "inputs")?,
        outputs: outputs.collect(),
    })
}

/// An answer, read the same way.
///
/// # Errors
/// 400, naming the field.
pub fn read_response(body: &[u8], json: Option<usize>) -> Result<InferResponse, ApiError> {
    #[derive(Deserialize)]
    struct Raw {
        #[serde(default)]
        model_name: String,
        #[serde(default)]
        model_version: Option<String>,
        #[serde(default)]
        id: Option<String>,
        #[serde(default)]
        parameters: Option<Parameters>,
        #[serde(deserialize_with = "outputs")]
        outputs: Vec<Head>,
    }
    let (head, tail) = split(body, json)?;
    let raw: Raw = serde_json::from_slice(head).map_err(|e| said(&e, "inference answer"))?;
    Ok(InferResponse {
        model_name: raw.model_name,
        model_version: raw.model_version,
        id: raw.id,
        parameters: raw.parameters.unwrap_or_default(),
        outputs: filled(raw.outputs, tail, "outputs")?,
    })
}

fn split(body: &[u8], json: Option<usize>) -> Result<(&[u8], &[u8]), ApiError> {
    let Some(length) = json else {
        return Ok((body, &[]));
    };
    body.split_at_checked(length).ok_or_else(|| {
        ApiError::malformed(format!(
            "Inference-Header-Content-Length: it is {length}, and the body has {} bytes",
            body.len()
        ))
    })
}

/// An error of ours names its field; one of the JSON itself is said of the body.
fn said(error: &serde_json::Error, what: &str) -> ApiError {
    let text = error.to_string();
    let named = ["inputs", "outputs", "invalid type: sequence, expected body"]
        .iter()
        .any(|start| text.starts_with(start));
    ApiError::malformed(if error.classify() == Category::Data && named {
        text
    } else {
        format!("body: no {what}: {text}")
    })
}

/// A tensor whose elements may still follow the JSON.
struct Head {
    name: String,
    shape: Vec<usize>,
    datatype: Datatype,
    data: Option<Data>,
    binary: Option<usize>,
}

/// Gives tensors without elements those that follow the JSON.
fn filled(heads: Vec<Head>, mut tail: &[u8], place: &str) -> Result<Vec<Tensor>, ApiError> {
    let mut tensors = Vec::with_capacity(heads.len());
    for (index, head) in heads.into_iter().enumerate() {
        let wrong = |reason: String| ApiError::malformed(format!("{place}[{index}].{reason}"));
        let data = match (head.data, head.binary) {
            (Some(data), None) => data,
            (None, Some(size)) => {
                let (own, rest) = tail.split_at_checked(size).ok_or_else(|| {
                    wrong(format!(
                        "parameters.binary_data_size: it is {size}, and {} bytes are left of the body",
                        tail.len()
                    ))
                })?;
                tail = rest;
                binary::decode(head.datatype, own).map_err(|reason| wrong(format!("data: {reason}")))?
            }
            (Some(_), Some(_)) => {
                return Err(wrong(
                    "data: give elements here or in binary, not both".to_owned(),
                ));
            }
            (None, None) => return Err(wrong("data: give the elements as a list".to_owned())),
        };
        tensors.push(Tensor {
            name: head.name,
            shape: head.shape,
            datatype: head.datatype,
            data,
        });
    }
    if tail.is_empty() {
        Ok(tensors)
    } else {
        Err(ApiError::malformed(format!(
            "body: {} bytes follow that no tensor claims; say binary_data_size of each tensor in binary",
            tail.len()
        )))
    }
}

fn inputs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Head>, D::Error> {
    from.deserialize_seq(Heads("inputs"))
}

fn outputs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Head>, D::Error> {
    from.deserialize_seq(Heads("outputs"))
}

/// All tensors of a list.
struct Heads(&'static str);

impl<'de> Visitor<'de> for Heads {
    type Value = Vec<Head>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of tensors as {}", self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Head>, A::Error> {
        let mut heads = Vec::new();
        while let Some(head) = list.next_element_seed(One {
            place: self.0,
            index: heads.len(),
        })? {
            heads.push(head);
            if heads.len() > MAX_TENSORS {
                return Err(A::Error::custom(format!(
                    "{}: at most {MAX_TENSORS} tensors are taken",
                    self.0
                )));
            }
        }
        Ok(heads)
    }
}

/// One tensor.
struct One {
    place: &'static str,
    index: usize,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Name,
    Shape,
    Datatype,
    Parameters,
    Data,
    #[serde(other)]
    Other,
}

impl<'de> DeserializeSeed<'de> for One {
    type Value = Head;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Head, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for One {
    type Value = Head;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a tensor, which is an object, as {}[{}]", self.place, self.index)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
        let at = |field: &str, reason: &dyn fmt::Display| {
            A::Error::custom(format!("{}[{}].{field}: {reason}", self.place, self.index))
        };
        let (mut name, mut datatype, mut binary, mut data) = (None, None, None, None);
        let mut shape: Option<Vec<usize>> = None;
        let mut lengths = Vec::new();
        while let Some(field) = map.next_key()? {
            match field {
                Field::Name => name = Some(map.next_value().map_err(|e| at("name", &e))?),
                Field::Shape => shape = Some(map.next_value().map_err(|e| at("shape", &e))?),
                Field::Datatype => {
                    let said: String = map.next_value().map_err(|e| at("datatype", &e))?;
                    datatype = Some(Datatype::named(&said).ok_or_else(|| {
                        at("datatype", &format_args!("{said:?} is no type of the protocol"))
                    })?);
                }
                Field::Parameters => {
                    let parameters: Option<Parameters> =
                        map.next_value().map_err(|e| at("parameters", &e))?;
                    if let Some(size) = parameters.and_then(|mut p| p.remove("binary_data_size")) {
                        let size = size.as_u64().and_then(|size| usize::try_from(size).ok());
                        binary = Some(size.ok_or_else(|| {
                            at(
                                "parameters.binary_data_size",
                                &"give a number of bytes, which is not negative",
                            )
                        })?);
                    }
                }
                Field::Data => {
                    let expected = shape
                        .iter()
                        .flatten()
                        .fold(1_usize, |n, &d| n.saturating_mul(d));
                    data = Some(map.next_value_seed(Elements::new(
                        self.place,
                        self.index,
                        datatype,
                        expected,
                        &mut lengths,
                    ))?);
                }
                Field::Other => {
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
            }
        }
        let missing = |field| at(field, &"it is missing");
        let datatype = datatype.ok_or_else(|| missing("datatype"))?;
        let shape = shape.ok_or_else(|| missing("shape"))?;
        let nested: Option<Vec<usize>> = lengths.iter().copied().collect();
        if lengths.len() > 1 && nested.as_ref() != Some(&shape) {
            return Err(at(
                "data",
                &format_args!("its lists are nested as {lengths:?}, and the shape is {shape:?}", lengths = nested.unwrap_or_default()),
            ));
        }
        let data = match data {
            Some(Read::Typed(data)) => Some(data),
            Some(Read::Loose(numbers)) => {
                Some(typed(&numbers, datatype).map_err(|reason| {
                    A::Error::custom(format!("{}[{}].data{reason}", self.place, self.index))
                })?)
            }
            None => None,
        };
        Ok(Head {
            name: name.ok_or_else(|| missing("name"))?,
            shape,
            datatype,
            data,
            binary,
        })
    }
}

/// Numbers whose tensor said its type after them. The error begins with the position.
fn typed(numbers: &[f64], datatype: Datatype) -> Result<Data, String> {
    // Whole numbers are exact as far as a double counts.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let whole = |low: f64, high: f64, wanted: &str| {
        let wrong = numbers.iter().position(|v| v.fract() != 0.0 || *v < low || *v > high);
        wrong.map_or(Ok(()), |at| Err(format!("[{at}]: {} is not {wanted}", numbers[at])))
    };
    Ok(match datatype {
        Datatype::Fp16 | Datatype::Fp32 | Datatype::Fp64 => {
            Data::F32(numbers.iter().map(|&v| v as f32).collect())
        }
        Datatype::Uint8 => {
            whole(0.0, 255.0, "a whole number from 0 to 255")?;
            Data::U8(numbers.iter().map(|&v| v as u8).collect())
        }
        Datatype::Bool if numbers.is_empty() => Data::Bool(Vec::new()),
        Datatype::Bytes if numbers.is_empty() => Data::Text(Vec::new()),
        Datatype::Bool | Datatype::Bytes => {
            return Err(format!("[0]: {} is not {}", numbers[0], datatype.as_str()));
        }
        _ => {
            whole(-EXACT, EXACT, "a whole number")?;
            Data::I64(numbers.iter().map(|&v| v as i64).collect())
        }
    })
}
