//! Weights as bytes: safetensors that say in their own metadata what they are.

use std::collections::{BTreeMap, HashMap};

use burn::store::ModuleSnapshot;
use burn::store::burn_pack::Tensor as PackedTensor;
use burn::tensor::{Bytes, DType};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};
use snafu::{OptionExt, Snafu, ensure};

use crate::card::{Block, Card};
use crate::lower::{LowerError, PlanError};

/// The one metadata entry; a single one, because safetensors writes several in no fixed order and the bytes are named by
/// their digest.
const METADATA: &str = "meanet";

/// Why weights were refused.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum WeightsError {
    /// The bytes are no safetensors file.
    #[snafu(display("failed to read weights: not a whole safetensors file: {reason}"))]
    Format {
        /// What the parser says.
        reason: String,
    },
    /// The metadata is missing or wrong.
    #[snafu(display("failed to read weights: {reason}"))]
    Metadata {
        /// What does not fit.
        reason: String,
    },
    /// A tensor is missing, superfluous or has another shape.
    #[snafu(display("failed to load weights of {network}: {key} {reason}"))]
    Key {
        /// The network they were meant for.
        network: String,
        /// The first key that does not fit.
        key: String,
        /// What does not fit.
        reason: String,
    },
    /// A value is infinite or no number.
    #[snafu(display(
        "failed to load weights: {key} holds a value that is not finite; train it again with a lower learning rate"
    ))]
    NotFinite {
        /// The tensor.
        key: String,
    },
    /// Blocks that were not made for each other.
    #[snafu(display("failed to put blocks together: {reason}"))]
    Base {
        /// Which, and why.
        reason: String,
    },
    /// The network was loaded and cannot be run, or gives no usable answer.
    #[snafu(transparent)]
    Plan {
        /// Why.
        source: PlanError,
    },
}

impl From<LowerError> for WeightsError {
    fn from(source: LowerError) -> Self {
        Self::Plan {
            source: source.into(),
        }
    }
}

/// One tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Values {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f32>,
}

/// Tensors by name, as a burn module names them.
pub(crate) type Tensors = BTreeMap<String, Values>;

/// `sha256:` and 64 hex digits: the name of a blob.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes)
        .iter()
        .fold(String::from("sha256:"), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// The name of each tensor of a module, by its number in this process.
pub(crate) fn names_of<M: ModuleSnapshot>(module: &M) -> BTreeMap<u64, String> {
    module
        .collect(None, None, false)
        .into_iter()
        .filter_map(|tensor| Some((tensor.param_id?, tensor.name.clone())))
        .collect()
}

/// All tensors of a module.
pub(crate) fn tensors_of<M: ModuleSnapshot>(module: &M) -> Result<Tensors, WeightsError> {
    module
        .collect(None, None, false)
        .into_iter()
        .map(|tensor| {
            let key = tensor.name.clone();
            let shape = tensor.shape.to_vec();
            let bytes = tensor.into_bytes().map_err(|e| WeightsError::Format {
                reason: e.to_string(),
            })?;
            Ok((
                key,
                Values {
                    shape,
                    data: floats(&bytes),
                },
            ))
        })
        .collect()
}

/// Sets all tensors of `module`, and refuses any difference in keys or shapes. `network` names it in errors.
pub(crate) fn apply<M: ModuleSnapshot>(
    module: &mut M,
    network: &str,
    tensors: Tensors,
) -> Result<(), WeightsError> {
    let expected: BTreeMap<String, Vec<usize>> = module
        .collect(None, None, false)
        .into_iter()
        .map(|t| (t.name.clone(), t.shape.to_vec()))
        .collect();
    for (key, shape) in &expected {
        let values = tensors.get(key).context(KeySnafu {
            network,
            key,
            reason: "is missing",
        })?;
        ensure!(
            &values.shape == shape,
            KeySnafu {
                network,
                key,
                reason: format!("has shape {:?} instead of {shape:?}", values.shape)
            }
        );
        ensure!(values.data.iter().all(|v| v.is_finite()), NotFiniteSnafu { key });
    }
    if let Some(key) = tensors.keys().find(|key| !expected.contains_key(*key)) {
        return KeySnafu {
            network,
            key,
            reason: "is no tensor of this network",
        }
        .fail();
    }
    let packed = tensors
        .into_iter()
        .map(|(key, values)| {
            PackedTensor::new(
                key,
                DType::F32,
                values.shape,
                None,
                Bytes::from_elems(values.data),
            )
        })
        .collect();
    let result = module.apply(packed, None, None, false);
    match result.errors.first() {
        None => Ok(()),
        Some(error) => KeySnafu {
            network,
            key: "a tensor",
            reason: error.to_string(),
        }
        .fail(),
    }
}

/// The bytes of a blob; the same for the same card and values.
pub(crate) fn encode(card: &Card, tensors: &Tensors) -> Result<Vec<u8>, WeightsError> {
    let metadata = serde_json::to_string(card).map_err(|e| WeightsError::Metadata {
        reason: e.to_string(),
    })?;
    let stored: Vec<(&String, &Values, Dtype, Vec<u8>)> = tensors
        .iter()
        .map(|(key, values)| {
            let format = format(card.block, values);
            (key, values, format, stored(values, format))
        })
        .collect();
    let views = stored
        .iter()
        .map(|(key, values, format, bytes)| {
            TensorView::new(*format, values.shape.clone(), bytes)
                .map(|view| (key.as_str(), view))
                .map_err(|e| WeightsError::Format {
                    reason: e.to_string(),
                })
        })
        .collect::<Result<Vec<_>, _>>()?;
    safetensors::serialize(views, Some(HashMap::from([(METADATA.to_owned(), metadata)]))).map_err(|e| {
        WeightsError::Format {
            reason: e.to_string(),
        }
    })
}

/// Blobs of adaptive and extension block that say by digest which main block they belong to, and the extension with which adaptive
/// block.
pub(crate) fn bound(
    main: &[u8],
    adaptive: (Card, &Tensors),
    extension: (Card, &Tensors),
) -> Result<[Vec<u8>; 2], WeightsError> {
    let base = Some(digest(main));
    let card = Card {
        base: base.clone(),
        ..adaptive.0
    };
    let adaptive = encode(&card, adaptive.1)?;
    let card = Card {
        base,
        adaptive: Some(digest(&adaptive)),
        ..extension.0
    };
    let extension = encode(&card, extension.1)?;
    Ok([adaptive, extension])
}

/// How a tensor is written; a weight that 16 bits do not reach keeps 32.
fn format(block: Block, values: &Values) -> Dtype {
    let halved = block.bytes_of_a_weight() == 2
        && values.shape.len() > 1
        && values.data.iter().all(|v| f16::from_f32(*v).is_finite());
    if halved { Dtype::F16 } else { Dtype::F32 }
}

fn stored(values: &Values, format: Dtype) -> Vec<u8> {
    let values = values.data.iter();
    match format {
        Dtype::F16 => values.flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        _ => values.flat_map(|v| v.to_le_bytes()).collect(),
    }
}

/// Card and tensors of a blob.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Card, Tensors), WeightsError> {
    let card = read_card(bytes)?;
    Ok((card, decode_tensors(bytes)?))
}

