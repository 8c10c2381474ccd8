//! Between messages and requests, both ways.

use std::collections::HashMap;

use meanet_oip::infer_parameter::ParameterChoice;
use meanet_oip::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use meanet_oip::model_infer_response::InferOutputTensor;
use meanet_oip::model_metadata_response::TensorMetadata;
use meanet_oip::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse, ModelMetadataResponse,
};
use serde_json::Value;

use bytes::Bytes;

use crate::protocol::{
    ApiError, Data, Datatype, Description, InferRequest, InferResponse, Parameters, Requested, Target, Tensor,
    TensorDescription, binary,
};

/// A request that came as a message.
pub(super) fn request(message: ModelInferRequest) -> Result<InferRequest, ApiError> {
    let raw = message.raw_input_contents;
    if !raw.is_empty() && raw.len() != message.inputs.len() {
        return Err(ApiError::malformed(format!(
            "raw_input_contents: there are {} for {} inputs",
            raw.len(),
            message.inputs.len()
        )));
    }
    let mut raw = raw.into_iter();
    let inputs = message
        .inputs
        .into_iter()
        .enumerate()
        .map(|(index, input)| {
            let InferInputTensor {
                name,
                datatype,
                shape,
                contents,
                parameters: _,
            } = input;
            tensor(name, &datatype, &shape, contents, raw.next())
                .map_err(|reason| ApiError::malformed(format!("inputs[{index}].{reason}")))
        })
        .collect::<Result<_, _>>()?;
    let outputs = message.outputs.into_iter().map(|wanted| Requested {
        name: wanted.name,
        binary: None,
    });
    Ok(InferRequest {
        id: (!message.id.is_empty()).then_some(message.id),
        parameters: parameters(message.parameters),
        inputs,
        outputs: outputs.collect(),
    })
}

/// An answer that came as a message.
///
/// # Errors
/// What does not fit.
pub fn response(message: ModelInferResponse) -> Result<InferResponse, ApiError> {
    let mut raw = message.raw_output_contents.into_iter();
    let outputs = message
        .outputs
        .into_iter()
        .enumerate()
        .map(|(index, output)| {
            let InferOutputTensor {
                name,
                datatype,
                shape,
                contents,
                parameters: _,
            } = output;
            tensor(name, &datatype, &shape, contents, raw.next())
                .map_err(|reason| ApiError::malformed(format!("outputs[{index}].{reason}")))
        })
        .collect::<Result<_, _>>()?;
    Ok(InferResponse {
        model_name: message.model_name,
        model_version: (!message.model_version.is_empty()).then_some(message.model_version),
        id: (!message.id.is_empty()).then_some(message.id),
        parameters: parameters(message.parameters),
        outputs,
    })
}

/// The error names the field.
fn tensor(
    name: String,
    datatype: &str,
    shape: &[i64],
    contents: Option<InferTensorContents>,
    raw: Option<Bytes>,
) -> Result<Tensor, String> {
    let known = Datatype::named(datatype)
        .ok_or_else(|| format!("datatype: {datatype:?} is no type of the protocol"))?;
    let shape = shape
        .iter()
        .map(|&d| usize::try_from(d).map_err(|_| format!("shape: {d} is no dimension")))
        .collect::<Result<_, _>>()?;
    let data = match (contents, raw) {
        (None, Some(raw)) => binary::decode(known, &raw).map_err(|reason| format!("data: {reason}"))?,
        (Some(contents), None) => elements(known, contents)?,
        (Some(_), Some(_)) => return Err("contents: give elements here or raw, not both".to_owned()),
        (None, None) => return Err("contents: give the elements here or raw".to_owned()),
    };
    Ok(Tensor {
        name,
        shape,
        datatype: known,
        data,
    })
}

