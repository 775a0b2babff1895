//! The HTTP API of Prometheus under `/prometheus`, for Grafana, promtool and everything that
//! asks a Prometheus.
//!
//! Replies are the same bytes as those of Prometheus 3.10: the order of fields, numbers as text,
//! kinds and words of errors, remarks. An endpoint is a function that reads parameters and writes
//! a reply; it runs on a thread of its own, off the reactor. Those that read samples wait for a
//! place, as many run at a time as [`Settings::concurrency`] says. The time in the queue counts
//! for the time a query may take, and whoever goes away gives the place back.

mod admin;
mod door;
mod exemplars;
mod fault;
mod federate;
mod form;
mod json;
mod multipart;
mod names;
mod notices;
mod openapi;
mod params;
mod query;
mod relabel_steps;
mod reply;
mod result;
mod rules;
mod status;
mod syntax;
mod targets;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::MethodRouter;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use towpath_signals::{Delete, Read};
use towpath_stdx::Clock;

pub use crate::door::Door;
pub(crate) use door::denied;
pub use notices::Notices;
pub(crate) use notices::RELOAD_FAILED;
pub use rules::{Alert, AlertState, Alerting, NoRules, Rule, RuleGroup, RuleHealth, Rules};
pub use status::LEVEL;
pub use targets::{ActiveTarget, DroppedTarget, Health, NoTargets, Targets};

use fault::{Fault, Kind};
use form::Form;
use params::Moment;
use reply::{Coding, Reply};

/// How the API behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The version of this program.
    pub version: String,
    /// When the process started, time since 1970.
    pub started: Duration,
    /// The most that one query may take, its time in the queue included.
    pub query_timeout: Duration,
    /// Queries that run at a time.
    pub concurrency: usize,
    /// The most samples a query may have in memory.
    pub max_samples: usize,
    /// How old the last sample of a series may be, in milliseconds.
    pub lookback_ms: i64,
    /// For how long samples are kept, as text.
    pub retention: String,
    /// The configuration in effect, as the API shows it.
    pub config_yaml: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: Duration::ZERO,
            query_timeout: Duration::from_secs(120),
            concurrency: 20,
            max_samples: 50_000_000,
            lookback_ms: 300_000,
            retention: "30d".to_owned(),
            config_yaml: String::new(),
        }
    }
}

/// What the API answers from.
#[derive(Clone)]
pub struct Parts {
    /// Samples.
    pub read: Arc<dyn Read>,
    /// What is scraped.
    pub targets: Arc<dyn Targets>,
    /// What is evaluated.
    pub rules: Arc<dyn Rules>,
    /// What deletes, where that is possible.
    pub remove: Option<Arc<dyn Delete>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How it behaves.
    pub settings: Settings,
}

/// How much was asked.
#[derive(Debug, Default)]
pub struct Asked {
    requests: AtomicU64,
    queries: AtomicU64,
    samples: AtomicU64,
}

impl Asked {
    fn samples(&self, count: u64) {
        self.queries.fetch_add(1, Ordering::Relaxed);
        self.samples.fetch_add(count, Ordering::Relaxed);
    }

    /// Requests, evaluated queries, and samples that those have read.
    pub fn counts(&self) -> (u64, u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (
            read(&self.requests),
            read(&self.queries),
            read(&self.samples),
        )
    }
}

/// What a request found out of reach.
type Remarks = Arc<Mutex<Vec<String>>>;

/// The API: what it answers from and who is being served.
pub struct Api {
    read: Arc<dyn Read>,
    targets: Arc<dyn Targets>,
    rules: Arc<dyn Rules>,
    remove: Option<Arc<dyn Delete>>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    places: Arc<Semaphore>,
    asked: Arc<Asked>,
}

