//! Exported networks give the same logits in onnxruntime.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use meanet_engine::{Graph, Images, Op, Options, Plan, SegmentId};
use meanet_net::{
    Backbone, Blueprint, CloudGraph, EdgeGraph, FEATURES, Fusion, InputSpec, LOGITS, Manifest, Variant,
    read_card,
};
use meanet_runtime::export;

/// Images of a batch.
const COUNT: usize = 3;

/// What onnxruntime is given and should answer.
struct Check {
    folder: PathBuf,
    /// By `MODEL.OUTPUT`.
    expected: BTreeMap<String, Vec<f32>>,
}

impl Check {
    fn feed(&self, model: &str, input: &str, values: &[f32]) {
        write(&self.folder.join(format!("{model}.{input}.f32")), values);
    }

    fn expect(&mut self, model: &str, output: &str, values: &[f32]) {
        self.expected.insert(format!("{model}.{output}"), values.to_vec());
    }
}

fn write(path: &Path, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    fs::write(path, bytes).unwrap();
}

fn read(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    let numbers = bytes.chunks_exact(4);
    numbers
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

/// Numbers in -1..1, always the same.
fn numbers(count: usize) -> Vec<f32> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Extensions begin with heads of zeros, and norms with statistics that do nothing: neither would show an error.
fn stir(graph: &mut Graph) {
    for node in &mut graph.nodes {
        match &mut node.op {
            Op::Linear(linear) if linear.weight.iter().all(|w| *w == 0.0) => {
                let bound = 1.0 / (linear.weight.len() / linear.out) as f32;
                linear.weight = numbers(linear.weight.len())
                    .iter()
                    .map(|w| w * bound.sqrt())
                    .collect();
            }
            Op::BatchNorm(norm) => {
                let count = norm.mean.len();
                norm.mean = numbers(count).iter().map(|v| 0.2 * v).collect();
                norm.beta = numbers(count).iter().rev().map(|v| 0.2 * v).collect();
                norm.variance = numbers(count).iter().map(|v| 1.0 + 0.3 * v).collect();
            }
            _ => {}
        }
    }
}

/// An output of each image, one behind the other.
fn outputs(session: &meanet_engine::Session, segment: SegmentId, output: usize) -> Vec<f32> {
    let each = session.shape(segment, output).unwrap().values();
    let mut all = vec![0.0; COUNT * each];
    for (row, to) in all.chunks_exact_mut(each).enumerate() {
        session.read(segment, output, row, to).unwrap();
    }
    all
}

fn pixels(graph: &Graph) -> Vec<f32> {
    let values = numbers(COUNT * graph.input.values());
    values.iter().map(|v| ((v + 1.0) * 127.5).round()).collect()
}

fn edge(folder: &Path, edge: &EdgeGraph, card: &meanet_net::Card) -> Check {
    let mut check = Check {
        folder: folder.to_owned(),
        expected: BTreeMap::new(),
    };
    for (name, bytes) in export::edge_files(edge, card).unwrap() {
        fs::write(folder.join(name), bytes).unwrap();
    }
    let images = pixels(&edge.graph);
    let mut session = Plan::compile(&edge.graph, &Options::default())
        .unwrap()
        .session()
        .unwrap();
    for segment in [edge.main, edge.adaptive, edge.extension] {
        session.run(segment, Images::Floats(&images), COUNT).unwrap();
    }
    let (features, logits) = (
        outputs(&session, edge.main, FEATURES),
        outputs(&session, edge.main, LOGITS),
    );
    let mut extended = outputs(&session, edge.extension, 0);
    let classes = card.outputs.clone().unwrap();
    if card.adds_to_main {
        let all = logits.len() / COUNT;
        for (row, extended) in extended.chunks_exact_mut(classes.len()).enumerate() {
            for (logit, class) in extended.iter_mut().zip(&classes) {
                *logit += card.main_weight * logits[row * all + *class as usize];
            }
        }
    }
    for model in ["main", "extension", "whole"] {
        check.feed(model, "image", &images);
    }
    check.feed("extension", "features", &features);
    check.feed("extension", "logits", &logits);
    check.expect("main", "logits", &logits);
    check.expect("main", "features", &features);
    check.expect("extension", "extension_logits", &extended);
    check.expect("whole", "logits", &logits);
    check.expect("whole", "extension_logits", &extended);
    check
}

fn cloud(folder: &Path, cloud: &CloudGraph) -> Check {
    let mut check = Check {
        folder: folder.to_owned(),
        expected: BTreeMap::new(),
    };
    fs::write(folder.join("cloud.onnx"), export::cloud_file(cloud).unwrap()).unwrap();
    let images = pixels(&cloud.graph);
    let mut session = Plan::compile(&cloud.graph, &Options::default())
        .unwrap()
        .session()
        .unwrap();
    session
        .run(cloud.network, Images::Floats(&images), COUNT)
        .unwrap();
    check.feed("cloud", "image", &images);
    check.expect("cloud", "logits", &outputs(&session, cloud.network, LOGITS));
    check
}

/// The Python that has onnxruntime; `hack/venv` makes it once.
fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let made = Command::new(root.join("hack/venv"))
        .arg(root.join("hack/onnx/requirements.txt"))
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "hack/venv hack/onnx/requirements.txt failed; it needs Python 3.11 and, the first time, a way to PyPI (pip's settings name a \
         mirror):\n{}",
        String::from_utf8_lossy(&made.stderr)
    );
    PathBuf::from(String::from_utf8(made.stdout).unwrap().trim())
}

