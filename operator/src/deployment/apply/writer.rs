use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt};
use meanet_crds::naming::{ANNOTATION_APPLIED, MANAGER_OPERATOR};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use snafu::ResultExt;

use super::{Error, JsonSnafu, WriteSnafu, difference, together};
use crate::deployment::plan::history::hex;
use crate::deployment::validate::Validated;
use crate::metrics::Metrics;

/// A kind that can be written.
pub(in crate::deployment) trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Serialize
    + DeserializeOwned
    + Clone
    + Debug
    + Send
    + Sync
    + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug
        + Send
        + Sync
        + 'static
{
}

/// Writes into one namespace, and counts what it writes.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    namespace: String,
    owner: OwnerReference,
    metrics: Metrics,
}

impl Writer {
    /// A writer for one deployment.
    #[must_use]
    pub fn new(client: Client, spec: &Validated, metrics: Metrics) -> Self {
        Self {
            client,
            namespace: spec.namespace.clone(),
            owner: spec.owner.clone(),
            metrics,
        }
    }

    fn api<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Applies an object, unless the live one was made from the same and still has all of it.
    /// Returns the object as it is then.
    pub(super) async fn ensure<K: Kind>(
        &self,
        mut desired: K,
        live: Option<Arc<K>>,
    ) -> Result<Arc<K>, Error> {
        let name = desired.name_any();
        let hash = stamp(&mut desired)?;
        let json = to_json(&desired)?;
        if let Some(live) = live {
            let same = live.annotations().get(ANNOTATION_APPLIED) == Some(&hash);
            if same && difference::has(&to_json(live.as_ref())?, &json) {
                return Ok(live);
            }
        }
        let params = PatchParams::apply(MANAGER_OPERATOR).force();
        let outcome = self.api::<K>().patch(&name, &params, &Patch::Apply(&json)).await;
        self.metrics.wrote();
        outcome.map(Arc::new).context(WriteSnafu {
            verb: "apply",
            kind: K::kind(&()),
            name,
        })
    }

    /// Applies all objects of one kind that are desired, and deletes our others.
    pub(super) async fn converge<K: Kind>(
        &self,
        desired: Vec<K>,
        live: &BTreeMap<String, Arc<K>>,
    ) -> Vec<Result<(), Error>> {
        self.converged(desired, live).await.1
    }

    /// The same; returns the objects that are there then, too.
    pub(super) async fn converged<K: Kind>(
        &self,
        desired: Vec<K>,
        live: &BTreeMap<String, Arc<K>>,
    ) -> (Vec<Arc<K>>, Vec<Result<(), Error>>) {
        let names: BTreeSet<_> = desired.iter().map(ResourceExt::name_any).collect();
        let others = live
            .iter()
            .filter(|(name, _)| !names.contains(*name))
            .map(|(_, object)| object.clone())
            .collect();
        let writes = desired.into_iter().map(|object| {
            let before = live.get(&object.name_any()).cloned();
            self.ensure(object, before)
        });
        let mut there = Vec::new();
        let mut outcomes = Vec::new();
        for outcome in together(writes.collect()).await {
            outcomes.push(outcome.map(|object| there.push(object)));
        }
        outcomes.extend(self.delete(others).await);
        (there, outcomes)
    }

    /// Makes an object that never changes. One that is there already is as good, but not returned.
    pub(super) async fn create<K: Kind>(&self, mut desired: K) -> Result<Option<K>, Error> {
        stamp(&mut desired)?;
        let params = PostParams {
            field_manager: Some(MANAGER_OPERATOR.to_owned()),
            ..PostParams::default()
        };
        let outcome = self.api::<K>().create(&params, &desired).await;
        self.metrics.wrote();
        match outcome {
            Ok(made) => Ok(Some(made)),
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
            Err(error) => Err(error).context(WriteSnafu {
                verb: "create",
                kind: K::kind(&()),
                name: desired.name_any(),
            }),
        }
    }

