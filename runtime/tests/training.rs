//! Training as a user runs it, from images to a model that answers.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output};

use meanet_data::{Source, encode_png, procedural, write_records};

const CLASSES: usize = 3;

fn meanet(arguments: &[&str], data: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_meanet"))
        .args(arguments)
        .env("MEANET_DATA", data)
        .output()
        .unwrap()
}

fn succeed(arguments: &[&str], data: &Path) -> String {
    let output = meanet(arguments, data);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Everything that trains, chooses or packages, in the order of the guide; gives the digest of the model.
fn train_all(data: &Path, out: &Path) -> String {
    let at = |name: &str| out.join(name).to_str().unwrap().to_owned();
    let (main, cloud, extension, model) = (at("main"), at("cloud"), at("extension"), at("model"));
    let quick = ["--stages", "8:1", "--batch-size", "30"];
    succeed(&[&["train", "main", "--out", &main], &quick[..]].concat(), data);
    let larger = [
        "train",
        "cloud",
        "--backbone",
        "ResNet20x2",
        "--start",
        &main,
        "--teacher",
        &main,
        "--out",
        &cloud,
    ];
    succeed(&[&larger[..], &quick[..]].concat(), data);
    for paper in [&["--paper"][..], &[]] {
        let base = [
            "train",
            "extension",
            "--main",
            &main,
            "--epochs",
            "1",
            "--batch-size",
            "30",
        ];
        let folder = format!("{extension}{}", paper.len());
        succeed(
            &[&base[..], &["--teacher", &cloud, "--out", &folder], paper].concat(),
            data,
        );
    }
    let package = [
        "train",
        "package",
        "--main",
        &main,
        "--extension",
        &format!("{extension}0"),
    ];
    succeed(
        &[&package[..], &["--cloud", &cloud, "--out", &model]].concat(),
        data,
    )
}

#[test]
fn no_training_and_no_choice_opens_test_images() {
    let folder = tempfile::tempdir().unwrap();
    let images = procedural(CLASSES, 80, 1);

    // CIFAR's layout, once without test images, once with a file in their place that cannot be read as such.
    let (without, spoiled) = (folder.path().join("without"), folder.path().join("spoiled"));
    for data in [&without, &spoiled] {
        fs::create_dir(data).unwrap();
        write_records(&images, File::create(data.join("train.bin")).unwrap()).unwrap();
    }
    fs::write(spoiled.join("test.bin"), "no records").unwrap();
    assert!(Source::find(Some(&spoiled)).unwrap().test(32, 32).is_err());
    let digest = train_all(&without, &folder.path().join("one"));
    assert!(digest.starts_with("sha256:"), "{digest}");
    assert_eq!(train_all(&spoiled, &folder.path().join("two")), digest);

    // A run leaves what can be looked at afterwards.
    for name in [
        "recipe.json",
        "metrics.jsonl",
        "curves.svg",
        "checkpoint.safetensors",
    ] {
        for run in ["main", "cloud", "extension0"] {
            assert!(
                folder.path().join("one").join(run).join(name).is_file(),
                "{run} has no {name}"
            );
        }
    }
}

#[test]
fn no_training_opens_the_test_images_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let images = procedural(CLASSES, 80, 1);
    for index in 0..images.len() {
        let class = data.join("train").join(format!("class{}", images.labels[index]));
        fs::create_dir_all(&class).unwrap();
        let png = encode_png(images.image(index), 32, 32).unwrap();
        fs::write(class.join(format!("{index}.png")), png).unwrap();
    }
    let spoiled = data.join("test/class0");
    fs::create_dir_all(&spoiled).unwrap();
    fs::write(spoiled.join("a.png"), "no picture").unwrap();
    assert!(Source::find(Some(&data)).unwrap().test(32, 32).is_err());
    assert!(train_all(&data, &folder.path().join("out")).starts_with("sha256:"));
}

#[test]
fn what_is_missing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    write_records(
        &procedural(CLASSES, 80, 1),
        File::create(data.join("train.bin")).unwrap(),
    )
    .unwrap();
    let out = folder.path().join("out");
    let out = out.to_str().unwrap();
    for (arguments, word) in [
        (
            &["train", "main", "--out", out, "--backend", "gpu"][..],
            "flex, torch and cuda",
        ),
        (
            &[
                "train",
                "main",
                "--out",
                out,
                "--teacher",
                "/nowhere/net.safetensors",
            ],
            "/nowhere/net.safetensors",
        ),
        (
            &["train", "main", "--out", out, "--temperature", "2"],
            "--teacher",
        ),
        (
            &["train", "extension", "--main", out, "--out", out],
            "no folder of a training run",
        ),
    ] {
        let output = meanet(arguments, &data);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && words.contains(word),
            "{arguments:?}: {words}"
        );
    }
}
