use jiff::Timestamp;
use meanet_crds::revision::{Cause, Weights};
use meanet_crds::{MEANetDeployment, MEANetRevisionSpec};
use serde_json::{Value, json};

use super::*;
use crate::deployment::validate::{Images, validate};

fn validated(changes: &Value) -> Validated {
    let mut spec = json!({
        "model": {"backbone": "ResNet20", "classes": 100, "weights": {"digest": format!("sha256:{}", "0".repeat(64))}},
        "store": {"persistentVolumeClaim": {"claimName": "store"}},
    });
    for (name, value) in changes.as_object().unwrap() {
        spec[name] = value.clone();
    }
    let mut deployment = MEANetDeployment::new("cams", serde_json::from_value(spec).unwrap());
    deployment.metadata.namespace = Some("shop".to_owned());
    deployment.metadata.uid = Some("uid".to_owned());
    validate(&deployment, &Images::installed()).unwrap()
}

fn first_revision(spec: &Validated) -> MEANetRevision {
    let digest = format!("sha256:{}", "a".repeat(64));
    let weights = Weights {
        main: digest.clone(),
        adaptive: digest.clone(),
        extension: digest.clone(),
        cloud: Some(digest),
    };
    let spec = MEANetRevisionSpec {
        deployment: spec.name.clone(),
        number: 1,
        parent: None,
        cause: Cause::WeightsImported,
        model: spec.model.clone(),
        weights,
        hard_classes: vec![1],
        routing: spec.routing.clone(),
        evaluation: None,
    };
    MEANetRevision::new("cams-1", spec)
}

fn cloud_container(changes: &Value) -> (Deployment, k8s_openapi::api::core::v1::Container) {
    let spec = validated(changes);
    let deployment = cloud::deployment(&spec, &first_revision(&spec));
    let container = deployment
        .spec
        .clone()
        .unwrap()
        .template
        .spec
        .unwrap()
        .containers
        .remove(0);
    (deployment, container)
}

#[test]
fn edges_are_told_where_everything_is() {
    let spec = validated(&json!({"edge": {"computeThreads": 2, "pinThreads": true}}));
    let pod = edge::daemon_set(&spec).spec.unwrap().template.spec.unwrap();
    let args = pod.containers[0].args.clone().unwrap();
    assert_eq!(
        args,
        [
            "edge",
            "--deployment=cams",
            "--namespace=shop",
            "--node=$(MEANET_NODE)",
            "--store-url=http://cams-cloud.shop.svc",
            "--cloud-url=http://cams-cloud.shop.svc/v2/models/cloud",
            "--cache-dir=/var/lib/meanet",
            "--listen=0.0.0.0:8080",
            "--compute-threads=2",
            "--pin-threads",
        ]
    );
    let service = edge::service(&spec).spec.unwrap();
    assert_eq!(service.internal_traffic_policy.as_deref(), Some("Local"));
}

#[test]
fn every_pod_is_restricted() {
    let spec = validated(&json!({}));
    let revision = first_revision(&spec);
    let start = crate::deployment::plan::Start {
        job: "j".into(),
        request: "r".into(),
        base: "cams-1".into(),
    };
    let pods = [
        edge::daemon_set(&spec).spec.unwrap().template.spec.unwrap(),
        cloud::deployment(&spec, &revision)
            .spec
            .unwrap()
            .template
            .spec
            .unwrap(),
        jobs::import(&spec, "i").spec.unwrap().template.spec.unwrap(),
        jobs::train(&spec, &start, &revision)
            .spec
            .unwrap()
            .template
            .spec
            .unwrap(),
    ];
    for pod in pods {
        let security = pod.security_context.unwrap();
        assert_eq!(security.run_as_non_root, Some(true));
        assert_eq!(security.seccomp_profile.unwrap().type_, "RuntimeDefault");
        for container in pod.containers {
            let security = container.security_context.unwrap();
            assert_eq!(security.allow_privilege_escalation, Some(false));
            assert_eq!(security.read_only_root_filesystem, Some(true));
            assert_eq!(security.capabilities.unwrap().drop.unwrap(), ["ALL"]);
            assert!(
                container
                    .resources
                    .unwrap()
                    .limits
                    .unwrap()
                    .contains_key("memory")
            );
        }
    }
}

#[test]
fn the_cloud_takes_its_accelerator_and_serves_the_weights() {
    let (deployment, container) = cloud_container(&json!({}));
    let limits = container.resources.unwrap().limits.unwrap();
    assert_eq!(limits["nvidia.com/gpu"].0, "1");
    let args = container.args.unwrap();
    assert!(
        args.iter().any(|arg| arg.starts_with("--weights=sha256:aaaa")),
        "{args:?}"
    );
    assert!(args.contains(&"--max-delay=2ms".to_owned()));
    let strategy = deployment.spec.unwrap().strategy.unwrap().rolling_update.unwrap();
    assert_eq!(
        serde_json::to_value(strategy).unwrap(),
        json!({"maxSurge": 0, "maxUnavailable": 1})
    );
}

