//! `/k8s/…`: the Kubernetes API on the UI's port, same pipeline and same rights as on 6443; and
//! `/api/v1/audit`, its audit log.

use super::{Shared, session};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::routing::{any, get};

pub(super) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/k8s/{*path}", any(forward))
        .route("/api/v1/audit", get(forward))
        .with_state(shared)
}

async fn forward(State(shared): State<Shared>, mut request: Request) -> Response {
    let Ok(principal) = session::principal(&shared, request.headers()).await else {
        return super::plain(StatusCode::UNAUTHORIZED, "the credential is not accepted");
    };
    let text = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let inner = ["/k8s", "/api/v1"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix));
    let Ok(uri) = inner.unwrap_or(text).parse::<Uri>() else {
        return super::plain(StatusCode::BAD_REQUEST, "the path is not valid");
    };
    *request.uri_mut() = uri;
    // The principal decides from here on; nothing downstream may read the credential again.
    request.headers_mut().remove("authorization");
    request.headers_mut().remove("cookie");
    (shared.kube)(principal, request).await
}
