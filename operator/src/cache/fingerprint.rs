use std::any::Any;

use k8s_openapi::api::core::v1::{ContainerState, Node, Pod, PodSpec};
use kube::{Resource, ResourceExt};
use meanet_crds::MEANetNode;

use super::hash;

/// Drops what no reconcile reads from an object before it is kept.
pub(super) fn trim<K: Resource + 'static>(object: &mut K) {
    object.managed_fields_mut().clear();
    object
        .annotations_mut()
        .remove("kubectl.kubernetes.io/last-applied-configuration");
    let pod = (object as &mut dyn Any).downcast_mut::<Pod>();
    if let Some(spec) = pod.and_then(|pod| pod.spec.as_mut()) {
        *spec = PodSpec {
            node_name: spec.node_name.take(),
            ..PodSpec::default()
        };
    }
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

/// How far it has come and what it says of that; not its addresses, nor how often it was restarted.
pub(super) fn pod(pod: &Pod) -> u64 {
    let status = pod.status.as_ref();
    let scheduled: Option<Vec<_>> = status.and_then(|status| status.conditions.as_ref()).map(|all| {
        all.iter()
            .filter(|condition| condition.type_ == "PodScheduled")
            .map(|condition| (&condition.status, &condition.message))
            .collect()
    });
    let state = |state: Option<&ContainerState>| {
        let (waiting, end) = (state?.waiting.as_ref(), state?.terminated.as_ref());
        Some(hash((
            waiting.map(|waiting| (&waiting.reason, &waiting.message)),
            end.map(|end| (end.exit_code, &end.reason, &end.message)),
        )))
    };
    let containers: Option<Vec<_>> =
        status
            .and_then(|status| status.container_statuses.as_ref())
            .map(|all| {
                all.iter()
                    .map(|container| {
                        (
                            state(container.state.as_ref()),
                            state(container.last_state.as_ref()),
                        )
                    })
                    .collect()
            });
    hash((
        pod.uid(),
        status.and_then(|status| status.phase.as_ref()),
        pod.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        scheduled,
        containers,
    ))
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
