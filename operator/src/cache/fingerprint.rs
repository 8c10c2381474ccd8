use std::any::Any;

use k8s_openapi::api::core::v1::Node;
use kube::{Resource, ResourceExt};
use meanet_crds::MEANetNode;

use super::hash;

/// Drops what no reconcile reads from an object before it is kept.
pub(super) fn trim<K: Resource + 'static>(object: &mut K) {
    object.managed_fields_mut().clear();
    object
        .annotations_mut()
        .remove("kubectl.kubernetes.io/last-applied-configuration");
    // The images that a node holds are most of what is known of it.
    let node = (object as &mut dyn Any).downcast_mut::<Node>();
    if let Some(status) = node.and_then(|node| node.status.as_mut()) {
        status.images = None;
    }
}

/// Any change counts.
pub(super) fn version<K: Resource>(object: &K) -> u64 {
    hash((object.uid(), object.resource_version()))
}

/// Labels, readiness and what can be scheduled there; not the heartbeat.
pub(super) fn node(node: &Node) -> u64 {
    let status = node.status.as_ref();
    let ready = status
        .and_then(|status| status.conditions.as_ref())
        .and_then(|conditions| conditions.iter().find(|condition| condition.type_ == "Ready"))
        .map(|ready| {
            (
                ready.status.clone(),
                ready.last_transition_time.as_ref().map(|time| time.0),
            )
        });
    let allocatable: Option<Vec<_>> = status.and_then(|status| status.allocatable.as_ref()).map(|all| {
        all.iter()
            .filter(|(name, _)| name.contains('/'))
            .map(|(name, count)| (name, &count.0))
            .collect()
    });
    hash((node.uid(), node.labels(), ready, allocatable))
}

/// What is wanted and what became of it; not the counters that an edge reports all the time.
pub(super) fn twin(twin: &MEANetNode) -> u64 {
    let status = twin.status.as_ref();
    hash((
        twin.uid(),
        twin.metadata.generation,
        twin.labels(),
        twin.annotations(),
        twin.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        twin.metadata.owner_references.as_ref().map(Vec::len),
        status.map(|status| {
            (
                status.state,
                status.phase,
                &status.revision,
                &status.message,
                status.observed_generation,
            )
        }),
    ))
}
