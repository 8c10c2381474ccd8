//! The catalogue of reasons against the operator that gives them. Source is read, since the operator depends on this crate.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use meanet_crds::condition::reason::REASONS;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true if path.ends_with("tests") => {}
            true => sources(&path, found),
            false if path.ends_with("tests.rs") => {}
            false => found.push(path),
        }
    }
}

/// String literals that are CamelCase words.
fn words(source: &str) -> impl Iterator<Item = &str> {
    source.split('"').skip(1).step_by(2).filter(|word| {
        word.len() > 3
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_alphabetic())
            && word.contains(|c: char| c.is_ascii_lowercase())
            && !["True", "False", "Unknown"].contains(word)
    })
}

#[test]
fn reasons_are_those_that_the_operator_gives() {
    let deployment = Path::new(env!("CARGO_MANIFEST_DIR")).join("../operator/src/deployment");
    let mut files = vec![deployment.join("plan.rs"), deployment.join("report.rs")];
    sources(&deployment.join("plan"), &mut files);
    let texts: Vec<_> = files
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let given: BTreeSet<_> = texts.iter().flat_map(|text| words(text)).collect();
    let listed: BTreeSet<_> = REASONS.iter().map(|reason| reason.reason).collect();
    let missing: Vec<_> = given.difference(&listed).collect();
    let stale: Vec<_> = listed.difference(&given).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "crds/src/condition/reason.rs lacks {missing:?} and lists {stale:?}, which nobody gives"
    );
}

#[test]
fn a_reason_is_listed_once_for_each_condition() {
    let mut seen = BTreeSet::new();
    for reason in REASONS {
        assert!(seen.insert((reason.condition, reason.reason)), "{reason:?}");
        assert!(
            ["True", "False", "Unknown"].contains(&reason.status),
            "{reason:?}"
        );
        assert!(
            !reason.meaning.contains('|') && !reason.remedy.contains('|'),
            "{reason:?}: a bar ends a table's cell"
        );
    }
}
