//! A model over HTTP: the protocol's paths, JSON with or without binary data, and single PNG or JPEG files.

use std::time::Instant;

use bytes::{Buf, Bytes};
use futures::Stream;
use serde_json::json;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use warp::http::{HeaderMap, HeaderValue, StatusCode};
use warp::reply::{self, Reply, Response};

use super::json::{LENGTH_HEADER, read_request, write_response};
use super::{
    ApiError, BINARY_EXTENSION, Caller, Data, InferRequest, InferResponse, Intake, Model, Port, Room, Target,
    Tensor, target, target_then,
};

/// What a body says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A request in JSON, followed by binary data where its length is said.
    Json(Option<usize>),
    /// One PNG or JPEG file.
    Image,
}

impl Kind {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let text = |name: &str| headers.get(name).map(HeaderValue::to_str);
        let length = match text(LENGTH_HEADER) {
            None => None,
            Some(value) => Some(value.ok().and_then(|v| v.trim().parse().ok()).ok_or_else(|| {
                ApiError::malformed(
                    "Inference-Header-Content-Length: give the bytes of JSON before the binary data",
                )
            })?),
        };
        let plain = text(CONTENT_TYPE.as_str())
            .unwrap_or(Ok("application/json"))
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        match plain.as_str() {
            "application/json" => Ok(Self::Json(length)),
            // What clients of the binary extension say.
            "application/octet-stream" if length.is_some() => Ok(Self::Json(length)),
            "image/png" | "image/jpeg" => Ok(Self::Image),
            _ => Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!(
                    "Content-Type: {plain:?} is not taken; send application/json, image/png or image/jpeg"
                ),
            )),
        }
    }

    fn read(self, body: &Bytes) -> Result<InferRequest, ApiError> {
        match self {
            Self::Json(length) => read_request(body, length),
            Self::Image => Ok(InferRequest {
                inputs: vec![Tensor::new("image", vec![1], Data::Bytes(vec![body.clone()]))],
                ..InferRequest::default()
            }),
        }
    }

    /// The body is the one image of a request that is a file.
    fn names(self, mut error: ApiError) -> ApiError {
        if self == Self::Image {
            error.message = error.message.replacen("inputs[0].data[0]", "body", 1);
        }
        error
    }
}

async fn body<B: Buf>(
    intake: &Intake,
    headers: &HeaderMap,
    stream: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<(Bytes, Room), ApiError> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse().ok());
    Ok(intake.read(announced, stream).await?.into_parts())
}

/// The request that a body holds, and the room that it takes until it is answered.
///
/// # Errors
/// What is wrong with it.
pub async fn read<B: Buf>(
    intake: &Intake,
    headers: &HeaderMap,
    stream: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<(InferRequest, Room), ApiError> {
    let kind = Kind::of(headers)?;
    let (body, room) = body(intake, headers, stream).await?;
    let request = intake.reading(body.len(), move || kind.read(&body)).await?;
    Ok((request, room))
}

async fn infer<M: Model, B: Buf>(
    port: &Port<M>,
    target: &Target,
    headers: &HeaderMap,
    stream: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Response, ApiError> {
    let caller = Caller::read(headers, Instant::now());
    port.model.check(target)?;
    let kind = Kind::of(headers)?;
    if let Err(refusal) = port.model.admits(&caller) {
        port.intake.pass_by(stream).await;
        return Err(refusal);
    }
    let (body, _room) = body(&port.intake, headers, stream).await?;
    // It may have taken its time to arrive.
    port.model.admits(&caller)?;
    let request = port.intake.reading(body.len(), move || kind.read(&body)).await?;
    let (all, outputs) = (request.binary_output(), request.outputs.clone());
    let answer = port
        .model
        .infer(target, request, caller)
        .await
        .map_err(|error| kind.names(error))?;
    respond(&answer, |name| {
        outputs
            .iter()
            .find(|wanted| wanted.name == name)
            .and_then(|wanted| wanted.binary)
            .unwrap_or(all)
    })
}

fn respond(answer: &InferResponse, in_binary: impl Fn(&str) -> bool) -> Result<Response, ApiError> {
    let written = write_response(answer, in_binary)?;
    let mut response = Response::new(Bytes::from(written.body).into());
    let kind = match written.json {
        None => "application/json",
        Some(length) => {
            response
                .headers_mut()
                .insert(LENGTH_HEADER, HeaderValue::from(length));
            "application/octet-stream"
        }
    };
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// A value as an answer.
#[must_use]
pub fn json(value: &impl serde::Serialize) -> Response {
    reply::json(value).into_response()
}

/// The protocol's paths for a model. Rejections are left to whoever adds other paths.
#[must_use]
pub fn routes<M: Model>(port: Port<M>) -> BoxedFilter<(Response,)> {
    let with = warp::any().map(move || port.clone());
    let infer = target_then("infer")
        .and(warp::post())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .and(with.clone())
        .then(
            |target: Target, headers: HeaderMap, body, port: Port<M>| async move {
                infer(&port, &target, &headers, body)
                    .await
                    .unwrap_or_else(|error| {
                        port.model.refused(&error);
                        error.into_response()
                    })
            },
        );
    let server = warp::path!("v2").and(warp::get()).map(|| {
        let version = env!("CARGO_PKG_VERSION");
        json(&json!({"name": "meanet", "version": version, "extensions": [BINARY_EXTENSION]}))
    });
    let live = warp::path!("v2" / "health" / "live")
        .and(warp::get())
        .map(|| json(&json!({"live": true})));
    let ready = warp::path!("v2" / "health" / "ready")
        .and(warp::get())
        .and(with.clone())
        .map(|port: Port<M>| {
            port.model
                .ready()
                .map(|()| json(&json!({"ready": true})))
                .into_response()
        });
    let model = target()
        .and(warp::get())
        .and(with.clone())
        .map(|target: Target, port: Port<M>| {
            let described = port.model.describe(&target);
            described.map(|described| json(&described)).into_response()
        });
    let model_ready = target_then("ready")
        .and(warp::get())
        .and(with)
        .map(|target: Target, port: Port<M>| {
            let ready = port.model.check(&target);
            ready
                .map(|()| json(&json!({"name": target.model, "ready": true})))
                .into_response()
        });
    infer
        .or(server)
        .unify()
        .or(live)
        .unify()
        .or(ready)
        .unify()
        .or(model_ready)
        .unify()
        .or(model)
        .unify()
        .boxed()
}
