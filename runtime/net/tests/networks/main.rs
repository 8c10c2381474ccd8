//! What the public interface promises of networks, their weights and their training.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::num::NonZeroUsize;
use std::path::Path;

use meanet_data::{Images, Training, procedural};
use meanet_method::{ExtensionRule, HardClasses};
use meanet_net::evaluate::by_entropy;
use meanet_net::train::{
    Classifier, Examples, ExtensionRecipe, InService, Lessons, Material, Optimisation, Recipe, Run, Stage,
    TrainedExtension, classifier_of, reestimate_norms, retrain, train_classifier, train_extension,
};
use meanet_net::{
    Backend, Block, Calibrated, CloudNetwork, Compute, Domain, EdgeBlobs, EdgeNetwork, ImageBatch, InputSpec,
    Manifest, ModelBlobs, Precision, Processor, StateDict, TOLERANCE_DEVICE, Temperatures, Variant,
    calibrate, digest, read_card,
};

mod packed;
mod retrained;

fn input(side: usize) -> InputSpec {
    InputSpec {
        height: side,
        width: side,
        ..InputSpec::cifar100()
    }
}

fn slow() -> Optimisation {
    Optimisation {
        batch_size: 8,
        learning_rate: 0.05,
        weight_decay: 1e-4,
        label_smoothing: 0.0,
        ..Optimisation::default()
    }
}

fn recipe(backbone: &str, classes: usize, side: usize, epochs: usize) -> Recipe {
    Recipe {
        stages: vec![Stage { side, epochs }],
        optimisation: Optimisation {
            average: Some(0.998),
            ..slow()
        },
        seed: 5,
        ..Recipe::new(backbone.parse().unwrap(), classes, input(side))
    }
}

/// Trains on the images it is measured on.
fn train(recipe: &Recipe, data: &Training, folder: &Path) -> Classifier {
    let lessons = Lessons {
        training: data,
        holdout: data,
        start: None,
        teacher: None,
    };
    let run = Run::open(folder, recipe).unwrap();
    train_classifier(recipe, &lessons, &run, &Backend::Engine.processor().unwrap()).unwrap()
}

/// Small images of a few classes, so that a test trains in seconds.
fn images(count: usize) -> Training {
    let full = procedural(4, count, 9);
    let mut small = Images::empty(8, 8);
    for index in 0..full.len() {
        let image = full.image(index);
        let pixels: Vec<u8> = (0..3 * 64)
            .map(|i| image[(i / 64) * 1024 + (i % 64 / 8) * 128 + (i % 8) * 4])
            .collect();
        small.push(&pixels, full.labels[index]);
    }
    Training(small)
}

fn untrained(folder: &Path, backbone: &str, classes: usize, side: usize) -> Classifier {
    train(&recipe(backbone, classes, side, 0), &images(16), folder)
}

fn extension_recipe(outputs: Vec<u32>) -> ExtensionRecipe {
    ExtensionRecipe {
        epochs: 1,
        optimisation: slow(),
        seed: 1,
        ..ExtensionRecipe::new(outputs)
    }
}

fn train_over(recipe: &ExtensionRecipe, main: &[u8], data: &Training) -> TrainedExtension {
    let processor = Backend::Engine.processor().unwrap();
    train_extension(recipe, main, &Examples::of(data), None, &processor).unwrap()
}

fn model(folder: &Path) -> ModelBlobs {
    let classifier = untrained(folder, "ResNet20", 4, 8);
    let main = classifier.blob(Block::Main).unwrap();
    let trained = train_over(&extension_recipe(vec![1, 3]), &main, &images(24));
    ModelBlobs {
        main,
        adaptive: trained.adaptive,
        extension: trained.extension,
        cloud: Some(classifier.blob(Block::Cloud).unwrap()),
    }
}

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn costs_agree_with_the_published_table() {
    // Long et al. 2021, variant B on ResNet-32 with 100 classes of which 50 are hard; MACs in millions, parameters in
    // thousands.
    let folder = tempfile::tempdir().unwrap();
    let main = untrained(folder.path(), "ResNet32", 100, 32)
        .blob(Block::Main)
        .unwrap();
    let mut recipe = extension_recipe((0..50).collect());
    recipe.epochs = 0;
    let data = Training(procedural(4, 4, 1));
    let made = train_over(&recipe, &main, &data);
    let blobs = EdgeBlobs {
        main: &main,
        adaptive: &made.adaptive,
        extension: &made.extension,
    };
    let cost = assert_send(EdgeNetwork::load(blobs).unwrap()).cost();
    let rounded = |macs: usize, parameters: usize| {
        (
            (macs as f64 / 1e5).round() / 10.0,
            (parameters as f64 / 1e3).round(),
        )
    };
    assert_eq!(rounded(cost.main.macs, cost.main.parameters), (69.1, 473.0));
    assert_eq!(
        rounded(cost.adaptive.macs, cost.adaptive.parameters),
        (12.5, 77.0)
    );
    assert_eq!(
        rounded(cost.extension.macs, cost.extension.parameters),
        (21.8, 344.0)
    );
}

