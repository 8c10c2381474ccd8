//! What the documents show of our kinds: YAML blocks, and patches on the command line. A part of an object is completed with
//! the sample, as `kubectl patch` would.

use std::fs;
use std::path::{Path, PathBuf};

use meanet_crds::MEANetDeployment;
use serde_json::Value;

use super::folder;

/// Where an object was shown, and the object.
pub struct Shown {
    pub place: String,
    pub part: Value,
    pub whole: Value,
}

/// README and everything in docs/ that people write.
pub fn pages() -> Vec<PathBuf> {
    let mut pages = vec![folder("../README.md"), folder("../ARCHITECTURE.md")];
    for folder in [folder("../docs"), folder("../docs/guides")] {
        pages.extend(
            fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.is_file()),
        );
    }
    pages.sort();
    pages
}

fn sample() -> Value {
    let text = fs::read_to_string(folder("../manifests/samples/street-cams.yaml")).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    documents
        .into_iter()
        .find(|document| document["kind"] == "MEANetDeployment")
        .unwrap()
}

/// Texts of the fenced blocks of one language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    page.split(fence.as_str())
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

/// What follows `-p '` up to the closing quote, of commands that patch a deployment.
fn patches(page: &str) -> Vec<Value> {
    let joined = page.replace("\\\n", " ");
    let commands = joined.lines().filter(|line| line.contains("patch mead "));
    commands
        .filter_map(|line| line.split_once("-p '")?.1.split('\'').next())
        .map(|json| serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}")))
        .collect()
}

/// RFC 7386.
fn merge(base: &mut Value, part: &Value) {
    let Some(part) = part.as_object() else {
        *base = part.clone();
        return;
    };
    if !base.is_object() {
        *base = Value::Object(serde_json::Map::new());
    }
    for (key, value) in part {
        if value.is_null() {
            base.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut base[key.as_str()], value);
        }
    }
}

/// Every `MEANetDeployment` that a page shows, whole or in part.
pub fn shown() -> Vec<Shown> {
    let mut found = Vec::new();
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        let yaml = blocks(&page, "yaml").into_iter().flat_map(|block| {
            let documents: Vec<Value> =
                serde_saphyr::from_multiple(block).unwrap_or_else(|e| panic!("{e}: {block}"));
            documents
        });
        let parts = yaml
            .filter(|document| document["kind"] == "MEANetDeployment")
            .chain(patches(&page));
        for (number, part) in parts.enumerate() {
            let mut whole = sample();
            merge(&mut whole, &part);
            whole["metadata"] = serde_json::json!({"name": "shown", "namespace": "default"});
            found.push(Shown {
                place: format!("{}, object {}", path.display(), number + 1),
                part,
                whole,
            });
        }
    }
    found
}

/// Paths in `part` that `whole` does not have.
fn lost(part: &Value, whole: &Value, path: &str, found: &mut Vec<String>) {
    for (key, value) in part.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        match whole.get(key) {
            Some(inner) => lost(value, inner, &path, found),
            None if value.is_null() => {}
            None => found.push(path),
        }
    }
}

#[test]
fn what_the_documents_show_is_an_object_of_ours() {
    let all = shown();
    assert!(
        all.len() >= 5,
        "the documents show {} objects: are they still found?",
        all.len()
    );
    for Shown { place, part, whole } in all {
        let read: MEANetDeployment = serde_json::from_value(whole).unwrap_or_else(|e| panic!("{place}: {e}"));
        let mut unknown = Vec::new();
        lost(
            &part["spec"],
            &serde_json::to_value(read).unwrap()["spec"],
            "spec",
            &mut unknown,
        );
        assert!(unknown.is_empty(), "{place}: no such field: {unknown:?}");
    }
}

#[test]
fn a_field_that_is_not_there_is_found() {
    let (part, whole) = (
        serde_json::json!({"a": {"b": 1, "c": null}, "d": {}}),
        serde_json::json!({"a": {}, "d": {}}),
    );
    let mut found = Vec::new();
    lost(&part, &whole, "spec", &mut found);
    assert_eq!(found, ["spec.a.b"]);
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let mut checked = 0;
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        for link in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                path.parent().unwrap_or(Path::new("")).join(file)
            };
            assert!(target.exists(), "{}: {link}", path.display());
            let is = |line: &str| anchor(line) == heading;
            let text = if heading.is_empty() {
                String::new()
            } else {
                fs::read_to_string(&target).unwrap()
            };
            assert!(
                heading.is_empty() || text.lines().filter(|line| line.starts_with('#')).any(is),
                "{}: {link}: no such heading",
                path.display()
            );
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked} links");
}

/// A heading as GitHub names it in links.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .collect::<String>()
        .replace(' ', "-")
}
