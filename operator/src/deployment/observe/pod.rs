use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;
use kube::runtime::reflector::Store;
use meanet_crds::naming::{Component, LABEL_COMPONENT, LABEL_DEPLOYMENT};

/// Why the pods of a tier do not serve, in the words of Kubernetes: of the first pod, by name, that has any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Troubles(BTreeMap<&'static str, String>);

impl Troubles {
    pub(super) fn of(pods: &Store<Pod>, namespace: &str, deployment: &str) -> Self {
        let mut ours = pods.state_filter(|pod| {
            pod.namespace().as_deref() == Some(namespace)
                && pod.labels().get(LABEL_DEPLOYMENT).map(String::as_str) == Some(deployment)
        });
        ours.sort_by_key(|pod| pod.name_any());
        Self::among(&ours)
    }

    fn among(pods: &[Arc<Pod>]) -> Self {
        let first = |tier: Component| {
            let of_tier = pods.iter().filter(|pod| {
                pod.metadata.deletion_timestamp.is_none()
                    && pod.labels().get(LABEL_COMPONENT).map(String::as_str) == Some(tier.as_str())
            });
            let mut told = of_tier.filter_map(|pod| Some((pod, trouble(pod)?)));
            told.next().map(|(pod, words)| {
                (
                    tier.as_str(),
                    format!("pod {}{}: {words}", pod.name_any(), on(pod)),
                )
            })
        };
        Self(
            [Component::Edge, Component::Cloud]
                .into_iter()
                .filter_map(first)
                .collect(),
        )
    }

    /// Of the pods of this tier.
    #[must_use]
    pub fn get(&self, tier: Component) -> Option<&str> {
        self.0.get(tier.as_str()).map(String::as_str)
    }

    #[cfg(test)]
    pub(crate) fn say(&mut self, tier: Component, words: &str) {
        self.0.insert(tier.as_str(), words.to_owned());
    }
}

fn on(pod: &Pod) -> String {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
    node.map(|node| format!(" on {node}")).unwrap_or_default()
}

/// What keeps a pod from serving, where Kubernetes says so. The same trouble has the same words however often it is tried
/// again, or each try would be a change of the status.
fn trouble(pod: &Pod) -> Option<String> {
    let container = container(pod);
    let waiting = container.and_then(|container| container.state.as_ref()?.waiting.as_ref());
    match waiting.and_then(|waiting| waiting.reason.as_deref()) {
        Some("CrashLoopBackOff") => {
            let container = container?;
            let end = container.last_state.as_ref()?.terminated.as_ref()?;
            let why = end.reason.as_deref().unwrap_or("Error");
            let said = end
                .message
                .as_deref()
                .and_then(last_line)
                .map(|line| format!(": {line}"));
            Some(format!(
                "its container ends again and again, with {why}, exit code {}{}",
                end.exit_code,
                said.unwrap_or_default()
            ))
        }
        Some("ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull") => Some(format!(
            "image {} cannot be had: load it into the node, or see whether the registry wants a login",
            container?.image
        )),
        _ => waits_for(pod),
    }
}

/// The last line of a log that says something.
fn last_line(text: &str) -> Option<String> {
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(line.trim().chars().take(300).collect())
}

/// What a pod that has not started waits for.
pub(super) fn waits_for(pod: &Pod) -> Option<String> {
    let waiting = container(pod).and_then(|container| container.state.as_ref()?.waiting.clone());
    if let Some(waiting) = waiting {
        let reason = waiting.reason.filter(|reason| reason != "ContainerCreating")?;
        return Some(
            waiting
                .message
                .map_or(reason.clone(), |message| format!("{reason}: {message}")),
        );
    }
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions
        .iter()
        .find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    scheduled.message.clone()
}

/// The one container that our pods have.
pub(super) fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(name: &str, tier: &str, status: &Value) -> Arc<Pod> {
        let labels = json!({LABEL_DEPLOYMENT: "cams", LABEL_COMPONENT: tier});
        let spec = json!({"nodeName": "n", "containers": []});
        let pod = json!({"metadata": {"name": name, "labels": labels}, "spec": spec, "status": status});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn container(state: &Value) -> Value {
        let mut status =
            json!({"name": "c", "image": "runtime:1", "imageID": "", "ready": false, "restartCount": 3});
        status
            .as_object_mut()
            .unwrap()
            .extend(state.as_object().unwrap().clone());
        json!({"containerStatuses": [status]})
    }

    #[test]
    fn the_first_pod_in_trouble_of_each_tier_is_told() {
        let crash = json!({"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting …"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "INFO one\nERROR no blob\n\n"}}});
        let unscheduled = json!({"conditions": [{"type": "PodScheduled", "status": "False",
            "message": "0/3 nodes are available: 1 Insufficient nvidia.com/gpu"}]});
        let troubles = Troubles::among(&[
            pod("a", "edge", &json!({"phase": "Running"})),
            pod("b", "edge", &container(&crash)),
            pod("c", "cloud", &unscheduled),
            pod("d", "train", &unscheduled),
        ]);
        assert_eq!(
            troubles.get(Component::Edge),
            Some("pod b on n: its container ends again and again, with Error, exit code 1: ERROR no blob")
        );
        let cloud = troubles.get(Component::Cloud).unwrap();
        assert!(cloud.ends_with("Insufficient nvidia.com/gpu"), "{cloud}");
        assert_eq!(troubles.get(Component::Train), None);
    }

    #[test]
    fn every_try_to_have_an_image_has_the_same_words() {
        let pulling = |reason: &str| {
            let waiting = json!({"state": {"waiting": {"reason": reason, "message": reason}}});
            Troubles::among(&[pod("a", "cloud", &container(&waiting))])
        };
        assert_eq!(pulling("ErrImagePull"), pulling("ImagePullBackOff"));
        assert!(
            pulling("ErrImagePull")
                .get(Component::Cloud)
                .unwrap()
                .contains("image runtime:1 cannot be had")
        );
    }

    #[test]
    fn a_pod_that_starts_or_leaves_is_in_no_trouble() {
        let creating = json!({"state": {"waiting": {"reason": "ContainerCreating"}}});
        let mut leaving = (*pod(
            "b",
            "edge",
            &container(&json!({"state": {"waiting": {"reason": "Odd"}}})),
        ))
        .clone();
        leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let pods = [pod("a", "edge", &container(&creating)), Arc::new(leaving)];
        assert_eq!(Troubles::among(&pods), Troubles::default());
    }
}
