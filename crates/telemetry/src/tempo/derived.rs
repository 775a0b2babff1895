//! Metrics that are derived from spans as they come in: calls and latency by span name, and the
//! graph of services as requests between a client's span and a server's.
//!
//! Names and labels are those that Grafana's views of services ask for. Counts grow from the start
//! of the process; series that nothing was added to for a while end.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use towpath_query::promql::{Labels, stale};
use towpath_query::traceql::{
    Kind, Span, SpanId, Status, Trace, TraceId, Value as Attribute, find,
};
use towpath_signals::{Append, Metadata, Refused, Sample, Value};

/// Upper bounds of latency by span name, in seconds.
const LATENCY: [f64; 12] = [
    0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.02, 2.05, 4.10,
];
/// Upper bounds of requests between services, in seconds.
const REQUESTS: [f64; 8] = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8];
/// Sets of labels of each sort; what comes beyond is counted and left out.
const GROUPS_MAX: usize = 5000;
/// Halves of requests that wait for the other half.
const HALVES_MAX: usize = 10_000;
/// How long they wait.
const PATIENCE: Duration = Duration::from_secs(10);
/// Series end when nothing was added for so long.
const FORGOTTEN: Duration = Duration::from_secs(900);

struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    fn add(&mut self, seconds: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[bucket] += 1;
        self.sum += seconds;
    }

    fn tell(&self, name: &str, labels: &[(String, String)], tell: &mut dyn FnMut(Labels, f64)) {
        let mut below = 0;
        let bounds = self.bounds.iter().map(ToString::to_string);
        for (bound, count) in bounds.chain(["+Inf".to_string()]).zip(&self.counts) {
            below += count;
            let le = [("le".to_string(), bound)];
            let all = labels.iter().cloned().chain(le);
            tell(named(&format!("{name}_bucket"), all), below as f64);
        }
        tell(
            named(&format!("{name}_count"), labels.iter().cloned()),
            below as f64,
        );
        tell(
            named(&format!("{name}_sum"), labels.iter().cloned()),
            self.sum,
        );
    }
}

