use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use meanet_crds::MEANetRevision;
use meanet_crds::naming::{ANNOTATION_BASE, ANNOTATION_REQUEST, Component};

use super::{labels, metadata, pod};
use crate::deployment::plan::Start;
use crate::deployment::validate::Validated;

/// Folder of the runtime's image with the weights that come with it.
const SEED: &str = "/models";

/// Brings the weights of the spec into the store. Its pod is restarted in place until it succeeds: the kubelet's pauses
/// grow to five minutes, and the last message stays in the pod's status.
pub(super) fn import(spec: &Validated, name: &str) -> Job {
    let mut container = pod::container(
        spec,
        Component::Import,
        vec![
            "import".to_owned(),
            format!("--store={}", pod::STORE),
            format!("--seed={SEED}"),
            format!("--digest={}", spec.model.weights.digest),
            format!("--backbone={}", spec.model.backbone.as_str()),
            format!("--variant={}", spec.model.variant.as_str()),
            format!("--classes={}", spec.model.classes),
        ],
    );
    let quantities = |pairs: &[(&str, &str)]| {
        Some(
            pairs
                .iter()
                .map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned())))
                .collect(),
        )
    };
    container.resources = Some(ResourceRequirements {
        requests: quantities(&[("cpu", "100m"), ("memory", "128Mi")]),
        limits: quantities(&[("memory", "1Gi")]),
        claims: None,
    });
    let pod = template(spec, Component::Import, "OnFailure", container);
    Job {
        metadata: metadata(spec, name.to_owned(), Some(Component::Import)),
        spec: Some(JobSpec {
            backoff_limit: Some(i32::MAX),
            template: pod,
            ..JobSpec::default()
        }),
        status: None,
    }
}

/// Retrains adaptive and extension blocks of `base`. One attempt: a request that failed is asked for anew. A pod that had
/// to leave its node was no attempt.
pub(super) fn train(spec: &Validated, start: &Start, base: &MEANetRevision) -> Job {
    let job = &spec.training;
    let revision = serde_json::to_string(&base.spec).unwrap_or_default();
    let mut args = vec![
        "train".to_owned(),
        "job".to_owned(),
        format!("--deployment={}", spec.name),
        format!("--store={}", pod::STORE),
        format!("--revision={revision}"),
    ];
    args.extend(
        spec.dataset
            .as_ref()
            .map(|dataset| format!("--dataset={}", dataset.path)),
    );
    args.extend([
        format!("--epochs={}", job.epochs),
        format!("--batch-size={}", job.batch_size),
        format!("--max-samples={}", job.max_samples),
        format!("--seed={}", job.seed),
    ]);
    args.extend(job.learning_rate.map(|rate| format!("--learning-rate={rate}")));
    let mut container = pod::container(spec, Component::Train, args);
    container.resources = Some(spec.training_resources.clone());
    let mut metadata = metadata(spec, start.job.clone(), Some(Component::Train));
    metadata.annotations = Some(BTreeMap::from([
        (ANNOTATION_REQUEST.to_owned(), start.request.clone()),
        (ANNOTATION_BASE.to_owned(), base.name_any()),
    ]));
    Job {
        metadata,
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            active_deadline_seconds: i64::try_from(job.timeout.get().as_secs()).ok(),
            pod_failure_policy: Some(PodFailurePolicy {
                rules: vec![PodFailurePolicyRule {
                    action: "Ignore".to_owned(),
                    on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
                        type_: "DisruptionTarget".to_owned(),
                        status: Some("True".to_owned()),
                    }]),
                    on_exit_codes: None,
                }],
            }),
            template: template(spec, Component::Train, "Never", container),
            ..JobSpec::default()
        }),
        status: None,
    }
}

fn template(
    spec: &Validated,
    component: Component,
    restart: &str,
    mut container: Container,
) -> PodTemplateSpec {
    let (volume, mount) = pod::store(spec);
    container.volume_mounts = Some(vec![mount]);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels(spec, Some(component))),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            service_account_name: Some(Component::Cloud.object_name(&spec.name)),
            automount_service_account_token: Some(false),
            restart_policy: Some(restart.to_owned()),
            node_selector: Some(spec.cloud.selector.clone()),
            tolerations: Some(spec.cloud.tolerations.clone()),
            security_context: Some(pod::pod_security()),
            enable_service_links: Some(false),
            containers: vec![container],
            volumes: Some(vec![volume]),
            ..PodSpec::default()
        }),
    }
}
