//! A cloud that is gone, silent or mad: the edge answers by itself within `cloudTimeout` and its own compute, and says so.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{CloudServer, EdgeServer, Model, image, infer_json, said};

/// What scheduling on a loaded machine may add; a wait without a bound would add much more.
const SLACK: Duration = Duration::from_secs(3);
/// `routing.cloudTimeout` of the revisions here.
const TIMEOUT: Duration = Duration::from_millis(150);

/// A server that reads a request and then writes `answer`, or nothing and stays.
async fn server(answer: Option<String>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(count) = stream.read(&mut buffer).await {
                    if count == 0 {
                        return;
                    }
                    if let Some(answer) = &answer
                        && buffer[..count].ends_with(b"}")
                    {
                        let _ = stream.write_all(answer.as_bytes()).await;
                        let _ = stream.shutdown().await;
                        return;
                    }
                }
            });
        }
    });
    address
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn logits(shape: &Value, data: &Value) -> String {
    let tensor = json!({"name": "logits", "datatype": "FP32", "shape": shape, "data": data});
    http(
        "200 OK",
        &json!({"model_name": "cloud", "outputs": [tensor]}).to_string(),
    )
}

async fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_edge_answers_without_its_cloud() {
    let model = Model::new();
    let cloud = CloudServer::start(&model).await;
    let body = infer_json(&image(3));
    for (what, address) in [
        ("closed", closed_port().await),
        ("silent", server(None).await),
        (
            "no HTTP",
            server(Some("220 mail.example ESMTP\r\n".to_owned())).await,
        ),
        (
            "broken off",
            server(Some("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_owned())).await,
        ),
        ("500", server(Some(http("500 Internal Server Error", "{}"))).await),
        ("no JSON", server(Some(http("200 OK", "thanks"))).await),
        (
            "few classes",
            server(Some(logits(&json!([1, 3]), &json!([1, 2, 3])))).await,
        ),
        (
            "no numbers",
            server(Some(logits(&json!([1, 100]), &json!(vec![Value::Null; 100])))).await,
        ),
        (
            "few numbers",
            server(Some(logits(&json!([1, 100]), &json!([1, 2, 3])))).await,
        ),
    ] {
        let url = format!("http://{address}/v2/models/cloud");
        let mut edge = EdgeServer::start(&cloud.store_url(), &url).await;
        edge.service.bring("alone", &model.revision(10.0)).await.unwrap();
        let began = Instant::now();
        let alone = said(&edge.infer(&body).await.json().await.unwrap());
        let own = began.elapsed();
        assert!(!alone.degraded && alone.exit != "cloud", "{what}: {alone:?}");

        edge.service.bring("asks", &model.revision(0.0)).await.unwrap();
        // More often than the edge's patience, so that a cloud left alone is covered, too.
        for _ in 0..7 {
            let began = Instant::now();
            let answer = said(&edge.infer(&body).await.json().await.unwrap());
            let took = began.elapsed();
            assert!(answer.degraded && answer.exit != "cloud", "{what}: {answer:?}");
            assert_eq!((answer.label, answer.score), (alone.label, alone.score), "{what}");
            // The edge's own compute at most twice: the extension may have to be asked after all.
            let bound = TIMEOUT + 2 * own + SLACK;
            assert!(took < bound, "{what}: {took:?}, more than {bound:?}");
        }

        let mut sparing = model.revision(0.0);
        sparing.routing.extend_above = Some(20.0);
        edge.service.bring("sparing", &sparing).await.unwrap();
        let answer = said(&edge.infer(&body).await.json().await.unwrap());
        assert!(answer.degraded && answer.exit == "main", "{what}: {answer:?}");

        let mut fails = model.revision(0.0);
        fails.routing.when_cloud_unavailable = meanet_crds::deployment::WhenCloudUnavailable::Fail;
        edge.service.bring("fails", &fails).await.unwrap();
        let refused = edge.infer(&body).await;
        assert_eq!(refused.status().as_u16(), 503, "{what}");
        let text = refused.text().await.unwrap();
        assert!(text.contains("whenCloudUnavailable"), "{what}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cloud_that_comes_back_is_asked_again() {
    let model = Model::new();
    let cloud = CloudServer::start(&model).await;
    let mut revision = model.revision(0.0);
    revision.routing.cloud_timeout = "10s".parse().unwrap();
    let port = closed_port().await;
    let mut edge = EdgeServer::start(&cloud.store_url(), &format!("http://{port}/v2/models/cloud")).await;
    edge.service.bring("asks", &revision).await.unwrap();
    let body = infer_json(&image(3));
    for _ in 0..7 {
        assert!(said(&edge.infer(&body).await.json().await.unwrap()).degraded);
    }
    let again = CloudServer::start_on(&model, TcpListener::bind(port).await.unwrap());
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = said(&edge.infer(&body).await.json().await.unwrap());
        if answer.exit == "cloud" {
            assert!(!answer.degraded);
            break;
        }
        assert!(Instant::now() < deadline, "the cloud is never asked again");
    }
    drop(again);
}
