//! Everything that matters to one deployment, read from the caches into one value.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::runtime::reflector::Store;
use kube::{Api, Resource, ResourceExt};
use meanet_crds::naming::{ANNOTATION_WANTED_SINCE, Component, LABEL_DEPLOYMENT};
use meanet_crds::node::EdgePhase;
use meanet_crds::{MEANetDeployment, MEANetNode, MEANetRevision};

use crate::cache::Cache;

mod cluster;
mod job;
mod pod;

pub use cluster::{CloudNode, EdgeNode, StoreClaim};
pub use job::{JobSeen, Outcome, Progress};
pub use pod::Troubles;

/// Whether the cache has what the API server has of the runs of `deployment`. The cache may lag behind our own last words
/// on a run, and a run that was answered must not be made again for that: its job may be gone already.
pub async fn runs_are_current(
    api: &Api<MEANetDeployment>,
    deployment: &MEANetDeployment,
) -> kube::Result<bool> {
    let runs = |deployment: &MEANetDeployment| {
        let status = deployment.status.as_ref();
        status.and_then(|status| status.retraining.clone())
    };
    let live = api.get_opt(&deployment.name_any()).await?;
    Ok(live.is_some_and(|live| live.uid() == deployment.uid() && runs(&live) == runs(deployment)))
}

/// What plans are made from. Small values, so that tests can write down any cluster.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The deployment itself.
    pub deployment: Arc<MEANetDeployment>,
    /// Its revisions, by number.
    pub revisions: Vec<Arc<MEANetRevision>>,
    /// Its twins, by name of the node.
    pub twins: BTreeMap<String, TwinSeen>,
    /// Nodes that match the edge's selector.
    pub edge_nodes: BTreeMap<String, EdgeNode>,
    /// Nodes that match the cloud's selector.
    pub cloud_nodes: Vec<CloudNode>,
    /// The claim of the store.
    pub claim: StoreClaim,
    /// Import and training jobs, the oldest first.
    pub jobs: Vec<JobSeen>,
    /// Edge pods that are ready; absent while there is no DaemonSet.
    pub edge_pods_ready: Option<i32>,
    /// The cloud's Deployment, if there is one.
    pub cloud: Option<CloudSeen>,
    /// Why pods of edge and cloud do not serve.
    pub troubles: Troubles,
}

/// What one twin wants and reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TwinSeen {
    /// The revision wanted.
    pub wanted: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// The revision that the edge reports to answer requests.
    pub live: Option<String>,
    /// What the edge is doing.
    pub phase: Option<EdgePhase>,
    /// The report answers the newest generation of the twin.
    pub answered: bool,
    /// What the edge says besides.
    pub message: Option<String>,
}

impl TwinSeen {
    /// The wanted revision answers requests.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.wanted.is_some() && self.live == self.wanted && self.phase == Some(EdgePhase::Live)
    }

    /// The edge has tried the wanted revision and could not load it.
    #[must_use]
    pub fn failed(&self) -> bool {
        !self.synced() && self.answered && self.phase == Some(EdgePhase::Failed)
    }
}

/// The cloud's Deployment, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloudSeen {
    /// Replicas wanted.
    pub wanted: i32,
    /// Replicas that take requests.
    pub available: i32,
    /// Since when it is available, or is not.
    pub since: Option<Timestamp>,
    /// The Deployment's controller has seen its newest generation, and every replica runs it.
    pub updated: bool,
}

/// The live objects, to compare with what is built. No decision reads them.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Revisions by name.
    pub revisions: BTreeMap<String, Arc<MEANetRevision>>,
    /// Twins by name.
    pub twins: BTreeMap<String, Arc<MEANetNode>>,
    /// Jobs by name.
    pub jobs: BTreeMap<String, Arc<Job>>,
    /// DaemonSets by name.
    pub daemon_sets: BTreeMap<String, Arc<DaemonSet>>,
    /// Deployments by name.
    pub workloads: BTreeMap<String, Arc<Deployment>>,
    /// Services by name.
    pub services: BTreeMap<String, Arc<Service>>,
    /// Service accounts by name.
    pub accounts: BTreeMap<String, Arc<ServiceAccount>>,
    /// Roles by name.
    pub roles: BTreeMap<String, Arc<Role>>,
    /// Bindings by name.
    pub bindings: BTreeMap<String, Arc<RoleBinding>>,
    /// Autoscalers by name.
    pub autoscalers: BTreeMap<String, Arc<HorizontalPodAutoscaler>>,
}

/// Whether an object is this deployment's, and not one that a deployment of the same name left when it was deleted: that is
/// on its way out. One without any owner is ours: deleted with `--cascade=orphan` and made again, a deployment goes on with
/// the history that it had.
pub(crate) fn belongs<K: ResourceExt>(object: &K, deployment: &MEANetDeployment) -> bool {
    let owners = object.owner_references();
    owners.is_empty()
        || owners
            .iter()
            .any(|owner| Some(&owner.uid) == deployment.meta().uid.as_ref())
}

