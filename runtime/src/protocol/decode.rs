//! From a request to images. Whatever is wrong is said by name; nothing wrong becomes an image.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::ImageReader;
use meanet_net::{ImageBatch, InputSpec};
use serde_json::Value;

use super::{ApiError, InferRequest, Tensor};

/// Images in a request at most.
pub const MAX_IMAGES: usize = 256;
/// Pixels that the files of one request may hold together, before they are scaled: one of the largest files that are decoded.
/// A few bytes of PNG can hold many pixels.
const MAX_PIXELS: u64 = (meanet_data::MAX_SIDE as u64).pow(2);

/// The images of a JSON request for a network that takes `spec`.
pub fn request_images(request: &InferRequest, spec: &InputSpec) -> Result<ImageBatch, ApiError> {
    let [input] = request.inputs.as_slice() else {
        return Err(ApiError::malformed(format!(
            "inputs: give one tensor named image, not {}",
            request.inputs.len()
        )));
    };
    if input.name != "image" {
        return Err(ApiError::malformed(format!(
            "inputs[0].name: the tensor must be named image, not {:?}",
            input.name
        )));
    }
    match input.datatype.as_str() {
        "UINT8" => {
            let bytes = pixels(input, spec, |v| v.as_u64().and_then(|v| u8::try_from(v).ok()), "a whole number from 0 to 255")?;
            ImageBatch::from_bytes(spec.height, spec.width, bytes)
        }
        "FP32" => {
            let floats = pixels(
                input,
                spec,
                |v| v.as_f64().map(|v| v as f32).filter(|v| (0.0..=255.0).contains(v)),
                "a number from 0 to 255",
            )?;
            ImageBatch::from_floats(spec.height, spec.width, floats)
        }
        "BYTES" => return files(input, spec),
        other => {
            return Err(ApiError::malformed(format!(
                "inputs[0].datatype: {other:?} is not taken; give UINT8, FP32, or BYTES with PNG or JPEG files in base64"
            )));
        }
    }
    .map_err(|e| ApiError::malformed(format!("inputs[0].data: {e}")))
}

/// The image of a request whose body is one PNG or JPEG file.
pub fn one_image(file: &[u8], spec: &InputSpec) -> Result<ImageBatch, ApiError> {
    let pixels = meanet_data::decode(file, spec.height, spec.width)
        .map_err(|e| ApiError::malformed(format!("body: {e}")))?;
    ImageBatch::from_bytes(spec.height, spec.width, pixels)
        .map_err(|e| ApiError::malformed(format!("body: {e}")))
}

fn count(images: usize) -> Result<usize, ApiError> {
    if (1..=MAX_IMAGES).contains(&images) {
        Ok(images)
    } else {
        Err(ApiError::malformed(format!(
            "inputs[0].shape: a request holds 1 to {MAX_IMAGES} images, not {images}"
        )))
    }
}

fn values(input: &Tensor) -> Result<&Vec<Value>, ApiError> {
    input
        .data
        .as_array()
        .ok_or_else(|| ApiError::malformed("inputs[0].data: give a flat list"))
}

fn pixels<T>(
    input: &Tensor,
    spec: &InputSpec,
    read: impl Fn(&Value) -> Option<T>,
    wanted: &str,
) -> Result<Vec<T>, ApiError> {
    let [n, 3, height, width] = input.shape[..] else {
        return Err(shape(input, spec));
    };
    if (height, width) != (spec.height, spec.width) {
        return Err(shape(input, spec));
    }
    let (n, values) = (count(n)?, values(input)?);
    if values.len() != n * spec.values() {
        return Err(ApiError::malformed(format!(
            "inputs[0].data: {} values do not fill the shape {:?}, which has {}",
            values.len(),
            input.shape,
            n * spec.values()
        )));
    }
    values
        .iter()
        .enumerate()
        .map(|(i, v)| {
            read(v).ok_or_else(|| {
                ApiError::malformed(format!("inputs[0].data[{i}]: {} is not {wanted}", brief(v)))
            })
        })
        .collect()
}

fn shape(input: &Tensor, spec: &InputSpec) -> ApiError {
    ApiError::malformed(format!(
        "inputs[0].shape: the model takes [n, 3, {}, {}], not {:?}",
        spec.height, spec.width, input.shape
    ))
}

/// A value as it may stand in a message.
fn brief(value: &Value) -> String {
    value.to_string().chars().take(40).collect()
}

