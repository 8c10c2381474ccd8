use std::convert::Infallible;
use std::time::Duration;

use serde_json::json;
use warp::http::header::RETRY_AFTER;
use warp::http::{HeaderMap, HeaderValue, StatusCode};
use warp::reject::{self, Rejection};
use warp::reply::{self, Reply, Response};

/// When a client that was sent away may come again, where nothing better is known.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that a server is believed to want.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// `Retry-After` in milliseconds: the standard header knows whole seconds only.
const RETRY_AFTER_MS: &str = "retry-after-ms";

/// An error that the client sees: a status and a sentence that names the field and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// The sentence.
    pub message: String,
    /// When it is worth trying again.
    pub retry_after: Option<Duration>,
}

impl ApiError {
    /// An error with this status.
    #[must_use]
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let again = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        Self {
            status,
            message: message.into(),
            retry_after: again.then_some(PAUSE),
        }
    }

    /// 400: the request is malformed.
    #[must_use]
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404: nothing is there.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 429: too much at once.
    #[must_use]
    pub fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, message)
    }

    /// 500: our fault.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// 503: not now.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// The same, worth trying again after `pause`.
    #[must_use]
    pub fn again_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause.min(MAX_PAUSE));
        self
    }
}

impl Reply for ApiError {
    /// `{"error": …}`, and when to come again.
    fn into_response(self) -> Response {
        let mut response = reply::json(&json!({"error": self.message})).into_response();
        *response.status_mut() = self.status;
        if let Some(pause) = self.retry_after {
            let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from(millis.div_ceil(1000)));
            headers.insert(RETRY_AFTER_MS, HeaderValue::from(millis));
        }
        response
    }
}

/// The pause that a server asks for, in milliseconds where it says them; dates are not read.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| -> Option<u64> { headers.get(name)?.to_str().ok()?.trim().parse().ok() };
    number(RETRY_AFTER_MS)
        .map(Duration::from_millis)
        .or_else(|| number(RETRY_AFTER.as_str()).map(Duration::from_secs))
        .map(|pause| pause.min(MAX_PAUSE))
}

/// Says what is wrong with a request that no path takes.
///
/// # Errors
/// None.
pub async fn recover(rejection: Rejection) -> Result<Response, Infallible> {
    let error = if rejection.is_not_found() {
        ApiError::not_found("no such path: see GET /v2 and the Open Inference Protocol")
    } else if let Some(header) = rejection.find::<reject::InvalidHeader>() {
        ApiError::malformed(format!("{}: the header cannot be read", header.name()))
    } else if rejection.find::<reject::MethodNotAllowed>().is_some() {
        ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method: the path does not take it; GET reads, POST infers",
        )
    } else {
        ApiError::malformed(format!("{rejection:?}"))
    };
    Ok(error.into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_said_in_seconds_and_in_milliseconds() {
        let error = ApiError::busy("busy").again_after(Duration::from_millis(40));
        let response = error.into_response();
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(retry_after(response.headers()), Some(Duration::from_millis(40)));
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        for (text, pause) in [("2", Some(2)), ("86400", Some(30)), ("Wed, 21 Oct", None)] {
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            assert_eq!(retry_after(&headers), pause.map(Duration::from_secs));
        }
    }
}
