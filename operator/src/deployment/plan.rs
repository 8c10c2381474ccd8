//! What to do, as a pure function of what was observed.
//!
//! Nothing is remembered between two plans: a lost operator, a missed event or a stale cache lead to the same plan a
//! moment later. Names of revisions and jobs follow from their content, so doing a step twice does it once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use meanet_crds::MEANetRevision;
use meanet_crds::condition::{CLOUD_AVAILABLE, READY, Verdict};
use meanet_crds::deployment::{CloudSummary, NodeSummary, RetrainingStatus};
use meanet_crds::naming::{Component, LABEL_COMPONENT, LABEL_DEPLOYMENT};

use self::history::History;
use super::observe::Observed;
use super::validate::{Serving, Validated};

pub mod history;
mod import;
mod lineage;
mod preflight;
mod retraining;
mod rollout;
#[cfg(test)]
mod tests;

pub use retraining::Start;
pub use rollout::TwinPlan;

/// How long cloud pods may take to start before somebody should look.
const START: Duration = Duration::from_mins(1);

/// Everything that should be so.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Revisions to make, before anything points at them.
    pub drafts: Vec<Arc<MEANetRevision>>,
    /// Revisions that nothing needs any more.
    pub prune: Vec<String>,
    /// Nodes that report a revision live, by its name; for every revision there was.
    pub live_on: BTreeMap<String, i32>,
    /// The twin of every node selected; any other twin goes.
    pub twins: BTreeMap<String, TwinPlan>,
    /// The revision that decides which network the cloud serves. The cloud starts with the first one.
    pub in_cloud: Option<Arc<MEANetRevision>>,
    /// Name of the import job, where it has to be there.
    pub import: Option<String>,
    /// The training job to make, and the revision that it starts from.
    pub train: Option<(Start, Arc<MEANetRevision>)>,
    /// Jobs to delete.
    pub delete_jobs: Vec<String>,
    /// The revision that every reachable node has.
    pub current: Option<String>,
    /// The revision that the nodes are on their way to.
    pub target: Option<String>,
    /// Nodes by state.
    pub nodes: NodeSummary,
    /// The cloud in a word.
    pub cloud: CloudSummary,
    /// The last retraining request.
    pub retraining: Option<RetrainingStatus>,
    /// All conditions.
    pub verdicts: Vec<Verdict>,
    /// When time alone changes the plan.
    pub look_again: Option<Duration>,
}

/// Plans. The same observation gives the same plan, but for what `now` decides: deadlines and pauses.
#[must_use]
pub fn plan(observed: &Observed, spec: &Validated, now: Timestamp) -> Plan {
    let mut history = History::new(&spec.name, &observed.revisions);
    let import = import::import(observed, spec, &mut history, now);
    let base = lineage::target(&mut history, spec);
    let retraining = retraining::retraining(observed, spec, &base, &mut history, now);
    let target = lineage::target(&mut history, spec);
    let rollout = rollout::rollout(observed, spec, &target, &mut history, now);

    let status = observed.deployment.status.as_ref();
    let in_cloud = target.revision().cloned().or_else(|| {
        let before = status.and_then(|status| status.target_revision.as_ref());
        before
            .and_then(|name| history.get(name))
            .cloned()
            .or_else(|| lineage::origin(&history, spec))
    });
    let train = retraining.start.and_then(|start| {
        let base = history.get(&start.base)?.clone();
        Some((start, base))
    });
    let preflight = preflight::preflight(observed, spec);
    let starting = starting(observed, now);
    let cloud = cloud(observed, spec, in_cloud.as_deref(), starting.is_some());
    let mut verdicts = vec![preflight, import.verdict, cloud, rollout.verdict];
    verdicts.insert(0, ready(observed, &rollout.summary, &verdicts));
    verdicts.extend(retraining.verdict);

    let in_use = in_use(
        observed,
        spec,
        &history,
        &rollout.twins,
        [&rollout.current, &target.name(), &base.name()],
    );
    Plan {
        prune: prune(&history, &in_use, spec.rollout.history),
        live_on: live_on(observed),
        import: import.wanted.then(|| import::job_name(spec)),
        train,
        delete_jobs: import.delete.into_iter().chain(retraining.delete).collect(),
        current: rollout.current,
        target: target
            .name()
            .or_else(|| in_cloud.as_ref().map(|revision| revision.name_any())),
        nodes: rollout.summary,
        cloud: cloud_summary(observed, spec),
        retraining: retraining.status,
        verdicts,
        look_again: [
            import.look_again,
            retraining.look_again,
            rollout.look_again,
            starting,
        ]
        .into_iter()
        .flatten()
        .min(),
        drafts: history.drafts().to_vec(),
        twins: rollout.twins,
        in_cloud,
    }
}

/// Names that must stay in the history.
fn in_use(
    observed: &Observed,
    spec: &Validated,
    history: &History,
    twins: &BTreeMap<String, TwinPlan>,
    roots: [&Option<String>; 3],
) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = roots.into_iter().flatten().cloned().collect();
    let parents: Vec<_> = names
        .iter()
        .filter_map(|name| history.get(name)?.spec.parent.clone())
        .collect();
    names.extend(parents);
    names.extend(twins.values().filter_map(|twin| twin.revision.clone()));
    names.extend(
        observed
            .twins
            .values()
            .flat_map(|twin| twin.wanted.iter().chain(&twin.live))
            .cloned(),
    );
    names.extend(
        observed
            .jobs
            .iter()
            .filter(|job| !job.finished())
            .filter_map(|job| job.base.clone()),
    );
    names.extend(spec.rollout.pinned.clone());
    names.extend(lineage::origin(history, spec).map(|origin| origin.name_any()));
    names
}

