//! An edge follows its twin: what it does about a wish, and what it reports.

use std::path::Path;

use meanet_runtime::edge::Service;
use meanet_store::Blobs;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::{Api, Model, SlowStore, args, revision};

const NOBODY: &str = "http://127.0.0.1:9";

fn follow(cache: &Path, store_url: &str, api: &Api) -> DropGuard {
    let args = args(cache, store_url, NOBODY);
    let service = Service::open(&args).unwrap();
    let token = CancellationToken::new();
    tokio::spawn(service.follower(&args, api.client(), token.clone()));
    token.drop_guard()
}

fn is(status: &Value, phase: &str, revision: &str) -> bool {
    status["phase"] == phase && status["revision"] == revision
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_wish_does_not_wait_for_weights() {
    let (model, api, cache) = (Model::new(), Api::start().await, tempfile::tempdir().unwrap());
    let stubborn = model.stubborn_extension();
    let own = &model.manifest.weights;
    let store = SlowStore::start(model.root(), &[&own.main, &own.adaptive, &own.extension]).await;
    api.revision("r1", &model.revision(1.0));
    api.revision("r2", &revision(&model.manifest, &stubborn, 1.0));
    api.revision("r3", &model.revision(2.0));
    let _follower = follow(cache.path(), &store.url, &api);

    api.want("r1");
    api.reported("r1 live", |s| is(s, "Live", "r1")).await;
    api.want("r2");
    api.reported("r2 loading", |s| is(s, "Loading", "r1")).await;
    store.asked_for(&stubborn).await;
    api.want("r3");
    let live = api
        .reported("r3 live while the store holds r2 back", |s| is(s, "Live", "r3"))
        .await;
    assert_eq!(
        (
            &live["observedGeneration"],
            &live["previousRevision"],
            &live["message"]
        ),
        (&Value::from(4), &Value::from("r1"), &Value::Null)
    );

    store.open();
    api.want("r2");
    let live = api.reported("r2 live", |s| is(s, "Live", "r2")).await;
    assert_eq!(live["previousRevision"], "r3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_reported_and_the_next_wish_is_not_held_up_by_it() {
    let (model, api, cache) = (Model::new(), Api::start().await, tempfile::tempdir().unwrap());
    let store = SlowStore::start(model.root(), &[]).await;
    store.open();
    api.revision("r1", &model.revision(1.0));
    let mut other = model.revision(1.0);
    other.hard_classes = vec![other.model.classes];
    api.revision("r2", &other);
    let _follower = follow(cache.path(), &store.url, &api);
    api.reported("waiting", |s| s["phase"] == "Waiting").await;
    api.want("r1");
    api.reported("r1 live", |s| is(s, "Live", "r1")).await;
    for (name, said) in [("r2", "hardClasses"), ("missing", "missing")] {
        api.want(name);
        let failed = api
            .reported(name, |s| {
                s["phase"] == "Failed" && s["message"].as_str().is_some_and(|m| m.contains(said))
            })
            .await;
        assert_eq!(failed["revision"], "r1", "r1 keeps answering");
    }
    let pause = std::time::Instant::now();
    api.revision("r4", &model.revision(3.0));
    api.want("r4");
    api.reported("r4 live", |s| is(s, "Live", "r4")).await;
    println!("a wish after failures was fulfilled within {:?}", pause.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_cache_is_in_the_status_until_it_is_mended() {
    let (model, api, cache) = (Model::new(), Api::start().await, tempfile::tempdir().unwrap());
    let store = SlowStore::start(model.root(), &[]).await;
    store.open();
    api.revision("r1", &model.revision(1.0));
    let mut before = Service::open(&args(cache.path(), &store.url, NOBODY)).unwrap();
    before.bring("r1", &model.revision(1.0)).await.unwrap();
    drop(before);
    let main = model.manifest.weights.main.parse().unwrap();
    std::fs::write(Blobs::below(cache.path()).path(&main), b"not these weights").unwrap();

    api.want("r1");
    // The word that r1 is live again arrives, but the edge does not hear that it did before r2 is wanted.
    api.silent(true);
    let _follower = follow(cache.path(), &store.url, &api);
    let live = api.reported("r1 live again", |s| is(s, "Live", "r1")).await;
    let message = live["message"].as_str().unwrap_or_default();
    assert!(message.contains("before the restart"), "{live}");
    api.silent(false);
    api.revision("r2", &model.revision(2.0));
    api.want("r2");
    let live = api.reported("r2 live", |s| is(s, "Live", "r2")).await;
    assert_eq!(live["message"], Value::Null);
}
