//! What is wrong with tensors in binary, over HTTP and gRPC, is said by name.

use bytes::Bytes;
use meanet_oip as oip;
use meanet_runtime::protocol::json::write_request;
use meanet_runtime::protocol::{Data, Target, grpc};
use tonic::Code;

use crate::support::{Model, binary, edge, floats, pixels, request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_in_binary_is_named() {
    let model = Model::new();
    let (_cloud, edge) = edge(&model).await;
    let url = edge.url("/v2/models/cams/infer");
    let good = write_request(&request(vec![pixels(3)]), true).unwrap();
    let json = good.json.unwrap();
    let floats_of = |value: f32| {
        let mut tensor = floats(3);
        let Data::F32(data) = &mut tensor.data else {
            panic!("floats")
        };
        data[5] = value;
        write_request(&request(vec![tensor]), true).unwrap()
    };
    let (nan, infinite) = (floats_of(f32::NAN), floats_of(f32::INFINITY));
    let length = |bytes: usize| bytes.to_string();
    let mut wrong = Vec::new();
    for (what, body, header, kind, names) in [
        (
            "no length",
            good.body.clone(),
            "x".to_owned(),
            "application/json",
            "Inference-Header",
        ),
        (
            "a negative length",
            good.body.clone(),
            "-1".to_owned(),
            "application/json",
            "Inference-Header",
        ),
        (
            "a huge length",
            good.body.clone(),
            "99999999999999999999".to_owned(),
            "application/json",
            "Inference-Header",
        ),
        (
            "a length past the end",
            good.body.clone(),
            length(good.body.len() + 1),
            "application/json",
            "Inference-Header",
        ),
        (
            "a length within the JSON",
            good.body.clone(),
            length(json - 5),
            "application/json",
            "inputs[0]",
        ),
        (
            "a length past the JSON",
            good.body.clone(),
            length(json + 5),
            "application/json",
            "body",
        ),
        (
            "bytes missing",
            good.body[..good.body.len() - 1].to_vec(),
            length(json),
            "application/json",
            "binary_data_size",
        ),
        (
            "bytes left",
            [&good.body[..], b"x"].concat(),
            length(json),
            "application/json",
            "body",
        ),
        (
            "NaN",
            nan.body,
            length(nan.json.unwrap()),
            "application/json",
            "inputs[0].data[5]: NaN",
        ),
        (
            "infinity",
            infinite.body,
            length(infinite.json.unwrap()),
            "application/json",
            "inputs[0].data[5]: inf",
        ),
        (
            "another type",
            good.body.clone(),
            length(json),
            "text/plain",
            "Content-Type",
        ),
    ] {
        let response = binary(&edge.client, &url, body, &header, kind).await;
        let (status, text) = (response.status(), response.text().await.unwrap());
        if !(status.is_client_error() && text.contains(names)) {
            wrong.push(format!("{what}: {status} {text}, where {names:?} belongs"));
        }
    }
    let target = Target {
        model: "cams".to_owned(),
        version: None,
    };
    let mut grpc_client = edge.grpc();
    let message = grpc::message(&target, &request(vec![pixels(3)])).unwrap();
    for (what, change, code, names) in [
        (
            "another model",
            (|m| m.model_name = "cars".to_owned()) as fn(&mut oip::ModelInferRequest),
            Code::NotFound,
            "cars",
        ),
        (
            "another version",
            |m| m.model_version = "r9".to_owned(),
            Code::NotFound,
            "r9",
        ),
        (
            "short contents",
            |m| m.raw_input_contents[0] = Bytes::from_static(b"x"),
            Code::InvalidArgument,
            "inputs[0].data",
        ),
        (
            "no contents",
            |m| m.raw_input_contents.clear(),
            Code::InvalidArgument,
            "inputs[0].contents",
        ),
        (
            "many contents",
            |m| m.raw_input_contents.push(Bytes::new()),
            Code::InvalidArgument,
            "raw_input_contents",
        ),
        (
            "no inputs",
            |m| {
                m.inputs.clear();
                m.raw_input_contents.clear();
            },
            Code::InvalidArgument,
            "inputs",
        ),
    ] {
        let mut message = message.clone();
        change(&mut message);
        let status = grpc_client.model_infer(message).await.unwrap_err();
        if status.code() != code || !status.message().contains(names) {
            wrong.push(format!("{what}: {status}, where {code:?} with {names:?} belongs"));
        }
    }
    let mut huge = message.clone();
    huge.raw_input_contents[0] = vec![0; 9 << 20].into();
    let status = grpc_client.model_infer(huge).await.unwrap_err();
    if !matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted) {
        wrong.push(format!("9 MiB: {status}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(grpc_client.model_infer(message).await.is_ok());
}
