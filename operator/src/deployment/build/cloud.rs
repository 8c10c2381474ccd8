use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec,
    MetricTarget, ResourceMetricSource,
};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec, Service, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use meanet_crds::MEANetRevision;
use meanet_crds::deployment::Replicas;
use meanet_crds::naming::{Component, PORT_HTTP};

use super::{labels, metadata, pod, selector};
use crate::deployment::validate::{Serving, Validated};

/// CPU use, in percent of the request, that the autoscaler aims for.
const CPU_TARGET: i32 = 70;

pub(super) fn service(spec: &Validated) -> Service {
    pod::service(spec, Component::Cloud, "Cluster")
}

/// The cloud runtimes: the store, and the network of `revision` unless another server stands in for it.
pub(super) fn deployment(spec: &Validated, revision: &MEANetRevision) -> Deployment {
    let (volume, mount) = pod::store(spec);
    let mut container = pod::serving(pod::container(spec, Component::Cloud, args(spec, revision)));
    container.resources = Some(spec.cloud.resources.clone());
    container.volume_mounts = Some(vec![mount]);
    let pods = LabelSelector {
        match_labels: Some(selector(spec, Component::Cloud)),
        match_expressions: None,
    };
    Deployment {
        metadata: metadata(
            spec,
            Component::Cloud.object_name(&spec.name),
            Some(Component::Cloud),
        ),
        spec: Some(DeploymentSpec {
            // Left to the autoscaler where there is one.
            replicas: fixed_replicas(spec),
            selector: pods.clone(),
            // Where every accelerator is taken, a pod more than wanted would wait for ever for one of its own: the old
            // one has to go first. Edges answer by themselves meanwhile.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(0)),
                    max_unavailable: Some(IntOrString::Int(1)),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels(spec, Some(Component::Cloud))),
                    ..ObjectMeta::default()
                }),
                spec: Some(PodSpec {
                    service_account_name: Some(Component::Cloud.object_name(&spec.name)),
                    automount_service_account_token: Some(false),
                    node_selector: Some(spec.cloud.selector.clone()),
                    tolerations: Some(spec.cloud.tolerations.clone()),
                    security_context: Some(pod::pod_security()),
                    termination_grace_period_seconds: Some(30),
                    enable_service_links: Some(false),
                    topology_spread_constraints: Some(vec![TopologySpreadConstraint {
                        max_skew: 1,
                        topology_key: "kubernetes.io/hostname".to_owned(),
                        when_unsatisfiable: "ScheduleAnyway".to_owned(),
                        label_selector: Some(pods),
                        ..TopologySpreadConstraint::default()
                    }]),
                    containers: vec![container],
                    volumes: Some(vec![volume]),
                    ..PodSpec::default()
                }),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn fixed_replicas(spec: &Validated) -> Option<i32> {
    match &spec.serving {
        Serving::Own { replicas, .. } => Some(replicas.min).filter(|_| range(replicas).is_none()),
        Serving::External { .. } => Some(1),
    }
}

fn range(replicas: &Replicas) -> Option<(i32, i32)> {
    replicas
        .max
        .filter(|max| *max > replicas.min)
        .map(|max| (replicas.min, max))
}

fn args(spec: &Validated, revision: &MEANetRevision) -> Vec<String> {
    let mut args = vec![
        "cloud".to_owned(),
        format!("--deployment={}", spec.name),
        format!("--store={}", pod::STORE),
        format!("--listen=0.0.0.0:{PORT_HTTP}"),
        format!("--max-samples={}", spec.max_samples),
    ];
    if let (Serving::Own { batching, .. }, Some(weights)) = (&spec.serving, &revision.spec.weights.cloud) {
        args.push(format!("--weights={weights}"));
        args.push(format!("--max-batch={}", batching.max_size));
        args.push(format!("--max-delay={}", batching.max_delay));
    }
    args
}

/// Where a range of replicas is given.
pub(super) fn autoscaler(spec: &Validated) -> Option<HorizontalPodAutoscaler> {
    let Serving::Own { replicas, .. } = &spec.serving else {
        return None;
    };
    let (min, max) = range(replicas)?;
    let name = Component::Cloud.object_name(&spec.name);
    Some(HorizontalPodAutoscaler {
        metadata: metadata(spec, name.clone(), Some(Component::Cloud)),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name,
            },
            min_replicas: Some(min),
            max_replicas: max,
            metrics: Some(vec![MetricSpec {
                type_: "Resource".to_owned(),
                resource: Some(ResourceMetricSource {
                    name: "cpu".to_owned(),
                    target: MetricTarget {
                        type_: "Utilization".to_owned(),
                        average_utilization: Some(CPU_TARGET),
                        ..MetricTarget::default()
                    },
                }),
                ..MetricSpec::default()
            }]),
            behavior: None,
        }),
        status: None,
    })
}
