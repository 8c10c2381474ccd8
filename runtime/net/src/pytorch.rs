//! Weights that were trained elsewhere: CIFAR `ResNet`s as safetensors with the key names of `PyTorch` code.

use burn::tensor::Device;
use snafu::OptionExt;

use crate::backbone::Backbone;
use crate::card::{Block, Card, Variant};
use crate::input::InputSpec;
use crate::resnet::ResNet;
use crate::weights::{KeySnafu, Tensors, Values, WeightsError, apply, decode_tensors, encode, tensors_of};

/// Names that different code bases give the same thing.
const SHORTCUTS: [&str; 2] = ["downsample", "shortcut"];
const HEADS: [&str; 2] = ["fc", "linear"];

/// Makes a blob of this project from the safetensors `bytes` of a `PyTorch` network (`conv1`, `bn1`, `layer1.0.conv1`, …,
/// `fc`), as a main block or as the cloud's network. The error names the first key or shape that does not fit.
pub fn import_pytorch(
    bytes: &[u8],
    backbone: Backbone,
    classes: usize,
    input: InputSpec,
    block: Block,
) -> Result<Vec<u8>, WeightsError> {
    let mut theirs = decode_tensors(bytes)?;
    // Counts of steps, which only training needs.
    theirs.retain(|key, _| !key.ends_with(".num_batches_tracked"));
    let mut network = ResNet::new(backbone, classes, &Device::flex());
    let mut ours = Tensors::new();
    for key in tensors_of(&network)?.into_keys() {
        let names = names(&key);
        let found = names.iter().find_map(|name| theirs.remove(name));
        let first = names.first().map_or(key.as_str(), String::as_str);
        let values = found.context(KeySnafu {
            network: backbone.to_string(),
            key: first,
            reason: "is missing",
        })?;
        let values = if key == "head.weight" {
            transpose(values)
        } else {
            values
        };
        ours.insert(key, values);
    }
    if let Some(key) = theirs.keys().next() {
        return KeySnafu {
            network: backbone.to_string(),
            key,
            reason: "is no tensor of this network",
        }
        .fail();
    }
    apply(&mut network, &backbone.to_string(), ours)?;
    let card = Card {
        block,
        backbone,
        variant: Variant::Extend,
        classes,
        input,
        base: None,
        adaptive: None,
        outputs: None,
        adds_to_main: false,
    };
    encode(&card, &tensors_of(&network)?)
}

/// What `PyTorch` code may call the tensor that this project calls `key`.
fn names(key: &str) -> Vec<String> {
    let parts: Vec<&str> = key.split('.').collect();
    let leaf = |name: &str| match name {
        "gamma" => "weight".to_owned(),
        "beta" => "bias".to_owned(),
        other => other.to_owned(),
    };
    match parts.as_slice() {
        ["head", tensor] => HEADS.iter().map(|head| format!("{head}.{tensor}")).collect(),
        ["stem", layer, tensor] => vec![format!("{}1.{}", short(layer), leaf(tensor))],
        ["stages", stage, block, place, layer, tensor] => {
            let stage = stage.parse::<usize>().map_or(0, |s| s + 1);
            let block = format!("layer{stage}.{block}");
            match *place {
                "first" => vec![format!("{block}.{}1.{}", short(layer), leaf(tensor))],
                "second" => vec![format!("{block}.{}2.{}", short(layer), leaf(tensor))],
                _ => {
                    let index = usize::from(*layer == "norm");
                    SHORTCUTS
                        .iter()
                        .map(|name| format!("{block}.{name}.{index}.{}", leaf(tensor)))
                        .collect()
                }
            }
        }
        _ => Vec::new(),
    }
}

fn short(layer: &str) -> &str {
    if layer == "norm" { "bn" } else { "conv" }
}

/// `PyTorch` keeps a linear layer as `[out, in]`, burn as `[in, out]`.
fn transpose(values: Values) -> Values {
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
