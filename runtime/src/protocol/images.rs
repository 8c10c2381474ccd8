//! From tensors to images. Whatever is wrong is said by name; nothing wrong becomes an image.

use std::borrow::Cow;
use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::ImageReader;
use meanet_net::{ImageBatch, ImageError, InputSpec};

use super::{ApiError, Data, Datatype, Tensor};

/// Images in a request at most.
pub const MAX_IMAGES: usize = 256;
/// Pixels that the files of one request may hold together, before they are scaled: one of the largest files that are decoded.
/// A few bytes of PNG can hold many pixels.
const MAX_PIXELS: u64 = (meanet_data::MAX_SIDE as u64).pow(2);

/// Pixels of images of one size, `[n, 3, height, width]`, each in 0..255.
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// As bytes.
    Bytes(Vec<u8>),
    /// As floats.
    Floats(Vec<f32>),
}

impl Pixels {
    /// Those of several requests, one after the other; floats where one of them has floats.
    #[must_use]
    pub fn joined(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut parts = parts.into_iter();
        let mut all = parts.next().unwrap_or(Self::Bytes(Vec::new()));
        for part in parts {
            all = match (all, part) {
                (Self::Bytes(mut all), Self::Bytes(part)) => {
                    all.extend_from_slice(&part);
                    Self::Bytes(all)
                }
                (all, part) => {
                    let mut all = all.floats();
                    all.extend(part.floats());
                    Self::Floats(all)
                }
            };
        }
        all
    }

    fn floats(self) -> Vec<f32> {
        match self {
            Self::Bytes(v) => v.into_iter().map(f32::from).collect(),
            Self::Floats(v) => v,
        }
    }

    /// As a network that takes `spec` gets them.
    pub fn batch(self, spec: &InputSpec) -> Result<ImageBatch, ImageError> {
        match self {
            Self::Bytes(v) => ImageBatch::from_bytes(spec.height, spec.width, v),
            Self::Floats(v) => ImageBatch::from_floats(spec.height, spec.width, v),
        }
    }
}

/// How many images a request holds, before any of them is looked at.
///
/// # Errors
/// 400, where there are none, too many, or something else than images.
pub fn count(inputs: &[Tensor]) -> Result<usize, ApiError> {
    if inputs.is_empty() {
        return Err(ApiError::malformed("inputs: give a tensor named image, not 0 tensors"));
    }
    let mut all = 0_usize;
    for (index, input) in inputs.iter().enumerate() {
        let wrong =
            |field: &str, reason: String| ApiError::malformed(format!("inputs[{index}].{field}: {reason}"));
        // Tensors of one request are told apart by a number.
        if !input.name.strip_prefix("image").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit())) {
            return Err(wrong(
                "name",
                format!(
                    "the tensor must be named image, or image and a number where there are several, not {:?}",
                    input.name
                ),
            ));
        }
        if !matches!(input.datatype, Datatype::Uint8 | Datatype::Fp32 | Datatype::Bytes) {
            return Err(wrong(
                "datatype",
                format!(
                    "{:?} is not taken; give UINT8, FP32, or BYTES with PNG or JPEG files, in base64 where they are JSON",
                    input.datatype.as_str()
                ),
            ));
        }
        all = all.saturating_add(input.shape.first().copied().unwrap_or_default());
        if all == 0 || all > MAX_IMAGES {
            return Err(wrong(
                "shape",
                format!("a request holds 1 to {MAX_IMAGES} images, not {all}"),
            ));
        }
    }
    Ok(all)
}

/// The images of a request for a network that takes `spec`. Takes its time for files: call it where computing is done.
///
/// # Errors
/// 400, naming the field.
pub fn pixels(inputs: Vec<Tensor>, spec: &InputSpec) -> Result<Pixels, ApiError> {
    count(&inputs)?;
    let mut budget = MAX_PIXELS;
    let parts: Vec<Pixels> = inputs
        .into_iter()
        .enumerate()
        .map(|(index, input)| one(index, input, spec, &mut budget))
        .collect::<Result<_, _>>()?;
    Ok(Pixels::joined(parts))
}

/// The same as a batch of its own.
///
/// # Errors
/// 400, naming the field.
pub fn batch(inputs: Vec<Tensor>, spec: &InputSpec) -> Result<ImageBatch, ApiError> {
    pixels(inputs, spec)?
        .batch(spec)
        .map_err(|e| ApiError::malformed(format!("inputs: {e}")))
}

fn one(index: usize, input: Tensor, spec: &InputSpec, budget: &mut u64) -> Result<Pixels, ApiError> {
    let wrong = |field: &str, reason: &str| ApiError::malformed(format!("inputs[{index}].{field}: {reason}"));
    if matches!(input.data, Data::Text(_) | Data::Bytes(_)) {
        return files(index, &input, spec, budget).map(Pixels::Bytes);
    }
    let [n, 3, height, width] = input.shape[..] else {
        return Err(wrong("shape", &expected(&input, spec)));
    };
    if (height, width) != (spec.height, spec.width) {
        return Err(wrong("shape", &expected(&input, spec)));
    }
    if input.data.len() != n * spec.values() {
        let reason = format!(
            "{} values do not fill the shape {:?}, which has {}",
            input.data.len(),
            input.shape,
            n * spec.values()
        );
        return Err(wrong("data", &reason));
    }
    match input.data {
        Data::U8(v) => Ok(Pixels::Bytes(v)),
        // NaN is in no range, so it is caught here too.
        Data::F32(v) => match v.iter().position(|v| !(0.0..=255.0).contains(v)) {
            Some(at) => Err(ApiError::malformed(format!(
                "inputs[{index}].data[{at}]: {} is not a number from 0 to 255",
                v[at]
            ))),
            None => Ok(Pixels::Floats(v)),
        },
        _ => Err(wrong("datatype", "its data are of another type")),
    }
}

