use std::convert::Infallible;

use serde_json::json;
use warp::http::header::RETRY_AFTER;
use warp::http::{HeaderValue, StatusCode};
use warp::reject::{self, Reject, Rejection};
use warp::reply::{self, Reply, Response};

/// Seconds after which a client that was sent away may come again.
const PAUSE: &str = "1";

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
pub async fn recover(rejection: Rejection) -> Result<Response, Infallible> {
    let error = if rejection.is_not_found() {
        ApiError::not_found("no such path: see GET /v2 and the Open Inference Protocol")
    } else if let Some(error) = rejection.find::<ApiError>() {
        error.clone()
    } else if let Some(header) = rejection.find::<reject::InvalidHeader>() {
        ApiError::malformed(format!("{}: the header cannot be read", header.name()))
    } else if rejection.find::<reject::MethodNotAllowed>().is_some() {
        ApiError {
            status: StatusCode::METHOD_NOT_ALLOWED,
            message: "method: the path does not take it; GET reads, POST infers".to_owned(),
        }
    } else {
        ApiError::malformed(format!("{rejection:?}"))
    };
    let mut response = reply::json(&json!({"error": error.message})).into_response();
    *response.status_mut() = error.status;
    if matches!(
        error.status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static(PAUSE));
    }
    Ok(response)
}