#[test]
fn blobs_that_do_not_belong_together_are_refused() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let blobs = model(one.path());
    EdgeNetwork::load(blobs.edge()).unwrap();
    CloudNetwork::load(blobs.cloud.as_deref().unwrap()).unwrap();

    let mut other = recipe("ResNet20", 4, 8, 0);
    other.seed = 6;
    let stranger = train(&other, &images(16), two.path()).blob(Block::Main).unwrap();
    let error = EdgeNetwork::load(EdgeBlobs {
        main: &stranger,
        ..blobs.edge()
    })
    .err()
    .unwrap()
    .to_string();
    assert!(error.contains("retrain it on this one"), "{error}");
    let swapped = EdgeBlobs {
        adaptive: &blobs.extension,
        ..blobs.edge()
    };
    assert!(
        EdgeNetwork::load(swapped)
            .err()
            .unwrap()
            .to_string()
            .contains("where a Adaptive block belongs")
    );

    let cut = &blobs.main[..blobs.main.len() - 4];
    assert!(
        EdgeNetwork::load(EdgeBlobs {
            main: cut,
            ..blobs.edge()
        })
        .is_err()
    );
    let mut spoiled = blobs.cloud.unwrap();
    let end = spoiled.len();
    spoiled[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = CloudNetwork::load(&spoiled).err().unwrap().to_string();
    assert!(error.contains("not finite"), "{error}");
}

#[test]
fn a_model_survives_its_folder_and_answers_the_same_for_bytes_and_floats() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = model(&folder.path().join("run"));
    let edge = EdgeNetwork::load(blobs.edge()).unwrap();
    let manifest = Manifest {
        backbone: edge.card().backbone,
        variant: Variant::Extend,
        classes: edge.classes(),
        input: edge.input().clone(),
        weights: blobs.digests(),
        cloud_backbone: Some(read_card(blobs.cloud.as_deref().unwrap()).unwrap().backbone),
        hard_classes: vec![3],
        evaluation: None,
    };
    let name = manifest.write(folder.path(), &blobs).unwrap();
    assert_eq!(
        name,
        digest(&std::fs::read(folder.path().join("manifest.json")).unwrap())
    );
    let (read, read_name, read_blobs) = Manifest::open(folder.path()).unwrap();
    assert_eq!((read, read_name, read_blobs), (manifest, name, blobs));

    let Training(images) = images(6);
    let bytes = ImageBatch::from_bytes(8, 8, images.pixels.clone()).unwrap();
    let floats =
        ImageBatch::from_floats(8, 8, images.pixels.iter().map(|&v| f32::from(v)).collect()).unwrap();
    let pass = edge.main(&bytes).unwrap();
    assert_eq!(pass.logits, edge.main(&floats).unwrap().logits);
    let all = edge.extension(&pass, &bytes, &[0, 1, 2, 3, 4, 5]).unwrap();
    let some = edge.extension(&pass, &bytes, &[4, 1]).unwrap();
    for (a, b) in some.iter().flatten().zip(all[4].iter().chain(&all[1])) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
    assert!(edge.extension(&pass, &bytes, &[6]).is_err());
    let wrong = ImageBatch::from_bytes(4, 4, vec![0; 48]).unwrap();
    assert!(edge.main(&wrong).err().unwrap().to_string().contains("takes 8×8"));
}