    /// Makes a job, or deletes the one that was made from something else: its end makes room for the new one.
    pub(super) async fn replace(
        &self,
        mut desired: Job,
        live: &BTreeMap<String, Arc<Job>>,
    ) -> Result<(), Error> {
        let hash = stamp(&mut desired)?;
        match live.get(&desired.name_any()) {
            None => self.create(desired).await.map(drop),
            Some(live) if live.annotations().get(ANNOTATION_APPLIED) != Some(&hash) => {
                self.delete_one(live.clone()).await
            }
            Some(_) => Ok(()),
        }
    }

    /// Takes over an object that lost its owner.
    pub(super) async fn adopt<K: Kind>(&self, orphan: &K) -> Result<(), Error> {
        let name = orphan.name_any();
        // This very object, as it was seen.
        let meta = orphan.meta();
        let patch = serde_json::json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version,
            "ownerReferences": [self.owner]}});
        let params = PatchParams {
            field_manager: Some(MANAGER_OPERATOR.to_owned()),
            ..PatchParams::default()
        };
        let outcome = self.api::<K>().patch(&name, &params, &Patch::Merge(patch)).await;
        self.metrics.wrote();
        match outcome {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            outcome => outcome.map(drop).context(WriteSnafu {
                verb: "take over",
                kind: K::kind(&()),
                name,
            }),
        }
    }

    /// Writes fields of an object's status.
    pub(super) async fn status<K: Kind>(&self, name: String, status: Value) -> Result<(), Error> {
        write_status::<K>(&self.api(), &name, status, &self.metrics)
            .await
            .context(WriteSnafu {
                verb: "report in the status of",
                kind: K::kind(&()),
                name,
            })
    }

    /// Deletes objects, with what they own. Those that are not the deployment's are left alone, whatever their labels say.
    pub(super) async fn delete<K: Kind>(&self, objects: Vec<Arc<K>>) -> Vec<Result<(), Error>> {
        let ours = |object: &Arc<K>| {
            object
                .owner_references()
                .iter()
                .any(|owner| owner.uid == self.owner.uid)
        };
        together(
            objects
                .into_iter()
                .filter(ours)
                .map(|object| self.delete_one(object))
                .collect(),
        )
        .await
    }

    async fn delete_one<K: Kind>(&self, object: Arc<K>) -> Result<(), Error> {
        if object.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        // This very object, and not one that was made under its name since.
        let this = Preconditions {
            uid: object.uid(),
            resource_version: None,
        };
        let params = DeleteParams::background().preconditions(this);
        let outcome = self.api::<K>().delete(&object.name_any(), &params).await;
        self.metrics.wrote();
        match outcome {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
            Err(error) => Err(error).context(WriteSnafu {
                verb: "delete",
                kind: K::kind(&()),
                name: object.name_any(),
            }),
        }
    }
}

/// Applies `status`, and only the fields that it names. An object that is gone needs no status.
pub(in crate::deployment) async fn write_status<K: Kind>(
    api: &Api<K>,
    name: &str,
    status: Value,
    metrics: &Metrics,
) -> Result<(), kube::Error> {
    let patch = serde_json::json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name},
        "status": status,
    });
    let params = PatchParams::apply(MANAGER_OPERATOR).force();
    let outcome = api.patch_status(name, &params, &Patch::Apply(&patch)).await;
    metrics.wrote();
    match outcome {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Writes the hash of an object into its annotation.
fn stamp<K: Kind>(object: &mut K) -> Result<String, Error> {
    object.annotations_mut().remove(ANNOTATION_APPLIED);
    let hash = hex(&to_json(object)?.to_string(), 16);
    object
        .annotations_mut()
        .insert(ANNOTATION_APPLIED.to_owned(), hash.clone());
    Ok(hash)
}

fn to_json<K: Kind>(object: &K) -> Result<Value, Error> {
    serde_json::to_value(object).context(JsonSnafu {
        kind: K::kind(&()),
        name: object.name_any(),
    })
}
