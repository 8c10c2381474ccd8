//! State dicts of `PyTorch` networks become blobs, whatever code base named their keys, or are refused by name.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;

use meanet_net::{Backbone, Block, CloudNetwork, ImageBatch, InputSpec, StateDict};
use safetensors::tensor::{Dtype, TensorView, serialize};

type State = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Numbers by chance, always the same.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, low: f32, high: f32) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        low + (high - low) * ((self.0 >> 40) as f32 / (1_u64 << 24) as f32)
    }

    fn list(&mut self, count: usize, low: f32, high: f32) -> Vec<f32> {
        (0..count).map(|_| self.next(low, high)).collect()
    }
}

struct Maker {
    state: State,
    numbers: Numbers,
}

impl Maker {
    fn new() -> Self {
        Self {
            state: State::new(),
            numbers: Numbers(7),
        }
    }

    fn conv(&mut self, name: &str, shape: [usize; 4]) {
        let bound = (3.0 / (shape[1] * shape[2] * shape[3]) as f32).sqrt();
        let values = self.numbers.list(shape.iter().product(), -bound, bound);
        self.state
            .insert(format!("{name}.weight"), (shape.to_vec(), values));
    }

    fn norm(&mut self, name: &str, channels: usize) {
        for (tensor, low, high) in [
            ("weight", 0.5, 1.5),
            ("bias", -0.5, 0.5),
            ("running_mean", -0.5, 0.5),
            ("running_var", 0.5, 1.5),
        ] {
            let values = self.numbers.list(channels, low, high);
            self.state
                .insert(format!("{name}.{tensor}"), (vec![channels], values));
        }
        self.state
            .insert(format!("{name}.num_batches_tracked"), (vec![1], vec![3.0]));
    }

    fn linear(&mut self, name: &str, [input, out]: [usize; 2]) {
        let values = self.numbers.list(input * out, -0.2, 0.2);
        self.state
            .insert(format!("{name}.weight"), (vec![out, input], values));
        let bias = self.numbers.list(out, -0.2, 0.2);
        self.state.insert(format!("{name}.bias"), (vec![out], bias));
    }
}

/// A CIFAR `ResNet` of 20 layers, named as by chenyaofo/pytorch-cifar-models.
fn resnet20(classes: usize) -> State {
    let mut m = Maker::new();
    m.conv("conv1", [16, 3, 3, 3]);
    m.norm("bn1", 16);
    let mut input = 16;
    for (layer, out) in [(1, 16), (2, 32), (3, 64)] {
        for block in 0..3 {
            let name = format!("layer{layer}.{block}");
            m.conv(&format!("{name}.conv1"), [out, input, 3, 3]);
            m.norm(&format!("{name}.bn1"), out);
            m.conv(&format!("{name}.conv2"), [out, out, 3, 3]);
            m.norm(&format!("{name}.bn2"), out);
            if input != out {
                m.conv(&format!("{name}.downsample.0"), [out, input, 1, 1]);
                m.norm(&format!("{name}.downsample.1"), out);
            }
            input = out;
        }
    }
    m.linear("fc", [64, classes]);
    m.state
}

/// A quarter of `MobileNetV2`, named as by torchvision.
fn mobilenet(classes: usize) -> State {
    let mut m = Maker::new();
    m.conv("features.0.0", [8, 3, 3, 3]);
    m.norm("features.0.1", 8);
    let mut input = 8;
    let mut index = 1;
    for (expand, out, blocks) in [
        (1, 8, 1),
        (6, 8, 2),
        (6, 8, 3),
        (6, 16, 4),
        (6, 24, 3),
        (6, 40, 3),
        (6, 80, 1),
    ] {
        for _ in 0..blocks {
            let (name, inner) = (format!("features.{index}.conv"), input * expand);
            let mut layer = 0;
            if expand > 1 {
                m.conv(&format!("{name}.0.0"), [inner, input, 1, 1]);
                m.norm(&format!("{name}.0.1"), inner);
                layer = 1;
            }
            m.conv(&format!("{name}.{layer}.0"), [inner, 1, 3, 3]);
            m.norm(&format!("{name}.{layer}.1"), inner);
            m.conv(&format!("{name}.{}", layer + 1), [out, inner, 1, 1]);
            m.norm(&format!("{name}.{}", layer + 2), out);
            input = out;
            index += 1;
        }
    }
    m.conv("features.18.0", [1280, 80, 1, 1]);
    m.norm("features.18.1", 1280);
    m.linear("classifier.1", [1280, classes]);
    m.state
}