fn expected(input: &Tensor, spec: &InputSpec) -> String {
    format!(
        "the model takes [n, 3, {}, {}], not {:?}",
        spec.height, spec.width, input.shape
    )
}

fn files(index: usize, input: &Tensor, spec: &InputSpec, budget: &mut u64) -> Result<Vec<u8>, ApiError> {
    let n = input.data.len();
    if input.shape != [n] {
        return Err(ApiError::malformed(format!(
            "inputs[{index}].shape: {n} files have the shape [{n}], not {:?}",
            input.shape
        )));
    }
    let mut all = Vec::with_capacity(n * spec.values());
    for at in 0..n {
        let bad = |reason: String| ApiError::malformed(format!("inputs[{index}].data[{at}]: {reason}"));
        let file: Cow<'_, [u8]> = match &input.data {
            Data::Bytes(v) => Cow::Borrowed(&v[at]),
            Data::Text(v) => Cow::Owned(STANDARD.decode(&v[at]).map_err(|e| bad(format!("no base64: {e}")))?),
            _ => return Err(bad("give a PNG or JPEG file".to_owned())),
        };
        // One file is bounded by the decoder itself.
        let left = budget.checked_sub(size(&file));
        if at > 0 && left.is_none() {
            return Err(bad(format!(
                "the files up to this one hold more than {MAX_PIXELS} pixels, which is what is taken in one request: \
                 send fewer files or smaller ones"
            )));
        }
        *budget = left.unwrap_or_default();
        all.extend(meanet_data::decode(&file, spec.height, spec.width).map_err(|e| bad(e.to_string()))?);
    }
    Ok(all)
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
    use bytes::Bytes;

    use super::*;

    fn ask(inputs: Vec<Tensor>) -> Result<ImageBatch, ApiError> {
        batch(inputs, &InputSpec::cifar100())
    }

    fn bytes(n: usize, shape: &[usize]) -> Tensor {
        Tensor::new("image", shape.to_vec(), Data::U8(vec![7; n]))
    }

    #[test]
    fn pixels_become_images() {
        let images = ask(vec![bytes(2 * 3072, &[2, 3, 32, 32])]).unwrap();
        assert_eq!((images.len(), images.bytes(1)), (2, Some(vec![7; 3072])));
        let floats = Tensor::new("image2", vec![1, 3, 32, 32], Data::F32(vec![7.4; 3072]));
        let images = ask(vec![bytes(3072, &[1, 3, 32, 32]), floats]).unwrap();
        assert_eq!((images.len(), images.bytes(1)), (2, Some(vec![7; 3072])));
        let file = Bytes::from(meanet_data::encode_png(&[9; 3072], 32, 32).unwrap());
        for data in [
            Data::Text(vec![STANDARD.encode(&file)]),
            Data::Bytes(vec![file.clone()]),
        ] {
            let images = ask(vec![Tensor::new("image", vec![1], data)]).unwrap();
            assert_eq!(images.bytes(0), Some(vec![9; 3072]));
        }
    }

    #[test]
    fn whatever_is_wrong_is_named() {
        let named = |name: &str| Tensor {
            name: name.to_owned(),
            ..bytes(3072, &[1, 3, 32, 32])
        };
        let floats = |value: f32| {
            let mut data = vec![1.5; 3072];
            data[9] = value;
            Tensor::new("image", vec![1, 3, 32, 32], Data::F32(data))
        };
        let text = |text: &str, shape: usize| {
            Tensor::new("image", vec![shape], Data::Text(vec![text.to_owned()]))
        };
        for (inputs, expected) in [
            (vec![bytes(3072, &[1, 3, 32, 31])], "inputs[0].shape: the model takes [n, 3, 32, 32]"),
            (vec![bytes(1024, &[1, 1, 32, 32])], "inputs[0].shape"),
            (vec![bytes(3072, &[2, 3, 32, 32])], "inputs[0].data: 3072 values do not fill"),
            (vec![bytes(0, &[0, 3, 32, 32])], "1 to 256 images"),
            (vec![bytes(3072, &[usize::MAX, 3, 32, 32])], "1 to 256 images"),
            (vec![bytes(0, &[])], "inputs[0].shape"),
            (vec![floats(-1.0)], "inputs[0].data[9]: -1 is not"),
            (vec![floats(f32::NAN)], "inputs[0].data[9]: NaN is not"),
            (vec![floats(f32::INFINITY)], "inputs[0].data[9]: inf is not"),
            (vec![text("!", 1)], "inputs[0].data[0]: no base64"),
            (vec![text("iVBORw0KGgo=", 1)], "inputs[0].data[0]"),
            (vec![text("iVBORw0KGgo=", 2)], "inputs[0].shape"),
            (vec![named("x")], "inputs[0].name"),
            (vec![named("image"), named("image-b")], "inputs[1].name"),
            (vec![bytes(200 * 3072, &[200, 3, 32, 32]); 2], "inputs[1].shape"),
            (vec![Tensor::new("image", vec![1], Data::I64(vec![7]))], "inputs[0].datatype"),
            (vec![], "inputs: give a tensor"),
        ] {
            let error = ask(inputs).unwrap_err();
            assert_eq!(error.status.as_u16(), 400);
            assert!(error.message.contains(expected), "{:?} has no {expected:?}", error.message);
        }
    }
}
