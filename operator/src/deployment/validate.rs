//! The spec, with defaults applied and checked once for what the schema cannot say.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use meanet_crds::MEANetDeployment;
use meanet_crds::deployment::{
    Accelerator, Authorities, Batching, Cloud, Dataset, Gate, Model, Replicas, Routing, TrainingJob,
};
use meanet_crds::naming::ANNOTATION_RETRAIN;
use snafu::{OptionExt, Snafu, ensure};

/// Why a spec that the API server took cannot be run.
#[derive(Debug, Snafu)]
pub enum Error {
    /// An object that was never stored.
    #[snafu(display("the deployment has no namespace or uid; was it read from the API server?"))]
    Unstored,
    /// Two fields set the same thing.
    #[snafu(display(
        "{field}.resources names {resource}, which {field}.accelerator sets: leave it out of resources"
    ))]
    AcceleratorTwice {
        /// `spec.cloud` or `spec.retraining.job`.
        field: &'static str,
        /// Name of the resource.
        resource: String,
    },
    /// Something that we have no field for.
    #[snafu(display("{field}.resources.claims is not supported: use {field}.accelerator, or leave it out"))]
    Claims {
        /// `spec.edge`, `spec.cloud` or `spec.retraining.job`.
        field: &'static str,
    },
}

/// A spec that can be built as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// Name of the deployment.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// What every child points back with.
    pub owner: OwnerReference,
    /// Image of each part.
    pub images: Images,
    /// The network and the weights to begin with.
    pub model: Model,
    /// When an input leaves by which exit.
    pub routing: Routing,
    /// Where edge runtimes run.
    pub edge: Place,
    /// Threads that compute at the edge.
    pub edge_threads: Option<i32>,
    /// `spec.edge.pinThreads`.
    pub pin_threads: bool,
    /// Where the cloud runtimes and jobs run.
    pub cloud: Place,
    /// Who answers offloaded inputs.
    pub serving: Serving,
    /// Name of the store's claim.
    pub claim: String,
    /// Samples kept in the store.
    pub max_samples: i32,
    /// The retraining request, if there ever was one.
    pub request: Option<String>,
    /// Labelled images to train on.
    pub dataset: Option<Dataset>,
    /// What retraining has to gain.
    pub gate: Gate,
    /// The training job, its resources complete.
    pub training: TrainingJob,
    /// Resources of the training job.
    pub training_resources: ResourceRequirements,
    /// How a revision reaches the nodes.
    pub rollout: Rules,
}

/// Images of the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Of cloud and jobs: all of the runtime.
    pub runtime: String,
    /// Of edges.
    pub edge: String,
}

#[cfg(test)]
impl Images {
    /// Those of tests.
    pub(crate) fn installed() -> Self {
        Self {
            runtime: "runtime:1".to_owned(),
            edge: "edge:1".to_owned(),
        }
    }
}

/// Where pods run, and with what.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Labels of the nodes.
    pub selector: BTreeMap<String, String>,
    /// Taints accepted.
    pub tolerations: Vec<Toleration>,
    /// Resources of each pod, the accelerator among them.
    pub resources: ResourceRequirements,
}

/// Who answers offloaded inputs.
#[derive(Clone, Debug, PartialEq)]
pub enum Serving {
    /// Our own cloud runtimes.
    Own {
        /// What each takes, where it takes any.
        accelerator: Option<Accelerator>,
        /// How many there are.
        replicas: Replicas,
        /// How requests are gathered.
        batching: Batching,
    },
    /// A model on another server.
    External {
        /// URL of the model.
        url: String,
        /// Who is trusted to vouch for it, besides those that browsers trust.
        authorities: Option<Authorities>,
    },
}

/// How a revision reaches the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Nodes that load new weights at the same time.
    pub max_in_flight: usize,
    /// Nothing moves.
    pub paused: bool,
    /// The revision to run, whatever is newer.
    pub pinned: Option<String>,
    /// How long a node may take.
    pub deadline: Duration,
    /// Revisions kept besides those in use.
    pub history: usize,
}

