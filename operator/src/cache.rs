//! What the operator knows of the cluster: one watch a kind, kept in memory. A reconcile reads only from here.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

use futures::future::try_join_all;
use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::core::NamespaceResourceScope;
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::ReconcileRequest;
use kube::runtime::reflector::store::{Writer, WriterDropped};
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use meanet_crds::naming::LABEL_DEPLOYMENT;
use meanet_crds::{MEANetDeployment, MEANetNode, MEANetRevision};
use serde::de::DeserializeOwned;

mod fingerprint;

/// Deployments that something changed for.
pub type Triggers = SelectAll<BoxStream<'static, Result<ReconcileRequest<MEANetDeployment>, watcher::Error>>>;
type Target = ObjectRef<MEANetDeployment>;

/// One store a kind. Children are those with the label [`LABEL_DEPLOYMENT`].
#[derive(Clone, Debug)]
pub struct Cache {
    /// All deployments.
    pub deployments: Store<MEANetDeployment>,
    /// All revisions.
    pub revisions: Store<MEANetRevision>,
    /// All twins.
    pub twins: Store<MEANetNode>,
    /// All nodes, without what nobody reads.
    pub nodes: Store<Node>,
    /// All claims.
    pub claims: Store<PersistentVolumeClaim>,
    /// All storage classes.
    pub classes: Store<StorageClass>,
    /// Import and training jobs.
    pub jobs: Store<Job>,
    /// Our pods, without their specs: for what those of jobs say at their end, and for why others do not start.
    pub pods: Store<Pod>,
    /// Edge runtimes.
    pub daemon_sets: Store<DaemonSet>,
    /// Cloud runtimes.
    pub workloads: Store<Deployment>,
    /// Services of both.
    pub services: Store<Service>,
    /// Service accounts of both.
    pub accounts: Store<ServiceAccount>,
    /// Roles of the edge runtimes.
    pub roles: Store<Role>,
    /// Bindings of those roles.
    pub bindings: Store<RoleBinding>,
    /// Autoscalers of cloud runtimes.
    pub autoscalers: Store<HorizontalPodAutoscaler>,
}

impl Cache {
    /// The caches, and the stream that fills them while it is polled.
    pub fn new(client: &Client) -> (Self, Triggers) {
        let (deployments, writer) = store::<MEANetDeployment>();
        let mut feed = Feed {
            client: client.clone(),
            all: deployments.clone(),
            triggers: SelectAll::new(),
        };
        let everything = watcher::Config::default();
        feed.watch(&everything, writer, fingerprint::version, |deployment, _| {
            vec![ObjectRef::from_obj(deployment)]
        });
        let revisions = feed.kind(
            &everything,
            fingerprint::version,
            |revision: &MEANetRevision, _| of(revision, &revision.spec.deployment),
        );
        let twins = feed.kind(&everything, fingerprint::twin, |twin: &MEANetNode, _| {
            of(twin, &twin.spec.deployment)
        });
        let nodes = feed.kind(&everything, fingerprint::node, |_: &Node, all| everyone(all));
        let claims = feed.kind(
            &everything,
            fingerprint::version,
            |claim: &PersistentVolumeClaim, all| users(all, claim),
        );
        let classes = feed.kind(&everything, fingerprint::version, |_: &StorageClass, all| {
            everyone(all)
        });
        let ours = watcher::Config::default().labels(LABEL_DEPLOYMENT);
        let pods = feed.kind(&ours, fingerprint::pod, by_label::<Pod>);
        let cache = Self {
            deployments,
            revisions,
            twins,
            nodes,
            claims,
            classes,
            pods,
            jobs: feed.children(),
            daemon_sets: feed.children(),
            workloads: feed.children(),
            services: feed.children(),
            accounts: feed.children(),
            roles: feed.children(),
            bindings: feed.children(),
            autoscalers: feed.children(),
        };
        (cache, feed.triggers)
    }

    /// Waits until every cache has been filled once.
    pub async fn filled(&self) -> Result<(), WriterDropped> {
        try_join_all([
            self.deployments.wait_until_ready().boxed(),
            self.revisions.wait_until_ready().boxed(),
            self.twins.wait_until_ready().boxed(),
            self.nodes.wait_until_ready().boxed(),
            self.claims.wait_until_ready().boxed(),
            self.classes.wait_until_ready().boxed(),
            self.jobs.wait_until_ready().boxed(),
            self.pods.wait_until_ready().boxed(),
            self.daemon_sets.wait_until_ready().boxed(),
            self.workloads.wait_until_ready().boxed(),
            self.services.wait_until_ready().boxed(),
            self.accounts.wait_until_ready().boxed(),
            self.roles.wait_until_ready().boxed(),
            self.bindings.wait_until_ready().boxed(),
            self.autoscalers.wait_until_ready().boxed(),
        ])
        .await
        .map(|_| ())
    }
}

