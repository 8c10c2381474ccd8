//! The results as a user makes them, on the weights that are shipped and images that the project draws.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn reproduce(folder: &Path, more: &[&str]) -> Output {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/cifar100");
    // No data set, whatever the environment says: the images are drawn.
    Command::new(env!("CARGO_BIN_EXE_meanet"))
        .args([
            "reproduce",
            "--model",
            model,
            "--test-images",
            "40",
            "--labelled",
            "60",
        ])
        .args(["--epochs", "1", "--shift", "noise:2"])
        .arg("--cache")
        .arg(folder.join("cache"))
        .arg("--out")
        .arg(folder.join("docs"))
        .args(more)
        .env_remove("MEANET_DATA")
        .output()
        .unwrap()
}

fn succeeds(output: &Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn results(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("docs/results.json")).unwrap()).unwrap()
}

#[test]
fn a_run_that_has_no_time_says_what_is_missing_and_goes_on_later() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    succeeds(&reproduce(folder, &["--minutes", "0"]));
    let first = results(folder);
    assert!(!first["missing"].as_array().unwrap().is_empty(), "{first}");
    assert!(first["shifts"].as_array().unwrap().is_empty());

    succeeds(&reproduce(folder, &[]));
    let whole = results(folder);
    assert!(whole["missing"].as_array().unwrap().is_empty());
    let ways = whole["shifts"][0]["ways"].as_array().unwrap();
    assert_eq!(ways.len(), 8, "{ways:?}");
    for way in ways {
        let of = |name: &str| way[name]["images"].as_u64().unwrap();
        assert_eq!((of("shifted"), of("unshifted")), (40, 40));
        assert!(way["shippedBytes"].as_u64().unwrap() > 0, "{way}");
    }
    // The last layer is the least to ship, everything the most of what a main block has.
    let shipped = |wanted: &str| {
        let way = ways.iter().find(|way| way["way"] == wanted).unwrap();
        way["shippedBytes"].as_u64().unwrap()
    };
    assert!(
        shipped("colours") < shipped("norms")
            && shipped("norms") < shipped("head")
            && shipped("head") < shipped("everything")
    );
    assert!(whole["memory"]["whole"].as_u64().unwrap() > 0);
    assert_eq!(whole["cascade"]["budgets"].as_array().unwrap().len(), 5);

    let page = fs::read_to_string(folder.join("docs/results.md")).unwrap();
    for said in [
        "## Aims",
        "noise:2",
        "plain cascade, equal bytes",
        "not tried",
        "sha256:",
    ] {
        assert!(page.contains(said), "the page does not say {said}");
    }
    assert!(!page.contains("NaN") && !page.contains("/tmp/"), "{page}");
    for plot in ["accuracy-by-share-sent", "accuracy-by-energy", "shift"] {
        assert!(page.contains(&format!("results/{plot}.svg")));
        assert!(folder.join(format!("docs/results/{plot}.svg")).is_file());
    }

    // The same again computes nothing and says the same.
    succeeds(&reproduce(folder, &["--minutes", "0"]));
    assert_eq!(results(folder), whole);
    assert_eq!(fs::read_to_string(folder.join("docs/results.md")).unwrap(), page);
}
