//! The API as a real API server sees it: what it refuses and in which words, what it fills in, and that the files in
//! `manifests/crd` are what the types say.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::client::Body;
use kube::core::{ApiResource, GroupVersionKind};
use meanet_apiserver::{ApiServer, apply, documents};
use serde_json::Value;

#[path = "api/docs.rs"]
mod docs;

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_objects_are_refused_by_name_and_wellformed_ones_completed() {
    let server = ApiServer::start().await;
    let client = server.client().await;
    // As the API server takes them: a format or keyword that it does not know comes back as a warning.
    for crd in documents(&folder("../manifests/crd")) {
        let request = http::Request::post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Body::from(crd.to_string().into_bytes()))
            .unwrap();
        let answer = client.send(request).await.unwrap();
        let warnings: Vec<_> = answer.headers().get_all(http::header::WARNING).iter().collect();
        assert!(
            answer.status().is_success() && warnings.is_empty(),
            "{} {warnings:?}",
            answer.status()
        );
    }
    apply(&client, &documents(&folder("../manifests/crd"))).await;

    let mut wrong = Vec::new();
    for fixture in fixtures("tests/malformed") {
        let outcome = store(&client, &fixture.documents).await;
        clear(&client, &fixture.documents).await;
        let [expected] = fixture.expected.as_slice() else {
            panic!("{}: one line `# expect: `", fixture.name)
        };
        match outcome {
            Ok(_) => wrong.push(format!("{}: was accepted", fixture.name)),
            Err((index, message)) if index + 1 == fixture.documents.len() && message.contains(expected) => {}
            Err((_, message)) => wrong.push(format!("{}: {message}", fixture.name)),
        }
    }
    for fixture in fixtures("tests/wellformed") {
        match store(&client, &fixture.documents).await {
            Err((_, message)) => wrong.push(format!("{}: {message}", fixture.name)),
            Ok(stored) => {
                for line in &fixture.expected {
                    let (pointer, value) = line.split_once(" = ").expect("POINTER = JSON");
                    let value: Value = serde_json::from_str(value).unwrap();
                    let is = stored.pointer(pointer);
                    if is != Some(&value) {
                        wrong.push(format!("{}: {pointer} is {is:?}", fixture.name));
                    }
                }
            }
        }
        clear(&client, &fixture.documents).await;
    }
    for shown in docs::shown() {
        let whole = [shown.whole];
        if let Err((_, message)) = store(&client, &whole).await {
            wrong.push(format!("{}: {message}", shown.place));
        }
        clear(&client, &whole).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_generated_is_what_the_types_say() {
    let (fresh, page) = (
        tempfile::tempdir().unwrap(),
        tempfile::NamedTempFile::new().unwrap(),
    );
    let status = Command::new(env!("CARGO_BIN_EXE_crdgen"))
        .arg(fresh.path())
        .arg(page.path())
        .status()
        .unwrap();
    assert!(status.success());
    assert!(
        fs::read_to_string(folder("../docs/api.md")).unwrap() == fs::read_to_string(page.path()).unwrap(),
        "docs/api.md is not what the types say: make generate"
    );
    for entry in fs::read_dir(fresh.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (made, kept) = (
            fs::read_to_string(&path).unwrap(),
            folder("../manifests/crd").join(&name),
        );
        assert!(made.len() < 200_000, "{name} has {} bytes", made.len());
        assert!(
            fs::read_to_string(kept).unwrap() == made,
            "manifests/crd/{name} is not what the types say: make generate"
        );
    }
}

#[test]
fn the_sample_names_the_weights_that_come_with_the_runtime() {
    let manifest = folder("../runtime/models/cifar100/manifest.json");
    if !manifest.exists() {
        return;
    }
    let digest = Command::new("sha256sum").arg(&manifest).output().unwrap().stdout;
    let digest = String::from_utf8(digest).unwrap();
    let digest = digest.split_whitespace().next().unwrap();
    let sample = fs::read_to_string(folder("../manifests/samples/street-cams.yaml")).unwrap();
    assert!(
        sample.contains(&format!("digest: sha256:{digest}")),
        "manifests/samples/street-cams.yaml must name sha256:{digest}"
    );
}

struct Fixture {
    name: String,
    expected: Vec<String>,
    documents: Vec<Value>,
}

fn fixtures(path: &str) -> Vec<Fixture> {
    let mut files: Vec<_> = fs::read_dir(folder(path))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).unwrap();
            Fixture {
                name: path.file_stem().unwrap().to_string_lossy().into_owned(),
                expected: text
                    .lines()
                    .filter_map(|line| line.strip_prefix("# expect: "))
                    .map(str::to_owned)
                    .collect(),
                documents: serde_saphyr::from_multiple(&text).unwrap(),
            }
        })
        .collect()
}

fn api(client: &Client, document: &Value) -> Api<DynamicObject> {
    let kind = document["kind"].as_str().unwrap();
    Api::default_namespaced_with(
        client.clone(),
        &ApiResource::from_gvk(&GroupVersionKind::gvk("meanet.dev", "v1alpha1", kind)),
    )
}

/// Makes the first document and applies the others to it. What is stored at the end, or which one was refused and why.
async fn store(client: &Client, documents: &[Value]) -> Result<Value, (usize, String)> {
    let mut stored = Value::Null;
    for (index, document) in documents.iter().enumerate() {
        let outcome = if index == 0 {
            // As kubectl asks: a field that is not there is a mistake.
            let plural = format!("{}s", document["kind"].as_str().unwrap().to_lowercase());
            let path =
                format!("/apis/meanet.dev/v1alpha1/namespaces/default/{plural}?fieldValidation=Strict");
            let request = http::Request::post(path).header(http::header::CONTENT_TYPE, "application/json");
            client
                .request(request.body(document.to_string().into_bytes()).unwrap())
                .await
        } else {
            let name = document["metadata"]["name"].as_str().unwrap();
            api(client, document)
                .patch(name, &PatchParams::default(), &Patch::Merge(document))
                .await
        };
        let object: DynamicObject = outcome.map_err(|error: kube::Error| (index, error.to_string()))?;
        stored = serde_json::to_value(object).unwrap();
    }
    Ok(stored)
}

async fn clear(client: &Client, documents: &[Value]) {
    if let Some(document) = documents.first() {
        let name = document["metadata"]["name"].as_str().unwrap();
        let _ = api(client, document).delete(name, &DeleteParams::default()).await;
    }
}
