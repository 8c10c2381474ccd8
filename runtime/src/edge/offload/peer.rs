//! What the server in the cloud understands. It may be ours or any other of the protocol, and it may change.
//!
//! Nothing waits to know it: until it is known, requests go by HTTP/1.1 in JSON, which all of them take.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tracing::debug;

use crate::client::{ClientError, client};
use crate::protocol::{BINARY_EXTENSION, Datatype};

/// How long a server may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two attempts to learn it.
const PAUSE: Duration = Duration::from_secs(1);
/// How soon a connection on which nothing comes any more is noticed.
const PING: Duration = Duration::from_secs(5);

/// How to speak to the server.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) client: reqwest::Client,
    /// Whether tensors go in binary.
    pub(super) binary: bool,
    /// Name of the input.
    pub(super) input: String,
    /// `UINT8` or `FP32`
    pub(super) datatype: Datatype,
}

/// The server, and what is known of it.
pub(super) struct Peer {
    plain: reqwest::Client,
    authorities: Option<PathBuf>,
    /// The model's URL, and the server's where that shows in it.
    model: String,
    server: Option<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: Option<Manner>,
    /// Whether what is known is to be learned again.
    doubted: bool,
    asked: Option<Instant>,
}

#[derive(Deserialize)]
struct ServerSays {
    #[serde(default)]
    extensions: Vec<String>,
}

#[derive(Deserialize)]
struct ModelSays {
    #[serde(default)]
    inputs: Vec<InputSays>,
}

#[derive(Deserialize)]
struct InputSays {
    name: String,
    datatype: String,
}

impl Peer {
    pub(super) fn new(model_url: &str, authorities: Option<PathBuf>) -> Result<Self, ClientError> {
        let model = model_url.trim_end_matches('/').to_owned();
        Ok(Self {
            plain: client(authorities.as_deref(), |builder| builder)?,
            server: model.find("/v2/models/").map(|at| model[..at + 3].to_owned()),
            authorities,
            model,
            state: Mutex::default(),
        })
    }

    /// Where requests go.
    pub(super) fn infer_url(&self) -> String {
        format!("{}/infer", self.model)
    }

    /// How to speak to it, as far as is known. Where nothing is, learning it begins.
    pub(super) fn manner(self: &Arc<Self>) -> Manner {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if (state.known.is_none() || state.doubted) && state.asked.is_none_or(|asked| now >= asked + PAUSE) {
            state.asked = Some(now);
            let peer = Arc::clone(self);
            tokio::spawn(async move { peer.learn().await });
        }
        state.known.clone().unwrap_or_else(|| self.cautious())
    }

    /// The server failed, and may be another one when it is back: what is known is learned again, with new connections.
    pub(super) fn doubt(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).doubted = true;
    }

    fn cautious(&self) -> Manner {
        Manner {
            client: self.plain.clone(),
            binary: false,
            input: "image".to_owned(),
            datatype: Datatype::Uint8,
        }
    }

    async fn learn(&self) {
        let Some(server) = &self.server else { return };
        let mut manner = self.cautious();
        let mut says = None;
        // With TLS, the version of HTTP is agreed on by the connection itself.
        if server.starts_with("http://")
            && let Ok(second) = client(self.authorities.as_deref(), |builder| {
                builder
                    .http2_prior_knowledge()
                    .http2_keep_alive_interval(PING)
                    .http2_keep_alive_timeout(PING)
                    .http2_keep_alive_while_idle(true)
            })
        {
            says = get::<ServerSays>(&second, server).await;
            if says.is_some() {
                manner.client = second;
            }
        }
        if says.is_none() {
            says = get(&manner.client, server).await;
        }
        let Some(says) = says else { return };
        manner.binary = says.extensions.iter().any(|known| known == BINARY_EXTENSION);
        let model: Option<ModelSays> = get(&manner.client, &self.model).await;
        if let Some([input]) = model.as_ref().map(|model| model.inputs.as_slice()) {
            manner.input.clone_from(&input.name);
            if input.datatype == "FP32" {
                manner.datatype = Datatype::Fp32;
            }
        }
        debug!(
            binary = manner.binary,
            input = manner.input,
            datatype = manner.datatype.as_str(),
            "the cloud said what it takes"
        );
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.known = Some(manner);
        state.doubted = false;
    }
}

async fn get<T: serde::de::DeserializeOwned>(client: &reqwest::Client, url: &str) -> Option<T> {
    let response = client.get(url).timeout(PATIENCE).send().await.ok()?;
    response.error_for_status().ok()?.json().await.ok()
}
