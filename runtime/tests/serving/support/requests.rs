use meanet_runtime::protocol::json::LENGTH_HEADER;
use meanet_runtime::protocol::{Data, InferRequest, Tensor};
use reqwest::{Client, Response};

use super::{CloudServer, EdgeServer, Model, image};

/// An edge that serves `model` and sends nothing to the cloud it has.
pub async fn edge(model: &Model) -> (CloudServer, EdgeServer) {
    let cloud = CloudServer::start(model).await;
    let mut edge = EdgeServer::start(&cloud.store_url(), &cloud.model_url()).await;
    edge.service.bring("r1", &model.revision(10.0)).await.unwrap();
    (cloud, edge)
}

pub fn request(inputs: Vec<Tensor>) -> InferRequest {
    InferRequest {
        id: Some("id-7".to_owned()),
        inputs,
        ..InferRequest::default()
    }
}

pub fn pixels(seed: u32) -> Tensor {
    Tensor::new("image", vec![1, 3, 32, 32], Data::U8(image(seed)))
}

pub fn floats(seed: u32) -> Tensor {
    let data = image(seed).into_iter().map(f32::from).collect();
    Tensor::new("image", vec![1, 3, 32, 32], Data::F32(data))
}

pub async fn binary(client: &Client, url: &str, body: Vec<u8>, json: &str, kind: &str) -> Response {
    let post = client
        .post(url)
        .header(LENGTH_HEADER, json)
        .header("content-type", kind);
    post.body(body).send().await.unwrap()
}
