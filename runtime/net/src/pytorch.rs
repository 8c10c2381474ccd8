//! Weights that were trained elsewhere: the `state_dict` of a `PyTorch` network, as safetensors or as `torch.save` writes it.
//! Names of keys are declared with each family of networks, below `backbone/`.

use std::path::Path;

use burn::nn::BatchNormConfig;
use burn::store::pytorch_reader::{self, PytorchReader};
use burn::tensor::{DType, Device, TensorData};
use safetensors::tensor::{Dtype, SafeTensors};
use snafu::{OptionExt, ensure};

use crate::backbone::{Backbone, Part, Place, TorchNames};
use crate::card::{Block, Card};
use crate::input::InputSpec;
use crate::layout::{Way, blocks};
use crate::network::Network;
use crate::weights::{FormatSnafu, KeySnafu, Tensors, Values, WeightsError, apply, encode, tensors_of};

/// Largest file in bytes.
const MAX_FILE: u64 = 4 << 30;

/// The tensors of a `PyTorch` network, converted to 32-bit floats; counts of steps are left out.
#[derive(Clone, Debug)]
pub struct StateDict(Tensors);

impl StateDict {
    /// Reads safetensors, or what `torch.save` wrote: a state dict, or a checkpoint with one in it.
    pub fn read(path: &Path) -> Result<Self, WeightsError> {
        let fail = |reason: String| WeightsError::Format {
            reason: format!("{}: {reason}", path.display()),
        };
        let size = std::fs::metadata(path).map_err(|e| fail(e.to_string()))?.len();
        if size > MAX_FILE {
            return Err(fail(format!("it has {size} bytes; up to {MAX_FILE} are read")));
        }
        if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("safetensors"))
        {
            let bytes = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
            return Self::parse(&bytes).map_err(|e| fail(e.to_string()));
        }
        // burn's reader takes pickles apart without running what is in them.
        let reader = PytorchReader::new(path).map_err(|e| fail(e.to_string()))?;
        let tensors = reader
            .into_tensors()
            .into_iter()
            .filter(|(key, _)| is_weight(key))
            .map(|(key, tensor)| {
                let dtype = match tensor.dtype() {
                    pytorch_reader::DType::F32 => DType::F32,
                    pytorch_reader::DType::F64 => DType::F64,
                    pytorch_reader::DType::F16 => DType::F16,
                    pytorch_reader::DType::BF16 => DType::BF16,
                    other => return not_a_float(&key, &format!("{other:?}")),
                };
                let bytes = tensor.read().map_err(|e| fail(e.to_string()))?;
                let values = floats(&key, bytes, tensor.shape().to_vec(), dtype)?;
                Ok((key, values))
            })
            .collect::<Result<Tensors, _>>()?;
        if tensors.is_empty() {
            return Err(fail(
                "it holds no tensors; save the network's state_dict()".to_owned(),
            ));
        }
        Ok(Self(tensors))
    }

    /// The bytes of a safetensors file.
    pub fn parse(bytes: &[u8]) -> Result<Self, WeightsError> {
        safetensors(bytes).map(Self)
    }

    /// The backbone whose keys these are, if there is one; of two that differ in strides only, the one for such images.
    #[must_use]
    pub fn recognise(&self, input: &InputSpec) -> Option<Backbone> {
        let small = input.height.min(input.width) < 128;
        let mut all: Vec<Backbone> = Backbone::all().collect();
        all.sort_by_key(|backbone| backbone.is_for_small_images() != small);
        all.into_iter().find(|&backbone| {
            let stem = backbone.layout().stem;
            let fits = |tensors: Tensors| {
                let shape = tensors.get("stem.conv.weight").map(|weight| weight.shape.clone());
                shape.is_some_and(|shape| shape == [stem.out, 3, stem.kernel, stem.kernel])
            };
            converted(self.0.clone(), backbone, Tensors::new()).is_ok_and(fits)
        })
    }

    /// A blob of this project, as a main block or as the cloud's network. The error names the first key or shape that does not
    /// fit.
    pub fn blob(
        &self,
        backbone: Backbone,
        classes: usize,
        input: InputSpec,
        block: Block,
    ) -> Result<Vec<u8>, WeightsError> {
        let network = self.network(backbone, classes)?;
        encode(
            &Card::whole(block, backbone, classes, input),
            &tensors_of(&network)?,
        )
    }

    pub(crate) fn network(&self, backbone: Backbone, classes: usize) -> Result<Network, WeightsError> {
        let mut network = Network::new(backbone, classes, &Device::flex());
        let tensors = converted(self.0.clone(), backbone, tensors_of(&network)?)?;
        apply(&mut network, &backbone.to_string(), tensors)?;
        Ok(network)
    }
}