impl Api {
    /// An API over these parts.
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            read: parts.read,
            targets: parts.targets,
            rules: parts.rules,
            remove: parts.remove,
            clock: parts.clock,
            places: Arc::new(Semaphore::new(parts.settings.concurrency)),
            settings: parts.settings,
            asked: Arc::default(),
        })
    }

    /// The same for one request, and where it finds what was out of reach.
    fn session(self: Arc<Self>) -> (Arc<Self>, Option<Remarks>) {
        let Some(session) = self.read.session() else {
            return (self, None);
        };
        let own = Self {
            read: session.read,
            targets: Arc::clone(&self.targets),
            rules: Arc::clone(&self.rules),
            remove: self.remove.clone(),
            clock: Arc::clone(&self.clock),
            settings: self.settings.clone(),
            places: Arc::clone(&self.places),
            asked: Arc::clone(&self.asked),
        };
        (Arc::new(own), Some(session.remarks))
    }

    /// How much was asked.
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// The routes with absolute paths; `door` is left out in tests alone.
    pub fn router(self: &Arc<Self>, door: Option<Door>) -> Router {
        let routes = routes().with_state(self.clone());
        match door {
            None => routes,
            Some(door) => routes.layer(axum::middleware::from_fn_with_state(door, door::guard)),
        }
    }
}

/// One request on its way.
struct Call {
    api: Arc<Api>,
    form: Form,
    /// The part of the path that varies.
    name: String,
    /// What the client takes.
    accept: String,
    now: Moment,
    arrived: Instant,
    started: Instant,
}

/// Reads the parameters of a request and writes its reply.
type Endpoint = fn(&Call, &mut Reply) -> Result<(), Fault>;

/// Whether an endpoint reads samples and waits for a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    Light,
    Heavy,
}

fn routes() -> Router<Arc<Api>> {
    use Weight::{Heavy, Light};
    let either = |weight, endpoint| serves(&[Method::GET, Method::POST], weight, endpoint);
    let get = |weight, endpoint| serves(&[Method::GET], weight, endpoint);
    let change = |endpoint| serves(&[Method::POST, Method::PUT], Heavy, endpoint);
    let api: Router<Arc<Api>> = Router::new()
        .route("/query", either(Heavy, query::instant))
        .route("/query_range", either(Heavy, query::range))
        .route("/query_exemplars", either(Heavy, exemplars::query))
        .route("/format_query", either(Light, syntax::format))
        .route("/parse_query", either(Light, syntax::parse))
        .route("/labels", either(Heavy, names::labels))
        .route("/label/{name}/values", get(Heavy, names::values))
        .route(
            "/series",
            either(Heavy, names::series).merge(serves(
                &[Method::DELETE],
                Light,
                admin::drop_series,
            )),
        )
        .route("/metadata", get(Light, targets::metadata))
        .route("/targets", get(Light, targets::list))
        .route("/targets/metadata", get(Light, targets::target_metadata))
        .route("/targets/relabel_steps", get(Light, relabel_steps::steps))
        .route("/scrape_pools", get(Light, targets::pools))
        .route("/rules", get(Light, rules::list))
        .route("/alerts", get(Light, rules::alerts))
        .route("/alertmanagers", get(Light, rules::alertmanagers))
        .route("/status/buildinfo", get(Light, status::build_info))
        .route("/status/runtimeinfo", get(Light, status::runtime_info))
        .route("/status/config", get(Light, status::config))
        .route("/status/flags", get(Light, status::flags))
        .route("/status/tsdb", get(Heavy, status::tsdb))
        .route("/status/tsdb/blocks", get(Light, status::blocks))
        .route("/status/walreplay", get(Light, status::wal_replay))
        .route("/features", get(Light, status::features))
        .route("/openapi.yaml", get(Light, openapi::show))
        .route("/notifications", get(Light, notices::list))
        .route("/notifications/live", axum::routing::get(notices::live))
        .route("/admin/tsdb/snapshot", change(admin::snapshot))
        .route("/admin/tsdb/delete_series", change(admin::delete_series))
        .route(
            "/admin/tsdb/clean_tombstones",
            change(admin::clean_tombstones),
        );
    Router::new()
        .nest("/prometheus/api/v1", api)
        .route("/prometheus/federate", get(Heavy, federate::federate))
        .route("/prometheus/-/healthy", get(Light, status::healthy))
        .route("/prometheus/-/ready", get(Light, status::ready))
        .route("/prometheus/version", get(Light, status::bare_version))
}

