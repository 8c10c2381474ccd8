//! A run asked for, and what becomes of it.

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use meanet_crds::MEANetDeployment;
use meanet_crds::deployment::RetrainingPhase;
use meanet_crds::naming::ANNOTATION_RETRAIN;
use meanet_crds::revision::Cause;
use meanet_operator::deployment::observe::runs_are_current;
use serde_json::json;

use crate::cluster::Fleet;
use crate::rollout::better;
use crate::world::{World, report, until};

async fn ask(world: &World, request: &str) -> Job {
    world
        .edit(json!({"metadata": {"annotations": {(ANNOTATION_RETRAIN): request}}}))
        .await;
    let name = until("an answer", || async {
        let status = world.deployment().await.status.unwrap().retraining;
        status
            .clone()
            .filter(|s| s.request == request)
            .map(|s| s.job)
            .ok_or(format!("{status:?}"))
    })
    .await;
    world.until_job(&name).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_lags_behind_the_last_words_on_a_run_starts_none() {
    let world = World::start().await;
    let stale = world.deploy(json!({})).await;
    let api = world.api::<MEANetDeployment>();
    assert!(runs_are_current(&api, &stale).await.unwrap());
    let words =
        json!({"status": {"retraining": {"request": "one", "phase": "Failed", "job": "cams-train-1"}}});
    let patch = Patch::Merge(words);
    api.patch_status(&stale.name_any(), &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert!(!runs_are_current(&api, &stale).await.unwrap());
    let fresh = world.deployment().await;
    assert!(runs_are_current(&api, &fresh).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_accepted_rejected_or_failed() {
    let world = World::furnished().await;
    let operator = world.operator().await;
    let fleet = Fleet::start(&world.client);
    let first = world.running(&fleet).await;
    world
        .edit(
            json!({"spec": {"retraining": {"gate": {"minAccuracyGain": 0.05}, "dataset": {"path": "more"}}}}),
        )
        .await;

    let job = ask(&world, "one").await;
    world.until_condition("Retrained", "Unknown", "Running").await;
    let args = job
        .spec
        .clone()
        .unwrap()
        .template
        .spec
        .unwrap()
        .containers
        .remove(0)
        .args
        .unwrap();
    assert!(args.contains(&"--dataset=more".to_owned()), "{args:?}");
    let revision = args
        .iter()
        .find_map(|arg| arg.strip_prefix("--revision="))
        .unwrap();
    let revision: meanet_crds::MEANetRevisionSpec = serde_json::from_str(revision).unwrap();
    assert_eq!(revision.number, 1);
    world.finish(&job, &better('b')).await;
    let message = world.until_condition("Retrained", "True", "Accepted").await;
    assert!(message.contains("0.7000 became 0.8000"), "{message}");
    world.until_condition("Ready", "True", "Complete").await;
    let newest = world.revisions().await.pop().unwrap();
    assert_eq!(
        (newest.spec.cause, newest.spec.parent),
        (Cause::Retrained, Some(first))
    );
    assert_eq!(newest.spec.weights.cloud, Some(crate::world::digest('2')));

    let mut worse = report('c');
    worse["evaluation"] =
        json!({"samples": 100, "accuracy": 0.71, "baselineAccuracy": 0.7, "marginOfError": 0.02});
    let job = ask(&world, "two").await;
    world.finish(&job, &worse).await;
    let message = world.until_condition("Retrained", "False", "Rejected").await;
    assert!(
        message.contains("+0.0100") && message.contains("+0.0500"),
        "{message}"
    );

    let job = ask(&world, "three").await;
    world
        .fail(
            &job,
            &json!({"outcome": "Failed", "message": "no samples in /store/samples/cams"}),
        )
        .await;
    let message = world.until_condition("Retrained", "False", "Failed").await;
    assert_eq!(message, "no samples in /store/samples/cams");

    // What was answered is not run again, though its job is gone.
    world
        .api::<Job>()
        .delete(&job.name_any(), &kube::api::DeleteParams::background())
        .await
        .unwrap();
    world
        .edit(json!({"metadata": {"labels": {"look": "again"}}}))
        .await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(
        world
            .api::<Job>()
            .get_opt(&job.name_any())
            .await
            .unwrap()
            .is_none_or(|j| j.metadata.deletion_timestamp.is_some())
    );

    for request in ["four", "five", "six"] {
        let job = ask(&world, request).await;
        world
            .fail(&job, &json!({"outcome": "Failed", "message": request}))
            .await;
        until("an answer", || async {
            let status = world.deployment().await.status.unwrap().retraining.unwrap();
            if status.phase == RetrainingPhase::Failed {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await;
    }
    until("three jobs of the past", || async {
        let jobs = world
            .api::<Job>()
            .list(&ListParams::default().labels("meanet.dev/component=train"))
            .await
            .unwrap();
        let kept = jobs
            .iter()
            .filter(|job| job.metadata.deletion_timestamp.is_none())
            .count();
        if kept == 3 { Ok(()) } else { Err(kept.to_string()) }
    })
    .await;
    assert_eq!(world.revisions().await.len(), 2);
    operator.stop().await;
}
