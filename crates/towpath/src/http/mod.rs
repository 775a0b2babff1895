//! Port 8080: who is asking, then the UI's files, the Kubernetes proxy, the one WebSocket per
//! tab, and the routers of `source`, `registry`, `build` and `pipeline`.

mod assets;
mod browser;
mod proxy;
mod session;
mod stream;

pub use assets::present as ui_present;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware;
use axum::response::Response;
use futures::future::BoxFuture;
use std::sync::Arc;
use towpath_kit::traits::{Authenticator, Principal};

/// The embedded Kubernetes API without a socket: a request in the name of a principal.
pub type Kube = Arc<dyn Fn(Principal, Request) -> BoxFuture<'static, Response> + Send + Sync>;

/// What the routes of this module share.
#[derive(Clone)]
pub struct Shared {
    /// Checks credentials.
    pub authenticator: Arc<dyn Authenticator>,
    /// The Kubernetes API.
    pub kube: Kube,
}

/// All of port 8080: `features` are the routers of the feature crates.
pub fn router(shared: Shared, features: Router) -> Router {
    let inner = Router::new()
        .merge(proxy::router(shared.clone()))
        .merge(session::router(shared.clone()))
        .merge(features);
    // The WebSocket streams any GET of the routes above, so it needs them as a service.
    stream::router(shared, inner.clone())
        .merge(inner)
        .fallback(assets::serve)
        .layer(middleware::from_fn(browser::guard))
}

/// The answer where the server itself is at fault.
pub(crate) fn failed(cause: &str) -> Response {
    plain(axum::http::StatusCode::INTERNAL_SERVER_ERROR, cause)
}

/// A response without a body that anyone reads.
fn plain(status: axum::http::StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(
        "content-type",
        axum::http::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