/// What a blob says it is, without looking at its tensors.
pub fn read_card(bytes: &[u8]) -> Result<Card, WeightsError> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| WeightsError::Format {
        reason: e.to_string(),
    })?;
    let text = metadata
        .metadata()
        .as_ref()
        .and_then(|m| m.get(METADATA))
        .context(MetadataSnafu {
            reason: "the file does not say what it is; import weights of other origin with `meanet import`",
        })?;
    serde_json::from_str(text).map_err(|e| WeightsError::Metadata {
        reason: format!("its description does not fit: {e}"),
    })
}

/// Tensors of any safetensors file with floats of 32 or 16 bits.
pub(crate) fn decode_tensors(bytes: &[u8]) -> Result<Tensors, WeightsError> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|e| e.to_string())
        .or_else(|reason| FormatSnafu { reason }.fail())?;
    file.tensors()
        .into_iter()
        .map(|(key, view)| {
            let data = match view.dtype() {
                Dtype::F32 => floats(view.data()),
                Dtype::F16 => halves(view.data(), |bytes| f16::from_le_bytes(bytes).to_f32()),
                Dtype::BF16 => halves(view.data(), |bytes| bf16::from_le_bytes(bytes).to_f32()),
                other => {
                    return KeySnafu {
                        network: "this project",
                        key,
                        reason: format!("is {other:?} instead of F32, F16 or BF16"),
                    }
                    .fail();
                }
            };
            let shape = view.shape().to_vec();
            Ok((key, Values { shape, data }))
        })
        .collect()
}

fn halves(bytes: &[u8], value: fn([u8; 2]) -> f32) -> Vec<f32> {
    bytes.chunks_exact(2).map(|b| value([b[0], b[1]])).collect()
}

pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::InputSpec;

    #[test]
    fn a_digest_names_its_algorithm() {
        assert_eq!(
            digest(b""),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    fn card(block: Block) -> Card {
        Card::whole(block, "ResNet20".parse().unwrap(), 3, InputSpec::cifar100())
    }

    fn values(shape: &[usize], data: &[f32]) -> Values {
        Values {
            shape: shape.to_vec(),
            data: data.to_vec(),
        }
    }

    #[test]
    fn what_is_rolled_out_again_is_halved() {
        let precise = [0.1, -0.333_333_34, 1e-3];
        let tensors = Tensors::from([
            ("bias".to_owned(), values(&[3], &precise)),
            ("huge".to_owned(), values(&[3, 1], &[1e6, 0.1, 0.0])),
            ("weight".to_owned(), values(&[3, 1], &precise)),
        ]);
        let sizes = [Block::Main, Block::Extension].map(|block| {
            let blob = encode(&card(block), &tensors).unwrap();
            let (found, read) = decode(&blob).unwrap();
            assert_eq!(found.block, block);
            // Once halved, it stays what it is.
            assert_eq!(encode(&found, &read).unwrap(), blob);
            for key in ["bias", "huge"] {
                assert_eq!(read[key], tensors[key]);
            }
            for (read, given) in read["weight"].data.iter().zip(&precise) {
                let step = if block == Block::Main {
                    0.0
                } else {
                    given.abs() / 2048.0
                };
                assert!((read - given).abs() <= step, "{read} {given}");
            }
            SafeTensors::deserialize(&blob)
                .unwrap()
                .tensor("weight")
                .unwrap()
                .data()
                .len()
        });
        assert_eq!(sizes, [12, 6]);
    }

    #[test]
    fn whole_numbers_are_no_weights() {
        let data = [0; 8];
        let view = TensorView::new(Dtype::I64, vec![1], &data).unwrap();
        let blob = safetensors::serialize([("steps", view)], None).unwrap();
        let error = decode_tensors(&blob).unwrap_err().to_string();
        assert!(
            error.contains("steps is I64 instead of F32, F16 or BF16"),
            "{error}"
        );
    }

    #[test]
    fn bytes_that_are_no_weights_are_refused() {
        for bytes in [&b""[..], b"{}", &[0xff; 64], b"\x02\0\0\0\0\0\0\0{}"] {
            assert!(decode(bytes).is_err());
        }
    }
}