fn safetensors(bytes: &[u8]) -> Result<Tensors, WeightsError> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|e| e.to_string())
        .or_else(|reason| FormatSnafu { reason }.fail())?;
    file.tensors()
        .into_iter()
        .filter(|(key, _)| is_weight(key))
        .map(|(key, view)| {
            let dtype = match view.dtype() {
                Dtype::F32 => DType::F32,
                Dtype::F64 => DType::F64,
                Dtype::F16 => DType::F16,
                Dtype::BF16 => DType::BF16,
                other => return not_a_float(&key, &format!("{other:?}")),
            };
            let values = floats(&key, view.data().to_vec(), view.shape().to_vec(), dtype)?;
            Ok((key, values))
        })
        .collect()
}

fn floats(key: &str, bytes: Vec<u8>, shape: Vec<usize>, dtype: DType) -> Result<Values, WeightsError> {
    let data = TensorData::from_bytes_vec(bytes, shape.clone(), dtype);
    let data = data.try_to_vec_as::<f32>().map_err(|e| WeightsError::Format {
        reason: format!("{key}: {e:?}"),
    })?;
    Ok(Values { shape, data })
}

fn not_a_float<T>(key: &str, found: &str) -> Result<T, WeightsError> {
    KeySnafu {
        network: "PyTorch",
        key,
        reason: format!("is {found}; convert it to float32"),
    }
    .fail()
}

/// Counts of steps are of use to training only.
fn is_weight(key: &str) -> bool {
    !key.ends_with("num_batches_tracked")
}

/// `state` by our names, of the shapes that `expected` has for them.
fn converted(state: Tensors, backbone: Backbone, expected: Tensors) -> Result<Tensors, WeightsError> {
    let mut import = Import {
        backbone,
        theirs: without_prefix(state, backbone),
        expected,
        ours: Tensors::new(),
    };
    let layout = backbone.layout();
    import.conv_norm("stem", Part::Stem)?;
    let mut before = 0;
    for (stage, blocks) in blocks(&layout.stages, layout.stem.out).iter().enumerate() {
        for (block, declared) in blocks.iter().enumerate() {
            let parts = declared.parts();
            let widens = parts.first.is_some();
            let part = |place| Part::Block {
                stage,
                block,
                before: before + block,
                place,
                widens,
            };
            let prefix = format!("stages.{stage}.{block}");
            if widens {
                import.conv_norm(&format!("{prefix}.first"), part(Place::First))?;
            }
            import.conv_norm(&format!("{prefix}.second"), part(Place::Second))?;
            if parts.squeeze.is_some() {
                import.layer(&format!("{prefix}.squeeze.reduce"), part(Place::SqueezeIn))?;
                import.layer(&format!("{prefix}.squeeze.expand"), part(Place::SqueezeOut))?;
            }
            if parts.third.is_some() {
                import.conv_norm(&format!("{prefix}.third"), part(Place::Third))?;
            }
            if matches!(parts.way, Way::Projected(_)) {
                import.conv_norm(&format!("{prefix}.shortcut"), part(Place::Shortcut))?;
            }
        }
        before += blocks.len();
    }
    if layout.tail.is_some() {
        import.conv_norm("tail", Part::Tail)?;
    }
    import.layer("head", Part::Head)?;
    if let Some(key) = import.theirs.keys().next() {
        return KeySnafu {
            network: backbone.to_string(),
            key,
            reason: "is no tensor of this network; is it another backbone?",
        }
        .fail();
    }
    Ok(import.ours)
}

/// Wrappers put a word before each key, as in `module.conv1.weight` or `state_dict.conv1.weight`; what else a checkpoint holds,
/// such as the optimizer's state, has another one.
fn without_prefix(state: Tensors, backbone: Backbone) -> Tensors {
    let stems = backbone.torch(Part::Stem);
    let suffixes: Vec<String> = stems
        .iter()
        .map(|names| format!("{}.weight", names.conv))
        .collect();
    // Blocks may have a convolution named like the stem; theirs has more before it.
    let prefix = state
        .keys()
        .flat_map(|key| {
            suffixes
                .iter()
                .filter_map(|suffix| key.strip_suffix(suffix.as_str()))
        })
        .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        .min_by_key(|prefix| prefix.len())
        .unwrap_or_default()
        .to_owned();
    state
        .into_iter()
        .filter_map(|(key, values)| key.strip_prefix(&prefix).map(|key| (key.to_owned(), values)))
        .collect()
}

struct Import {
    backbone: Backbone,
    /// What is left of theirs.
    theirs: Tensors,
    /// Of the shapes that are to be.
    expected: Tensors,
    ours: Tensors,
}

