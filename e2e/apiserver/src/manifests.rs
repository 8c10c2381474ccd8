use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt, discovery};
use serde_json::Value;

/// All documents of all YAML files in a folder, by file name.
#[must_use]
pub fn documents(folder: &Path) -> Vec<Value> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("failed to read {}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "yaml"))
        .filter(|path| path.file_name().is_some_and(|name| name != "kustomization.yaml"))
        .collect();
    files.sort();
    files
        .iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            serde_saphyr::from_multiple::<Value>(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        })
        .filter(|document| !document.is_null())
        .collect()
}

/// Applies documents in order. Waits after a CustomResourceDefinition until it is served.
pub async fn apply(client: &Client, documents: &[Value]) {
    for document in documents {
        let object: DynamicObject = serde_json::from_value(document.clone()).expect("a Kubernetes object");
        let types = object.types.clone().expect("apiVersion and kind");
        let kind = GroupVersionKind::try_from(&types).expect("apiVersion and kind");
        let begin = Instant::now();
        let (resource, capabilities) = loop {
            match discovery::pinned_kind(client, &kind).await {
                Ok(found) => break found,
                Err(error) if begin.elapsed() > Duration::from_secs(15) => {
                    panic!("no kind {kind:?}: {error}")
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        let api: Api<DynamicObject> = match (&capabilities.scope, object.namespace()) {
            (discovery::Scope::Namespaced, Some(namespace)) => {
                Api::namespaced_with(client.clone(), &namespace, &resource)
            }
            (discovery::Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), &resource),
            (discovery::Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
        };
        let name = object.name_any();
        let params = PatchParams::apply("test").force();
        api.patch(&name, &params, &Patch::Apply(document))
            .await
            .unwrap_or_else(|error| panic!("failed to apply {} {name}: {error}", kind.kind));
        if kind.kind == "CustomResourceDefinition" {
            established(client, &name).await;
        }
    }
}

async fn established(client: &Client, name: &str) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    kube::runtime::wait::await_condition(api, name, kube::runtime::conditions::is_crd_established())
        .await
        .unwrap_or_else(|error| panic!("{name} is not served: {error}"));
}
