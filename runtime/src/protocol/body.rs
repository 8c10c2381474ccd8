use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use warp::http::StatusCode;

use super::{ApiError, InferRequest, MAX_BODY, one_image, request_images};
use meanet_net::{ImageBatch, InputSpec};

/// What a body says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request in JSON.
    Json,
    /// One PNG or JPEG file.
    Image,
}

impl Kind {
    /// From the `Content-Type` header; JSON where there is none.
    pub fn of(content_type: Option<&str>) -> Result<Self, ApiError> {
        let plain = content_type
            .unwrap_or("application/json")
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        match plain.as_str() {
            "application/json" => Ok(Self::Json),
            "image/png" | "image/jpeg" => Ok(Self::Image),
            _ => Err(ApiError {
                status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
                message: format!(
                    "Content-Type: {plain:?} is not taken; send application/json, image/png or image/jpeg"
                ),
            }),
        }
    }

    /// The request that a body holds, before its tensors are looked at.
    pub fn parse(self, body: &[u8]) -> Result<InferRequest, ApiError> {
        match self {
            Self::Json => serde_json::from_slice(body)
                .map_err(|e| ApiError::malformed(format!("body: no inference request: {e}"))),
            Self::Image => Ok(InferRequest::default()),
        }
    }

    /// The images of a request.
    pub fn images(
        self,
        request: &InferRequest,
        body: &[u8],
        spec: &InputSpec,
    ) -> Result<ImageBatch, ApiError> {
        match self {
            Self::Json => request_images(request, spec),
            Self::Image => one_image(body, spec),
        }
    }
}

/// Reads a body of [`MAX_BODY`] bytes at most; one that announces more is not read at all.
pub async fn read_body<B: Buf>(
    announced: Option<u64>,
    stream: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Bytes, ApiError> {
    let too_large = || ApiError {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        message: format!("body: at most {MAX_BODY} bytes are taken; send fewer images in a request"),
    };
    if announced.is_some_and(|length| length > MAX_BODY) {
        return Err(too_large());
    }
    let mut stream = std::pin::pin!(stream);
    let mut body = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let mut chunk = chunk.map_err(|e| ApiError::malformed(format!("body: it broke off: {e}")))?;
        if (body.len() + chunk.remaining()) as u64 > MAX_BODY {
            return Err(too_large());
        }
        let count = chunk.remaining();
        body.extend_from_slice(&chunk.copy_to_bytes(count));
    }
    Ok(body.freeze())
}
