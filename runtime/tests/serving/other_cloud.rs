//! A server that is not ours stands in as the cloud: it knows JSON, its own input's name and type, and none of our parameters.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use warp::Filter;
use warp::http::{HeaderMap, StatusCode, Version};

use crate::support::{CloudServer, EdgeServer, Model, image, infer_json, said};

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(HeaderMap, Value)>>>);

/// A strict server of the protocol, as others are: parameters are scalars, the input has a name and a type.
async fn strict(seen: Seen) -> SocketAddr {
    let server = warp::path!("v2")
        .map(|| warp::reply::json(&json!({"name": "other", "version": "1", "extensions": []})));
    let model = warp::path!("v2" / "models" / "big").map(|| {
        warp::reply::json(&json!({
            "name": "big", "platform": "x",
            "inputs": [{"name": "pixels", "datatype": "FP32", "shape": [-1, 3, 32, 32]}],
            "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 100]}],
        }))
    });
    let infer = warp::path!("v2" / "models" / "big" / "infer")
        .and(warp::post())
        .and(warp::header::headers_cloned())
        .and(warp::body::json())
        .map(move |headers: HeaderMap, body: Value| {
            let input = &body["inputs"][0];
            let scalars = body["parameters"]
                .as_object()
                .is_none_or(|p| p.values().all(|v| !v.is_array() && !v.is_object()));
            let n = input["shape"][0].as_u64().unwrap_or(0) as usize;
            let good = input["name"] == "pixels" && input["datatype"] == "FP32" && scalars;
            seen.0.lock().unwrap().push((headers, body.clone()));
            if good {
                let mut values = vec![0.0; 100 * n];
                for value in values.iter_mut().skip(42).step_by(100) {
                    *value = 9.0;
                }
                let output =
                    json!({"name": "probabilities", "datatype": "FP64", "shape": [n, 100], "data": values});
                warp::reply::with_status(
                    warp::reply::json(&json!({"model_name": "big", "outputs": [output]})),
                    StatusCode::OK,
                )
            } else {
                warp::reply::with_status(
                    warp::reply::json(&json!({"error": "no"})),
                    StatusCode::BAD_REQUEST,
                )
            }
        });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(warp::serve(infer.or(model).or(server)).incoming(listener).run());
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_server_of_the_protocol_can_be_the_cloud() {
    let model = Model::new();
    let store = CloudServer::start(&model).await;
    let seen = Seen::default();
    let address = strict(seen.clone()).await;
    let mut edge = EdgeServer::start(&store.store_url(), &format!("http://{address}/v2/models/big")).await;
    let mut revision = model.revision(0.0);
    revision.routing.cloud_timeout = "10s".parse().unwrap();
    edge.service.bring("asks", &revision).await.unwrap();
    let body = infer_json(&image(3));
    // Until the edge has learned what that server takes, it answers by itself.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = said(&edge.infer(&body).await.json().await.unwrap());
        if answer.exit == "cloud" {
            assert_eq!((answer.label, answer.degraded), (42, false));
            break;
        }
        assert!(answer.degraded && Instant::now() < deadline, "{answer:?}");
    }
    let seen = seen.0.lock().unwrap();
    let (headers, asked) = seen.last().unwrap();
    assert_eq!(
        (&headers["meanet-edge"], &headers["content-type"]),
        (&"edge-1".parse().unwrap(), &"application/json".parse().unwrap())
    );
    assert!(
        headers["meanet-timeout-ms"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            <= 10_000
    );
    assert_eq!(asked["inputs"][0]["data"][0], f64::from(image(3)[0]));
    assert!(asked["parameters"].get("binary_data_output").is_none());
}

/// What our own cloud is sent: HTTP/2 and binary, once the edge knows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_cloud_is_sent_binary_pixels_over_http2() {
    let model = Model::new();
    let store = CloudServer::start(&model).await;
    let seen: Arc<Mutex<Vec<(Version, HeaderMap)>>> = Arc::default();
    let noted = Arc::clone(&seen);
    let server = warp::path!("v2").map(|| {
        warp::reply::json(&json!({"name": "meanet", "version": "1", "extensions": ["binary_tensor_data"]}))
    });
    let infer = warp::path!("v2" / "models" / "cloud" / "infer")
        .and(warp::post())
        .and(warp::header::headers_cloned())
        .and(warp::body::bytes())
        .map(move |headers: HeaderMap, body: bytes::Bytes| {
            let length: usize = headers
                .get("inference-header-content-length")
                .map_or(body.len(), |v| v.to_str().unwrap().parse().unwrap());
            // Of HTTP/2, the host is no header.
            let version = if headers.contains_key("host") {
                Version::HTTP_11
            } else {
                Version::HTTP_2
            };
            noted.lock().unwrap().push((version, headers));
            let request: Value = serde_json::from_slice(&body[..length]).unwrap();
            assert_eq!(request["inputs"][0]["datatype"], "UINT8");
            let output =
                json!({"name": "logits", "datatype": "FP32", "shape": [1, 100], "data": vec![0.5; 100]});
            warp::reply::json(&json!({"model_name": "cloud", "outputs": [output]}))
        });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(warp::serve(infer.or(server)).incoming(listener).run());
    let mut edge = EdgeServer::start(&store.store_url(), &format!("http://{address}/v2/models/cloud")).await;
    let mut revision = model.revision(0.0);
    revision.routing.cloud_timeout = "10s".parse().unwrap();
    edge.service.bring("asks", &revision).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        assert_eq!(
            said(&edge.infer(&infer_json(&image(3))).await.json().await.unwrap()).exit,
            "cloud"
        );
        let last = seen.lock().unwrap().last().cloned().unwrap();
        if last.0 == Version::HTTP_2 && last.1.contains_key("inference-header-content-length") {
            break;
        }
        assert!(Instant::now() < deadline, "{last:?}");
    }
}
