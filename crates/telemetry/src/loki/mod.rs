//! The HTTP API of Loki under `/loki/api/v1`, for Grafana, logcli and everything that pushes or
//! asks a Loki. Written from its public documentation.
//!
//! A data source may be given the server itself as its address, or the server with `/loki`: the
//! routes answer under both. Endpoints run on threads of their own, off the reactor; those that
//! read lines wait for a place.

mod delete;
mod detect;
mod fault;
pub(crate) mod level;
mod names;
mod params;
mod past;
mod push;
mod query;
mod reply;
mod status;
mod tail;
mod volume;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get, post};
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use towpath_query::logql;
use towpath_query::promql::Stop;
use towpath_signals::logs::LogStore;
use towpath_stdx::Clock;

use crate::door::Door;
use crate::outgrow::through::PastLines;
use fault::Fault;
use params::Params;

/// How the API behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The version of this program.
    pub version: String,
    /// The most that one query may take.
    pub query_timeout: Duration,
    /// Queries that run at a time.
    pub concurrency: usize,
    /// Pushes that are worked on at a time.
    pub pushes: usize,
    /// Those who may follow at a time.
    pub tails: usize,
    /// The most bytes of lines that one query may look at.
    pub max_bytes: u64,
    /// The most series of a result.
    pub max_series: usize,
    /// How often the store is looked after.
    pub maintain_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            query_timeout: Duration::from_secs(60),
            concurrency: 8,
            pushes: 4,
            tails: 32,
            max_bytes: 100 << 30,
            max_series: 2000,
            maintain_every: Duration::from_secs(10),
        }
    }
}

/// The API and what it answers from.
pub struct Loki {
    store: Arc<LogStore>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    queries: Arc<Semaphore>,
    pushes: Arc<Semaphore>,
    tails: Arc<Semaphore>,
    past: OnceLock<Vec<PastLines>>,
}

impl Loki {
    /// An API over a store.
    pub fn new(store: Arc<LogStore>, clock: Arc<dyn Clock>, settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            store,
            clock,
            queries: Arc::new(Semaphore::new(settings.concurrency)),
            pushes: Arc::new(Semaphore::new(settings.pushes)),
            tails: Arc::new(Semaphore::new(settings.tails)),
            settings,
            past: OnceLock::new(),
        })
    }

    /// What is older is asked of these; the first call counts.
    pub fn read_through(&self, past: Vec<PastLines>) {
        // There is one place that calls it.
        let _ = self.past.set(past);
    }

    /// The routes with absolute paths; `door` is left out in tests alone.
    pub fn router(self: &Arc<Self>, door: Option<Door>) -> Router {
        let routes = Router::new()
            .nest("/loki/api/v1", routes())
            .nest("/loki/loki/api/v1", routes())
            .route("/loki/api/prom/push", post(push::push))
            .route("/loki/prometheus/api/v1/rules", asks(status::no_groups))
            .route("/loki/prometheus/api/v1/alerts", asks(status::no_alerts))
            .route("/loki/ready", get(status::ready))
            .with_state(Arc::clone(self));
        match door {
            None => routes,
            Some(door) => routes.layer(axum::middleware::from_fn_with_state(door, guard)),
        }
    }

    /// Looks after the store until it is told to end.
    pub async fn run(self: Arc<Self>, cancel: CancellationToken) {
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                () = self.store.crowded() => {}
                () = tokio::time::sleep(self.settings.maintain_every) => {}
            }
            let store = Arc::clone(&self.store);
            match tokio::task::spawn_blocking(move || store.maintain()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, "the store of lines cannot be looked after");
                    // What fails now fails again at once.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(error) => tracing::error!(%error, "looking after the store of lines failed"),
            }
        }
        let store = Arc::clone(&self.store);
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
    }
}

fn routes() -> Router<Arc<Loki>> {
    Router::new()
        .route("/push", post(push::push))
        .route("/query", asks(query::instant))
        .route("/query_range", asks(query::range))
        .route("/labels", asks(names::labels))
        .route("/label", asks(names::labels))
        .route("/label/{name}/values", asks(names::values))
        .route("/series", asks(names::series))
        .route("/index/stats", asks(volume::stats))
        .route("/index/volume", asks(volume::volume))
        .route("/index/volume_range", asks(volume::volume_range))
        .route("/detected_labels", asks(detect::labels))
        .route("/detected_fields", asks(detect::fields))
        .route("/detected_field/{name}/values", asks(detect::field_values))
        .route("/patterns", asks(detect::patterns))
        .route("/format_query", asks(status::format_query))
        .route("/drilldown-limits", asks(status::drilldown_limits))
        .route("/status/buildinfo", asks(status::build_info))
        .route("/rules", get_only(status::rules))
        .route(
            "/rules/{namespace}",
            get_only(status::rules)
                .post(status::change_rules)
                .delete(status::change_rules),
        )
        .route(
            "/rules/{namespace}/{group}",
            get_only(status::rules).delete(status::change_rules),
        )
        .route("/tail", get(tail::tail))
        .route("/delete", any(delete::delete))
}

