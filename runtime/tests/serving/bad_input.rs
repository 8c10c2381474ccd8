//! Whatever is wrong with a request, the answer is a 4xx that names the field, and the next good request is answered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream;
use reqwest::{Body, Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{CloudServer, EdgeServer, Model, image, infer_json, png};

struct Bad {
    what: &'static str,
    body: Body,
    content_type: &'static str,
    status: u16,
    names: &'static str,
}

fn json_text(what: &'static str, text: impl Into<Body>, names: &'static str) -> Bad {
    Bad {
        what,
        body: text.into(),
        content_type: "application/json",
        status: 400,
        names,
    }
}

fn tensor(what: &'static str, datatype: &str, shape: Value, data: Value, names: &'static str) -> Bad {
    let body = json!({"inputs": [{"name": "image", "datatype": datatype, "shape": shape, "data": data}]});
    json_text(what, body.to_string(), names)
}

/// A request of one FP32 image whose first value is this text.
fn float(what: &'static str, value: &str, names: &'static str) -> Bad {
    let data = format!("{value}{}", ",1.5".repeat(3071));
    let text =
        format!(r#"{{"inputs":[{{"name":"image","datatype":"FP32","shape":[1,3,32,32],"data":[{data}]}}]}}"#);
    json_text(what, text, names)
}

/// A PNG that says it is `side` pixels wide and high.
fn png_of_side(side: u32) -> Vec<u8> {
    let mut file = png(&image(1));
    file[16..20].copy_from_slice(&side.to_be_bytes());
    file[20..24].copy_from_slice(&side.to_be_bytes());
    let crc = !file[12..29].iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    });
    file[29..33].copy_from_slice(&crc.to_be_bytes());
    file
}

