//! The cloud's queue: who has left is not computed, who would be late is told at once, and edges share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use meanet_net::Backend;
use meanet_runtime::client::client;
use meanet_runtime::protocol::{EDGE_HEADER, TIMEOUT_HEADER};
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::{CloudServer, Model, image, infer_json, large};

const QUEUE: &str = "meanet_cloud_queue_depth";
const CANCELLED: &str = "meanet_cloud_cancelled_requests_total";
const COMPUTED: &str = "meanet_cloud_batch_images_sum";

async fn wait(cloud: &CloudServer, client: &Client, name: &str, is: impl Fn(f64) -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let value = cloud.metric(client, name).await;
        if is(value) {
            return;
        }
        assert!(Instant::now() < deadline, "{name} stays at {value}");
    }
}

async fn ask(client: &Client, cloud: &CloudServer, edge: &str, seed: u32) -> Response {
    let post = client.post(format!("{}/infer", cloud.model_url()));
    post.header(EDGE_HEADER, edge)
        .json(&infer_json(&image(seed)))
        .send()
        .await
        .unwrap()
}

/// Where a GPU would compute, burn does; here it is burn on the CPU, by two threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_backend_answers_the_same() {
    let model = Model::new();
    let client = client(None, |builder| builder).unwrap();
    let mut answers = Vec::new();
    for backend in [Backend::Engine, Backend::Flex] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let cloud = CloudServer::start_with(&model, listener, |args| {
            args.backend = Some(backend);
            args.model_threads = 2;
        });
        let asked = join_all((0..6).map(|seed| ask(&client, &cloud, "edge", seed))).await;
        let read = asked
            .into_iter()
            .map(|response| response.error_for_status().unwrap().json::<Value>());
        answers.push(join_all(read).await);
    }
    let [engine, flex] = &answers[..] else {
        unreachable!()
    };
    for (one, other) in engine.iter().zip(flex) {
        let logits = |answer: &Value| {
            serde_json::from_value::<Vec<f64>>(answer["outputs"][0]["data"].clone()).unwrap()
        };
        let (one, other) = (logits(one.as_ref().unwrap()), logits(other.as_ref().unwrap()));
        assert!(!one.is_empty() && one.len() == other.len());
        assert!(
            one.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-3),
            "{one:?} for {other:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_left_is_never_computed() {
    let model = Model::new();
    let cloud = CloudServer::start(&model).await;
    let client = client(None, |builder| builder).unwrap();
    let url = format!("{}/infer", cloud.model_url());
    // The network is busy with this for a while.
    let busy = client.post(&url).json(&large(128)).send();
    let leave = async {
        wait(&cloud, &client, COMPUTED, |sum| sum > 0.0).await;
        let leaving: Vec<_> = (0..10)
            .map(|seed| {
                let (client, body) = (client.clone(), infer_json(&image(seed)));
                let url = url.clone();
                tokio::spawn(async move { client.post(url).json(&body).send().await })
            })
            .collect();
        wait(&cloud, &client, QUEUE, |waiting| waiting >= 10.0).await;
        for request in &leaving {
            request.abort();
        }
    };
    let (answer, ()) = futures::join!(busy, leave);
    assert!(answer.unwrap().status().is_success());
    wait(&cloud, &client, CANCELLED, |cancelled| cancelled >= 10.0).await;
    assert!(ask(&client, &cloud, "a", 1).await.status().is_success());
    assert_eq!(
        cloud.metric(&client, COMPUTED).await,
        129.0,
        "those of the two that waited"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_would_be_late_is_told_at_once() {
    let model = Model::new();
    let cloud = CloudServer::start(&model).await;
    let client = client(None, |builder| builder).unwrap();
    let url = format!("{}/infer", cloud.model_url());
    // It learns how long a batch takes.
    assert!(ask(&client, &cloud, "a", 1).await.status().is_success());
    let busy = client.post(&url).json(&large(128)).send();
    let late = async {
        wait(&cloud, &client, COMPUTED, |sum| sum > 1.0).await;
        let post = client.post(&url).header(TIMEOUT_HEADER, "0");
        let refused = post.json(&infer_json(&image(1))).send().await.unwrap();
        assert_eq!(refused.status().as_u16(), 503);
        assert!(refused.headers().contains_key("retry-after-ms"));
        let text = refused.text().await.unwrap();
        assert!(text.contains("later than the caller waits"), "{text}");
        cloud.metric(&client, COMPUTED).await
    };
    let (answer, computed) = futures::join!(busy, late);
    assert!(answer.unwrap().status().is_success());
    assert!(computed < 129.0, "it was told before the network was free");
    let patient = client.post(&url).header(TIMEOUT_HEADER, "60000");
    let answer = patient.json(&infer_json(&image(1))).send().await.unwrap();
    assert!(answer.status().is_success());
}

/// The body is nonsense, and only who might be taken in hears of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_certain_to_be_refused_is_not_read() {
    let model = Model::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let cloud = CloudServer::start_with(&model, listener, |args| {
        (args.max_batch, args.max_queue) = (1, 4);
    });
    let client = client(None, |builder| builder).unwrap();
    let url = format!("{}/infer", cloud.model_url());
    let busy = client.post(&url).json(&large(256)).send();
    let refused = async {
        wait(&cloud, &client, COMPUTED, |sum| sum > 0.0).await;
        let four = (0..4).map(|seed| ask(&client, &cloud, "full", seed));
        let nonsense = async {
            wait(&cloud, &client, QUEUE, |waiting| waiting >= 4.0).await;
            let send = |edge| {
                client
                    .post(&url)
                    .header(EDGE_HEADER, edge)
                    .body("nonsense")
                    .send()
            };
            (send("full").await.unwrap(), send("other").await.unwrap())
        };
        futures::join!(join_all(four), nonsense).1
    };
    let (answer, (full, other)) = futures::join!(busy, refused);
    assert!(answer.unwrap().status().is_success());
    assert_eq!((full.status().as_u16(), other.status().as_u16()), (429, 400));
    assert!(full.headers().contains_key("retry-after-ms"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greedy_edge_takes_nothing_from_a_modest_one() {
    let model = Model::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let cloud = Arc::new(CloudServer::start_with(&model, listener, |args| {
        (args.max_batch, args.max_queue) = (4, 16);
    }));
    let client = client(None, |builder| builder).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let refused = Arc::new(AtomicUsize::new(0));
    // Twice as many as there is room for, each asking again at once.
    let greedy: Vec<_> = (0..32)
        .map(|seed| {
            let (client, cloud, stop, refused) = (
                client.clone(),
                Arc::clone(&cloud),
                Arc::clone(&stop),
                Arc::clone(&refused),
            );
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let status = ask(&client, &cloud, "greedy", seed).await.status().as_u16();
                    assert!(matches!(status, 200 | 429), "{status}");
                    if status == 429 {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    wait(&cloud, &client, QUEUE, |waiting| waiting >= 12.0).await;
    for round in 0..10 {
        let answers = join_all((0..4).map(|seed| ask(&client, &cloud, "modest", seed))).await;
        for answer in answers {
            assert_eq!(answer.status().as_u16(), 200, "round {round}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    join_all(greedy).await.into_iter().for_each(Result::unwrap);
    assert!(refused.load(Ordering::Relaxed) > 0, "there was room for all");
}
