//! How the load generator speaks to a server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use meanet_oip::{GrpcInferenceServiceClient, ModelInferRequest};
use reqwest::header::CONTENT_TYPE;
use snafu::{OptionExt, ResultExt};
use tokio::net::UnixStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::{AddressSnafu, Error, UrlSnafu};
use crate::client::client;
use crate::protocol::json::{LENGTH_HEADER, read_response, write_request};
use crate::protocol::{InferRequest, InferResponse, Target, grpc};

/// What requests travel by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// HTTP/1.1, tensors in JSON.
    HttpJson,
    /// HTTP/1.1, tensors in binary after the JSON.
    HttpBinary,
    /// gRPC, tensors raw.
    Grpc,
}

/// A request, ready to be sent any number of times.
#[derive(Clone, Debug)]
pub(super) enum Payload {
    Http { body: Bytes, json: Option<usize> },
    Grpc(ModelInferRequest),
}

/// Why there was no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server said that it is too busy.
    Refused(String),
    /// Anything else.
    Other(String),
}

pub(super) enum Client {
    Http {
        client: reqwest::Client,
        url: reqwest::Url,
        binary: bool,
    },
    Grpc {
        client: GrpcInferenceServiceClient<Channel>,
        target: Target,
        timeout: Duration,
    },
}

impl Client {
    /// A client of the model at `url`, over TCP or the Unix socket at `unix`.
    pub(super) fn new(
        transport: Transport,
        url: &str,
        unix: Option<&Path>,
        clients: u32,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let url = url.trim_end_matches('/');
        if transport == Transport::Grpc {
            let (server, target) = parts(url).context(UrlSnafu { url })?;
            let endpoint = Endpoint::from_shared(server.to_owned()).context(AddressSnafu { url })?;
            let channel = match unix {
                None => endpoint.connect_lazy(),
                Some(path) => {
                    let path = path.to_owned();
                    endpoint.connect_with_connector_lazy(tower::service_fn(move |_| dial(path.clone())))
                }
            };
            return Ok(Self::Grpc {
                client: GrpcInferenceServiceClient::new(channel),
                target,
                timeout,
            });
        }
        let client = client(None, |builder| {
            let builder = builder
                .timeout(timeout)
                .tcp_nodelay(true)
                .pool_max_idle_per_host(clients as usize);
            match unix {
                None => builder,
                Some(path) => builder.unix_socket(path),
            }
        })?;
        Ok(Self::Http {
            client,
            url: format!("{url}/infer").parse().ok().context(UrlSnafu { url })?,
            binary: transport == Transport::HttpBinary,
        })
    }

    /// The request in the form in which it travels.
    pub(super) fn payload(&self, mut request: InferRequest) -> Result<Payload, Failure> {
        let wrong = |e: crate::protocol::ApiError| Failure::Other(e.message);
        match self {
            Self::Http { binary, .. } => {
                if *binary {
                    let all = ("binary_data_output".to_owned(), true.into());
                    request.parameters.extend([all]);
                }
                let written = write_request(&request, *binary).map_err(wrong)?;
                Ok(Payload::Http {
                    body: written.body.into(),
                    json: written.json,
                })
            }
            Self::Grpc { target, .. } => grpc::message(target, &request).map(Payload::Grpc).map_err(wrong),
        }
    }

    pub(super) async fn ask(&self, payload: Payload) -> Result<InferResponse, Failure> {
        match (self, payload) {
            (Self::Http { client, url, .. }, Payload::Http { body, json }) => {
                post(client, url.clone(), body, json).await
            }
            (Self::Grpc { client, timeout, .. }, Payload::Grpc(message)) => {
                let mut request = tonic::Request::new(message);
                request.set_timeout(*timeout);
                match client.clone().model_infer(request).await {
                    Ok(answer) => grpc::response(answer.into_inner()).map_err(|e| Failure::Other(e.message)),
                    Err(status) => {
                        let text = format!("status {:?}: {}", status.code(), status.message());
                        let refused = matches!(status.code(), Code::ResourceExhausted | Code::Unavailable)
                            && status.metadata().contains_key("grpc-retry-pushback-ms");
                        Err(if refused {
                            Failure::Refused(text)
                        } else {
                            Failure::Other(text)
                        })
                    }
                }
            }
            _ => Err(Failure::Other(
                "the request was made for another transport".to_owned(),
            )),
        }
    }
}

async fn dial(path: PathBuf) -> std::io::Result<TokioIo<UnixStream>> {
    UnixStream::connect(path).await.map(TokioIo::new)
}

/// The server's and the model's part of a URL.
fn parts(url: &str) -> Option<(&str, Target)> {
    let (server, path) = url.split_once("/v2/models/")?;
    let (model, version) = match path.split_once("/versions/") {
        Some((model, version)) => (model, Some(version.to_owned())),
        None => (path, None),
    };
    let target = Target {
        model: model.to_owned(),
        version,
    };
    (!model.is_empty()).then_some((server, target))
}

async fn post(
    client: &reqwest::Client,
    url: reqwest::Url,
    body: Bytes,
    json: Option<usize>,
) -> Result<InferResponse, Failure> {
    let post = client.post(url).body(body);
    let post = match json {
        None => post.header(CONTENT_TYPE, "application/json"),
        Some(length) => post
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(LENGTH_HEADER, length),
    };
    let response = post.send().await.map_err(|e| Failure::Other(words(&e)))?;
    let status = response.status();
    let json = response
        .headers()
        .get(LENGTH_HEADER)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse().ok());
    let body = response.bytes().await.map_err(|e| Failure::Other(words(&e)))?;
    if status.is_success() {
        return read_response(&body, json).map_err(|e| Failure::Other(format!("the answer: {}", e.message)));
    }
    let text: String = String::from_utf8_lossy(&body).chars().take(300).collect();
    let text = format!("status {status}: {text}");
    Err(match status.as_u16() {
        429 | 503 => Failure::Refused(text),
        _ => Failure::Other(text),
    })
}

/// An error and its causes, without the URL, so that equal failures read equal.
fn words(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    let kind = if error.is_timeout() {
        "no answer in time"
    } else {
        "no answer"
    };
    format!("{kind}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_server_model_and_version() {
        let (server, target) = parts("http://a:1/v2/models/cams").unwrap();
        assert_eq!(
            (server, target.model.as_str(), target.version),
            ("http://a:1", "cams", None)
        );
        let (_, target) = parts("http://a:1/v2/models/cams/versions/r1").unwrap();
        assert_eq!(target.version.as_deref(), Some("r1"));
        assert!(parts("http://a:1/cams").is_none() && parts("http://a/v2/models/").is_none());
    }
}
