//! Answers, and refusals as plain text, as Tempo gives them.

use crate::door::Denied;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::Value as Json;
use towpath_query::traceql::EvalError;

/// Why a request is not answered.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    message: String,
}

impl Failure {
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }

    pub(super) fn busy(message: &str) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            message: message.into(),
        }
    }

    pub(super) fn absent(message: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            message: message.into(),
        }
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: message.into(),
        }
    }
}

impl From<EvalError> for Failure {
    fn from(error: EvalError) -> Self {
        let status = match error {
            EvalError::TooManySpans(_) | EvalError::TooManySeries(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            EvalError::Stopped => StatusCode::GATEWAY_TIMEOUT,
            EvalError::Sort(_) | EvalError::Range(_) => StatusCode::BAD_REQUEST,
            EvalError::Source(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            status,
            message: error.to_string(),
        }
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        Self {
            status: denied.status(),
            message: denied.to_string(),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = text(&self.message);
        *response.status_mut() = self.status;
        if self.status == StatusCode::UNAUTHORIZED {
            let wanted = HeaderValue::from_static("Basic realm=\"towpath\"");
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, wanted);
        }
        response
    }
}

fn typed(body: impl Into<Body>, kind: &'static str) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(super) fn text(text: &str) -> Response {
    typed(text.to_string(), "text/plain; charset=utf-8")
}

pub(super) fn json(json: &Json) -> Response {
    typed(json.to_string(), "application/json")
}

pub(super) fn protobuf(bytes: Vec<u8>) -> Response {
    typed(bytes, "application/protobuf")
}