#[test]
fn behind_an_endpoint_the_cloud_serves_only_the_store() {
    let url = "https://models/v2/models/m";
    let (_, container) = cloud_container(&json!({"cloud": {"endpoint": url}}));
    assert!(
        !container
            .resources
            .unwrap()
            .limits
            .unwrap()
            .contains_key("nvidia.com/gpu")
    );
    assert!(
        !container
            .args
            .unwrap()
            .iter()
            .any(|arg| arg.starts_with("--weights"))
    );
    let spec = validated(&json!({"cloud": {"endpoint": url}}));
    let pod = edge::daemon_set(&spec).spec.unwrap().template.spec.unwrap();
    assert!(
        pod.containers[0]
            .args
            .clone()
            .unwrap()
            .contains(&format!("--cloud-url={url}"))
    );
}

#[test]
fn authorities_of_an_endpoint_are_mounted_where_the_edge_looks() {
    let spec = validated(&json!({"cloud": {"endpoint": "https://models/v2/models/m",
        "endpointAuthorities": {"configMapName": "our-ca"}}}));
    let pod = edge::daemon_set(&spec).spec.unwrap().template.spec.unwrap();
    let container = &pod.containers[0];
    let flag = "--ca-file=/etc/meanet/authorities/ca.crt".to_owned();
    assert!(container.args.as_ref().unwrap().contains(&flag));
    let mounts = container.volume_mounts.as_ref().unwrap();
    assert_eq!(mounts[1].mount_path, "/etc/meanet/authorities");
    let volume = serde_json::to_value(&pod.volumes.as_ref().unwrap()[1]).unwrap();
    assert_eq!(
        volume,
        json!({"name": "authorities", "configMap": {"name": "our-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}})
    );
}

#[test]
fn a_range_of_replicas_is_left_to_an_autoscaler() {
    let fixed = json!({"cloud": {"replicas": {"min": 2}}});
    let (deployment, _) = cloud_container(&fixed);
    assert_eq!(
        (
            deployment.spec.unwrap().replicas,
            cloud::autoscaler(&validated(&fixed)).is_none()
        ),
        (Some(2), true)
    );
    let range = json!({"cloud": {"replicas": {"min": 2, "max": 4}}});
    let (deployment, _) = cloud_container(&range);
    let scaler = cloud::autoscaler(&validated(&range)).unwrap().spec.unwrap();
    assert_eq!(
        (
            deployment.spec.unwrap().replicas,
            scaler.min_replicas,
            scaler.max_replicas
        ),
        (None, Some(2), 4)
    );
}

#[test]
fn each_part_runs_the_image_that_is_named_for_it() {
    let images = |changes: &Value| {
        let spec = validated(changes);
        let of = |component| pod::container(&spec, component, Vec::new()).image.unwrap();
        assert_eq!(of(Component::Import), of(Component::Cloud));
        assert_eq!(of(Component::Train), of(Component::Cloud));
        [of(Component::Edge), of(Component::Cloud)]
    };
    assert_eq!(images(&json!({})), ["edge:1", "runtime:1"]);
    assert_eq!(images(&json!({"image": "own:2"})), ["own:2", "own:2"]);
    let edge = json!({"image": "small:3"});
    assert_eq!(images(&json!({"edge": edge})), ["small:3", "runtime:1"]);
    assert_eq!(
        images(&json!({"image": "own:2", "edge": edge})),
        ["small:3", "own:2"]
    );
}

#[test]
fn what_cannot_be_run_is_refused_in_words() {
    let spec = json!({
        "model": {"backbone": "ResNet20", "classes": 100, "weights": {"digest": format!("sha256:{}", "0".repeat(64))}},
        "store": {"persistentVolumeClaim": {"claimName": "store"}},
        "cloud": {"resources": {"requests": {"nvidia.com/gpu": "1"}}},
    });
    let mut deployment = MEANetDeployment::new("cams", serde_json::from_value(spec).unwrap());
    assert!(
        validate(&deployment, &Images::installed())
            .unwrap_err()
            .to_string()
            .contains("read from the API server")
    );
    deployment.metadata.namespace = Some("shop".to_owned());
    deployment.metadata.uid = Some("uid".to_owned());
    let error = validate(&deployment, &Images::installed())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("spec.cloud.resources names nvidia.com/gpu"),
        "{error}"
    );
}

#[test]
fn twins_carry_their_wish_and_since_when() {
    let spec = validated(&json!({}));
    let wish = TwinPlan {
        revision: Some("cams-1".to_owned()),
        since: Timestamp::from_millisecond(1_800_000_000_123).unwrap(),
        state: meanet_crds::node::NodeState::Pending,
    };
    let twin = twin(&spec, "edge-1", &wish);
    assert_eq!(twin.name_any(), "cams.edge-1");
    assert_eq!(
        twin.annotations()[ANNOTATION_WANTED_SINCE]
            .parse::<Timestamp>()
            .unwrap(),
        wish.since
    );
    assert!(serde_json::to_value(&twin).unwrap().get("status").is_none());
}
