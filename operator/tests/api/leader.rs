//! Replicas of the operator: one works, the others stand by.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use meanet_operator::lease::LEASE;
use serde_json::json;

use crate::cluster::Fleet;
use crate::world::{World, until};

async fn holder(world: &World) -> Option<String> {
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), "meanet-system");
    leases.get_opt(LEASE).await.unwrap()?.spec?.holder_identity
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_works_and_the_next_takes_over_from_where_it_stopped() {
    let world = World::furnished().await;
    let first = world.operator().await;
    let fleet = Fleet::start(&world.client);
    world.running(&fleet).await;
    assert!(first.leads().await);
    let leader = holder(&world).await;

    // It stands by, and does nothing.
    let second = world.operator().await;
    until("a second replica that is ready", || async {
        let ready = second.get("/readyz").await;
        if ready.starts_with("HTTP/1.1 200") {
            Ok(())
        } else {
            Err(ready)
        }
    })
    .await;
    world
        .edit(json!({"spec": {"routing": {"offloadAbove": 1.1}}}))
        .await;
    world.until_condition("Ready", "True", "Complete").await;
    assert!(!second.leads().await && second.requests().await.is_empty());

    // The end that SIGTERM brings: the lease is given back, so nobody waits for it to run out.
    let begin = Instant::now();
    first.stop().await;
    until("another holder", || async {
        let now = holder(&world).await;
        if now.is_some() && now != leader {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await;
    eprintln!("the lease changed hands in {:?}", begin.elapsed());
    world
        .edit(json!({"spec": {"routing": {"offloadAbove": 1.2}}}))
        .await;
    world.until_condition("Ready", "True", "Complete").await;
    assert!(second.leads().await);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_lease_is_deleted_goes_on_and_one_whose_lease_is_taken_ends() {
    let world = World::furnished().await;
    let operator = world.operator().await;
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), "meanet-system");
    until("a leader", || async {
        holder(&world).await.ok_or("nobody".to_owned())
    })
    .await;
    leases.delete(LEASE, &DeleteParams::default()).await.unwrap();
    until("the lease again", || async {
        holder(&world).await.ok_or("nobody".to_owned())
    })
    .await;
    assert!(operator.leads().await);

    let taken = json!({"spec": {"holderIdentity": "another"}});
    leases
        .patch(LEASE, &PatchParams::default(), &Patch::Merge(taken))
        .await
        .unwrap();
    let ended = tokio::time::timeout(Duration::from_mins(1), operator.ended())
        .await
        .unwrap();
    assert_eq!(ended.unwrap_err().to_string(), "another has taken the lease");
    assert_eq!(
        holder(&world).await.as_deref(),
        Some("another"),
        "it is not given back by one who lost it"
    );
}
