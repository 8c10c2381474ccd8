//! Makes the cluster so: server-side apply, one field manager, and no write where nothing differs.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use futures::{StreamExt, stream};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::ResourceExt;
use meanet_crds::naming::ANNOTATION_ACCOUNT;
use meanet_crds::node::NodeState;
use meanet_crds::{MEANetNode, MEANetRevision};
use serde_json::json;
use snafu::Snafu;

use super::build::Children;
use super::observe::Live;
use super::plan::Plan;

mod difference;
mod writer;

pub use writer::Writer;
pub(super) use writer::write_status;

/// Writes that are under way at the same time.
const PARALLEL: usize = 64;

/// Why the cluster could not be made so.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The API server did not take an object.
    #[snafu(display("failed to {verb} {kind} {name}: {}", said(source)))]
    Write {
        /// What was tried.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// What the API server, or the way to it, said.
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    /// An object of ours cannot be written as JSON.
    #[snafu(display("failed to write {kind} {name} as JSON: {source}"))]
    Json {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// What the writer said.
        source: serde_json::Error,
    },
}

/// What the API server said, without what is only for programs.
pub(crate) fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Writes what differs, deletes what is not wanted, and returns the revisions made. One object that cannot be written
/// does not hold up the others: they are all tried, and the first error is returned.
pub async fn apply(
    writer: &Writer,
    plan: &Plan,
    children: Children,
    live: &Live,
) -> (Vec<Arc<MEANetRevision>>, Result<(), Error>) {
    // Exhaustive, so that a kind that nobody applies does not compile.
    let Children {
        revisions,
        twins,
        accounts,
        role,
        binding,
        services,
        edge,
        cloud,
        autoscaler,
        import,
        train,
    } = children;

    // Revisions before the twins that point at them, and both before all that is slow.
    let made = together(
        revisions
            .into_iter()
            .map(|revision| writer.create(revision))
            .collect(),
    )
    .await;
    let mut written = Vec::new();
    let mut failure = None;
    for outcome in made {
        match outcome {
            Ok(revision) => written.extend(revision.map(Arc::new)),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    if let Some(error) = failure {
        return (written, Err(error));
    }
    let mut outcomes = writer.converge(twins, &live.twins).await;
    // All else is taken over by being applied; a revision never changes.
    let orphans = live
        .revisions
        .values()
        .filter(|r| r.owner_references().is_empty());
    outcomes.extend(together(orphans.map(|orphan| writer.adopt(orphan.as_ref())).collect()).await);

    let workloads = async {
        let (accounts, mut outcomes) = writer.converged(accounts, &live.accounts).await;
        let edge = with_account(edge, &accounts);
        outcomes.extend(writer.converge(vec![role], &live.roles).await);
        outcomes.extend(writer.converge(vec![binding], &live.bindings).await);
        outcomes.extend(writer.converge(services, &live.services).await);
        if let Some(edge) = edge {
            outcomes.extend(writer.converge(vec![edge], &live.daemon_sets).await);
        }
        outcomes.extend(
            writer
                .converge(cloud.into_iter().collect(), &live.workloads)
                .await,
        );
        outcomes.extend(
            writer
                .converge(autoscaler.into_iter().collect(), &live.autoscalers)
                .await,
        );
        if let Some(job) = import {
            outcomes.push(writer.replace(job, &live.jobs).await);
        }
        if let Some(job) = train.filter(|job| !live.jobs.contains_key(&job.name_any())) {
            outcomes.push(writer.create(job).await.map(drop));
        }
        outcomes
    };
    let (workloads, states, counts) =
        tokio::join!(workloads, states(writer, plan, live), counts(writer, plan, live));
    outcomes.extend(workloads.into_iter().chain(states).chain(counts));
    outcomes.extend(writer.delete(named(&live.jobs, &plan.delete_jobs)).await);
    outcomes.extend(writer.delete(named(&live.revisions, &plan.prune)).await);
    (written, outcomes.into_iter().collect())
}

/// The edge's pods, marked with the account that they were made for. A token dies with its account: where one is made
/// again, under the same name or not, pods with tokens of the last one have to follow.
/// Without the account there is nothing to make: what runs, runs on.
fn with_account(mut edge: DaemonSet, accounts: &[Arc<ServiceAccount>]) -> Option<DaemonSet> {
    let pods = &mut edge.spec.as_mut()?.template;
    let account = pods.spec.as_ref()?.service_account_name.as_deref();
    let there = accounts
        .iter()
        .find(|there| Some(there.name_any().as_str()) == account)?;
    let metadata = pods.metadata.get_or_insert_default();
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(ANNOTATION_ACCOUNT.to_owned(), there.uid()?);
    Some(edge)
}

fn named<K: Clone>(live: &BTreeMap<String, K>, names: &[String]) -> Vec<K> {
    names.iter().filter_map(|name| live.get(name).cloned()).collect()
}

/// The judgement of each node, where it changed.
async fn states(writer: &Writer, plan: &Plan, live: &Live) -> Vec<Result<(), Error>> {
    let before: BTreeMap<&str, (String, Option<NodeState>)> = live
        .twins
        .iter()
        .map(|(name, twin)| {
            let state = twin.status.as_ref().and_then(|status| status.state);
            (twin.spec.node_name.as_str(), (name.clone(), state))
        })
        .collect();
    // A twin made just now gets its state when it shows in the cache.
    let changed = plan.twins.iter().filter_map(|(node, twin)| {
        let (name, state) = before.get(node.as_str())?;
        (*state != Some(twin.state))
            .then(|| writer.status::<MEANetNode>(name.clone(), json!({"state": twin.state})))
    });
    together(changed.collect()).await
}

/// The nodes that each revision is live on, where that changed.
async fn counts(writer: &Writer, plan: &Plan, live: &Live) -> Vec<Result<(), Error>> {
    let changed = plan.live_on.iter().filter(|(name, nodes)| {
        let status = live
            .revisions
            .get(*name)
            .and_then(|revision| revision.status.as_ref());
        !plan.prune.contains(name) && status.map(|status| status.nodes) != Some(**nodes)
    });
    let reports =
        changed.map(|(name, nodes)| writer.status::<MEANetRevision>(name.clone(), json!({"nodes": nodes})));
    together(reports.collect()).await
}

/// Runs futures side by side, a bounded number at a time.
async fn together<T, F: Future<Output = T>>(futures: Vec<F>) -> Vec<T> {
    stream::iter(futures).buffer_unordered(PARALLEL).collect().await
}