/// Reads the caches. `written` are revisions made so recently that the cache may not show them yet: without them, two
/// quick edits could get the same number.
#[must_use]
pub fn observe(
    deployment: &Arc<MEANetDeployment>,
    cache: &Cache,
    written: &[Arc<MEANetRevision>],
) -> (Observed, Live) {
    let scope = Scope {
        namespace: deployment.namespace().unwrap_or_default(),
        name: deployment.name_any(),
    };
    let mut revisions = named(
        cache
            .revisions
            .state_filter(|r| scope.holds(r) && r.spec.deployment == scope.name && belongs(r, deployment)),
    );
    for revision in written {
        revisions
            .entry(revision.name_any())
            .or_insert_with(|| revision.clone());
    }
    let live = Live {
        revisions,
        twins: named(
            cache
                .twins
                .state_filter(|t| scope.holds(t) && t.spec.deployment == scope.name),
        ),
        jobs: scope.children(&cache.jobs),
        daemon_sets: scope.children(&cache.daemon_sets),
        workloads: scope.children(&cache.workloads),
        services: scope.children(&cache.services),
        accounts: scope.children(&cache.accounts),
        roles: scope.children(&cache.roles),
        bindings: scope.children(&cache.bindings),
        autoscalers: scope.children(&cache.autoscalers),
    };
    let mut by_number: Vec<_> = live.revisions.values().cloned().collect();
    by_number.sort_by_key(|revision| (revision.spec.number, revision.name_any()));
    let spec = &deployment.spec;
    let observed = Observed {
        revisions: by_number,
        twins: live
            .twins
            .values()
            .map(|twin| (twin.spec.node_name.clone(), twin_seen(twin)))
            .collect(),
        edge_nodes: cluster::edge_nodes(&cache.nodes, &spec.edge.node_selector),
        cloud_nodes: cluster::cloud_nodes(&cache.nodes, &spec.cloud.node_selector()),
        claim: cluster::claim(
            cache,
            &scope.namespace,
            &spec.store.persistent_volume_claim.claim_name,
        ),
        jobs: job::jobs(
            live.jobs.values().filter(|job| belongs(job.as_ref(), deployment)),
            &cache.pods,
            &scope.namespace,
        ),
        edge_pods_ready: live
            .daemon_sets
            .get(&Component::Edge.object_name(&scope.name))
            .map(|set| set.status.as_ref().map_or(0, |status| status.number_ready)),
        cloud: live
            .workloads
            .get(&Component::Cloud.object_name(&scope.name))
            .map(|w| cloud_seen(w)),
        troubles: Troubles::of(&cache.pods, &scope.namespace, &scope.name),
        deployment: deployment.clone(),
    };
    (observed, live)
}

/// One deployment's corner of a namespace.
struct Scope {
    namespace: String,
    name: String,
}

impl Scope {
    fn holds<K: ResourceExt>(&self, object: &K) -> bool {
        object.namespace().as_deref() == Some(&self.namespace)
    }

    fn children<K>(&self, store: &Store<K>) -> BTreeMap<String, Arc<K>>
    where
        K: Resource<DynamicType = ()> + Clone + 'static,
    {
        named(store.state_filter(|object| {
            self.holds(object) && object.labels().get(LABEL_DEPLOYMENT) == Some(&self.name)
        }))
    }
}

fn named<K: ResourceExt>(objects: Vec<Arc<K>>) -> BTreeMap<String, Arc<K>> {
    objects
        .into_iter()
        .map(|object| (object.name_any(), object))
        .collect()
}

fn twin_seen(twin: &MEANetNode) -> TwinSeen {
    let status = twin.status.clone().unwrap_or_default();
    TwinSeen {
        wanted: twin.spec.revision.clone(),
        since: twin
            .annotations()
            .get(ANNOTATION_WANTED_SINCE)
            .and_then(|text| text.parse().ok()),
        live: status.revision,
        phase: status.phase,
        answered: status.observed_generation.is_some()
            && status.observed_generation == twin.metadata.generation,
        message: status.message,
    }
}

fn cloud_seen(workload: &Deployment) -> CloudSeen {
    let wanted = workload.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = workload.status.clone().unwrap_or_default();
    CloudSeen {
        wanted,
        available: status.available_replicas.unwrap_or(0),
        since: status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == "Available")
            .and_then(|condition| condition.last_transition_time.as_ref())
            .or(workload.metadata.creation_timestamp.as_ref())
            .map(|time| time.0),
        updated: status.observed_generation == workload.metadata.generation
            && status.updated_replicas.unwrap_or(0) >= wanted,
    }
}