impl Import {
    /// A convolution and its batch norm, or one that the norm was folded into.
    fn conv_norm(&mut self, ours: &str, part: Part) -> Result<(), WeightsError> {
        let names = self.names(part)?;
        let key = format!("{}.weight", names.conv);
        let weight = self.take(&key)?;
        let weight = self.backbone.from_torch(part, weight);
        let channels = weight.shape.first().copied().unwrap_or_default();
        self.insert(format!("{ours}.conv.weight"), &key, weight)?;
        let bias = self.theirs.remove(&format!("{}.bias", names.conv));
        let folded = bias.is_some() && !self.theirs.contains_key(&format!("{}.weight", names.norm));
        let full = |value: f32| Values {
            shape: vec![channels],
            data: vec![value; channels],
        };
        // As a norm that only adds the bias, so that the network is one that can be trained on.
        let epsilon = BatchNormConfig::new(1).epsilon;
        let tensors = [
            ("weight", "gamma", 1.0),
            ("bias", "beta", 0.0),
            ("running_mean", "running_mean", 0.0),
            ("running_var", "running_var", 1.0 - epsilon as f32),
        ];
        for (theirs, name, nothing) in tensors {
            let key = format!("{}.{theirs}", names.norm);
            let mut values = if folded { full(nothing) } else { self.take(&key)? };
            if let (Some(bias), "running_mean") = (&bias, name) {
                let means = values.data.iter_mut().zip(&bias.data);
                means.for_each(|(mean, bias)| *mean -= bias);
            }
            self.insert(format!("{ours}.norm.{name}"), &key, values)?;
        }
        Ok(())
    }

    /// A convolution or linear layer with a bias.
    fn layer(&mut self, ours: &str, part: Part) -> Result<(), WeightsError> {
        let names = self.names(part)?;
        for tensor in ["weight", "bias"] {
            let key = format!("{}.{tensor}", names.conv);
            let values = transposed(self.take(&key)?);
            self.insert(format!("{ours}.{tensor}"), &key, values)?;
        }
        Ok(())
    }

    /// The first candidate that is there; the first of all where none is.
    fn names(&self, part: Part) -> Result<TorchNames, WeightsError> {
        let candidates = self.backbone.torch(part);
        let there = |names: &TorchNames| self.theirs.contains_key(&format!("{}.weight", names.conv));
        let index = candidates.iter().position(there).unwrap_or_default();
        candidates.into_iter().nth(index).context(KeySnafu {
            network: self.backbone.to_string(),
            key: format!("{part:?}"),
            reason: "has no name in PyTorch code",
        })
    }

    /// Keeps `values` as `ours`; `theirs` is the key to name where the shape is another.
    fn insert(&mut self, ours: String, theirs: &str, values: Values) -> Result<(), WeightsError> {
        if let Some(expected) = self.expected.get(&ours) {
            // Matrices are named as they are there.
            let shown = |shape: &[usize]| match *shape {
                [rows, columns] => vec![columns, rows],
                _ => shape.to_vec(),
            };
            ensure!(
                values.shape == expected.shape,
                KeySnafu {
                    network: self.backbone.to_string(),
                    key: theirs,
                    reason: format!(
                        "has shape {:?} instead of {:?}",
                        shown(&values.shape),
                        shown(&expected.shape)
                    )
                }
            );
        }
        self.ours.insert(ours, values);
        Ok(())
    }

    fn take(&mut self, key: &str) -> Result<Values, WeightsError> {
        self.theirs.remove(key).context(KeySnafu {
            network: self.backbone.to_string(),
            key,
            reason: "is missing",
        })
    }
}

/// `PyTorch` keeps a linear layer as `[out, in]`, burn as `[in, out]`; kernels are alike.
fn transposed(values: Values) -> Values {
    let [rows, columns] = values.shape[..] else {
        return values;
    };
    let data = (0..columns)
        .flat_map(|c| (0..rows).map(move |r| (r, c)))
        .map(|(r, c)| values.data[r * columns + c]);
    Values {
        shape: vec![columns, rows],
        data: data.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `torch.save({"epoch": 3, "state_dict": {"module.conv1.weight": torch.arange(6.0).view(2, 3, 1, 1),
    /// "module.bn1.weight": torch.tensor([0.5, 2.0]).half(), "module.bn1.num_batches_tracked": torch.tensor(7)}}, "tiny.pt")`.
    const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny.pt");

    #[test]
    fn files_of_torch_are_read() {
        let StateDict(state) = StateDict::read(Path::new(TINY)).unwrap();
        let state = without_prefix(state, "ResNet20".parse().unwrap());
        let shapes: Vec<(&str, &[usize])> = state
            .iter()
            .map(|(key, values)| (key.as_str(), &values.shape[..]))
            .collect();
        assert_eq!(
            shapes,
            [("bn1.weight", &[2][..]), ("conv1.weight", &[2, 3, 1, 1])]
        );
        assert_eq!(state["conv1.weight"].data, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(state["bn1.weight"].data, [0.5, 2.0]);
    }

    #[test]
    fn files_of_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [
            ("a.pt", &b"PK\x03\x04 and then nothing"[..]),
            ("b.pt", b""),
            ("c.safetensors", b"{}"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let error = StateDict::read(&path).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(StateDict::read(&folder.path().join("none.pt")).is_err());
    }
}
