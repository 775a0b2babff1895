//! What goes wrong, in the kinds that clients tell apart.

use http::StatusCode;
use towpath_query::promql::{EvalError, quote};

/// The kind of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A parameter is wrong.
    BadData,
    /// The expression has no result.
    Execution,
    /// Nobody waits any more.
    Canceled,
    /// It took too long.
    Timeout,
    /// The fault is here.
    Internal,
    /// Not now.
    Unavailable,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    pub(super) fn bad_data(message: impl Into<String>) -> Self {
        Self::new(Kind::BadData, message)
    }

    pub(super) fn parameter(name: &str, why: &str) -> Self {
        Self::bad_data(format!("invalid parameter {}: {why}", quote(name)))
    }

    pub(super) fn internal(error: impl ToString) -> Self {
        Self::new(Kind::Internal, error.to_string())
    }

    /// The name of the kind in replies.
    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            Kind::BadData => "bad_data",
            Kind::Execution => "execution",
            Kind::Canceled => "canceled",
            Kind::Timeout => "timeout",
            Kind::Internal => "internal",
            Kind::Unavailable => "unavailable",
        }
    }

    /// The status of the reply.
    pub(super) fn status(&self) -> StatusCode {
        match self.kind {
            Kind::BadData => StatusCode::BAD_REQUEST,
            Kind::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            // What nginx made usual for clients that went away.
            Kind::Canceled => StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT),
            Kind::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            // Upstream has no status of its own for what is unavailable.
            Kind::Internal | Kind::Unavailable => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<EvalError> for Fault {
    fn from(error: EvalError) -> Self {
        let kind = match &error {
            EvalError::Canceled => Kind::Canceled,
            EvalError::TimedOut => Kind::Timeout,
            EvalError::Source(_) => Kind::Internal,
            EvalError::TooManySamples | EvalError::Query(_) => Kind::Execution,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<towpath_signals::ReadError> for Fault {
    fn from(error: towpath_signals::ReadError) -> Self {
        Self::new(Kind::Execution, error.to_string())
    }
}