/// `MEANET_WEIGHTS` names a folder with networks that others trained, and `golden.json` with logits of theirs for the first
/// records of the CIFAR-100 test file, which `MEANET_DATA` names.
#[test]
fn networks_of_others_give_the_logits_they_should() {
    let (Ok(weights), Ok(data)) = (std::env::var("MEANET_WEIGHTS"), std::env::var("MEANET_DATA")) else {
        eprintln!("skipped: MEANET_WEIGHTS and MEANET_DATA are not set");
        return;
    };
    let golden: serde_json::Value =
        serde_json::from_slice(&std::fs::read(Path::new(&weights).join("golden.json")).unwrap()).unwrap();
    let images = meanet_data::cifar100_test(Path::new(&data))
        .unwrap()
        .0
        .select(&[0, 1, 2, 3]);
    let batch = ImageBatch::from_bytes(32, 32, images.pixels).unwrap();
    for (file, backbone) in [
        ("cifar100-resnet20", "ResNet20"),
        ("cifar100-resnet32", "ResNet32"),
        ("cifar100-resnet56", "ResNet56"),
        ("cifar100-resnet20-dkd", "ResNet20"),
        ("cifar100-mobilenetv2_x0_5-bnfolded", "MobileNetV2x0.5Cifar"),
        ("cifar100-osi-baseline", "MicroNet"),
    ] {
        let path = Path::new(&weights).join(file).with_extension("safetensors");
        let state = StateDict::read(&path).unwrap();
        let backbone = backbone.parse().unwrap();
        assert_eq!(state.recognise(&InputSpec::cifar100()), Some(backbone));
        let blob = state
            .blob(backbone, 100, InputSpec::cifar100(), Block::Cloud)
            .unwrap();
        let logits = CloudNetwork::load(&blob).unwrap().logits(&batch).unwrap();
        for (row, wanted) in logits
            .iter()
            .zip(golden[file]["first5_logits"].as_array().unwrap())
        {
            for (found, wanted) in row.iter().zip(wanted.as_array().unwrap()) {
                assert!(
                    (f64::from(*found) - wanted.as_f64().unwrap()).abs() < 1e-3,
                    "{file}: {found} {wanted}"
                );
            }
        }
        let other = "ResNet44".parse().unwrap();
        let error = state
            .blob(other, 100, InputSpec::cifar100(), Block::Cloud)
            .unwrap_err()
            .to_string();
        assert!(error.contains("ResNet44: "), "{error}");
    }
}

#[test]
fn the_shipped_models_load_and_say_what_they_are() {
    for (name, backbone) in [
        ("cifar100", "ResNet20"),
        ("cifar100-mobilenetv2", "MobileNetV2x0.5Cifar"),
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(name);
        let (manifest, _, blobs) = Manifest::open(&folder).unwrap();
        assert_eq!(manifest.backbone.to_string(), backbone);
        let edge = EdgeNetwork::load(blobs.edge()).unwrap();
        let cloud = CloudNetwork::load(blobs.cloud.as_deref().unwrap()).unwrap();
        assert_eq!(
            (edge.classes(), cloud.classes()),
            (manifest.classes, manifest.classes)
        );
        HardClasses::new(&manifest.hard_classes, edge.outputs(), edge.classes()).unwrap();
        assert_eq!((edge.input(), cloud.input()), (&manifest.input, &manifest.input));
        let bytes = blobs.main.len() + blobs.adaptive.len() + blobs.extension.len();
        assert!(
            bytes < 5_000_000,
            "{name}: {bytes} bytes are too many for an edge"
        );
    }
}

/// Plans are compared with their networks on several images at once, whatever a server takes.
#[test]
fn a_network_may_take_one_image_at_a_time() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/cifar100");
    let (_, _, blobs) = Manifest::open(&folder).unwrap();
    let compute = Compute {
        threads: NonZeroUsize::MIN,
        max_batch: NonZeroUsize::MIN,
    };
    let cloud = CloudNetwork::load_on(blobs.cloud.as_deref().unwrap(), &Processor::Engine, compute).unwrap();
    let images = ImageBatch::from_bytes(32, 32, procedural(2, 2, 1).pixels).unwrap();
    assert_eq!(cloud.logits(&images).unwrap().len(), 2);
}

/// Whatever this build and machine have: no less than the engine and burn's own CPU backend.
#[test]
fn the_cloud_answers_alike_on_every_backend() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/cifar100");
    let (_, _, blobs) = Manifest::open(&folder).unwrap();
    let blob = blobs.cloud.as_deref().unwrap();
    let images = ImageBatch::from_bytes(32, 32, procedural(5, 5, 1).pixels).unwrap();
    let engine = CloudNetwork::load(blob).unwrap();
    let expected = engine.logits(&images).unwrap();
    let largest = expected.iter().flatten().fold(0.0_f32, |m, v| m.max(v.abs()));
    let backends = [Backend::Flex, Backend::Torch, Backend::Cuda];
    let found: Vec<Processor> = backends
        .iter()
        .filter_map(|b| b.processors().ok())
        .flatten()
        .collect();
    assert!(!found.is_empty());
    for processor in found {
        let network = CloudNetwork::load_on(blob, &processor, Compute::default()).unwrap();
        assert_eq!(network.cost(), engine.cost());
        let logits = network.logits(&images).unwrap();
        assert_eq!((logits.len(), logits[0].len()), (5, 100));
        for (one, other) in logits.iter().flatten().zip(expected.iter().flatten()) {
            assert!(
                (one - other).abs() < TOLERANCE_DEVICE * largest,
                "{processor:?}: {one} for {other}"
            );
        }
    }
    assert!(Backend::best().processors().is_ok());
}
