use std::convert::Infallible;

use serde_json::json;
use warp::http::StatusCode;
use warp::reject::{self, Reject, Rejection};
use warp::reply::{self, Reply};

/// An error that the client sees: a status and a sentence that names the field and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// The sentence.
    pub message: String,
}

impl Reject for ApiError {}

impl ApiError {
    /// 400: the request is malformed.
    #[must_use]
    pub fn malformed(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }

    /// 404: nothing is there.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            message: message.into(),
        }
    }

    /// 429: too much at once.
    #[must_use]
    pub fn busy(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            message: message.into(),
        }
    }

    /// 503: not now.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: message.into(),
        }
    }

    /// As a rejection.
    #[must_use]
    pub fn reject(self) -> Rejection {
        reject::custom(self)
    }
}

/// Turns every rejection into `{"error": …}`.
///
/// # Errors
/// None.
pub async fn recover(rejection: Rejection) -> Result<impl Reply, Infallible> {
    let error = if rejection.is_not_found() {
        ApiError::not_found("no such path: see GET /v2 and the Open Inference Protocol")
    } else if let Some(error) = rejection.find::<ApiError>() {
        error.clone()
    } else if rejection.find::<reject::PayloadTooLarge>().is_some() {
        ApiError {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            message: format!(
                "the body is larger than {} bytes: send fewer images a request",
                super::MAX_BODY
            ),
        }
    } else if rejection.find::<reject::LengthRequired>().is_some() {
        ApiError {
            status: StatusCode::LENGTH_REQUIRED,
            message: "send a Content-Length header".to_owned(),
        }
    } else if rejection.find::<reject::UnsupportedMediaType>().is_some() {
        ApiError {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            message: "send application/json, image/png or image/jpeg".to_owned(),
        }
    } else if rejection.find::<reject::MethodNotAllowed>().is_some() {
        ApiError {
            status: StatusCode::METHOD_NOT_ALLOWED,
            message: "the path does not take this method".to_owned(),
        }
    } else {
        ApiError::malformed(format!("{rejection:?}"))
    };
    Ok(reply::with_status(
        reply::json(&json!({"error": error.message})),
        error.status,
    ))
}
