//! What an edge runtime may do, and what the operator may, asked of the API server with tokens of pods.

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use meanet_apiserver::{apply, documents};
use meanet_crds::{MEANetDeployment, MEANetNode};
use serde_json::{Value, json};

use crate::cluster::Fleet;
use crate::world::{NAMESPACE, World, until};

/// A client with the token that a pod of this service account on this node would mount. No node: a token of no pod.
async fn client(world: &World, account: &str, node: Option<&str>) -> Client {
    let mut request = json!({"spec": {"audiences": []}});
    if let Some(node) = node {
        let pods: Api<Pod> = world.api();
        let pod = json!({"metadata": {"name": format!("{account}-{node}")}, "spec": {"serviceAccountName": account,
            "nodeName": node, "containers": [{"name": "c", "image": "i"}]}});
        let pod: Pod = world.create(&pods, pod).await;
        request["spec"]["boundObjectRef"] =
            json!({"kind": "Pod", "apiVersion": "v1", "name": pod.name_any(), "uid": pod.uid()});
    }
    let accounts: Api<ServiceAccount> = world.api();
    let made: TokenRequest = accounts
        .create_subresource("token", account, &PostParams::default(), &request)
        .await
        .unwrap();
    Client::try_from(world.server.config_of(&made.status.unwrap().token).await).unwrap()
}

async fn report(client: &Client, twin: &str) -> Result<(), String> {
    let twins: Api<MEANetNode> = Api::namespaced(client.clone(), NAMESPACE);
    let status: Value = json!({"apiVersion": "meanet.dev/v1alpha1", "kind": "MEANetNode", "metadata": {"name": twin},
        "status": {"message": "hello"}});
    let params = PatchParams::apply("meanet-edge").force();
    twins
        .patch_status(twin, &params, &Patch::Apply(&status))
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_reports_for_its_own_node_only() {
    let world = World::furnished().await;
    let operator = world.operator().await;
    let fleet = Fleet::start(&world.client);
    world.running(&fleet).await;
    drop(fleet);

    let edge = client(&world, "cams-edge", Some("edge-1")).await;
    report(&edge, "cams.edge-1").await.unwrap();
    let refused = report(&edge, "cams.edge-2").await.unwrap_err();
    assert!(
        refused.contains("the edge runtime on node edge-1 may not report for node edge-2"),
        "{refused}"
    );

    // It reads what it needs, and nothing else of it can be changed.
    let twins: Api<MEANetNode> = Api::namespaced(edge.clone(), NAMESPACE);
    twins.list(&ListParams::default()).await.unwrap();
    let steal = json!({"spec": {"revision": "other"}});
    assert!(
        twins
            .patch("cams.edge-1", &PatchParams::default(), &Patch::Merge(&steal))
            .await
            .is_err()
    );
    assert!(
        Api::<Secret>::namespaced(edge.clone(), NAMESPACE)
            .list(&ListParams::default())
            .await
            .is_err()
    );
    assert!(
        Api::<MEANetDeployment>::namespaced(edge, NAMESPACE)
            .list(&ListParams::default())
            .await
            .is_err()
    );

    let loose = client(&world, "cams-edge", None).await;
    let refused = report(&loose, "cams.edge-1").await.unwrap_err();
    assert!(refused.contains("the token names no node"), "{refused}");

    // The cloud's identity has no rights at all.
    let cloud = client(&world, "cams-cloud", Some("cloud-1")).await;
    assert!(
        report(&cloud, "cams.edge-1")
            .await
            .unwrap_err()
            .contains("forbidden")
    );

    // Somebody else who was given the right to write statuses is not this deployment's edge.
    let other = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "other", "namespace": NAMESPACE}});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "other", "namespace": NAMESPACE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "cams-edge"},
        "subjects": [{"kind": "ServiceAccount", "name": "other", "namespace": NAMESPACE}]});
    apply(&world.client, &[other, binding]).await;
    let other = client(&world, "other", Some("edge-1")).await;
    let refused = report(&other, "cams.edge-1").await.unwrap_err();
    assert!(
        refused.contains("only the service account cams-edge"),
        "{refused}"
    );
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_may_do_what_it_does_and_no_more() {
    let world = World::furnished().await;
    let operator = world.operator().await;
    let fleet = Fleet::start(&world.client);
    world.running(&fleet).await;
    // Every other story runs with these rights, too; here is what none of them asks for.
    world
        .edit(json!({"spec": {"cloud": {"replicas": {"min": 1, "max": 3}}}}))
        .await;
    until("an autoscaler", || async {
        let scalers = world.api::<HorizontalPodAutoscaler>();
        scalers.get("cams-cloud").await.map_err(|error| error.to_string())
    })
    .await;
    world
        .edit(json!({"spec": {"cloud": {"replicas": {"min": 1, "max": null}}}}))
        .await;
    until("no autoscaler", || async {
        let scaler = world.api::<HorizontalPodAutoscaler>().get_opt("cams-cloud").await;
        if matches!(scaler, Ok(None)) {
            Ok(())
        } else {
            Err(format!("{scaler:?}"))
        }
    })
    .await;
    operator.stop().await;

    let rights = documents(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/operator"));
    let rules: Vec<&Value> = rights
        .iter()
        .filter(|document| document["kind"] == "ClusterRole")
        .flat_map(|role| role["rules"].as_array().unwrap())
        .collect();
    for rule in rules {
        let text = rule.to_string();
        assert!(!text.contains('*'), "{text}");
        for never in [
            "secrets",
            "configmaps",
            "escalate",
            "bind",
            "impersonate",
            "pods/exec",
            "deletecollection",
        ] {
            assert!(!text.contains(&format!("\"{never}\"")), "{text}");
        }
    }
}
