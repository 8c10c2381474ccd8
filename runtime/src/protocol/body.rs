use meanet_net::{ImageBatch, InputSpec};
use serde_json::{Map, Value};
use warp::http::StatusCode;

use super::{ApiError, InferRequest, one_image, request_images};

/// What a body says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request in JSON.
    Json,
    /// One PNG or JPEG file.
    Image,
}

/// A request whose images have been checked.
pub struct Decoded {
    /// Comes back in the answer.
    pub id: Option<String>,
    /// Said of the whole request.
    pub parameters: Map<String, Value>,
    /// The images.
    pub images: ImageBatch,
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

    /// All of a request, for a network that takes `spec`. Takes its time: call it where computing is done.
    pub fn decode(self, body: &[u8], spec: &InputSpec) -> Result<Decoded, ApiError> {
        let request = self.parse(body)?;
        let images = self.images(&request, body, spec)?;
        Ok(Decoded {
            id: request.id,
            parameters: request.parameters,
            images,
        })
    }
}
