//! Every transport and encoding gives the same answer.

use meanet_oip as oip;
use meanet_runtime::protocol::json::{LENGTH_HEADER, read_response, write_request};
use meanet_runtime::protocol::{Data, InferRequest, InferResponse, Requested, Target, Tensor, grpc};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    CloudServer, EdgeServer, Model, binary, edge, floats, image, infer_json, large, pixels, png, request,
    said,
};

fn file(seed: u32) -> Tensor {
    Tensor::new("image", vec![1], Data::Bytes(vec![png(&image(seed)).into()]))
}

async fn answered(response: Response) -> InferResponse {
    assert_eq!(response.status(), StatusCode::OK);
    let json = response
        .headers()
        .get(LENGTH_HEADER)
        .map(|v| v.to_str().unwrap().parse().unwrap());
    read_response(&response.bytes().await.unwrap(), json).unwrap()
}

/// Label, exit and score, however they are encoded.
fn row(answer: &InferResponse, row: usize) -> (i64, String, f32) {
    let output = |name: &str| &answer.outputs.iter().find(|t| t.name == name).unwrap().data;
    let (Data::I64(labels), Data::F32(scores)) = (output("label"), output("score")) else {
        panic!("{answer:?}");
    };
    (
        labels[row],
        output("exit").text(row).unwrap().to_owned(),
        scores[row],
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_transport_gives_the_same_answer() {
    let model = Model::new();
    let (_cloud, edge) = edge(&model).await;
    let url = edge.url("/v2/models/cams/infer");
    let expected = said(&edge.infer(&infer_json(&image(3))).await.json().await.unwrap());
    let second = meanet_runtime::client::client(None, reqwest::ClientBuilder::http2_prior_knowledge).unwrap();
    let socket = meanet_runtime::client::client(None, |b| b.unix_socket(edge.socket.as_path())).unwrap();
    let mut answers = Vec::new();
    for (client, how) in [
        (&edge.client, "HTTP/1.1"),
        (&second, "HTTP/2"),
        (&socket, "a Unix socket"),
    ] {
        for (tensor, what) in [(pixels(3), "bytes"), (floats(3), "floats"), (file(3), "a file")] {
            for kind in ["application/json", "application/octet-stream"] {
                let written = write_request(&request(vec![tensor.clone()]), true).unwrap();
                let length = written.json.unwrap().to_string();
                let answer = answered(binary(client, &url, written.body, &length, kind).await).await;
                assert_eq!(answer.id.as_deref(), Some("id-7"));
                answers.push((format!("{what} by {how} in binary"), answer));
            }
        }
        let mut body = infer_json(&image(3));
        body["inputs"][0]["datatype"] = json!("FP32");
        let answer = answered(client.post(&url).json(&body).send().await.unwrap()).await;
        answers.push((format!("floats by {how} in JSON"), answer));
        let post = client.post(&url).header("content-type", "image/png");
        let answer = answered(post.body(png(&image(3))).send().await.unwrap()).await;
        answers.push((format!("a file by {how}"), answer));
    }
    let target = Target {
        model: "cams".to_owned(),
        version: Some("r1".to_owned()),
    };
    let mut grpc_client = edge.grpc();
    for (tensor, what) in [(pixels(3), "bytes"), (floats(3), "floats"), (file(3), "a file")] {
        let raw = grpc::message(&target, &request(vec![tensor])).unwrap();
        let mut typed = raw.clone();
        let bytes = typed.raw_input_contents.remove(0);
        typed.inputs[0].contents = Some(match what {
            "bytes" => oip::InferTensorContents {
                uint_contents: bytes.iter().map(|&b| u32::from(b)).collect(),
                ..oip::InferTensorContents::default()
            },
            "floats" => oip::InferTensorContents {
                fp32_contents: image(3).into_iter().map(f32::from).collect(),
                ..oip::InferTensorContents::default()
            },
            _ => oip::InferTensorContents {
                bytes_contents: vec![png(&image(3)).into()],
                ..oip::InferTensorContents::default()
            },
        });
        for (message, form) in [(raw, "raw"), (typed, "typed")] {
            let answer = grpc_client.model_infer(message).await.unwrap().into_inner();
            assert_eq!(answer.raw_output_contents.is_empty(), form == "typed");
            answers.push((format!("{what} by gRPC, {form}"), grpc::response(answer).unwrap()));
        }
    }
    for (how, answer) in &answers {
        let (label, exit, score) = row(answer, 0);
        assert_eq!(
            (label as u64, exit.as_str()),
            (expected.label, expected.exit.as_str()),
            "{how}"
        );
        assert!((f64::from(score) - expected.score).abs() < 1e-5, "{how}");
        assert_eq!(answer.parameters["revision"], "r1", "{how}");
        assert_eq!(answer.parameters["exit"], expected.exit.as_str(), "{how}");
        assert_eq!(answer.model_version.as_deref(), Some("r1"), "{how}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inputs_and_outputs_are_those_that_a_request_names() {
    let model = Model::new();
    let (_cloud, edge) = edge(&model).await;
    let url = edge.url("/v2/models/cams/infer");
    let named = |name: &str, tensor: Tensor| Tensor {
        name: name.to_owned(),
        ..tensor
    };
    let both = request(vec![named("image0", pixels(3)), named("image1", file(4))]);
    let written = write_request(&both, true).unwrap();
    let length = written.json.unwrap().to_string();
    let answer = answered(binary(&edge.client, &url, written.body, &length, "application/json").await).await;
    for (at, seed) in [(0, 3), (1, 4)] {
        let alone = said(&edge.infer(&infer_json(&image(seed))).await.json().await.unwrap());
        assert_eq!(row(&answer, at).0 as u64, alone.label);
    }
    let mut body = infer_json(&image(3));
    body["outputs"] = json!([{"name": "exit"}, {"name": "label", "parameters": {"binary_data": true}}]);
    let response = edge.infer(&body).await;
    let length: usize = response.headers()[LENGTH_HEADER]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let bytes = response.bytes().await.unwrap();
    let said: Value = serde_json::from_slice(&bytes[..length]).unwrap();
    assert_eq!(
        (&said["outputs"][0]["name"], &said["outputs"][1]["name"]),
        (&json!("exit"), &json!("label"))
    );
    assert_eq!(
        (said["outputs"].as_array().unwrap().len(), bytes.len() - length),
        (2, 8)
    );
    body["parameters"] = json!({"binary_data_output": true});
    body["outputs"] = json!([{"name": "exit", "parameters": {"binary_data": false}}, {"name": "score"}]);
    let answer = answered(edge.infer(&body).await).await;
    assert_eq!(
        answer.outputs.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(),
        ["exit", "score"]
    );
    let wanted = InferRequest {
        outputs: vec![Requested {
            name: "score".to_owned(),
            binary: None,
        }],
        ..request(vec![pixels(3)])
    };
    let target = Target {
        model: "cams".to_owned(),
        version: None,
    };
    let message = grpc::message(&target, &wanted).unwrap();
    let answer = edge.grpc().model_infer(message).await.unwrap().into_inner();
    assert_eq!((answer.outputs.len(), answer.id.as_str()), (1, "id-7"));
    body["outputs"] = json!([{"name": "colour"}]);
    let refused = edge.infer(&body).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert!(refused.text().await.unwrap().contains("outputs[0].name"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_is_reads_the_same_over_http_and_grpc() {
    let model = Model::new();
    let cloud = CloudServer::start(&model).await;
    let mut edge = EdgeServer::start(&cloud.store_url(), &cloud.model_url()).await;
    let mut grpc = edge.grpc();
    let ready = |name: &str, version: &str| oip::ModelReadyRequest {
        name: name.to_owned(),
        version: version.to_owned(),
    };
    assert!(
        grpc.server_live(oip::ServerLiveRequest {})
            .await
            .unwrap()
            .into_inner()
            .live
    );
    assert!(
        !grpc
            .server_ready(oip::ServerReadyRequest {})
            .await
            .unwrap()
            .into_inner()
            .ready
    );
    assert!(
        !grpc
            .model_ready(ready("cams", ""))
            .await
            .unwrap()
            .into_inner()
            .ready
    );
    edge.service.bring("r1", &model.revision(10.0)).await.unwrap();
    assert!(
        grpc.server_ready(oip::ServerReadyRequest {})
            .await
            .unwrap()
            .into_inner()
            .ready
    );
    assert!(
        grpc.model_ready(ready("cams", "r1"))
            .await
            .unwrap()
            .into_inner()
            .ready
    );
    assert_eq!(
        grpc.model_ready(ready("cars", "")).await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(
        grpc.model_ready(ready("cams", "r9")).await.unwrap_err().code(),
        Code::NotFound
    );

    let get = async |path: &str| -> Value {
        edge.client
            .get(edge.url(path))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    };
    let server = grpc
        .server_metadata(oip::ServerMetadataRequest {})
        .await
        .unwrap()
        .into_inner();
    let told = get("/v2").await;
    assert_eq!(
        told,
        json!({"name": server.name, "version": server.version, "extensions": server.extensions})
    );
    assert_eq!(told["extensions"], json!(["binary_tensor_data"]));
    let asked = oip::ModelMetadataRequest {
        name: "cams".to_owned(),
        version: String::new(),
    };
    let described = grpc.model_metadata(asked).await.unwrap().into_inner();
    let told = get("/v2/models/cams").await;
    let tensors = |all: &[oip::model_metadata_response::TensorMetadata]| -> Vec<Value> {
        all.iter()
            .map(|t| json!({"name": t.name, "datatype": t.datatype, "shape": t.shape}))
            .collect()
    };
    assert_eq!(
        told["inputs"],
        json!([{"name": "image", "datatype": "UINT8", "shape": [-1, 3, 32, 32]}])
    );
    assert_eq!(told["inputs"], json!(tensors(&described.inputs)));
    assert_eq!(told["outputs"], json!(tensors(&described.outputs)));
    assert_eq!(
        (told["versions"].clone(), told["platform"].clone()),
        (json!(described.versions), json!(described.platform))
    );
    assert_eq!(
        get("/v2/models/cams/versions/r1/ready").await,
        json!({"name": "cams", "ready": true})
    );

    // The cloud has the same transports.
    let mut of_cloud = oip::GrpcInferenceServiceClient::connect(cloud.store_url())
        .await
        .unwrap();
    let target = Target {
        model: "cloud".to_owned(),
        version: None,
    };
    let message = grpc::message(&target, &request(vec![pixels(3)])).unwrap();
    let answer = of_cloud.model_infer(message).await.unwrap().into_inner();
    assert_eq!(answer.outputs[0].shape, [1, 100]);
}

/// What waits for the one compute thread is computed together; what is wrong with one request is its own matter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_image_costs_the_rest_of_its_batch_nothing() {
    let model = Model::new();
    let (_cloud, edge) = edge(&model).await;
    let url = edge.url("/v2/models/cams/infer");
    let mut alone = Vec::new();
    for seed in 0..6 {
        alone.push(said(
            &edge.infer(&infer_json(&image(seed))).await.json().await.unwrap(),
        ));
    }
    let busy = large(64);
    let cut = png(&image(1))[..200].to_vec();
    let together = (0..12).map(|number| {
        let (edge, url, cut) = (&edge, &url, cut.clone());
        async move {
            if number % 2 == 1 {
                let post = edge.client.post(url).header("content-type", "image/png");
                post.body(cut).send().await.unwrap()
            } else {
                edge.infer(&infer_json(&image(number / 2))).await
            }
        }
    });
    let (first, answers) = futures::join!(edge.infer(&busy), futures::future::join_all(together));
    assert_eq!(first.status(), StatusCode::OK);
    for (number, answer) in answers.into_iter().enumerate() {
        if number % 2 == 1 {
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
            assert!(answer.text().await.unwrap().contains("body"));
        } else {
            let (mine, expected) = (said(&answer.json().await.unwrap()), &alone[number / 2]);
            assert_eq!(
                (mine.label, &mine.exit),
                (expected.label, &expected.exit),
                "{number}"
            );
        }
    }
}
