use std::net::SocketAddr;

use meanet_runtime::cloud::{Args, Service};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Model;

/// A cloud tier with the store and the network of `model`.
pub struct CloudServer {
    pub address: SocketAddr,
    pub token: CancellationToken,
    pub server: JoinHandle<()>,
}

impl CloudServer {
    pub async fn start(model: &Model) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = Service::open(&Args {
            deployment: "cams".to_owned(),
            store: model.root().to_owned(),
            listen: address,
            max_samples: 100,
            weights: Some(model.cloud_digest()),
            max_batch: 8,
            max_delay: "2ms".parse().unwrap(),
        })
        .unwrap();
        let token = CancellationToken::new();
        let stop = token.clone();
        let server = tokio::spawn(async move { service.server(listener, stop).await.unwrap() });
        Self {
            address,
            token,
            server,
        }
    }

    pub fn store_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn model_url(&self) -> String {
        format!("http://{}/v2/models/cloud", self.address)
    }
}