/// One request on its way.
struct Call {
    loki: Arc<Loki>,
    params: Params,
    headers: HeaderMap,
    /// The part of the path that varies.
    name: String,
    /// Nanoseconds since the epoch.
    now: i64,
    started: Instant,
    canceled: CancellationToken,
}

impl Call {
    /// Evaluates with the limits of the API.
    fn evaluate<T>(
        &self,
        max_entries: usize,
        evaluate: impl FnOnce(&logql::Settings<'_>) -> Result<T, logql::EvalError>,
    ) -> Result<T, Fault> {
        let stop = || {
            if self.canceled.is_cancelled() {
                return Some(Stop::Canceled);
            }
            let spent = self.loki.clock.monotonic() - self.started;
            (spent > self.loki.settings.query_timeout).then_some(Stop::TimedOut)
        };
        let settings = logql::Settings {
            max_bytes: self.loki.settings.max_bytes,
            max_entries,
            max_series: self.loki.settings.max_series,
            stop: Some(&stop),
            ..logql::Settings::default()
        };
        evaluate(&settings).map_err(Fault::from)
    }
}

/// Reads the parameters of a request and gives its reply.
type Endpoint = fn(&Call) -> Result<Value, Fault>;

fn asks(endpoint: Endpoint) -> MethodRouter<Arc<Loki>> {
    let handler =
        move |State(loki): State<Arc<Loki>>, request: Request| answer(loki, request, endpoint);
    get(handler).post(handler)
}

fn get_only(endpoint: Endpoint) -> MethodRouter<Arc<Loki>> {
    get(move |State(loki): State<Arc<Loki>>, request: Request| answer(loki, request, endpoint))
}

async fn answer(loki: Arc<Loki>, request: Request, endpoint: Endpoint) -> Response {
    match handle(loki, request, endpoint).await {
        Ok(response) => response,
        Err(fault) => fault.into_response(),
    }
}

/// The longest form, in bytes.
const FORM_BYTES: usize = 1 << 20;

async fn handle(loki: Arc<Loki>, request: Request, endpoint: Endpoint) -> Result<Response, Fault> {
    let started = loki.clock.monotonic();
    let (parts, body) = request.into_parts();
    let content = parts
        .headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    let is_form = content.is_some_and(|text| text.starts_with("application/x-www-form-urlencoded"));
    let form = if parts.method == Method::POST && is_form {
        let body = Limited::new(body, FORM_BYTES).collect().await;
        let body = body.map_err(|error| Fault::bad(format!("read the form: {error}")))?;
        String::from_utf8_lossy(&body.to_bytes()).into_owned()
    } else {
        String::new()
    };
    let place = Arc::clone(&loki.queries).acquire_owned();
    let place = match tokio::time::timeout(loki.settings.query_timeout, place).await {
        Ok(Ok(place)) => place,
        _ => return Err(Fault::busy("too many outstanding requests")),
    };
    let gzip = parts
        .headers
        .get(ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("gzip"));
    let canceled = CancellationToken::new();
    // Dropped with this future when the client goes away.
    let _guard = canceled.clone().drop_guard();
    let call = Call {
        params: Params::parse(parts.uri.query().unwrap_or(""), &form),
        headers: parts.headers,
        name: params::last_but_one(parts.uri.path()),
        now: loki.clock.since_epoch().as_nanos() as i64,
        started,
        canceled,
        loki,
    };
    let answered = tokio::task::spawn_blocking(move || {
        let answer = endpoint(&call);
        drop(place);
        answer.map(|value| reply::packed(&value, gzip))
    });
    match answered.await {
        Ok(answer) => answer,
        Err(error) => Err(Fault::internal(format!("the request failed: {error}"))),
    }
}

/// Everything but readiness wants a credential and a right on signals.
async fn guard(State(door): State<Door>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == "/loki/ready" {
        return next.run(request).await;
    }
    let verb = if path.ends_with("/push") {
        "create"
    } else if path.ends_with("/delete") && *request.method() != Method::GET {
        "delete"
    } else {
        "get"
    };
    match door.check(request.headers(), verb).await {
        Ok(_) => next.run(request).await,
        Err(denied) => {
            let mut response = Fault::from(&denied).into_response();
            denied.challenge(&mut response);
            response
        }
    }
}

/// The reply to what succeeded without words.
fn nothing() -> Response {
    StatusCode::NO_CONTENT.into_response()
}
