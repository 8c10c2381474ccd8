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
        Self::start_on(model, TcpListener::bind(("127.0.0.1", 0)).await.unwrap())
    }

    pub fn start_on(model: &Model, listener: TcpListener) -> Self {
        Self::start_with(model, listener, |_| {})
    }

    /// A cloud tier that is started in another way than the others.
    pub fn start_with(model: &Model, listener: TcpListener, change: impl FnOnce(&mut Args)) -> Self {
        let address = listener.local_addr().unwrap();
        let mut args = Args {
            deployment: "cams".to_owned(),
            store: model.root().to_owned(),
            listen: address,
            max_samples: 100,
            weights: Some(model.cloud_digest()),
            max_batch: 8,
            max_delay: "2ms".parse().unwrap(),
            backend: None,
            model_threads: 1,
            max_queue: 512,
        };
        change(&mut args);
        let service = Service::open(&args).unwrap();
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

    /// A number that `/metrics` shows.
    pub async fn metric(&self, client: &reqwest::Client, name: &str) -> f64 {
        let url = format!("http://{}/metrics", self.address);
        let text = client.get(url).send().await.unwrap().text().await.unwrap();
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    pub fn model_url(&self) -> String {
        format!("http://{}/v2/models/cloud", self.address)
    }
}
