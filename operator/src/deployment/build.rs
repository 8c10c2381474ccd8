//! Kubernetes objects from a validated spec and a plan. Needs no client and cannot fail.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use meanet_crds::naming::{ANNOTATION_WANTED_SINCE, Component, LABEL_COMPONENT, LABEL_DEPLOYMENT, twin_name};
use meanet_crds::{MEANetNode, MEANetNodeSpec, MEANetRevision};

use super::plan::{Plan, TwinPlan};
use super::validate::Validated;

mod access;
mod cloud;
mod edge;
mod jobs;
mod pod;
#[cfg(test)]
mod tests;

/// All that a deployment owns, but for jobs of the past.
#[derive(Clone, Debug)]
pub struct Children {
    /// Revisions to make.
    pub revisions: Vec<MEANetRevision>,
    /// One a node.
    pub twins: Vec<MEANetNode>,
    /// Identities of edge and cloud.
    pub accounts: Vec<ServiceAccount>,
    /// What edge runtimes may do.
    pub role: Role,
    /// Gives it to them.
    pub binding: RoleBinding,
    /// In front of edge and cloud.
    pub services: Vec<Service>,
    /// The edge runtimes.
    pub edge: DaemonSet,
    /// The cloud runtimes, once there is a revision.
    pub cloud: Option<Deployment>,
    /// Chooses how many cloud runtimes there are, where that is a range.
    pub autoscaler: Option<HorizontalPodAutoscaler>,
    /// Brings the first weights.
    pub import: Option<Job>,
    /// Retrains.
    pub train: Option<Job>,
}

/// Builds everything that the plan asks for.
#[must_use]
pub fn build(spec: &Validated, plan: &Plan) -> Children {
    Children {
        revisions: plan.drafts.iter().map(|draft| revision(spec, draft)).collect(),
        twins: plan
            .twins
            .iter()
            .map(|(node, twin)| self::twin(spec, node, twin))
            .collect(),
        accounts: vec![
            access::account(spec, Component::Edge),
            access::account(spec, Component::Cloud),
        ],
        role: access::role(spec),
        binding: access::binding(spec),
        services: vec![edge::service(spec), cloud::service(spec)],
        edge: edge::daemon_set(spec),
        cloud: plan
            .in_cloud
            .as_ref()
            .map(|revision| cloud::deployment(spec, revision)),
        autoscaler: plan.in_cloud.as_ref().and_then(|_| cloud::autoscaler(spec)),
        import: plan.import.as_ref().map(|name| jobs::import(spec, name)),
        train: plan
            .train
            .as_ref()
            .map(|(start, base)| jobs::train(spec, start, base)),
    }
}

/// Name, namespace, labels and owner of every child.
fn metadata(spec: &Validated, name: String, component: Option<Component>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(spec.namespace.clone()),
        labels: Some(labels(spec, component)),
        owner_references: Some(vec![spec.owner.clone()]),
        ..ObjectMeta::default()
    }
}

fn labels(spec: &Validated, component: Option<Component>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        (LABEL_DEPLOYMENT.to_owned(), spec.name.clone()),
        ("app.kubernetes.io/name".to_owned(), "meanet".to_owned()),
        ("app.kubernetes.io/instance".to_owned(), spec.name.clone()),
        (
            "app.kubernetes.io/managed-by".to_owned(),
            "meanet-operator".to_owned(),
        ),
    ]);
    if let Some(component) = component {
        labels.insert(LABEL_COMPONENT.to_owned(), component.as_str().to_owned());
        labels.insert(
            "app.kubernetes.io/component".to_owned(),
            component.as_str().to_owned(),
        );
    }
    labels
}

/// The labels that selectors of pods use: selectors cannot be changed later, so they are only the two that never will.
fn selector(spec: &Validated, component: Component) -> BTreeMap<String, String> {
    BTreeMap::from([
        (LABEL_DEPLOYMENT.to_owned(), spec.name.clone()),
        (LABEL_COMPONENT.to_owned(), component.as_str().to_owned()),
    ])
}

fn revision(spec: &Validated, draft: &MEANetRevision) -> MEANetRevision {
    MEANetRevision {
        metadata: metadata(spec, draft.name_any(), None),
        spec: draft.spec.clone(),
        status: None,
    }
}

fn twin(spec: &Validated, node: &str, twin: &TwinPlan) -> MEANetNode {
    let mut metadata = metadata(spec, twin_name(&spec.name, node), None);
    metadata.annotations = Some(BTreeMap::from([(
        ANNOTATION_WANTED_SINCE.to_owned(),
        twin.since.to_string(),
    )]));
    let wish = MEANetNodeSpec {
        deployment: spec.name.clone(),
        node_name: node.to_owned(),
        revision: twin.revision.clone(),
    };
    MEANetNode {
        metadata,
        spec: wish,
        status: None,
    }
}
