//! What is missing, in words.

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn says_what_is_missing_and_heals() {
    let world = World::start().await;
    let operator = world.operator().await;
    world.deploy(json!({})).await;
    let message = world
        .until_condition("PreflightPassed", "False", "NoEdgeNode")
        .await;
    for part in [
        "kubectl label node NODE meanet.dev/tier=edge",
        "meanet.dev/tier=cloud",
        "PersistentVolumeClaim store",
    ] {
        assert!(message.contains(part), "{message}");
    }
    world.node("edge-1", "edge").await;
    world
        .until_condition("PreflightPassed", "False", "NoCloudNode")
        .await;
    world.node("cloud-1", "cloud").await;
    world
        .until_condition("PreflightPassed", "False", "ClaimMissing")
        .await;
    world.claim().await;
    world.until_condition("PreflightPassed", "True", "Passed").await;

    let nodes: Api<Node> = Api::all(world.client.clone());
    let gone =
        json!({"status": {"capacity": {"nvidia.com/gpu": null}, "allocatable": {"nvidia.com/gpu": null}}});
    nodes
        .patch_status("cloud-1", &PatchParams::default(), &Patch::Merge(&gone))
        .await
        .unwrap();
    let message = world
        .until_condition("PreflightPassed", "False", "NoAccelerator")
        .await;
    assert!(
        message.contains("nvidia.com/gpu") && message.contains("spec.cloud.accelerator.count to 0"),
        "{message}"
    );
    world.until_condition("Ready", "False", "NoAccelerator").await;
    world
        .edit(json!({"spec": {"cloud": {"accelerator": {"count": 0}}}}))
        .await;
    world.until_condition("PreflightPassed", "True", "Passed").await;

    // What the schema cannot say is said in the status, and what runs goes on.
    let twice = json!({"spec": {"cloud": {"accelerator": {"count": 1}, "resources": {"limits": {"nvidia.com/gpu": "2"}}}}});
    world.edit(twice).await;
    let message = world.until_condition("Ready", "False", "InvalidSpec").await;
    assert!(
        message.contains("spec.cloud.resources names nvidia.com/gpu"),
        "{message}"
    );
    operator.stop().await;
}
