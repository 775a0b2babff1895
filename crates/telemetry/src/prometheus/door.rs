//! Everything but health wants a credential, and the right to read metrics; what deletes wants
//! the right to delete them.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use http::{Method, Response};

use super::reply::refused;
use crate::door::{Denied, Door};

/// The refusal in the shape of this API's errors.
pub(crate) fn denied(denied: &Denied) -> Response<Body> {
    let kind = match denied {
        Denied::Absent | Denied::Rejected => "unauthorized",
        Denied::Forbidden { .. } => "forbidden",
        Denied::Unavailable(_) => "unavailable",
    };
    let mut response = refused(denied.status(), kind, &denied.to_string());
    denied.challenge(&mut response);
    response
}

pub(super) async fn guard(
    State(door): State<Door>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let path = request.uri().path();
    if path.contains("/-/") || *request.method() == Method::OPTIONS {
        return next.run(request).await;
    }
    let deletes = path.contains("/admin/") || *request.method() == Method::DELETE;
    let verb = if deletes { "delete" } else { "get" };
    match door.pass(request.headers(), verb).await {
        Ok(_) => next.run(request).await,
        Err(refusal) => *refusal,
    }
}