/// Adds one watch a kind to the triggers.
struct Feed {
    client: Client,
    all: Store<MEANetDeployment>,
    triggers: Triggers,
}

impl Feed {
    fn children<K>(&mut self) -> Store<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        self.kind(
            &watcher::Config::default().labels(LABEL_DEPLOYMENT),
            fingerprint::version,
            by_label::<K>,
        )
    }

    fn kind<K>(
        &mut self,
        config: &watcher::Config,
        fingerprint: fn(&K) -> u64,
        wakes: fn(&K, &Store<MEANetDeployment>) -> Vec<Target>,
    ) -> Store<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let (reader, writer) = store::<K>();
        self.watch(config, writer, fingerprint, wakes);
        reader
    }

    fn watch<K>(
        &mut self,
        config: &watcher::Config,
        writer: Writer<K>,
        fingerprint: fn(&K) -> u64,
        wakes: fn(&K, &Store<MEANetDeployment>) -> Vec<Target>,
    ) where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let all = self.all.clone();
        let mut seen = Seen::new(fingerprint);
        let stream = watcher(Api::<K>::all(self.client.clone()), config.clone())
            .default_backoff()
            .modify(fingerprint::trim)
            .reflect(writer)
            .flat_map(move |event| {
                let targets = match event {
                    Ok(event) => seen
                        .wakes(&event, &all, wakes)
                        .into_iter()
                        .map(|t| Ok(t.into()))
                        .collect(),
                    Err(error) => vec![Err(error)],
                };
                stream::iter(targets)
            });
        self.triggers.push(stream.boxed());
    }
}

/// Fingerprints of what has been seen of one kind, so that news nobody acts on wakes nobody.
struct Seen<K> {
    fingerprint: fn(&K) -> u64,
    known: HashMap<(Option<String>, String), u64>,
    listed: HashMap<(Option<String>, String), u64>,
}

impl<K: Resource<DynamicType = ()>> Seen<K> {
    fn new(fingerprint: fn(&K) -> u64) -> Self {
        Self {
            fingerprint,
            known: HashMap::new(),
            listed: HashMap::new(),
        }
    }

    fn wakes(
        &mut self,
        event: &Event<K>,
        all: &Store<MEANetDeployment>,
        wakes: fn(&K, &Store<MEANetDeployment>) -> Vec<Target>,
    ) -> Vec<Target> {
        let key = |object: &K| (object.namespace(), object.name_any());
        match event {
            Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                self.listed.insert(key(object), (self.fingerprint)(object));
                Vec::new()
            }
            Event::InitDone => {
                // What vanished while the watch was down leaves no event: everyone looks again if anything differs.
                let changed = self.known != self.listed;
                self.known = std::mem::take(&mut self.listed);
                if changed { everyone(all) } else { Vec::new() }
            }
            Event::Apply(object) => {
                let print = (self.fingerprint)(object);
                let news = self.known.insert(key(object), print) != Some(print);
                if news { wakes(object, all) } else { Vec::new() }
            }
            Event::Delete(object) => {
                self.known.remove(&key(object));
                wakes(object, all)
            }
        }
    }
}

fn everyone(all: &Store<MEANetDeployment>) -> Vec<Target> {
    all.state()
        .iter()
        .map(|deployment| ObjectRef::from_obj(deployment.as_ref()))
        .collect()
}

fn of<K: ResourceExt>(object: &K, deployment: &str) -> Vec<Target> {
    object
        .namespace()
        .map(|namespace| ObjectRef::new(deployment).within(&namespace))
        .into_iter()
        .collect()
}

fn by_label<K: ResourceExt>(object: &K, _: &Store<MEANetDeployment>) -> Vec<Target> {
    object
        .labels()
        .get(LABEL_DEPLOYMENT)
        .map(|name| of(object, name))
        .unwrap_or_default()
}

fn users(all: &Store<MEANetDeployment>, claim: &PersistentVolumeClaim) -> Vec<Target> {
    let uses = |deployment: &MEANetDeployment| {
        deployment.namespace() == claim.namespace()
            && deployment.spec.store.persistent_volume_claim.claim_name == claim.name_any()
    };
    all.state_filter(uses)
        .iter()
        .map(|deployment| ObjectRef::from_obj(deployment.as_ref()))
        .collect()
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