fn elements(datatype: Datatype, contents: InferTensorContents) -> Result<Data, String> {
    Ok(match datatype {
        Datatype::Bool => Data::Bool(contents.bool_contents),
        Datatype::Uint8 => Data::U8(
            contents
                .uint_contents
                .into_iter()
                .enumerate()
                .map(|(at, v)| {
                    u8::try_from(v)
                        .map_err(|_| format!("data[{at}]: {v} is not a whole number from 0 to 255"))
                })
                .collect::<Result<_, _>>()?,
        ),
        Datatype::Uint16 | Datatype::Uint32 => {
            Data::I64(contents.uint_contents.into_iter().map(i64::from).collect())
        }
        Datatype::Uint64 => Data::I64(
            contents
                .uint64_contents
                .into_iter()
                .map(|v| i64::try_from(v).map_err(|_| format!("data: {v} is too large")))
                .collect::<Result<_, _>>()?,
        ),
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => {
            Data::I64(contents.int_contents.into_iter().map(i64::from).collect())
        }
        Datatype::Int64 => Data::I64(contents.int64_contents),
        Datatype::Fp16 => return Err("datatype: FP16 is not taken; give FP32".to_owned()),
        Datatype::Fp32 => Data::F32(contents.fp32_contents),
        Datatype::Fp64 => Data::F32(contents.fp64_contents.into_iter().map(|v| v as f32).collect()),
        Datatype::Bytes => Data::Bytes(contents.bytes_contents),
    })
}

fn parameters(from: HashMap<String, InferParameter>) -> Parameters {
    from.into_iter()
        .filter_map(|(name, value)| {
            let value = match value.parameter_choice? {
                ParameterChoice::BoolParam(v) => Value::from(v),
                ParameterChoice::Int64Param(v) => Value::from(v),
                ParameterChoice::StringParam(v) => Value::from(v),
                ParameterChoice::DoubleParam(v) => Value::from(v),
                ParameterChoice::Uint64Param(v) => Value::from(v),
            };
            Some((name, value))
        })
        .collect()
}

/// What a message cannot hold, such as a list, is left out.
fn choices(from: &Parameters) -> HashMap<String, InferParameter> {
    from.iter()
        .filter_map(|(name, value)| {
            let choice = match value {
                Value::Bool(v) => ParameterChoice::BoolParam(*v),
                Value::String(v) => ParameterChoice::StringParam(v.clone()),
                Value::Number(v) => match v.as_i64() {
                    Some(v) => ParameterChoice::Int64Param(v),
                    None => ParameterChoice::DoubleParam(v.as_f64()?),
                },
                _ => return None,
            };
            let parameter_choice = Some(choice);
            Some((name.clone(), InferParameter { parameter_choice }))
        })
        .collect()
}

fn dimensions(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&d| i64::try_from(d).unwrap_or(i64::MAX)).collect()
}

/// An answer as a message, its elements raw where the request's were.
pub(super) fn answer(answer: InferResponse, raw: bool) -> Result<ModelInferResponse, ApiError> {
    let mut message = ModelInferResponse {
        parameters: choices(&answer.parameters),
        model_name: answer.model_name,
        model_version: answer.model_version.unwrap_or_default(),
        id: answer.id.unwrap_or_default(),
        outputs: Vec::with_capacity(answer.outputs.len()),
        raw_output_contents: Vec::new(),
    };
    for tensor in answer.outputs {
        let mut output = InferOutputTensor {
            datatype: tensor.datatype.as_str().to_owned(),
            shape: dimensions(&tensor.shape),
            ..InferOutputTensor::default()
        };
        if raw {
            let mut bytes = Vec::new();
            binary::encode(&tensor, &mut bytes).map_err(ApiError::internal)?;
            message.raw_output_contents.push(bytes.into());
        } else {
            output.contents = Some(contents(tensor.data));
        }
        output.name = tensor.name;
        message.outputs.push(output);
    }
    Ok(message)
}

fn contents(data: Data) -> InferTensorContents {
    let mut contents = InferTensorContents::default();
    match data {
        Data::Bool(v) => contents.bool_contents = v,
        Data::U8(v) => contents.uint_contents = v.into_iter().map(u32::from).collect(),
        Data::I64(v) => contents.int64_contents = v,
        Data::F32(v) => contents.fp32_contents = v,
        Data::Bytes(v) => contents.bytes_contents = v,
        Data::Text(v) => contents.bytes_contents = v.into_iter().map(Bytes::from).collect(),
    }
    contents
}

