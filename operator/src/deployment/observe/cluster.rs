use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use kube::runtime::reflector::{ObjectRef, Store};

use crate::cache::Cache;

/// Whether an edge node can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdgeNode {
    /// Its condition `Ready` is True.
    pub ready: bool,
    /// Since when that condition is what it is.
    pub since: Option<Timestamp>,
}

/// What a cloud node offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloudNode {
    /// Its condition `Ready` is True.
    pub ready: bool,
    /// Extended resources that can be scheduled there.
    pub extended: BTreeMap<String, i64>,
}

/// How the claim of the store stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreClaim {
    /// There is no claim of that name.
    Missing,
    /// Bound, or binds as soon as a pod of ours asks for it.
    Usable,
    /// No volume yet, for the reason given.
    Pending(String),
    /// The volume behind it is gone.
    Lost,
}

pub(super) fn edge_nodes(
    nodes: &Store<Node>,
    labels: &BTreeMap<String, String>,
) -> BTreeMap<String, EdgeNode> {
    matching(nodes, labels, |node| {
        let ready = node
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref())
            .and_then(|conditions| conditions.iter().find(|condition| condition.type_ == "Ready"));
        let seen = EdgeNode {
            ready: ready.is_some_and(|ready| ready.status == "True"),
            since: ready
                .and_then(|ready| ready.last_transition_time.as_ref())
                .map(|time| time.0),
        };
        (node.name_any(), seen)
    })
    .into_iter()
    .collect()
}

pub(super) fn cloud_nodes(nodes: &Store<Node>, labels: &BTreeMap<String, String>) -> Vec<CloudNode> {
    matching(nodes, labels, |node| {
        let status = node.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        CloudNode {
            ready: conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
            extended: status
                .allocatable
                .unwrap_or_default()
                .into_iter()
                .filter(|(name, _)| name.contains('/'))
                .filter_map(|(name, count)| Some((name, count.0.parse().ok()?)))
                .collect(),
        }
    })
}

fn matching<T>(nodes: &Store<Node>, labels: &BTreeMap<String, String>, see: impl Fn(&Node) -> T) -> Vec<T> {
    let selector: Selector = labels.clone().into_iter().collect();
    nodes
        .state_filter(|node| selector.matches(node.labels()))
        .iter()
        .map(|node| see(node))
        .collect()
}

pub(super) fn claim(cache: &Cache, namespace: &str, name: &str) -> StoreClaim {
    let Some(claim) = cache.claims.get(&ObjectRef::new(name).within(namespace)) else {
        return StoreClaim::Missing;
    };
    match claim.status.as_ref().and_then(|status| status.phase.as_deref()) {
        Some("Bound") => StoreClaim::Usable,
        Some("Lost") => StoreClaim::Lost,
        _ => pending(&claim, &cache.classes),
    }
}

fn pending(claim: &PersistentVolumeClaim, classes: &Store<StorageClass>) -> StoreClaim {
    let name = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.storage_class_name.clone());
    let class = match &name {
        Some(name) => classes.get(&ObjectRef::new(name)),
        None => classes.find(is_default),
    };
    match (class, name) {
        (Some(class), _) if class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer") => {
            StoreClaim::Usable
        }
        (Some(class), _) => StoreClaim::Pending(format!(
            "storage class {} has not made a volume yet",
            class.name_any()
        )),
        (None, Some(name)) if name.is_empty() => {
            StoreClaim::Pending("no volume of its own matches it yet".to_owned())
        }
        (None, Some(name)) => StoreClaim::Pending(format!("there is no storage class {name}")),
        (None, None) => {
            StoreClaim::Pending("it names no storage class, and the cluster has no default one".to_owned())
        }
    }
}

fn is_default(class: &StorageClass) -> bool {
    class
        .annotations()
        .get("storageclass.kubernetes.io/is-default-class")
        .is_some_and(|value| value == "true")
}
