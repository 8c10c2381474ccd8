use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, EnvVar, EnvVarSource, KeyToPath, ObjectFieldSelector,
    PodSpec, PodTemplateSpec, Service, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use meanet_crds::deployment::Authorities;
use meanet_crds::naming::{Component, PORT_HTTP};

use super::{labels, metadata, pod, selector};
use crate::deployment::validate::{Serving, Validated};

/// Where an edge keeps blobs over a restart of its container.
const CACHE: &str = "/var/lib/meanet";
/// Where the authorities of an endpoint are mounted.
const AUTHORITIES: &str = "/etc/meanet/authorities";
const CA_FILE: &str = "ca.crt";
/// Two revisions of the largest network and queued samples, with room.
const CACHE_SIZE: &str = "1Gi";

/// Clients on a node reach the edge runtime of their own node, and no other.
pub(super) fn service(spec: &Validated) -> Service {
    pod::service(spec, Component::Edge, "Local")
}

/// One edge runtime on every node selected. It is there before the first weights, so that they find it waiting.
pub(super) fn daemon_set(spec: &Validated) -> DaemonSet {
    let mut container = pod::serving(pod::container(spec, Component::Edge, args(spec)));
    container.resources = Some(spec.edge.resources.clone());
    container.env = Some(vec![
        field("MEANET_NODE", "spec.nodeName"),
        field("MEANET_POD", "metadata.name"),
    ]);
    let (volumes, mounts) = volumes(spec);
    container.volume_mounts = Some(mounts);
    DaemonSet {
        metadata: metadata(
            spec,
            Component::Edge.object_name(&spec.name),
            Some(Component::Edge),
        ),
        spec: Some(DaemonSetSpec {
            selector: LabelSelector {
                match_labels: Some(selector(spec, Component::Edge)),
                match_expressions: None,
            },
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDaemonSet {
                    max_unavailable: Some(IntOrString::Int(1)),
                    max_surge: None,
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels(spec, Some(Component::Edge))),
                    ..ObjectMeta::default()
                }),
                spec: Some(PodSpec {
                    service_account_name: Some(Component::Edge.object_name(&spec.name)),
                    node_selector: Some(spec.edge.selector.clone()),
                    tolerations: Some(tolerations(spec)),
                    security_context: Some(pod::pod_security()),
                    termination_grace_period_seconds: Some(30),
                    enable_service_links: Some(false),
                    containers: vec![container],
                    volumes: Some(volumes),
                    ..PodSpec::default()
                }),
            },
            ..DaemonSetSpec::default()
        }),
        status: None,
    }
}

/// The cache, and the authorities that vouch for the cloud, where there are any of one's own.
fn volumes(spec: &Validated) -> (Vec<Volume>, Vec<VolumeMount>) {
    let cache = EmptyDirVolumeSource {
        size_limit: Some(Quantity(CACHE_SIZE.to_owned())),
        medium: None,
    };
    let mut volumes = vec![Volume {
        name: "cache".to_owned(),
        empty_dir: Some(cache),
        ..Volume::default()
    }];
    let mut mounts = vec![VolumeMount {
        name: "cache".to_owned(),
        mount_path: CACHE.to_owned(),
        ..VolumeMount::default()
    }];
    if let Some(Authorities { config_map_name, key }) = authorities(spec) {
        let certificates = ConfigMapVolumeSource {
            name: config_map_name.clone(),
            items: Some(vec![KeyToPath {
                key: key.clone(),
                path: CA_FILE.to_owned(),
                mode: None,
            }]),
            ..ConfigMapVolumeSource::default()
        };
        volumes.push(Volume {
            name: "authorities".to_owned(),
            config_map: Some(certificates),
            ..Volume::default()
        });
        mounts.push(VolumeMount {
            name: "authorities".to_owned(),
            mount_path: AUTHORITIES.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        });
    }
    (volumes, mounts)
}

fn authorities(spec: &Validated) -> Option<&Authorities> {
    match &spec.serving {
        Serving::External { authorities, .. } => authorities.as_ref(),
        Serving::Own { .. } => None,
    }
}

fn args(spec: &Validated) -> Vec<String> {
    let store = format!(
        "http://{}.{}.svc",
        Component::Cloud.object_name(&spec.name),
        spec.namespace
    );
    let cloud = match &spec.serving {
        Serving::Own { .. } => format!("{store}/v2/models/cloud"),
        Serving::External { url, .. } => url.clone(),
    };
    let mut args = vec!["edge".to_owned()];
    let listen = format!("0.0.0.0:{PORT_HTTP}");
    let flags = [
        ("deployment", spec.name.as_str()),
        ("namespace", &spec.namespace),
        ("node", "$(MEANET_NODE)"),
        ("store-url", &store),
        ("cloud-url", &cloud),
        ("cache-dir", CACHE),
        ("listen", &listen),
    ];
    args.extend(flags.into_iter().map(|(flag, value)| format!("--{flag}={value}")));
    args.extend(authorities(spec).map(|_| format!("--ca-file={AUTHORITIES}/{CA_FILE}")));
    args.extend(
        spec.edge_threads
            .map(|threads| format!("--compute-threads={threads}")),
    );
    args.extend(spec.pin_threads.then(|| "--pin-threads".to_owned()));
    args
}

/// A node out of reach keeps its edge runtime, which serves without us.
fn tolerations(spec: &Validated) -> Vec<Toleration> {
    let stay = |key: &str| Toleration {
        key: Some(format!("node.kubernetes.io/{key}")),
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        ..Toleration::default()
    };
    ["not-ready", "unreachable"]
        .into_iter()
        .map(stay)
        .chain(spec.edge.tolerations.iter().cloned())
        .collect()
}

fn field(name: &str, path: &str) -> EnvVar {
    let source = ObjectFieldSelector {
        field_path: path.to_owned(),
        api_version: None,
    };
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(source),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}