fn named(name: &str, labels: impl Iterator<Item = (String, String)>) -> Labels {
    let name = [("__name__".to_string(), name.to_string())];
    name.into_iter().chain(labels).collect()
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Calls {
    service: String,
    name: String,
    kind: Kind,
    status: Status,
}

struct CallFigures {
    calls: u64,
    latency: Histogram,
    touched: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    client: String,
    server: String,
    connection: &'static str,
}

struct EdgeFigures {
    total: u64,
    failed: u64,
    client: Histogram,
    server: Histogram,
    touched: Instant,
}

/// What one side of a request says.
struct Half {
    service: String,
    seconds: f64,
    failed: bool,
    connection: &'static str,
    /// Whom a client names that may never answer by a span of its own.
    peer: Option<String>,
    since: Instant,
}

#[derive(Default)]
struct State {
    calls: BTreeMap<Calls, CallFigures>,
    edges: BTreeMap<Edge, EdgeFigures>,
    clients: HashMap<(TraceId, SpanId), Half>,
    servers: HashMap<(TraceId, SpanId), Half>,
    left_out: u64,
    unpaired: u64,
    written: BTreeMap<Labels, f64>,
}

/// Derives metrics from spans.
pub struct Derived {
    state: Mutex<State>,
    now: Box<dyn Fn() -> Instant + Send + Sync>,
}

fn text<'a>(span: &'a Span, names: &[&str]) -> Option<&'a str> {
    let found = names.iter().find_map(|name| find(&span.attributes, name));
    match found {
        Some(Attribute::Text(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}

impl Derived {
    /// With a monotonic clock.
    pub fn new(now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Self {
            state: Mutex::default(),
            now: Box::new(now),
        }
    }

    /// Counts spans.
    pub fn observe(&self, traces: &[Trace]) {
        let now = (self.now)();
        let mut state = self.state.lock();
        for trace in traces {
            for span in &trace.spans {
                state.call(span, now);
                state.half(&trace.id, span, now);
            }
        }
        state.give_up(now);
    }

    /// Writes all series as they are at a time, in milliseconds since the epoch. Returns how many
    /// samples the store refused.
    ///
    /// # Errors
    /// The store takes nothing more.
    pub fn write(&self, to: &dyn Append, at: i64) -> Result<usize, towpath_signals::WriteError> {
        let now = (self.now)();
        let (series, ended) = {
            let mut state = self.state.lock();
            state.give_up(now);
            state.forget(now);
            let mut series: BTreeMap<Labels, f64> = BTreeMap::new();
            state.tell(&mut |labels, value| {
                series.insert(labels, value);
            });
            let gone = state
                .written
                .keys()
                .filter(|labels| !series.contains_key(labels));
            let gone: Vec<Labels> = gone.cloned().collect();
            state.written.clone_from(&series);
            (series, gone)
        };
        let ended = ended.into_iter().map(|labels| (labels, stale()));
        let mut samples = Vec::new();
        let mut refused = 0;
        for (labels, value) in series.into_iter().chain(ended) {
            let series = match to.resolve(&labels) {
                Ok(series) => series,
                Err(Refused::Limit(_) | Refused::Labels(_)) => {
                    refused += 1;
                    continue;
                }
                Err(_) => continue,
            };
            samples.push(Sample {
                series,
                at,
                value: Value::Float(value),
                start: None,
            });
        }
        Ok(refused + to.append(&samples)?.refused_count)
    }

    /// Tells the store what the metrics mean.
    pub fn describe(&self, to: &dyn Append) {
        let families = [
            ("traces_spanmetrics_calls_total", "counter", "Spans by name"),
            (
                "traces_spanmetrics_latency",
                "histogram",
                "Seconds of spans by name",
            ),
            (
                "traces_service_graph_request_total",
                "counter",
                "Requests between services",
            ),
            (
                "traces_service_graph_request_failed_total",
                "counter",
                "Requests between services that failed",
            ),
            (
                "traces_service_graph_request_client_seconds",
                "histogram",
                "Seconds of requests as their clients saw them",
            ),
            (
                "traces_service_graph_request_server_seconds",
                "histogram",
                "Seconds of requests as their servers saw them",
            ),
            (
                "traces_service_graph_unpaired_spans_total",
                "counter",
                "Halves of requests whose other half never came",
            ),
            (
                "traces_derived_left_out_spans_total",
                "counter",
                "Spans that would have made too many series",
            ),
        ];
        for (name, kind, help) in families {
            let metadata = Metadata {
                kind: kind.into(),
                help: help.into(),
                unit: String::new(),
            };
            to.metadata(name, metadata);
        }
    }
}

impl State {
    fn call(&mut self, span: &Span, now: Instant) {
        let key = Calls {
            service: span.resource.service().into(),
            name: span.name.to_string(),
            kind: span.kind,
            status: span.status,
        };
        if self.calls.len() >= GROUPS_MAX && !self.calls.contains_key(&key) {
            self.left_out += 1;
            return;
        }
        let figures = self.calls.entry(key).or_insert_with(|| CallFigures {
            calls: 0,
            latency: Histogram::new(&LATENCY),
            touched: now,
        });
        figures.calls += 1;
        figures.latency.add(span.duration_ns as f64 / 1e9);
        figures.touched = now;
    }

    fn half(&mut self, trace: &TraceId, span: &Span, now: Instant) {
        let database = text(
            span,
            &["db.namespace", "db.name", "db.system.name", "db.system"],
        );
        let connection = match span.kind {
            Kind::Producer | Kind::Consumer => "messaging_system",
            _ if database.is_some() => "database",
            _ => "",
        };
        let peer = text(span, &["peer.service", "server.address", "net.peer.name"]);
        let half = Half {
            service: span.resource.service().into(),
            seconds: span.duration_ns as f64 / 1e9,
            failed: span.status == Status::Error,
            connection,
            peer: database.or(peer).map(str::to_string),
            since: now,
        };
        match span.kind {
            // A database sends no spans.
            Kind::Client if database.is_some() => self.virtual_server(&half, now),
            Kind::Client | Kind::Producer => match self.servers.remove(&(*trace, span.id)) {
                Some(server) => self.edge(&half, &server, now),
                None if self.clients.len() < HALVES_MAX => {
                    self.clients.insert((*trace, span.id), half);
                }
                None => self.unpaired += 1,
            },
            Kind::Server | Kind::Consumer if !span.is_root() => {
                match self.clients.remove(&(*trace, span.parent_id)) {
                    Some(client) => self.edge(&client, &half, now),
                    None if self.servers.len() < HALVES_MAX => {
                        self.servers.insert((*trace, span.parent_id), half);
                    }
                    None => self.unpaired += 1,
                }
            }
            _ => {}
        }
    }

    fn edge(&mut self, client: &Half, server: &Half, now: Instant) {
        let edge = Edge {
            client: client.service.clone(),
            server: server.service.clone(),
            connection: client.connection,
        };
        let failed = client.failed || server.failed;
        self.request(edge, failed, client.seconds, Some(server.seconds), now);
    }

    /// A request to somebody who sends no spans.
    fn virtual_server(&mut self, client: &Half, now: Instant) {
        let Some(peer) = &client.peer else {
            self.unpaired += 1;
            return;
        };
        let named = client.connection == "database";
        let edge = Edge {
            client: client.service.clone(),
            server: peer.clone(),
            connection: if named { "database" } else { "virtual_node" },
        };
        self.request(edge, client.failed, client.seconds, None, now);
    }

    fn request(
        &mut self,
        edge: Edge,
        failed: bool,
        client_seconds: f64,
        server_seconds: Option<f64>,
        now: Instant,
    ) {
        if self.edges.len() >= GROUPS_MAX && !self.edges.contains_key(&edge) {
            self.left_out += 1;
            return;
        }
        let figures = self.edges.entry(edge).or_insert_with(|| EdgeFigures {
            total: 0,
            failed: 0,
            client: Histogram::new(&REQUESTS),
            server: Histogram::new(&REQUESTS),
            touched: now,
        });
        figures.total += 1;
        figures.failed += u64::from(failed);
        figures.client.add(client_seconds);
        figures.server.add(server_seconds.unwrap_or(client_seconds));
        figures.touched = now;
    }

    /// Lets go halves that waited long enough.
    fn give_up(&mut self, now: Instant) {
        let waits = |half: &Half| now.duration_since(half.since) < PATIENCE;
        let late: Vec<Half> = self
            .clients
            .extract_if(|_, half| !waits(half))
            .map(|(_, h)| h)
            .collect();
        late.iter().for_each(|half| self.virtual_server(half, now));
        let before = self.servers.len();
        self.servers.retain(|_, half| waits(half));
        self.unpaired += (before - self.servers.len()) as u64;
    }

    fn forget(&mut self, now: Instant) {
        let recent = |touched: Instant| now.duration_since(touched) < FORGOTTEN;
        self.calls.retain(|_, figures| recent(figures.touched));
        self.edges.retain(|_, figures| recent(figures.touched));
    }

    fn tell(&self, tell: &mut dyn FnMut(Labels, f64)) {
        let pair = |name: &str, value: String| (name.to_string(), value);
        for (key, figures) in &self.calls {
            let upper = |text: &str| text.to_uppercase();
            let labels = [
                pair("service", key.service.clone()),
                pair("span_name", key.name.clone()),
                pair("span_kind", format!("SPAN_KIND_{}", upper(key.kind.name()))),
                pair(
                    "status_code",
                    format!("STATUS_CODE_{}", upper(key.status.name())),
                ),
            ];
            let calls = named("traces_spanmetrics_calls_total", labels.iter().cloned());
            tell(calls, figures.calls as f64);
            figures
                .latency
                .tell("traces_spanmetrics_latency", &labels, tell);
        }
        for (edge, figures) in &self.edges {
            let labels = [
                pair("client", edge.client.clone()),
                pair("server", edge.server.clone()),
                pair("connection_type", edge.connection.into()),
            ];
            let prefix = "traces_service_graph_request";
            let total = named(&format!("{prefix}_total"), labels.iter().cloned());
            tell(total, figures.total as f64);
            let failed = named(&format!("{prefix}_failed_total"), labels.iter().cloned());
            tell(failed, figures.failed as f64);
            figures
                .client
                .tell(&format!("{prefix}_client_seconds"), &labels, tell);
            figures
                .server
                .tell(&format!("{prefix}_server_seconds"), &labels, tell);
        }
        let none = std::iter::empty;
        tell(
            named("traces_service_graph_unpaired_spans_total", none()),
            self.unpaired as f64,
        );
        tell(
            named("traces_derived_left_out_spans_total", none()),
            self.left_out as f64,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use towpath_query::traceql::Resource;

    fn span(id: u8, parent: u8, service: &str, kind: Kind, ms: u64) -> Span {
        let mut span = Span {
            id: [id; 8],
            parent_id: [parent; 8],
            name: "work".into(),
            kind,
            duration_ns: ms * 1_000_000,
            ..Span::default()
        };
        span.resource = Arc::new(Resource {
            attributes: vec![("service.name".into(), Attribute::text(service))],
            ..Resource::default()
        });
        span
    }

    fn told(derived: &Derived) -> BTreeMap<String, f64> {
        let mut out = BTreeMap::new();
        let state = derived.state.lock();
        state.tell(&mut |labels, value| {
            out.insert(labels.to_string(), value);
        });
        out
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // a beginning, from which the test moves on
    fn calls_and_requests_are_counted() {
        let start = Instant::now();
        let passed = Arc::new(Mutex::new(Duration::ZERO));
        let clock = Arc::clone(&passed);
        let derived = Derived::new(move || start + *clock.lock());
        let trace = |spans: Vec<Span>| Trace { id: [1; 16], spans };
        let mut query = span(3, 2, "cart", Kind::Client, 7);
        query
            .attributes
            .push(("db.system".into(), Attribute::text("pg")));
        let mut away = span(4, 2, "cart", Kind::Client, 3);
        away.attributes
            .push(("peer.service".into(), Attribute::text("stripe")));
        let mut server = span(2, 1, "cart", Kind::Server, 90);
        server.status = Status::Error;
        derived.observe(&[trace(vec![server, query, away])]);
        derived.observe(&[trace(vec![span(1, 0, "shop", Kind::Client, 150)])]);
        let found = told(&derived);
        let edge =
            "{__name__=\"traces_service_graph_request_total\", client=\"shop\", server=\"cart\"}";
        assert_eq!(found[edge], 1.0, "{found:#?}");
        let failed = edge.replace("_total", "_failed_total");
        assert_eq!(found[&failed], 1.0);
        let bucket = edge
            .replace("_total\"", "_client_seconds_bucket\"")
            .replace("client=\"shop\"", "client=\"shop\", le=\"0.2\"");
        assert_eq!(found[&bucket], 1.0);
        let database = "{__name__=\"traces_service_graph_request_total\", client=\"cart\", \
            connection_type=\"database\", server=\"pg\"}";
        assert_eq!(found[database], 1.0);
        let calls = "{__name__=\"traces_spanmetrics_calls_total\", service=\"cart\", \
            span_kind=\"SPAN_KIND_SERVER\", span_name=\"work\", status_code=\"STATUS_CODE_ERROR\"}";
        assert_eq!(found[calls], 1.0);
        *passed.lock() = Duration::from_secs(11);
        derived.observe(&[]);
        let absent = "{__name__=\"traces_service_graph_request_total\", client=\"cart\", \
            connection_type=\"virtual_node\", server=\"stripe\"}";
        assert_eq!(told(&derived)[absent], 1.0);
        *passed.lock() = Duration::from_secs(1000);
        derived
            .state
            .lock()
            .forget(start + Duration::from_secs(1000));
        assert!(!told(&derived).contains_key(calls));
    }
}