fn serves(methods: &[Method], weight: Weight, endpoint: Endpoint) -> MethodRouter<Arc<Api>> {
    let handler = move |State(api): State<Arc<Api>>, request: Request| async move {
        handle(api, request, weight, endpoint).await
    };
    let mut router = MethodRouter::new();
    for method in methods {
        if let Ok(filter) = axum::routing::MethodFilter::try_from(method.clone()) {
            router = router.on(filter, handler);
        }
    }
    router
}

async fn handle(
    api: Arc<Api>,
    request: Request,
    weight: Weight,
    endpoint: Endpoint,
) -> Response<Body> {
    api.asked.requests.fetch_add(1, Ordering::Relaxed);
    let arrived = api.clock.monotonic();
    let (parts, body) = request.into_parts();
    let coding = Coding::accepted(&parts.headers);
    let text = |name| parts.headers.get(name).and_then(|v| v.to_str().ok());
    let content_type = text(CONTENT_TYPE).unwrap_or_default();
    let boundary = multipart::boundary(content_type);
    let form_type = content_type.starts_with("application/x-www-form-urlencoded");
    let takes_form = (form_type || boundary.is_some())
        && matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
    let body = if takes_form {
        match Limited::new(body, form::BODY_BYTES).collect().await {
            Ok(body) => Some(body.to_bytes()),
            Err(error) => {
                let message = format!("error parsing form values: {error}");
                return reply::refused(StatusCode::BAD_REQUEST, "bad_data", &message);
            }
        }
    } else {
        None
    };
    let place = match weight {
        Weight::Light => None,
        Weight::Heavy => {
            let place = api.places.clone().acquire_owned();
            match tokio::time::timeout(api.settings.query_timeout, place).await {
                Ok(Ok(place)) => Some(place),
                _ => {
                    let fault = Fault::new(Kind::Timeout, "query timed out in query queue");
                    return reply::refused(fault.status(), fault.name(), &fault.message);
                }
            }
        }
    };
    let (api, remarks) = match weight {
        Weight::Light => (api, None),
        Weight::Heavy => api.session(),
    };
    let query = parts.uri.query().unwrap_or("");
    let form = match (boundary, &body) {
        (Some(boundary), Some(body)) => Form::in_parts(query, multipart::fields(body, &boundary)),
        _ => Form::parse(query, body.as_deref()),
    };
    let call = Call {
        form,
        accept: text(ACCEPT).unwrap_or_default().to_owned(),
        name: last_but_one(parts.uri.path()),
        now: Moment::from_ms(api.clock.since_epoch().as_millis() as i64),
        arrived,
        started: api.clock.monotonic(),
        api,
    };
    let canceled = CancellationToken::new();
    // Dropped with this future when the client goes away.
    let guard = canceled.clone().drop_guard();
    let (mut reply, awaited) = reply::pair(coding, canceled);
    tokio::task::spawn_blocking(move || {
        let done = endpoint(&call, &mut reply);
        if let Some(remarks) = remarks {
            reply.warnings.append(&mut remarks.lock());
        }
        reply.finish(done);
        drop(place);
    });
    let response = awaited.response().await;
    // From here on the pieces tell whether anybody reads.
    guard.disarm();
    response
}

/// The name in `label/{name}/values`.
fn last_but_one(path: &str) -> String {
    let part = path.rsplit('/').nth(1).unwrap_or("");
    form::unescaped_path(part)
}
