//! A retraining as the operator starts it, of the model that comes with the project, on samples that a cloud has kept.

use std::path::Path;
use std::process::Command;

use meanet_crds::report::JobReport;
use meanet_data::procedural;
use meanet_net::{CloudNetwork, Manifest};
use meanet_store::{Blobs, Sample, SampleWriter};
use serde_json::json;

const IMAGES: usize = 150;

#[test]
fn nobody_has_labelled_anything() {
    let store = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/cifar100");
    let (manifest, digest, model) = Manifest::open(&model).unwrap();
    let blobs = Blobs::open(store.path()).unwrap();
    let cloud = model.cloud.as_ref().unwrap();
    for blob in [&model.main, &model.adaptive, &model.extension, cloud] {
        blobs.put_bytes(blob).unwrap();
    }
    // Unlike anything that the networks were trained on.
    let images = procedural(100, IMAGES, 1);
    let mut writer = SampleWriter::open(store.path(), "cams", IMAGES).unwrap();
    for pixels in images.pixels.chunks_exact(images.stride()) {
        let sample = Sample {
            height: 32,
            width: 32,
            pixels: pixels.to_vec(),
            edge_label: Some(1),
            edge_score: 2.0,
            cloud_label: Some(7),
            cloud_confidence: 0.5,
            feedback: None,
        };
        writer.add(&sample).unwrap();
    }
    drop(writer);
    let revision = json!({
        "deployment": "cams", "number": 1, "cause": "WeightsImported",
        "model": {"backbone": manifest.backbone, "variant": manifest.variant, "classes": manifest.classes, "weights": {"digest": digest}},
        "weights": manifest.weights, "hardClasses": manifest.hard_classes, "routing": {"score": "Entropy"},
    });
    let report = store.path().join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_meanet"))
        .args(["train", "job", "--deployment", "cams", "--epochs", "1", "--store"])
        .arg(store.path())
        .args(["--revision", &revision.to_string(), "--report"])
        .arg(&report)
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(log.contains("the cloud labelled anew"), "{log}");
    let JobReport::Succeeded {
        weights, evaluation, ..
    } = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap()
    else {
        panic!("{log}");
    };
    let before = manifest.weights;
    assert_eq!(weights.main, before.main);
    assert_ne!(
        weights.cloud, before.cloud,
        "it serves in the domain that it labels in"
    );
    let cloud = blobs
        .get(&weights.cloud.unwrap().parse().unwrap(), 1 << 24)
        .unwrap();
    CloudNetwork::load(&cloud).unwrap();
    assert_eq!(evaluation.unwrap().samples, i64::try_from(IMAGES / 6).unwrap());
    for made in [weights.adaptive, weights.extension] {
        assert!(blobs.get(&made.parse().unwrap(), 1 << 24).is_ok());
    }
}