fn all() -> Vec<Bad> {
    let good = json!(vec![7; 3072]);
    let cut = png(&image(1))[..200].to_vec();
    let file = |what, body: Vec<u8>, names| Bad {
        what,
        body: body.into(),
        content_type: "image/png",
        status: 400,
        names,
    };
    let in_base64 = |bytes: &[u8]| json!([STANDARD.encode(bytes)]);
    let mut with_text = vec![json!(7); 3072];
    with_text[9] = json!("7");
    let hundred = 100 << 20;
    let chunks = (0..100).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 1 << 20])));
    vec![
        tensor(
            "wrong side",
            "UINT8",
            json!([1, 3, 32, 31]),
            good.clone(),
            "inputs[0].shape",
        ),
        tensor(
            "one channel",
            "UINT8",
            json!([1, 1, 32, 32]),
            good.clone(),
            "inputs[0].shape",
        ),
        tensor(
            "no batch",
            "UINT8",
            json!([3, 32, 32]),
            good.clone(),
            "inputs[0].shape",
        ),
        tensor(
            "empty batch",
            "UINT8",
            json!([0, 3, 32, 32]),
            json!([]),
            "inputs[0].shape",
        ),
        tensor(
            "too large a batch",
            "UINT8",
            json!([257, 3, 32, 32]),
            json!([]),
            "inputs[0].shape",
        ),
        tensor(
            "negative batch",
            "UINT8",
            json!([-1, 3, 32, 32]),
            good.clone(),
            "shape",
        ),
        tensor(
            "too few values",
            "UINT8",
            json!([2, 3, 32, 32]),
            good.clone(),
            "inputs[0].data",
        ),
        tensor(
            "wrong type",
            "FP64",
            json!([1, 3, 32, 32]),
            good.clone(),
            "inputs[0].datatype",
        ),
        tensor(
            "text for a number",
            "UINT8",
            json!([1, 3, 32, 32]),
            json!(with_text),
            "inputs[0].data[9]",
        ),
        tensor(
            "text for all",
            "UINT8",
            json!([1, 3, 32, 32]),
            json!("7"),
            "inputs[0].data",
        ),
        tensor(
            "nested values",
            "UINT8",
            json!([1, 3, 32, 32]),
            json!([good]),
            "inputs[0].data",
        ),
        tensor(
            "too large",
            "UINT8",
            json!([1, 3, 32, 32]),
            json!(vec![256; 3072]),
            "inputs[0].data[0]",
        ),
        tensor(
            "a fraction",
            "UINT8",
            json!([1, 3, 32, 32]),
            json!(vec![0.5; 3072]),
            "inputs[0].data[0]",
        ),
        tensor(
            "no base64",
            "BYTES",
            json!([1]),
            json!(["!"]),
            "inputs[0].data[0]",
        ),
        tensor(
            "cut PNG in base64",
            "BYTES",
            json!([1]),
            in_base64(&cut),
            "inputs[0].data[0]",
        ),
        tensor(
            "huge PNG in base64",
            "BYTES",
            json!([1]),
            in_base64(&png_of_side(60_000)),
            "60000×60000",
        ),
        tensor(
            "many large PNGs",
            "BYTES",
            json!([4]),
            json!(vec![STANDARD.encode(png_of_side(4000)); 4]),
            "inputs[0].data",
        ),
        float("not a number", "NaN", "body"),
        float("infinity", "Infinity", "body"),
        float("larger than a float", "1e39", "inputs[0].data[0]"),
        float("larger than a double", "1e999", "body"),
        float("negative", "-0.5", "inputs[0].data[0]"),
        float("nothing", "null", "inputs[0].data[0]"),
        json_text("no JSON", "images, please", "body"),
        json_text("cut JSON", r#"{"inputs": [{"name": "image""#, "body"),
        json_text("no body", "", "body"),
        json_text("deeply nested", "[".repeat(1 << 20), "body"),
        json_text(
            "deeply nested data",
            format!(
                r#"{{"inputs":[{{"name":"image","datatype":"UINT8","shape":[1],"data":{}"#,
                "[".repeat(1 << 20)
            ),
            "inputs[0].data",
        ),
        json_text("no inputs", "{}", "inputs"),
        json_text("empty inputs", r#"{"inputs": []}"#, "inputs"),
        json_text(
            "another name",
            r#"{"inputs": [{"name": "x", "datatype": "UINT8", "shape": [1], "data": [1]}]}"#,
            "inputs[0].name",
        ),
        file("cut PNG", cut, "body"),
        file("huge PNG", png_of_side(60_000), "60000×60000"),
        file("no PNG", b"GIF89a".to_vec(), "body"),
        file("an empty file", Vec::new(), "body"),
        Bad {
            what: "unknown content type",
            body: "x".into(),
            content_type: "text/plain",
            status: 415,
            names: "Content-Type",
        },
        Bad {
            what: "100 MB announced",
            body: vec![b' '; hundred].into(),
            content_type: "application/json",
            status: 413,
            names: "body",
        },
        Bad {
            what: "100 MB in chunks",
            body: Body::wrap_stream(stream::iter(chunks)),
            content_type: "application/json",
            status: 413,
            names: "body",
        },
    ]
}

/// Sends all that is wrong to `infer`, and the good request after each.
async fn refuses_all(client: &Client, infer: &str) {
    let mut wrong = Vec::new();
    for bad in all() {
        let sent = client
            .post(infer)
            .header("content-type", bad.content_type)
            .body(bad.body)
            .send()
            .await;
        match sent {
            Err(error) => wrong.push(format!("{}: no answer: {error:?}", bad.what)),
            Ok(response) => {
                let status = response.status().as_u16();
                let text = response.text().await.unwrap_or_default();
                let error = serde_json::from_str::<Value>(&text).unwrap_or_default()["error"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                if status != bad.status || !error.contains(bad.names) {
                    wrong.push(format!(
                        "{}: {status} {text:.300}, where {} with {:?} belongs",
                        bad.what, bad.status, bad.names
                    ));
                }
            }
        }
        let good = client.post(infer).json(&infer_json(&image(1))).send().await;
        if !good.is_ok_and(|r| r.status() == StatusCode::OK) {
            wrong.push(format!("{}: no good answer after it", bad.what));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Paths that are not there, and methods that they do not take.
async fn refuses_paths(client: &Client, base: &str, model: &str) {
    for (method, path, status, names) in [
        (Method::POST, "/v2/models/other/infer".to_owned(), 404, "other"),
        (Method::GET, "/v2/models/other".to_owned(), 404, "other"),
        (Method::GET, "/v2/models/other/ready".to_owned(), 404, "other"),
        (
            Method::POST,
            format!("/v2/models/{model}/versions/nine/infer"),
            404,
            "nine",
        ),
        (
            Method::GET,
            format!("/v2/models/{model}/versions/nine"),
            404,
            "nine",
        ),
        (Method::GET, "/v3".to_owned(), 404, "path"),
        (Method::GET, format!("/v2/models/{model}/infer"), 405, "method"),
        (Method::PUT, format!("/v2/models/{model}/infer"), 405, "method"),
        (Method::DELETE, format!("/v2/models/{model}"), 405, "method"),
        (Method::POST, "/v2/health/live".to_owned(), 405, "method"),
    ] {
        let request = client.request(method.clone(), format!("{base}{path}"));
        let response = request.json(&infer_json(&image(1))).send().await.unwrap();
        let found = response.status().as_u16();
        let body: Value = response.json().await.unwrap();
        let error = body["error"].as_str().unwrap_or_default();
        assert!(
            found == status && error.contains(names),
            "{method} {path}: {found} {body}, where {status} with {names:?} belongs"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_edge_names_what_is_wrong() {
    let model = Model::new();
    let cloud = CloudServer::start(&model).await;
    let mut edge = EdgeServer::start(&cloud.store_url(), &cloud.model_url()).await;
    let before = edge.infer(&infer_json(&image(1))).await;
    assert_eq!(
        before.status(),
        StatusCode::SERVICE_UNAVAILABLE,
        "no revision yet"
    );
    assert!(before.headers().contains_key("retry-after"));
    edge.service.bring("r1", &model.revision(10.0)).await.unwrap();
    refuses_all(&edge.client, &edge.url("/v2/models/cams/infer")).await;
    refuses_paths(&edge.client, &edge.url(""), "cams").await;
    let versioned = edge.url("/v2/models/cams/versions/r1/infer");
    let good = edge
        .client
        .post(versioned)
        .json(&infer_json(&image(1)))
        .send()
        .await;
    assert_eq!(good.unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cloud_names_what_is_wrong() {
    let model = Model::new();
    let cloud = CloudServer::start(&model).await;
    let client = meanet_runtime::client::client(None, |builder| builder).unwrap();
    refuses_all(&client, &format!("{}/infer", cloud.model_url())).await;
    refuses_paths(&client, &cloud.store_url(), "cloud").await;
    let feedback = format!("{}/v1/feedback", cloud.store_url());
    for (parameters, names) in [
        (json!({}), "parameters.labels"),
        (json!({"labels": [100]}), "parameters.labels"),
        (json!({"labels": [1, 2]}), "parameters.labels"),
        (json!({"labels": ["cat"]}), "parameters.labels"),
    ] {
        let mut body = infer_json(&image(1));
        body["parameters"] = parameters;
        let response = client.post(&feedback).json(&body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let text = response.text().await.unwrap();
        assert!(text.contains(names), "{text}");
    }
    for digest in ["sha256:00", "../../etc/passwd", "latest"] {
        let response = client
            .get(format!("{}/v1/blobs/{digest}", cloud.store_url()))
            .send()
            .await
            .unwrap();
        assert!(response.status().is_client_error(), "{digest}");
    }
}
