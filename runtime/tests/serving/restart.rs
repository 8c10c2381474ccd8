//! A restart with everybody else gone, and a cache that was damaged in the meantime.

use meanet_runtime::edge::Service;
use meanet_store::Blobs;

use crate::support::{CloudServer, EdgeServer, Model, args, image, infer_json, said};

/// Nobody listens there.
const NOBODY: &str = "http://127.0.0.1:9";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_served_before_a_restart_serves_without_store_and_cloud() {
    let model = Model::new();
    let cache = tempfile::tempdir().unwrap();
    let cloud = CloudServer::start(&model).await;
    let mut first = EdgeServer::start_in(cache.path(), &cloud.store_url(), &cloud.model_url()).await;
    first.service.bring("r1", &model.revision(10.0)).await.unwrap();
    let body = infer_json(&image(5));
    let before = said(&first.infer(&body).await.json().await.unwrap());
    drop(first);

    let second = EdgeServer::start_in(cache.path(), NOBODY, NOBODY).await;
    assert_eq!(second.service.damage(), None);
    assert_eq!(said(&second.infer(&body).await.json().await.unwrap()), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_cache_is_reported_and_fetched_anew() {
    let model = Model::new();
    let cache = tempfile::tempdir().unwrap();
    let cloud = CloudServer::start(&model).await;
    let spec = model.revision(10.0);
    let extension = model.manifest.weights.extension.parse().unwrap();
    let mut first = Service::open(&args(cache.path(), &cloud.store_url(), NOBODY)).unwrap();
    first.bring("r1", &spec).await.unwrap();
    drop(first);

    let path = Blobs::below(cache.path()).path(&extension);
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();

    let mut edge = EdgeServer::start_in(cache.path(), &cloud.store_url(), NOBODY).await;
    let damage = edge.service.damage().expect("the damage is reported").to_owned();
    assert!(damage.contains(&model.manifest.weights.extension), "{damage}");
    assert_eq!(edge.service.revision(), None);
    let body = infer_json(&image(5));
    assert_eq!(
        edge.infer(&body).await.status().as_u16(),
        503,
        "damaged weights never answer"
    );

    edge.service.bring("r1", &spec).await.unwrap();
    assert!(edge.infer(&body).await.status().is_success());
    Blobs::below(cache.path())
        .get(&extension, 1 << 30)
        .expect("the blob is whole again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_note_of_what_served_is_reported() {
    let cache = tempfile::tempdir().unwrap();
    std::fs::write(cache.path().join("active.json"), b"{").unwrap();
    let service = Service::open(&args(cache.path(), NOBODY, NOBODY)).unwrap();
    assert!(service.damage().unwrap().contains("active.json"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_needs_neither_store_nor_disk() {
    let model = Model::new();
    let cache = tempfile::tempdir().unwrap();
    let cloud = CloudServer::start(&model).await;
    let mut edge = EdgeServer::start_in(cache.path(), &cloud.store_url(), NOBODY).await;
    let newer = crate::support::revision(&model.manifest, &model.stubborn_extension(), 10.0);
    edge.service.bring("r1", &model.revision(10.0)).await.unwrap();
    let body = infer_json(&image(5));
    let before = said(&edge.infer(&body).await.json().await.unwrap());
    edge.service.bring("r2", &newer).await.unwrap();
    // A change of thresholds in between does not cost the way back.
    let mut edited = newer.clone();
    edited.routing.offload_above = 9.0;
    edge.service.bring("r3", &edited).await.unwrap();

    std::fs::remove_dir_all(cache.path()).unwrap();
    cloud.token.cancel();
    cloud.server.await.unwrap();
    edge.service.bring("r1", &model.revision(10.0)).await.unwrap();
    assert_eq!(said(&edge.infer(&body).await.json().await.unwrap()), before);
}