fn files(input: &Tensor, spec: &InputSpec) -> Result<ImageBatch, ApiError> {
    let values = values(input)?;
    let n = count(values.len())?;
    if input.shape != [n] {
        return Err(ApiError::malformed(format!(
            "inputs[0].shape: {n} files have the shape [{n}], not {:?}",
            input.shape
        )));
    }
    let mut all = Vec::with_capacity(n * spec.values());
    let mut pixels = 0_u64;
    for (i, value) in values.iter().enumerate() {
        let bad = |reason: String| ApiError::malformed(format!("inputs[0].data[{i}]: {reason}"));
        let text = value
            .as_str()
            .ok_or_else(|| bad("give a PNG or JPEG file as text in base64".to_owned()))?;
        let file = STANDARD
            .decode(text)
            .map_err(|e| bad(format!("no base64: {e}")))?;
        pixels = pixels.saturating_add(size(&file));
        if n > 1 && pixels > MAX_PIXELS {
            return Err(bad(format!(
                "the files up to this one hold {pixels} pixels, and at most {MAX_PIXELS} are taken in one request: \
                 send fewer files or smaller ones"
            )));
        }
        all.extend(meanet_data::decode(&file, spec.height, spec.width).map_err(|e| bad(e.to_string()))?);
    }
    ImageBatch::from_bytes(spec.height, spec.width, all).map_err(|e| ApiError::malformed(e.to_string()))
}

/// Pixels that a file says it holds; none where it does not say, which decoding then finds out.
fn size(file: &[u8]) -> u64 {
    ImageReader::new(Cursor::new(file))
        .with_guessed_format()
        .ok()
        .and_then(|reader| reader.into_dimensions().ok())
        .map_or(0, |(width, height)| {
            u64::from(width).saturating_mul(u64::from(height))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ask(body: Value) -> Result<ImageBatch, ApiError> {
        let request: InferRequest =
            serde_json::from_value(body).map_err(|e| ApiError::malformed(e.to_string()))?;
        request_images(&request, &InputSpec::cifar100())
    }

    fn tensor(datatype: &str, shape: Value, data: Value) -> Value {
        json!({"inputs": [{"name": "image", "datatype": datatype, "shape": shape, "data": data}]})
    }

    #[test]
    fn pixels_become_images() {
        for datatype in ["UINT8", "FP32"] {
            let images = ask(tensor(datatype, json!([2, 3, 32, 32]), json!(vec![7; 2 * 3072]))).unwrap();
            assert_eq!(images.len(), 2);
            assert_eq!(images.bytes(1), Some(vec![7; 3072]));
        }
    }

    #[test]
    fn whatever_is_wrong_is_named() {
        let good = json!(vec![7; 3072]);
        let mut text = vec![json!(7); 3072];
        text[5] = json!("x");
        for (body, expected) in [
            (
                tensor("UINT8", json!([1, 3, 32, 31]), good.clone()),
                "inputs[0].shape: the model takes [n, 3, 32, 32]",
            ),
            (
                tensor("UINT8", json!([1, 1, 32, 32]), good.clone()),
                "inputs[0].shape",
            ),
            (
                tensor("UINT8", json!([2, 3, 32, 32]), good.clone()),
                "do not fill the shape",
            ),
            (
                tensor("UINT8", json!([0, 3, 32, 32]), json!([])),
                "1 to 256 images",
            ),
            (
                tensor(
                    "UINT8",
                    json!([9_000_000_000_000_000_000_u64, 3, 32, 32]),
                    good.clone(),
                ),
                "1 to 256 images",
            ),
            (
                tensor("UINT8", json!([1, 3, 32, 32]), json!(vec![300; 3072])),
                "inputs[0].data[0]: 300 is not",
            ),
            (
                tensor("UINT8", json!([1, 3, 32, 32]), json!(text.clone())),
                "inputs[0].data[5]",
            ),
            (
                tensor("FP32", json!([1, 3, 32, 32]), json!(vec![-1.0; 3072])),
                "inputs[0].data[0]: -1.0 is not",
            ),
            (
                tensor("FP32", json!([1, 3, 32, 32]), json!(vec![Value::Null; 3072])),
                "null is not",
            ),
            (
                tensor("FP64", json!([1, 3, 32, 32]), good.clone()),
                "inputs[0].datatype",
            ),
            (tensor("BYTES", json!([1]), json!(["!"])), "no base64"),
            (
                tensor("BYTES", json!([1]), json!(["iVBORw0KGgo="])),
                "inputs[0].data[0]",
            ),
            (
                tensor("BYTES", json!([2]), json!(["iVBORw0KGgo="])),
                "inputs[0].shape",
            ),
            (json!({"inputs": []}), "inputs: give one tensor"),
            (json!({}), "missing field `inputs`"),
        ] {
            let error = ask(body).unwrap_err();
            assert_eq!(error.status.as_u16(), 400);
            assert!(
                error.message.contains(expected),
                "{:?} has no {expected:?}",
                error.message
            );
        }
    }
}
