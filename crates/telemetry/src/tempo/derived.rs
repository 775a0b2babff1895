//! Metrics that are derived from spans as they come in: calls and latency by span name, and the
//! graph of services as requests between a client's span and a server's.
//!
//! Names and labels are those that Grafana's views of services ask for. Counts grow from the start
//! of the process; series that nothing was added to for a while end.

mod calls;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use towpath_query::promql::{Labels, stale};
use towpath_query::traceql::{
    Kind, Resource, Span, SpanId, Status, Trace, TraceId, Value as Attribute, find,
};
use towpath_signals::{Append, Exemplar, Metadata, Refused, Sample, Value};

use calls::{AsCalls, Calls};

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
/// How often they are looked through.
const BETWEEN: Duration = Duration::from_secs(1);
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

    /// The bucket that a value is in, as its label says it.
    fn bound(&self, seconds: f64) -> String {
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        let bound = self.bounds.get(bucket);
        bound.map_or_else(|| "+Inf".to_string(), ToString::to_string)
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

struct CallFigures {
    calls: u64,
    latency: Histogram,
    /// The slowest since series were written last: the way from a chart to a trace.
    slowest: Option<Sighting>,
    touched: Instant,
}

/// A span that stands for others of its name.
struct Sighting {
    trace: TraceId,
    seconds: f64,
    /// When it ended, milliseconds since the epoch.
    at: i64,
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
    /// Who says it.
    resource: Arc<Resource>,
    seconds: f64,
    failed: bool,
    connection: &'static str,
    /// Whom a client names that may never answer by a span of its own.
    peer: Option<Arc<str>>,
    since: Instant,
}

#[derive(Default)]
struct State {
    calls: BTreeMap<Calls, CallFigures>,
    edges: BTreeMap<Edge, EdgeFigures>,
    clients: HashMap<(TraceId, SpanId), Half>,
    servers: HashMap<(TraceId, SpanId), Half>,
    /// When halves were looked through for those that waited long enough.
    looked: Option<Instant>,
    left_out: u64,
    unpaired: u64,
    written: BTreeMap<Labels, f64>,
}

/// Derives metrics from spans.
pub struct Derived {
    state: Mutex<State>,
    now: Box<dyn Fn() -> Instant + Send + Sync>,
}

fn text<'a>(span: &'a Span, names: &[&str]) -> Option<&'a Arc<str>> {
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
                state.call(&trace.id, span, now);
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
        let (series, ended, sightings) = {
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
            (series, gone, state.sightings())
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
        let refused = refused + to.append(&samples)?.refused_count;
        for (labels, exemplar) in sightings {
            // One that comes late, or finds no room, is no loss: the counts are.
            if let Ok(series) = to.resolve(&labels) {
                let _ = to.exemplar(series, exemplar);
            }
        }
        Ok(refused)
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
    fn call(&mut self, trace: &TraceId, span: &Span, now: Instant) {
        if !self.calls.contains_key(span as &dyn AsCalls) {
            if self.calls.len() >= GROUPS_MAX {
                self.left_out += 1;
                return;
            }
            let (service, name, kind, status) = span.parts();
            let key = Calls {
                service: service.into(),
                name: name.into(),
                kind,
                status,
            };
            let figures = CallFigures {
                calls: 0,
                latency: Histogram::new(&LATENCY),
                slowest: None,
                touched: now,
            };
            self.calls.insert(key, figures);
        }
        let Some(figures) = self.calls.get_mut(span as &dyn AsCalls) else {
            return;
        };
        let seconds = span.duration_ns as f64 / 1e9;
        figures.calls += 1;
        figures.latency.add(seconds);
        figures.touched = now;
        let slowest = figures.slowest.as_ref();
        if slowest.is_none_or(|before| seconds > before.seconds) {
            let end = span.start_ns.saturating_add(span.duration_ns) / 1_000_000;
            figures.slowest = Some(Sighting {
                trace: *trace,
                seconds,
                at: i64::try_from(end).unwrap_or(i64::MAX),
            });
        }
    }

    /// The slowest spans of each name, as exemplars of the buckets that they are in.
    fn sightings(&mut self) -> Vec<(Labels, Exemplar)> {
        let calls = self.calls.iter_mut();
        let each = calls.filter_map(|(key, figures)| {
            let seen = figures.slowest.take()?;
            let le = ("le".to_string(), figures.latency.bound(seen.seconds));
            let all = key.labels().into_iter().chain([le]);
            let trace = ("trace_id".to_string(), super::json::hex(&seen.trace));
            let exemplar = Exemplar {
                labels: [trace].into_iter().collect(),
                value: seen.seconds,
                at: seen.at,
            };
            Some((named("traces_spanmetrics_latency_bucket", all), exemplar))
        });
        each.collect()
    }

    fn half(&mut self, trace: &TraceId, span: &Span, now: Instant) {
        let (mut database, mut peer) = (None, None);
        match span.kind {
            Kind::Client | Kind::Producer => {
                let names = ["db.namespace", "db.name", "db.system.name", "db.system"];
                database = text(span, &names);
                peer = text(span, &["peer.service", "server.address", "net.peer.name"]);
            }
            Kind::Server | Kind::Consumer => {}
            _ => return,
        }
        let connection = match span.kind {
            Kind::Producer | Kind::Consumer => "messaging_system",
            _ if database.is_some() => "database",
            _ => "",
        };
        let half = Half {
            resource: Arc::clone(&span.resource),
            seconds: span.duration_ns as f64 / 1e9,
            failed: span.status == Status::Error,
            connection,
            peer: database.or(peer).cloned(),
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
            client: client.resource.service().into(),
            server: server.resource.service().into(),
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
            client: client.resource.service().into(),
            server: peer.to_string(),
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
        // There may be thousands of them, and thousands of calls a second.
        let looked = self.looked.map(|before| now.duration_since(before));
        if looked.is_some_and(|passed| passed < BETWEEN) {
            return;
        }
        self.looked = Some(now);
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
            let labels = key.labels();
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
        // Before the first span there is nothing to be left out: where nobody sends any, no series
        // are made.
        let counted = self.unpaired + self.left_out;
        if self.calls.is_empty() && counted == 0 && self.written.is_empty() {
            return;
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
mod tests;
