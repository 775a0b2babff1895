//! The HTTP API of Tempo, as Grafana and Tempo's command line ask it, and what brings spans into
//! the store.
//!
//! Queries run on threads of their own, a few at a time, within a time and a number of spans; a
//! client that goes away ends its query.

mod answer;
mod convert;
mod derived;
mod json;
mod params;
mod past;
mod series;
mod sink;
mod tags;
#[cfg(test)]
mod tests;
mod trace;
mod traces;

pub use derived::Derived;
pub use sink::TraceIntake;

use crate::door::Door;
use crate::outgrow::through::PastSpans;
use answer::{Failure, text};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use towpath_daemon::Service;
use towpath_query::traceql::Budget;
use towpath_signals::Append;
use towpath_signals::traces::Store;
use towpath_stdx::Clock;

/// Queries at a time; more wait.
const QUERIES_MAX: usize = 4;
/// How long a query waits for its turn, and how long it runs.
const QUERY_TIME: Duration = Duration::from_secs(30);
/// Spans that one query looks at.
const SPANS_MAX: usize = 20_000_000;
/// How often derived metrics are written.
const WRITE_EVERY: Duration = Duration::from_secs(15);
/// How often the store looks after itself.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);

/// What the handlers share.
#[derive(Clone)]
pub struct Tempo {
    store: Store,
    door: Door,
    clock: Arc<dyn Clock>,
    turns: Arc<Semaphore>,
    past: Arc<[PastSpans]>,
}

impl Tempo {
    /// Over a store, for those who may `get` `signals` of `towpath.dev`.
    pub fn new(store: Store, door: Door, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            door,
            clock,
            turns: Arc::new(Semaphore::new(QUERIES_MAX)),
            past: Arc::from([]),
        }
    }

    /// The same, asking these for what is older.
    #[must_use]
    pub fn read_through(self, past: Vec<PastSpans>) -> Self {
        Self {
            past: past.into(),
            ..self
        }
    }

    /// Everything below a prefix such as `/tempo`.
    pub fn router(self, prefix: &str) -> Router {
        let path = |path: &str| format!("{prefix}{path}");
        let guarded = Router::new()
            .route(&path("/api/traces/{id}"), get(trace::v1))
            .route(&path("/api/v2/traces/{id}"), get(trace::v2))
            .route(&path("/api/search"), get(traces::search))
            .route(&path("/api/search/tags"), get(tags::names_v1))
            .route(&path("/api/v2/search/tags"), get(tags::names_v2))
            .route(&path("/api/search/tag/{tag}/values"), get(tags::values_v1))
            .route(
                &path("/api/v2/search/tag/{tag}/values"),
                get(tags::values_v2),
            )
            .route(&path("/api/metrics/query"), get(series::instant))
            .route(&path("/api/metrics/query_range"), get(series::range))
            .layer(axum::middleware::from_fn_with_state(self.clone(), guard));
        Router::new()
            .route(&path("/api/echo"), get(|| async { text("echo") }))
            .route(&path("/ready"), get(|| async { text("ready\n") }))
            .route(&path("/api/status/buildinfo"), get(trace::buildinfo))
            .merge(guarded)
            .with_state(self)
    }

    /// Runs a query away from what must not wait. `stop` is asked by the query and answers yes
    /// when its time is over or nobody waits any more.
    async fn run<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Store, Budget<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let turn = tokio::time::timeout(QUERY_TIME, self.turns.clone().acquire_owned());
        let Ok(Ok(turn)) = turn.await else {
            return Err(Failure::busy("too many queries run at a time"));
        };
        let gone = Arc::new(AtomicBool::new(false));
        let _end = Ended(Arc::clone(&gone));
        let (store, clock) = (self.store.clone(), Arc::clone(&self.clock));
        let work = move || {
            let _turn = turn;
            let until = clock.monotonic() + QUERY_TIME;
            let stop = || gone.load(Ordering::Relaxed) || clock.monotonic() > until;
            let budget = Budget {
                max_spans: SPANS_MAX,
                stop: Some(&stop),
            };
            query(&store, budget)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => Err(Failure::internal(error.to_string())),
        }
    }
}

/// Tells the query when nobody waits for it any more.
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn guard(State(tempo): State<Tempo>, request: Request, next: Next) -> Response {
    match tempo.door.check(request.headers(), "get").await {
        Ok(_) => next.run(request).await,
        Err(denied) => Failure::from(denied).into_response(),
    }
}

/// Looks after the store, and writes what is derived from spans.
pub fn services(
    store: Store,
    derived: Arc<Derived>,
    metrics: Option<Arc<dyn Append>>,
    clock: Arc<dyn Clock>,
    after: &[&'static str],
) -> Vec<Service> {
    let upkeep = Service::new("traces", after, move |mut context| async move {
        context.ready();
        let mut tick = tokio::time::interval(UPKEEP_EVERY);
        loop {
            tokio::select! {
                () = context.cancel.cancelled() => {
                    let _ = tokio::task::spawn_blocking(move || store.close()).await;
                    return Ok(());
                }
                // Idleness is the passing of time; nothing tells it.
                _ = tick.tick() => {}
            }
            let store = store.clone();
            match tokio::task::spawn_blocking(move || store.upkeep()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(error = %Chain(&error), "upkeep of traces"),
                Err(error) => return Err(error.to_string()),
            }
        }
    });
    let mut all = vec![upkeep];
    if let Some(metrics) = metrics {
        all.push(Service::new(
            "trace-metrics",
            after,
            move |mut context| async move {
                context.ready();
                derived.describe(&*metrics);
                let mut tick = tokio::time::interval(WRITE_EVERY);
                loop {
                    tokio::select! {
                        () = context.cancel.cancelled() => return Ok(()),
                        _ = tick.tick() => {}
                    }
                    let at = i64::try_from(clock.since_epoch().as_millis()).unwrap_or(i64::MAX);
                    match derived.write(&*metrics, at) {
                        Ok(0) => {}
                        Ok(refused) => tracing::warn!(refused, "metrics of spans"),
                        Err(error) => tracing::error!(%error, "metrics of spans"),
                    }
                }
            },
        ));
    }
    all
}

/// An error with its causes in one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(next) = cause {
            write!(f, ": {next}")?;
            cause = next.source();
        }
        Ok(())
    }
}
