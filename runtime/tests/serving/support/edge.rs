use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use meanet_oip::GrpcInferenceServiceClient;
use meanet_runtime::edge::{Args, Service};
use meanet_runtime::server::Listener;
use reqwest::Response;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

/// An edge without a cluster.
pub struct EdgeServer {
    pub service: Service,
    pub address: SocketAddr,
    /// The Unix socket that it listens on, too.
    pub socket: PathBuf,
    pub client: reqwest::Client,
    pub token: CancellationToken,
    pub server: JoinHandle<()>,
    _cache: Option<TempDir>,
    _folder: TempDir,
}

/// Images that wait or are computed at the edge of a test.
pub const ROOM: usize = 192;

/// How the edge of a test is started: one compute thread.
pub fn args(cache: &Path, store_url: &str, cloud_url: &str) -> Args {
    Args {
        deployment: "cams".to_owned(),
        namespace: "shop".to_owned(),
        node: "edge-1".to_owned(),
        pod: "cams-edge-x".to_owned(),
        store_url: store_url.to_owned(),
        cloud_url: cloud_url.to_owned(),
        authorities: None,
        cache_dir: cache.to_owned(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        unix: None,
        max_queue: Some(ROOM),
        compute_threads: Some(1),
        pin_threads: false,
    }
}

impl EdgeServer {
    pub async fn start(store_url: &str, cloud_url: &str) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let edge = Self::start_in(cache.path(), store_url, cloud_url).await;
        Self {
            _cache: Some(cache),
            ..edge
        }
    }

    pub async fn start_in(cache: &Path, store_url: &str, cloud_url: &str) -> Self {
        Self::with(&args(cache, store_url, cloud_url)).await
    }

    pub async fn with(args: &Args) -> Self {
        let service = Service::open(args).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let token = CancellationToken::new();
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("edge.sock");
        let listeners = vec![listener.into(), Listener::unix(&socket).unwrap()];
        let server = tokio::spawn(service.server(listeners, token.clone()));
        Self {
            service,
            address,
            socket,
            client: meanet_runtime::client::client(None, |builder| builder).unwrap(),
            token,
            server,
            _cache: None,
            _folder: folder,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn grpc(&self) -> GrpcInferenceServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(self.url("")).unwrap();
        GrpcInferenceServiceClient::new(endpoint.connect_lazy())
    }

    pub async fn infer(&self, body: &Value) -> Response {
        let url = self.url("/v2/models/cams/infer");
        self.client.post(url).json(body).send().await.unwrap()
    }
}