/// The oldest revisions beyond the limit, of those not in use.
fn prune(history: &History, in_use: &BTreeSet<String>, keep: usize) -> Vec<String> {
    let spare: Vec<_> = history
        .seen()
        .iter()
        .map(|r| r.name_any())
        .filter(|name| !in_use.contains(name))
        .collect();
    let beyond = spare.len().saturating_sub(keep);
    spare.into_iter().take(beyond).collect()
}

fn live_on(observed: &Observed) -> BTreeMap<String, i32> {
    let mut nodes: BTreeMap<_, _> = observed
        .revisions
        .iter()
        .map(|revision| (revision.name_any(), 0))
        .collect();
    for live in observed.twins.values().filter_map(|twin| twin.live.as_ref()) {
        if let Some(count) = nodes.get_mut(live) {
            *count += 1;
        }
    }
    nodes
}

/// What is left of the time that cloud pods may take to start, without a word of trouble, before it is one.
fn starting(observed: &Observed, now: Timestamp) -> Option<Duration> {
    let cloud = observed.cloud.as_ref()?;
    let quiet = cloud.available == 0 && observed.troubles.get(Component::Cloud).is_none();
    import::remaining(START, cloud.since.filter(|_| quiet)?, now)
}

fn cloud(
    observed: &Observed,
    spec: &Validated,
    revision: Option<&MEANetRevision>,
    starting: bool,
) -> Verdict {
    let no = |reason, message: String| Verdict::no(CLOUD_AVAILABLE, reason, message);
    let Some(revision) = revision else {
        return Verdict::unknown(
            CLOUD_AVAILABLE,
            "NoRevision",
            "the cloud starts with the first weights",
        );
    };
    let Some(seen) = &observed.cloud else {
        return no("Starting", "the cloud's Deployment is made".to_owned());
    };
    let (name, component) = (&spec.name, Component::Cloud.as_str());
    let pods = format!(
        "`kubectl describe pods -n {} -l {LABEL_DEPLOYMENT}={name},{LABEL_COMPONENT}={component}`",
        spec.namespace
    );
    match &spec.serving {
        _ if starting => no(
            "Starting",
            format!(
                "{} cloud pods start; edges answer by themselves meanwhile",
                seen.wanted
            ),
        ),
        _ if seen.available == 0 => no(
            "Unavailable",
            format!(
                "none of {} cloud pods is available, so edges answer by themselves{}: see {pods}",
                seen.wanted,
                told(observed, Component::Cloud)
            ),
        ),
        Serving::External { url, .. } => Verdict::yes(
            CLOUD_AVAILABLE,
            "External",
            format!("edges ask {url}, which is not watched here; our own pod serves the store"),
        ),
        Serving::Own { .. } if revision.spec.weights.cloud.is_none() => no(
            "NoCloudWeights",
            format!(
                "{} carries no network for the cloud: name weights that do in spec.model, or set spec.cloud.endpoint",
                revision.name_any()
            ),
        ),
        Serving::Own { .. } => Verdict::yes(
            CLOUD_AVAILABLE,
            "Available",
            format!("{} of {} cloud pods are available", seen.available, seen.wanted),
        ),
    }
}

/// What keeps the pods of a tier from serving, where Kubernetes says so.
fn told(observed: &Observed, tier: Component) -> String {
    let trouble = observed.troubles.get(tier);
    trouble.map(|trouble| format!("; {trouble}")).unwrap_or_default()
}

fn cloud_summary(observed: &Observed, spec: &Validated) -> CloudSummary {
    let summary = match (&spec.serving, &observed.cloud) {
        (Serving::External { .. }, _) => "external".to_owned(),
        (Serving::Own { replicas, .. }, None) => format!("0/{}", replicas.min),
        (Serving::Own { .. }, Some(seen)) => format!("{}/{}", seen.available, seen.wanted),
    };
    CloudSummary { summary }
}

/// The first thing that is not as it should be, or that all is.
fn ready(observed: &Observed, nodes: &NodeSummary, verdicts: &[Verdict]) -> Verdict {
    let arrived = nodes.synced + nodes.offline == nodes.selected;
    let blocking = verdicts.iter().find(|verdict| match verdict.type_ {
        meanet_crds::condition::PROGRESSING => !arrived || verdict.reason == "PinnedRevisionMissing",
        _ => verdict.status != Some(true),
    });
    if let Some(verdict) = blocking {
        return Verdict::no(READY, verdict.reason, verdict.message.clone());
    }
    let reachable = nodes.selected - nodes.offline;
    let pods = observed.edge_pods_ready.unwrap_or(0);
    if pods < reachable {
        let text = format!(
            "{pods} edge pods are ready on {reachable} reachable nodes{}",
            told(observed, Component::Edge)
        );
        return Verdict::no(READY, "EdgePodsNotReady", text);
    }
    let text = match nodes.offline {
        0 => format!("{} nodes are synced", nodes.synced),
        offline => format!("{} nodes are synced, {offline} out of reach", nodes.synced),
    };
    Verdict::yes(READY, "Complete", text)
}