/// A request as a message to the model that `target` names, its elements raw.
///
/// # Errors
/// When a tensor has no raw form.
pub fn message(target: &Target, request: &InferRequest) -> Result<ModelInferRequest, ApiError> {
    let mut message = ModelInferRequest {
        model_name: target.model.clone(),
        model_version: target.version.clone().unwrap_or_default(),
        id: request.id.clone().unwrap_or_default(),
        parameters: choices(&request.parameters),
        outputs: request
            .outputs
            .iter()
            .map(|wanted| InferRequestedOutputTensor {
                name: wanted.name.clone(),
                parameters: HashMap::new(),
            })
            .collect(),
        ..ModelInferRequest::default()
    };
    for tensor in &request.inputs {
        let mut bytes = Vec::new();
        binary::encode(tensor, &mut bytes).map_err(ApiError::internal)?;
        message.raw_input_contents.push(bytes.into());
        message.inputs.push(InferInputTensor {
            name: tensor.name.clone(),
            datatype: tensor.datatype.as_str().to_owned(),
            shape: dimensions(&tensor.shape),
            parameters: HashMap::new(),
            contents: None,
        });
    }
    Ok(message)
}

/// A model's metadata as a message.
pub(super) fn description(described: Description) -> ModelMetadataResponse {
    let tensors = |all: Vec<TensorDescription>| {
        all.into_iter()
            .map(|t| TensorMetadata {
                name: t.name.to_owned(),
                datatype: t.datatype.to_owned(),
                shape: t.shape,
            })
            .collect()
    };
    ModelMetadataResponse {
        name: described.name,
        versions: described.versions,
        platform: described.platform.to_owned(),
        inputs: tensors(described.inputs),
        outputs: tensors(described.outputs),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn target() -> Target {
        Target {
            model: "cams".to_owned(),
            version: None,
        }
    }

    #[test]
    fn a_request_survives_its_message() {
        let request_made = InferRequest {
            id: Some("7".to_owned()),
            parameters: Parameters::from_iter([
                ("a".to_owned(), Value::from(true)),
                ("b".to_owned(), Value::from(0.5)),
                ("c".to_owned(), Value::from("text")),
            ]),
            inputs: vec![Tensor::new("image", vec![2], Data::U8(vec![1, 2]))],
            outputs: vec![Requested {
                name: "label".to_owned(),
                binary: None,
            }],
        };
        let message = message(&target(), &request_made).unwrap();
        assert_eq!(request(message), Ok(request_made));
    }

    #[test]
    fn an_answer_survives_its_message() {
        let made = InferResponse {
            model_name: "cams".to_owned(),
            model_version: Some("r1".to_owned()),
            outputs: vec![
                Tensor::new("label", vec![1], Data::I64(vec![7])),
                Tensor::new("exit", vec![1], Data::Bytes(vec![Bytes::from_static(b"main")])),
            ],
            ..InferResponse::default()
        };
        for raw in [true, false] {
            assert_eq!(response(answer(made.clone(), raw).unwrap()), Ok(made.clone()));
        }
    }

    #[test]
    fn whatever_is_wrong_is_named() {
        let good = message(
            &target(),
            &InferRequest {
                inputs: vec![Tensor::new("image", vec![2], Data::F32(vec![1.0, 2.0]))],
                ..InferRequest::default()
            },
        )
        .unwrap();
        let broken = |change: &dyn Fn(&mut ModelInferRequest)| {
            let mut message = good.clone();
            change(&mut message);
            request(message).unwrap_err().message
        };
        let uint = |v: u32| {
            Some(InferTensorContents {
                uint_contents: vec![v],
                ..InferTensorContents::default()
            })
        };
        assert!(broken(&|m| m.raw_input_contents.push(Bytes::new())).contains("raw_input_contents"));
        assert!(broken(&|m| m.raw_input_contents.clear()).contains("inputs[0].contents"));
        assert!(broken(&|m| m.raw_input_contents[0] = Bytes::from_static(&[1])).contains("inputs[0].data"));
        assert!(broken(&|m| m.inputs[0].shape = vec![-1]).contains("inputs[0].shape"));
        assert!(broken(&|m| m.inputs[0].datatype = "X".to_owned()).contains("inputs[0].datatype"));
        assert!(broken(&|m| m.inputs[0].contents = uint(1)).contains("not both"));
        let large = broken(&|m| {
            m.raw_input_contents.clear();
            m.inputs[0].datatype = "UINT8".to_owned();
            m.inputs[0].contents = uint(256);
        });
        assert!(large.contains("inputs[0].data[0]: 256"), "{large}");
    }

    proptest! {
        #[test]
        fn no_message_crashes_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(message) = ModelInferRequest::decode(&bytes[..]) {
                let _ = request(message);
            }
            if let Ok(message) = ModelInferResponse::decode(&bytes[..]) {
                let _ = response(message);
            }
        }
    }
}