/// `trained` networks have to be right to 1e-4 in their logits, others to as much of their largest number.
fn compare(checks: &[Check], trained: bool) {
    let python = python();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/onnx/run.py");
    for check in checks {
        let ran = Command::new(&python)
            .arg(&script)
            .arg(&check.folder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{}: {said}", check.folder.display());
        for (name, expected) in &check.expected {
            let found = read(&check.folder.join(format!("{name}.out.f32")));
            assert_eq!(found.len(), expected.len(), "{}/{name}", check.folder.display());
            let largest = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            assert!(largest > 1e-3, "{}/{name} says nothing", check.folder.display());
            let off = found
                .iter()
                .zip(expected)
                .fold(0.0_f32, |m, (f, e)| m.max((f - e).abs()));
            println!(
                "{}/{name}: off by {off:.1e}, largest {largest:.1e}",
                check.folder.display()
            );
            // What untrained networks say, and features, are as large as chance makes them.
            let bound = if trained && name.ends_with("logits") {
                1e-4
            } else {
                1e-4 * largest.max(1.0)
            };
            assert!(
                off <= bound,
                "{}/{name}: off by {off}, largest {largest}",
                check.folder.display()
            );
        }
    }
}

#[test]
fn every_kind_of_network_computes_the_same_in_onnxruntime() {
    let folder = tempfile::tempdir().unwrap();
    let mut checks = Vec::new();
    for (backbone, variant, fusion, side, adds_to_main) in [
        ("ResNet20", Variant::Split, Fusion::Sum, 17, true),
        ("ResNet18", Variant::Extend, Fusion::Concat, 40, false),
        ("MobileNetV2x0.25Cifar", Variant::Extend, Fusion::Sum, 16, false),
        ("MicroNet", Variant::Split, Fusion::Concat, 32, true),
    ] {
        let blueprint = Blueprint {
            backbone: backbone.parse().unwrap(),
            variant,
            fusion,
        };
        let input = InputSpec {
            height: side,
            width: side,
            ..InputSpec::cifar100()
        };
        let mut graph = EdgeGraph::untrained(&blueprint, 10, 4, &input).unwrap();
        stir(&mut graph.graph);
        let path = folder.path().join(backbone);
        fs::create_dir(&path).unwrap();
        let card = shipped_card(&blueprint, vec![1, 4, 5, 9], adds_to_main);
        checks.push(edge(&path, &graph, &card));
    }
    let bottleneck: Backbone = "ResNet101Cifar".parse().unwrap();
    let input = InputSpec {
        height: 8,
        width: 8,
        ..InputSpec::cifar100()
    };
    let path = folder.path().join("ResNet101Cifar");
    fs::create_dir(&path).unwrap();
    checks.push(cloud(
        &path,
        &CloudGraph::untrained(bottleneck, 10, &input).unwrap(),
    ));
    compare(&checks, false);
}

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/cifar100")
}

/// The card of the shipped extension, changed.
fn shipped_card(blueprint: &Blueprint, outputs: Vec<u32>, adds_to_main: bool) -> meanet_net::Card {
    let (_, _, blobs) = Manifest::open(&models()).unwrap();
    meanet_net::Card {
        backbone: blueprint.backbone,
        variant: blueprint.variant,
        fusion: blueprint.fusion,
        outputs: Some(outputs),
        adds_to_main,
        main_weight: 0.75,
        ..read_card(&blobs.extension).unwrap()
    }
}

#[test]
fn the_shipped_model_computes_the_same_in_onnxruntime() {
    let folder = tempfile::tempdir().unwrap();
    let (_, _, blobs) = Manifest::open(&models()).unwrap();
    let graph = EdgeGraph::of_blobs(blobs.edge()).unwrap();
    let mut checks = vec![edge(folder.path(), &graph, &read_card(&blobs.extension).unwrap())];
    let path = folder.path().join("cloud");
    fs::create_dir(&path).unwrap();
    checks.push(cloud(
        &path,
        &CloudGraph::of_blob(blobs.cloud.as_deref().unwrap()).unwrap(),
    ));
    compare(&checks, true);
}