/// Applies defaults and checks; images that the spec does not name are those that were `installed`.
pub fn validate(deployment: &MEANetDeployment, installed: &Images) -> Result<Validated, Error> {
    let spec = &deployment.spec;
    let job = &spec.retraining.job;
    let count = |count: i32| usize::try_from(count).unwrap_or_default();
    let serving = serving(&spec.cloud);
    let accelerator = match &serving {
        Serving::Own { accelerator, .. } => accelerator.as_ref(),
        Serving::External { .. } => None,
    };
    let training_accelerator = job
        .accelerator
        .as_ref()
        .filter(|accelerator| accelerator.count > 0);
    Ok(Validated {
        name: deployment.name_any(),
        namespace: deployment.namespace().context(UnstoredSnafu)?,
        owner: deployment.controller_owner_ref(&()).context(UnstoredSnafu)?,
        images: Images {
            runtime: spec.image.as_ref().unwrap_or(&installed.runtime).clone(),
            edge: spec
                .edge
                .image
                .as_ref()
                .or(spec.image.as_ref())
                .unwrap_or(&installed.edge)
                .clone(),
        },
        model: spec.model.clone(),
        routing: spec.routing.clone(),
        edge: Place {
            selector: spec.edge.node_selector.clone(),
            tolerations: spec.edge.tolerations.clone(),
            resources: resources(
                "spec.edge",
                spec.edge.resources.as_ref(),
                None,
                ["100m", "96Mi", "512Mi"],
            )?,
        },
        edge_threads: spec.edge.compute_threads,
        pin_threads: spec.edge.pin_threads,
        cloud: Place {
            selector: spec.cloud.node_selector(),
            tolerations: spec.cloud.tolerations.clone(),
            resources: resources(
                "spec.cloud",
                spec.cloud.resources.as_ref(),
                accelerator,
                ["200m", "192Mi", "2Gi"],
            )?,
        },
        serving,
        claim: spec.store.persistent_volume_claim.claim_name.clone(),
        max_samples: spec.store.max_samples,
        request: deployment
            .annotations()
            .get(ANNOTATION_RETRAIN)
            .filter(|request| !request.is_empty())
            .cloned(),
        dataset: spec.retraining.dataset.clone(),
        gate: spec.retraining.gate.clone(),
        training: job.clone(),
        training_resources: resources(
            "spec.retraining.job",
            job.resources.as_ref(),
            training_accelerator,
            ["500m", "512Mi", "4Gi"],
        )?,
        rollout: Rules {
            max_in_flight: count(spec.rollout.max_in_flight),
            paused: spec.rollout.paused,
            pinned: spec.rollout.pinned_revision.clone(),
            deadline: spec.rollout.progress_deadline.get(),
            history: count(spec.rollout.revision_history_limit),
        },
    })
}

fn serving(cloud: &Cloud) -> Serving {
    match &cloud.endpoint {
        Some(url) => Serving::External {
            url: url.clone(),
            authorities: cloud.endpoint_authorities.clone(),
        },
        None => Serving::Own {
            accelerator: Some(cloud.accelerator.clone().unwrap_or_default())
                .filter(|accelerator| accelerator.count > 0),
            replicas: cloud.replicas.clone().unwrap_or_default(),
            batching: cloud.batching.clone().unwrap_or_default(),
        },
    }
}

/// Resources as given, or the default of CPU request, memory request and memory limit; then the accelerator.
fn resources(
    field: &'static str,
    given: Option<&ResourceRequirements>,
    accelerator: Option<&Accelerator>,
    [cpu, memory, memory_limit]: [&str; 3],
) -> Result<ResourceRequirements, Error> {
    let quantities = |pairs: &[(&str, &str)]| -> BTreeMap<String, Quantity> {
        pairs
            .iter()
            .map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned())))
            .collect()
    };
    let mut resources = given.cloned().unwrap_or_else(|| ResourceRequirements {
        requests: Some(quantities(&[("cpu", cpu), ("memory", memory)])),
        limits: Some(quantities(&[("memory", memory_limit)])),
        claims: None,
    });
    ensure!(
        resources.claims.as_ref().is_none_or(Vec::is_empty),
        ClaimsSnafu { field }
    );
    if let Some(Accelerator { resource, count }) = accelerator {
        let named = |amounts: &Option<BTreeMap<String, Quantity>>| {
            amounts
                .as_ref()
                .is_some_and(|amounts| amounts.contains_key(resource))
        };
        ensure!(
            !named(&resources.requests) && !named(&resources.limits),
            AcceleratorTwiceSnafu { field, resource }
        );
        // A request for an extended resource follows from its limit.
        resources
            .limits
            .get_or_insert_default()
            .insert(resource.clone(), Quantity(count.to_string()));
    }
    Ok(resources)
}
