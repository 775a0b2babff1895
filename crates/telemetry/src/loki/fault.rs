//! Why a request gets no answer.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;
use towpath_query::logql::{EvalError, ParseError};
use towpath_signals::logs::{PushError, StoreError};

use crate::door::Denied;

/// A refusal: a status and words.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    message: String,
}

impl Fault {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, message)
    }

    pub(super) fn large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    pub(super) fn unknown(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn method(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, message)
    }

    pub(super) fn absent(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

impl From<&Denied> for Fault {
    fn from(denied: &Denied) -> Self {
        Self::new(denied.status(), denied.to_string())
    }
}

impl From<ParseError> for Fault {
    fn from(error: ParseError) -> Self {
        Self::bad(error.to_string())
    }
}

impl From<EvalError> for Fault {
    fn from(error: EvalError) -> Self {
        let status = match &error {
            EvalError::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            EvalError::Canceled => StatusCode::SERVICE_UNAVAILABLE,
            EvalError::Source(_) => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

impl From<PushError> for Fault {
    fn from(error: PushError) -> Self {
        let status = match &error {
            PushError::Full(_) => StatusCode::TOO_MANY_REQUESTS,
            PushError::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Query(message) => Self::bad(message),
            other => Self::internal(other.to_string()),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        // Grafana shows `message`, others look for `error`.
        let body = json!({
            "code": self.status.as_u16(),
            "status": "error",
            "message": self.message,
            "error": self.message,
        });
        let mut response = (self.status, axum::Json(body)).into_response();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            let wait = http::HeaderValue::from_static("5");
            response
                .headers_mut()
                .insert(http::header::RETRY_AFTER, wait);
        }
        response
    }
}
