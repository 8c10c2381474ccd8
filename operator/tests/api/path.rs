//! The whole path, and steady state.

use std::time::Instant;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use meanet_crds::naming::ANNOTATION_ACCOUNT;
use meanet_crds::node::NodeState;
use meanet_crds::revision::Cause;
use meanet_crds::{MEANetDeployment, MEANetNode, MEANetRevision};
use serde_json::json;

use crate::cluster::Fleet;
use crate::world::{NAME, World, report, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_deployment_to_nodes_that_are_synced() {
    let world = World::furnished().await;
    let operator = world.operator().await;
    let fleet = Fleet::start(&world.client);
    world.deploy(json!({})).await;

    let job = world.until_job("cams-import-00000000").await;
    world.until_condition("WeightsReady", "False", "Importing").await;
    assert!(
        world
            .api::<DaemonSet>()
            .get_opt("cams-edge")
            .await
            .unwrap()
            .is_some(),
        "edges wait for the weights"
    );
    assert!(world.revisions().await.is_empty());

    world
        .pod_says(
            &job,
            1,
            &json!({"outcome": "Failed", "message": "no manifest in /models"}),
        )
        .await;
    let message = world
        .until_condition("WeightsReady", "False", "ImportFailed")
        .await;
    assert_eq!(message, "no manifest in /models");

    world.finish(&job, &report('a')).await;
    world.until_condition("WeightsReady", "True", "Imported").await;
    world.workloads_ready().await;
    fleet.everything_works();
    world.until_condition("Ready", "True", "Complete").await;

    let revisions = world.revisions().await;
    assert_eq!(revisions.len(), 1);
    let (revision, first) = (&revisions[0].spec, revisions[0].metadata.name.clone());
    assert_eq!(
        (revision.number, revision.cause, revision.hard_classes.as_slice()),
        (1, Cause::WeightsImported, &[3, 5, 8][..])
    );
    let status = world.deployment().await.status.unwrap();
    assert_eq!(
        (&status.current_revision, &status.target_revision),
        (&first, &first)
    );
    assert_eq!(status.nodes.unwrap().summary, "2/2");
    assert_eq!(status.cloud.unwrap().summary, "1/1");
    for (node, twin) in world.twins().await {
        let state = twin.status.unwrap().state;
        assert_eq!(
            (twin.metadata.name.unwrap(), state),
            (format!("cams.{node}"), Some(NodeState::Synced))
        );
    }
    until("a count of nodes", || async {
        let nodes = world.revisions().await[0]
            .status
            .clone()
            .unwrap_or_default()
            .nodes;
        if nodes == 2 {
            Ok(())
        } else {
            Err(nodes.to_string())
        }
    })
    .await;
    let cloud = world.api::<Deployment>().get("cams-cloud").await.unwrap();
    let args = cloud
        .spec
        .unwrap()
        .template
        .spec
        .unwrap()
        .containers
        .remove(0)
        .args
        .unwrap();
    assert!(
        args.contains(&format!("--weights={}", crate::world::digest('2'))),
        "{args:?}"
    );

    // A node that is relabelled loses its twin, and gets it back.
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(world.client.clone());
    let label = |tier: &str| json!({"metadata": {"labels": {"meanet.dev/tier": tier}}});
    nodes
        .patch("edge-2", &PatchParams::default(), &Patch::Merge(&label("none")))
        .await
        .unwrap();
    until("one twin", || async {
        let twins = world.twins().await;
        if twins.len() == 1 {
            Ok(())
        } else {
            Err(format!("{:?}", twins.keys()))
        }
    })
    .await;
    nodes
        .patch("edge-2", &PatchParams::default(), &Patch::Merge(&label("edge")))
        .await
        .unwrap();
    until("two twins", || async {
        let twins = world.twins().await;
        if twins.len() == 2 {
            Ok(())
        } else {
            Err(format!("{:?}", twins.keys()))
        }
    })
    .await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steady_state_writes_nothing_and_drift_is_healed() {
    let world = World::furnished().await;
    let operator = world.operator().await;
    let fleet = Fleet::start(&world.client);
    world.running(&fleet).await;
    assert!(operator.get("/readyz").await.starts_with("HTTP/1.1 200"));

    let before = operator.at_rest().await;
    let reconciles = operator.reconciles().await;
    // The deployment is touched, so that reconciles really run: none has to read or write anything.
    for index in 0..5 {
        let touched = operator.reconciles().await;
        world
            .edit(json!({"metadata": {"labels": {"touched": index.to_string()}}}))
            .await;
        until("a reconcile", || async {
            let now = operator.reconciles().await;
            if now > touched {
                Ok(())
            } else {
                Err(now.to_string())
            }
        })
        .await;
    }
    assert!(operator.reconciles().await >= reconciles + 5);
    assert_eq!(operator.at_rest().await, before);

    // A new operator looks at everything and finds nothing to do.
    operator.stop().await;
    let operator = world.operator().await;
    until("an operator that is ready", || async {
        let ready = operator.get("/readyz").await;
        if ready.starts_with("HTTP/1.1 200") {
            Ok(())
        } else {
            Err(ready)
        }
    })
    .await;
    let writes = operator
        .at_rest()
        .await
        .into_iter()
        .filter(|(verb, _)| !matches!(verb.as_str(), "list" | "watch"));
    assert_eq!(writes.collect::<Vec<_>>(), Vec::new());

    // Everything that somebody deletes comes back.
    let gone = DeleteParams::default();
    world.api::<DaemonSet>().delete("cams-edge", &gone).await.unwrap();
    world
        .api::<Deployment>()
        .delete("cams-cloud", &gone)
        .await
        .unwrap();
    world.api::<Service>().delete("cams-edge", &gone).await.unwrap();
    world
        .api::<ServiceAccount>()
        .delete("cams-cloud", &gone)
        .await
        .unwrap();
    world
        .api::<RoleBinding>()
        .delete("cams-edge", &gone)
        .await
        .unwrap();
    world
        .api::<meanet_crds::MEANetNode>()
        .delete("cams.edge-1", &gone)
        .await
        .unwrap();
    until("all children", || async {
        let found = [
            world
                .api::<DaemonSet>()
                .get_opt("cams-edge")
                .await
                .unwrap()
                .is_some(),
            world
                .api::<Deployment>()
                .get_opt("cams-cloud")
                .await
                .unwrap()
                .is_some(),
            world
                .api::<Service>()
                .get_opt("cams-edge")
                .await
                .unwrap()
                .is_some(),
            world
                .api::<ServiceAccount>()
                .get_opt("cams-cloud")
                .await
                .unwrap()
                .is_some(),
            world
                .api::<RoleBinding>()
                .get_opt("cams-edge")
                .await
                .unwrap()
                .is_some(),
            world
                .api::<meanet_crds::MEANetNode>()
                .get_opt("cams.edge-1")
                .await
                .unwrap()
                .is_some(),
        ];
        if found == [true; 6] {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;

    // The edges' tokens died with their account: their pods are made for the new one.
    world
        .api::<ServiceAccount>()
        .delete("cams-edge", &gone)
        .await
        .unwrap();
    until("pods for the new account", || async {
        let account = world.api::<ServiceAccount>().get_opt("cams-edge").await.unwrap();
        let pods = world.api::<DaemonSet>().get("cams-edge").await.unwrap().spec;
        let annotations = pods.and_then(|spec| spec.template.metadata?.annotations);
        let marked = annotations.and_then(|mut all| all.remove(ANNOTATION_ACCOUNT));
        let uid = account.and_then(|account| account.uid());
        if uid.is_some() && uid == marked {
            Ok(())
        } else {
            Err(format!("{uid:?} {marked:?}"))
        }
    })
    .await;

    // So does everything that somebody changes; what others add beside it stays.
    let roles: Api<Role> = world.api();
    let more = json!({"metadata": {"labels": {"theirs": "kept"}},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}]});
    roles
        .patch("cams-edge", &PatchParams::default(), &Patch::Merge(&more))
        .await
        .unwrap();
    let sets: Api<DaemonSet> = world.api();
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "edge", "image": "evil"}]}}}});
    sets.patch("cams-edge", &PatchParams::default(), &Patch::Strategic(&image))
        .await
        .unwrap();
    until("roles and image as they were", || async {
        let role = roles.get("cams-edge").await.unwrap();
        let set = sets.get("cams-edge").await.unwrap();
        let image = set.spec.unwrap().template.spec.unwrap().containers[0]
            .image
            .clone();
        let healed = role.rules.as_ref().is_some_and(|rules| rules.len() == 2)
            && role.metadata.labels.clone().unwrap()["theirs"] == "kept"
            && image.as_deref() == Some("meanet.dev/edge:dev");
        if healed {
            Ok(())
        } else {
            Err(format!("{role:?} {image:?}"))
        }
    })
    .await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_threshold_edit_is_on_its_way_at_once() {
    let world = World::furnished().await;
    let operator = world.operator().await;
    let fleet = Fleet::start(&world.client);
    let first = world.running(&fleet).await;
    let mut took = Vec::new();
    for step in 1..=20 {
        let before = world.wanted().await;
        let begin = Instant::now();
        world
            .edit(json!({"spec": {"routing": {"offloadAbove": f64::from(step) / 10.0}}}))
            .await;
        until("other revisions", || async {
            let now = world.wanted().await;
            if now.iter().all(|(node, wanted)| before[node] != *wanted) {
                Ok(())
            } else {
                Err(format!("{now:?}"))
            }
        })
        .await;
        took.push(begin.elapsed());
        world.until_condition("Ready", "True", "Complete").await;
    }
    took.sort();
    eprintln!(
        "threshold edit until both twins want it: p50 {:?}, p95 {:?}",
        took[9], took[18]
    );
    let revisions = world.revisions().await;
    let newest = revisions.last().unwrap();
    assert_eq!(newest.spec.cause, Cause::RoutingChanged);
    assert_eq!(
        newest.spec.parent,
        Some(first),
        "the parent is the revision that brought the weights"
    );
    let limit = 10 + 3;
    assert!(revisions.len() <= limit, "{} revisions are kept", revisions.len());
    assert!(
        revisions.iter().any(|revision| revision.spec.number == 1),
        "what brought the weights is never pruned"
    );
    let numbers: std::collections::BTreeSet<_> =
        revisions.iter().map(|revision| revision.spec.number).collect();
    assert_eq!(numbers.len(), revisions.len(), "numbers are used once");
    assert_eq!(world.deployment().await.metadata.name.as_deref(), Some(NAME));
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_made_again_goes_on_with_the_history_that_was_left_for_it() {
    let world = World::furnished().await;
    let operator = world.operator().await;
    let fleet = Fleet::start(&world.client);
    let first = world.running(&fleet).await;
    let old = world.deployment().await.uid().unwrap();

    // As `kubectl delete --cascade=orphan`: no garbage collector runs here, so the test takes the owners away itself.
    world
        .api::<MEANetDeployment>()
        .delete(NAME, &DeleteParams::orphan())
        .await
        .unwrap();
    let orphaned = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let _ = world
        .api::<MEANetDeployment>()
        .patch(NAME, &PatchParams::default(), &orphaned)
        .await;
    until("no deployment", || async {
        let left = world.api::<MEANetDeployment>().get_opt(NAME).await.unwrap();
        left.map_or(Ok(()), |left| Err(format!("{:?}", left.metadata)))
    })
    .await;
    let ownerless = Patch::Merge(json!({"metadata": {"ownerReferences": null}}));
    let revisions = world.api::<MEANetRevision>();
    revisions
        .patch(&first, &PatchParams::default(), &ownerless)
        .await
        .unwrap();
    for twin in world.twins().await.into_values() {
        let twins = world.api::<MEANetNode>();
        twins
            .patch(&twin.name_any(), &PatchParams::default(), &ownerless)
            .await
            .unwrap();
    }
    // What still names the owner that is gone is no longer ours.
    let mut stale = world.revisions().await.remove(0);
    stale.metadata = serde_json::from_value(json!({"name": "cams-0000000000", "ownerReferences":
        [{"apiVersion": "meanet.dev/v1alpha1", "kind": "MEANetDeployment", "name": NAME, "uid": old}]}))
    .unwrap();
    stale.spec.number = 7;
    stale.spec.cause = Cause::Retrained;
    revisions.create(&PostParams::default(), &stale).await.unwrap();

    world.deploy(json!({})).await;
    world.until_condition("Ready", "True", "Complete").await;
    let new = world.deployment().await;
    assert_eq!(
        new.status.as_ref().unwrap().current_revision.as_ref(),
        Some(&first)
    );
    until("owners", || async {
        let revision = revisions.get(&first).await.unwrap();
        let owned = revision
            .owner_references()
            .iter()
            .any(|owner| Some(&owner.uid) == new.uid().as_ref());
        if owned {
            Ok(())
        } else {
            Err(format!("{:?}", revision.metadata))
        }
    })
    .await;
    assert!(
        world
            .wanted()
            .await
            .values()
            .all(|wanted| wanted.as_ref() == Some(&first))
    );
    operator.stop().await;
}
