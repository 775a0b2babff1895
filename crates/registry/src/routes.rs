//! `/v2/`: one table from path and method to handler; every request is authorized here.

use crate::access::{self, Verb};
use crate::path::Route;
use crate::registry::{Registry, check_name};
use crate::wire::{API_VERSION, Answer, Code, Refusal};
use crate::{blobs, listing, manifests, token};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{HeaderValue, Method, StatusCode};
use std::sync::Arc;
use towpath_kit::traits::{Authenticator, Authorizer};

pub(crate) struct Server {
    pub(crate) registry: Registry,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
}

/// The distribution API with absolute paths.
pub fn router(
    registry: Registry,
    authenticator: Arc<dyn Authenticator>,
    authorizer: Arc<dyn Authorizer>,
) -> Router {
    let server = Arc::new(Server {
        registry,
        authenticator,
        authorizer,
    });
    Router::new()
        .route("/v2", any(handle))
        .route("/v2/", any(handle))
        .route("/v2/{*path}", any(handle))
        .with_state(server)
}

async fn handle(State(server): State<Arc<Server>>, request: Request) -> Response {
    let mut response = match dispatch(&server, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    };
    response
        .headers_mut()
        .insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

async fn dispatch(server: &Server, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    // Names, tags and digests have no character that needs escaping, so an escaped path names
    // nothing; but `:` in a digest is escaped by some clients.
    let path = parts.uri.path().replace("%3A", ":").replace("%3a", ":");
    let path = path
        .strip_prefix("/v2")
        .unwrap_or_default()
        .trim_start_matches('/');
    let not_found = || Refusal::new(Code::NameUnknown, "no such route");
    let route = Route::parse(path).ok_or_else(not_found)?;
    let method = &parts.method;
    if route == Route::Token {
        return match *method {
            Method::GET | Method::POST => {
                token::token(server, method, &parts.uri, &parts.headers, body).await
            }
            _ => Err(unsupported(method)),
        };
    }
    let caller = access::caller(server, &parts.headers).await?;
    if let Some(repository) = route.repository() {
        check_name(repository)?;
        let verb = match *method {
            Method::GET | Method::HEAD if !matches!(route, Route::Upload { .. }) => Verb::Pull,
            // Cancelling an upload is the pusher's own business.
            Method::DELETE if !matches!(route, Route::Upload { .. }) => Verb::Delete,
            _ => Verb::Push,
        };
        access::check(server, &parts.headers, caller.as_ref(), verb, repository)?;
    } else if caller.is_none() {
        return Err(access::challenge(
            &parts.headers,
            None,
            "authentication required",
        ));
    }
    let query = token::pairs(&parts.uri)?;
    let call = Call {
        server,
        caller,
        method: parts.method.clone(),
        headers: parts.headers,
        query,
    };
    let get = matches!(*method, Method::GET | Method::HEAD);
    match (route, method) {
        (Route::Root, _) if get => Ok(Answer::new(StatusCode::OK).json(&serde_json::json!({}))),
        (Route::Catalog, _) if get => listing::catalog(&call),
        (Route::Tags { repository }, _) if get => listing::tags(&call, repository),
        (Route::Referrers { repository, digest }, _) if get => {
            listing::referrers(&call, repository, digest)
        }
        (
            Route::Manifest {
                repository,
                reference,
            },
            _,
        ) if get => manifests::get(&call, repository, reference).await,
        (
            Route::Manifest {
                repository,
                reference,
            },
            &Method::PUT,
        ) => manifests::put(&call, repository, reference, body).await,
        (
            Route::Manifest {
                repository,
                reference,
            },
            &Method::DELETE,
        ) => manifests::delete(&call, repository, reference).await,
        (Route::Blob { repository, digest }, _) if get => {
            blobs::get(&call, repository, digest).await
        }
        (Route::Blob { repository, digest }, &Method::DELETE) => {
            blobs::delete(&call, repository, digest).await
        }
        (Route::Uploads { repository }, &Method::POST) => {
            blobs::start(&call, repository, body).await
        }
        (Route::Upload { repository, id }, &Method::GET) => {
            blobs::status(&call, repository, id).await
        }
        (Route::Upload { repository, id }, &Method::PATCH) => {
            blobs::patch(&call, repository, id, body).await
        }
        (Route::Upload { repository, id }, &Method::PUT) => {
            blobs::finish(&call, repository, id, body).await
        }
        (Route::Upload { repository, id }, &Method::DELETE) => {
            blobs::cancel(&call, repository, id).await
        }
        _ => Err(unsupported(method)),
    }
}

fn unsupported(method: &Method) -> Refusal {
    Refusal::new(Code::Unsupported, format!("{method} is not supported here"))
}

/// One authorized request.
pub(crate) struct Call<'a> {
    pub(crate) server: &'a Server,
    pub(crate) caller: Option<towpath_kit::traits::Principal>,
    pub(crate) method: Method,
    pub(crate) headers: http::HeaderMap,
    pub(crate) query: Vec<(String, String)>,
}

impl Call<'_> {
    pub(crate) fn registry(&self) -> &Registry {
        &self.server.registry
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn parameters<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'b str> {
        self.query
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    pub(crate) fn may(&self, verb: Verb, repository: &str) -> bool {
        let anonymous = towpath_kit::traits::Principal::anonymous();
        access::allowed(
            self.server,
            self.caller.as_ref().unwrap_or(&anonymous),
            verb,
            repository,
        )
    }
}
