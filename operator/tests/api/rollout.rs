//! New weights, node by node.

use kube::api::{Api, Patch, PatchParams};
use meanet_crds::naming::ANNOTATION_RETRAIN;
use serde_json::{Value, json};

use crate::cluster::{Fleet, Manners};
use crate::world::{World, report, until};

/// The report of a training run that gained accuracy.
pub fn better(digit: char) -> Value {
    let mut report = report(digit);
    report["evaluation"] =
        json!({"samples": 100, "accuracy": 0.8, "baselineAccuracy": 0.7, "marginOfError": 0.02});
    report
}

/// Has new weights made. The name of their revision.
async fn retrained(world: &World, digit: char) -> String {
    world
        .edit(json!({"metadata": {"annotations": {(ANNOTATION_RETRAIN): digit.to_string()}}}))
        .await;
    until("a training run", || async {
        let status = world.deployment().await.status.unwrap_or_default().retraining;
        if status.as_ref().is_some_and(|s| s.request == digit.to_string()) {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    })
    .await;
    let name = world.deployment().await.status.unwrap().retraining.unwrap().job;
    let job = world.until_job(&name).await;
    world.finish(&job, &better(digit)).await;
    until("a retrained revision", || async {
        let status = world.deployment().await.status.unwrap().retraining.unwrap();
        status.revision.clone().ok_or(format!("{status:?}"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_node_stops_the_rollout_until_it_can() {
    let world = World::furnished().await;
    let operator = world.operator().await;
    let fleet = Fleet::start(&world.client);
    let old = world.running(&fleet).await;
    fleet.set("edge-1", Manners::Fails);
    let new = retrained(&world, 'b').await;
    let message = world.until_condition("Progressing", "False", "NodeFailed").await;
    assert!(
        message.contains("edge-1") && message.contains("digest of extension differs"),
        "{message}"
    );
    world.until_wanted(&[("edge-1", &new), ("edge-2", &old)]).await;
    let nodes = world.deployment().await.status.unwrap().nodes.unwrap();
    assert_eq!((nodes.failed, nodes.pending, nodes.synced), (1, 1, 0));

    // A threshold edit reaches both at once: with new weights where they were sent, with the old ones elsewhere.
    world
        .edit(json!({"spec": {"routing": {"offloadAbove": 1.5}}}))
        .await;
    until("rerouted twins", || async {
        let (wanted, revisions) = (world.wanted().await, world.revisions().await);
        let spec = |node: &str| {
            revisions
                .iter()
                .find(|r| r.metadata.name == wanted[node])
                .map(|r| r.spec.clone())
        };
        let (Some(one), Some(two)) = (spec("edge-1"), spec("edge-2")) else {
            return Err(format!("{wanted:?}"));
        };
        let edited = [one.routing.offload_above, two.routing.offload_above]
            .iter()
            .all(|above| (above - 1.5).abs() < 1e-9);
        if edited && one.weights.adaptive != two.weights.adaptive {
            Ok(())
        } else {
            Err(format!("{wanted:?}"))
        }
    })
    .await;

    fleet.everything_works();
    world.until_condition("Ready", "True", "Complete").await;
    let wanted = world.wanted().await;
    assert_eq!(wanted["edge-1"], wanted["edge-2"]);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_killed_half_way_changes_nothing() {
    let world = World::furnished().await;
    let operator = world.operator().await;
    let fleet = Fleet::start(&world.client);
    let old = world.running(&fleet).await;
    fleet.set("edge-1", Manners::Silent);
    fleet.set("edge-2", Manners::Silent);
    let new = retrained(&world, 'b').await;
    world.until_wanted(&[("edge-1", &new), ("edge-2", &old)]).await;
    operator.kill().await;
    fleet.set("edge-1", Manners::Works);
    fleet.set("edge-2", Manners::Works);

    // The lease of the one killed runs out.
    let operator = world.operator().await;
    world.until_wanted(&[("edge-1", &new), ("edge-2", &new)]).await;
    world.until_condition("Ready", "True", "Complete").await;
    assert_eq!(
        world.deployment().await.status.unwrap().current_revision,
        Some(new)
    );
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offline_nodes_are_caught_up_and_rollbacks_return_weights_and_routing() {
    let world = World::furnished().await;
    let operator = world.operator().await;
    let fleet = Fleet::start(&world.client);
    let old = world.running(&fleet).await;

    world.reachable("edge-1", false).await;
    let new = retrained(&world, 'b').await;
    world.until_wanted(&[("edge-1", &old), ("edge-2", &new)]).await;
    let message = world.until_condition("Progressing", "False", "Complete").await;
    assert!(message.contains("1 out of reach"), "{message}");
    world.until_condition("Ready", "True", "Complete").await;
    world.reachable("edge-1", true).await;
    world.until_wanted(&[("edge-1", &new)]).await;
    world.until_condition("Ready", "True", "Complete").await;

    world
        .edit(json!({"spec": {"routing": {"offloadAbove": 2.0}, "rollout": {"pinnedRevision": old}}}))
        .await;
    world.until_wanted(&[("edge-1", &old), ("edge-2", &old)]).await;
    world.until_condition("Ready", "True", "Complete").await;

    world
        .edit(json!({"spec": {"rollout": {"pinnedRevision": "cams-nowhere"}}}))
        .await;
    let message = world
        .until_condition("Progressing", "False", "PinnedRevisionMissing")
        .await;
    assert!(
        message.contains("cams-nowhere") && message.contains("kubectl get mearev"),
        "{message}"
    );
    world.until_wanted(&[("edge-1", &old), ("edge-2", &old)]).await;

    world
        .edit(json!({"spec": {"rollout": {"pinnedRevision": null, "paused": true}}}))
        .await;
    world.until_condition("Progressing", "False", "Paused").await;
    world.until_wanted(&[("edge-1", &old), ("edge-2", &old)]).await;
    world.edit(json!({"spec": {"rollout": {"paused": false}}})).await;
    world.until_condition("Ready", "True", "Complete").await;
    let target = world.deployment().await.status.unwrap().target_revision.unwrap();
    assert!(
        target != old && target != new,
        "new weights with the routing edited meanwhile"
    );
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_past_the_deadline_stops_the_rollout() {
    let world = World::furnished().await;
    let operator = world.operator().await;
    let fleet = Fleet::start(&world.client);
    let old = world.running(&fleet).await;
    world
        .edit(json!({"spec": {"rollout": {"progressDeadline": "1s"}}}))
        .await;
    fleet.set("edge-1", Manners::Silent);
    let new = retrained(&world, 'b').await;
    let message = world
        .until_condition("Progressing", "False", "ProgressDeadlineExceeded")
        .await;
    assert!(message.contains("edge-1") && message.contains("1s"), "{message}");
    world.until_wanted(&[("edge-1", &new), ("edge-2", &old)]).await;

    // A node that leaves the selection no longer stands in the way.
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(world.client.clone());
    let label = json!({"metadata": {"labels": {"meanet.dev/tier": "none"}}});
    nodes
        .patch("edge-1", &PatchParams::default(), &Patch::Merge(&label))
        .await
        .unwrap();
    world.until_wanted(&[("edge-2", &new)]).await;
    operator.stop().await;
}