/// The same function with batch norms folded into the convolutions before them.
fn folded(mut state: State) -> State {
    let norms: Vec<String> = state
        .keys()
        .filter_map(|key| key.strip_suffix(".running_var").map(str::to_owned))
        .collect();
    for norm in norms {
        let (prefix, index) = norm.rsplit_once('.').unwrap();
        let conv = format!("{prefix}.{}", index.parse::<usize>().unwrap() - 1);
        let mut take = |tensor: &str| state.remove(&format!("{norm}.{tensor}")).unwrap().1;
        let [gamma, beta, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map(&mut take);
        take("num_batches_tracked");
        let (shape, weights) = state.get_mut(&format!("{conv}.weight")).unwrap();
        let (out, fan_in) = (shape[0], weights.len() / shape[0]);
        let scale: Vec<f32> = (0..out).map(|c| gamma[c] / (variance[c] + 1e-5).sqrt()).collect();
        for (filter, scale) in weights.chunks_exact_mut(fan_in).zip(&scale) {
            for weight in filter {
                *weight *= scale;
            }
        }
        let bias = (0..out).map(|c| beta[c] - mean[c] * scale[c]).collect();
        state.insert(format!("{conv}.bias"), (vec![out], bias));
    }
    state
}

fn write(path: &Path, state: &State) {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = state
        .iter()
        .map(|(key, (shape, values))| (key, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(key, shape, bytes)| {
        (
            key.as_str(),
            TensorView::new(Dtype::F32, (*shape).clone(), bytes).unwrap(),
        )
    });
    std::fs::write(path, serialize(views, None).unwrap()).unwrap();
}

fn import(state: &State, backbone: &str) -> Result<Vec<u8>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("theirs.safetensors");
    write(&path, state);
    let input = InputSpec {
        height: 16,
        width: 16,
        ..InputSpec::cifar100()
    };
    let state = StateDict::read(&path).map_err(|e| e.to_string())?;
    let backbone: Backbone = backbone.parse().unwrap();
    let blob = state
        .blob(backbone, 10, input.clone(), Block::Cloud)
        .map_err(|e| e.to_string())?;
    assert_eq!(state.recognise(&input), Some(backbone));
    Ok(blob)
}

fn renamed(state: &State, rename: impl Fn(&str) -> String) -> State {
    state
        .iter()
        .map(|(key, value)| (rename(key), value.clone()))
        .collect()
}

fn logits(blob: &[u8]) -> Vec<f32> {
    let pixels = (0..2 * 3 * 256).map(|i: usize| (i * 7919 % 251) as u8).collect();
    let images = ImageBatch::from_bytes(16, 16, pixels).unwrap();
    CloudNetwork::load(blob)
        .unwrap()
        .logits(&images)
        .unwrap()
        .concat()
}

#[test]
fn code_bases_name_the_same_weights_differently() {
    let state = resnet20(10);
    let blob = import(&state, "ResNet20").unwrap();
    assert!(logits(&blob).iter().any(|v| v.abs() > 1e-3));
    let others = renamed(&state, |key| {
        key.replace("downsample", "shortcut").replace("fc.", "linear.")
    });
    assert_eq!(import(&others, "ResNet20").unwrap(), blob);
    let mut wrapped = renamed(&state, |key| format!("state_dict.module.{key}"));
    wrapped.insert("optimizer.momentum".to_owned(), (vec![1], vec![0.9]));
    assert_eq!(import(&wrapped, "ResNet20").unwrap(), blob);
}

#[test]
fn folded_norms_compute_the_same() {
    let state = mobilenet(10);
    let (whole, folded) = (
        import(&state, "MobileNetV2x0.25Cifar").unwrap(),
        import(&folded(state), "MobileNetV2x0.25Cifar").unwrap(),
    );
    let (whole, folded) = (logits(&whole), logits(&folded));
    let largest = whole.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    assert!(largest > 1e-3);
    for (a, b) in whole.iter().zip(&folded) {
        assert!((a - b).abs() < 1e-4 * largest.max(1.0), "{a} {b}");
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let state = resnet20(10);
    let error = |change: &dyn Fn(&mut State), backbone: &str| {
        let mut state = state.clone();
        change(&mut state);
        import(&state, backbone).unwrap_err()
    };
    let missing = error(&|s| drop(s.remove("layer2.1.bn1.running_mean")), "ResNet20");
    assert!(
        missing.contains("ResNet20: layer2.1.bn1.running_mean is missing"),
        "{missing}"
    );
    let deeper = error(&|_| {}, "ResNet32");
    assert!(deeper.contains("layer1.3.conv1.weight is missing"), "{deeper}");
    let classes = error(
        &|s| {
            s.insert("fc.weight".to_owned(), (vec![11, 64], vec![0.0; 704]));
        },
        "ResNet20",
    );
    assert!(
        classes.contains("fc.weight has shape [11, 64] instead of [10, 64]"),
        "{classes}"
    );
    let wider = error(&|_| {}, "ResNet20x2");
    assert!(
        wider.contains("conv1.weight has shape [16, 3, 3, 3] instead of [32, 3, 3, 3]"),
        "{wider}"
    );
    let more = error(
        &|s| {
            s.insert("layer4.0.conv1.weight".to_owned(), (vec![1], vec![0.0]));
        },
        "ResNet20",
    );
    assert!(
        more.contains("layer4.0.conv1.weight is no tensor of this network"),
        "{more}"
    );
    let infinite = error(
        &|s| {
            s.insert("bn1.bias".to_owned(), (vec![16], vec![f32::NAN; 16]));
        },
        "ResNet20",
    );
    assert!(infinite.contains("not finite"), "{infinite}");
}
