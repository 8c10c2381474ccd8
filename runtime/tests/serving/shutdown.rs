//! The end of a process, and more work than there is room for.

use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::future::{Either, join_all, select};
use reqwest::Client;
use serde_json::Value;

use crate::support::{Model, ROOM, edge, image, infer_json, large};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_edge_answers_what_is_under_way_when_it_ends() {
    let model = Model::new();
    let (_cloud, mut edge) = edge(&model).await;
    // Together they fill all room. That is looked at before a body is read, so what is no request says when they have been admitted,
    // and takes none of it.
    let (body, url) = (large(ROOM as u32 / 4), edge.url("/v2/models/cams/infer"));
    let broken = || {
        edge.client
            .post(&url)
            .header("content-type", "application/json")
            .body("{")
    };
    let full = async || while broken().send().await.unwrap().status() != 429 {};
    let ask = || join_all((0..4).map(|_| edge.infer(&body)));
    let answers = stopped_under_way(ask, full, || edge.token.cancel()).await;
    for answer in answers {
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }
    (&mut edge.server).await.unwrap();
    let after = edge.client.get(edge.url("/v2/health/live")).send().await;
    assert!(after.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_said_at_once() {
    let model = Model::new();
    let (_cloud, edge) = edge(&model).await;
    // One leaves no room for another.
    let (busy, body) = (large(ROOM as u32 - 16), infer_json(&image(1)));
    let began = Instant::now();
    let asked = join_all((0..6).map(|_| {
        let (edge, busy) = (&edge, &busy);
        async move {
            let answer = edge.infer(busy).await;
            (answer, began.elapsed())
        }
    }));
    let mut refused = Vec::new();
    let mut last = Duration::ZERO;
    for (answer, took) in asked.await {
        match answer.status().as_u16() {
            200 => last = last.max(took),
            429 => {
                assert_eq!(answer.headers()["retry-after"], "1");
                assert_eq!(answer.headers()["retry-after-ms"], "1000");
                let body: Value = answer.json().await.unwrap();
                assert!(body["error"].as_str().unwrap().contains("again later"), "{body}");
                refused.push(took);
            }
            status => panic!("{status}: {}", answer.text().await.unwrap()),
        }
    }
    assert!(!refused.is_empty(), "six requests found room for one");
    assert!(
        refused.iter().all(|&took| took < last),
        "a refusal waits for nothing"
    );
    assert!(
        edge.infer(&body).await.status().is_success(),
        "there is room again"
    );
}

/// A `meanet` process that is killed with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_the_cloud_answer() {
    let model = Model::new();
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let base = format!("http://127.0.0.1:{port}");
    let child = Command::new(env!("CARGO_BIN_EXE_meanet"))
        .args(["cloud", "--deployment=cams"])
        .arg(format!("--store={}", model.root().display()))
        .arg(format!("--weights={}", model.cloud_digest()))
        .arg(format!("--listen=127.0.0.1:{port}"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut process = Process(child);
    let client = meanet_runtime::client::client(None, |builder| builder).unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while client
        .get(format!("{base}/v2/health/ready"))
        .send()
        .await
        .is_err()
    {
        assert!(Instant::now() < deadline, "the cloud tier does not start");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (url, body) = (format!("{base}/v2/models/cloud/infer"), large(32));
    let ask = || join_all((0..4).map(|_| client.post(&url).json(&body).send()));
    let metrics = format!("{base}/metrics");
    let full = async || {
        loop {
            let [begun, waiting] = counts(&client, &metrics).await;
            if waiting > 0 && (begun + waiting) % 128 == 0 {
                break;
            }
        }
    };
    let pid = process.0.id().to_string();
    let terminate = || {
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
    };
    let answers = stopped_under_way(ask, full, terminate).await;
    for answer in answers {
        assert!(answer.unwrap().status().is_success());
    }
    let status = tokio::task::spawn_blocking(move || process.0.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(status.success(), "{status}");
}

/// What is answered to requests that a server has when it is told to stop. Where they are answered before `full` returns, they are sent
/// again.
async fn stopped_under_way<A: Future>(
    ask: impl Fn() -> A,
    full: impl AsyncFn(),
    stop: impl FnOnce(),
) -> A::Output {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        match select(pin!(ask()), pin!(full())).await {
            Either::Left(_) => assert!(Instant::now() < deadline, "all is answered before all is there"),
            Either::Right(((), asked)) => {
                stop();
                return asked.await;
            }
        }
    }
}

/// Images that a cloud tier has begun to compute since its start, and those that wait.
async fn counts(client: &Client, url: &str) -> [u64; 2] {
    let text = client.get(url).send().await.unwrap().text().await.unwrap();
    ["meanet_cloud_batch_images_sum", "meanet_cloud_queue_depth"].map(|name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.unwrap_or_else(|| panic!("no {name} in {text}"));
        value.trim().parse::<f64>().unwrap() as u64
    })
}
