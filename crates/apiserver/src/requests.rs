//! Counts requests under the names of upstream's API server.
//!
//! How long a watch or a stream lasts says nothing of the server, so they are counted and not
//! timed.

use crate::audit::About;
use http::StatusCode;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use towpath_daemon::metrics::{self, Counter, Gauge, Histogram, LATENCY};
use towpath_stdx::{Clock, SystemClock};

/// Kinds of requests that are told apart; what comes beyond is counted together.
const KINDS: usize = 2_000;

struct Kind {
    labels: [(&'static str, String); 6],
    timed: Option<(Histogram, Histogram)>,
    /// By status code; there are few.
    codes: RwLock<Vec<(u16, Counter)>>,
}

/// All requests.
pub(crate) struct Requests {
    kinds: RwLock<HashMap<String, Arc<Kind>>>,
    reading: Gauge,
    writing: Gauge,
}

/// A request that is being answered.
pub(crate) struct Running {
    kind: Arc<Kind>,
    gauge: Option<Gauge>,
    begin: Instant,
}

impl Default for Requests {
    fn default() -> Self {
        let gauge = |kind| {
            metrics::gauge(
                "apiserver_current_inflight_requests",
                "Maximal number of currently used inflight request limit of this apiserver per request kind in last second.",
                &[("request_kind", kind)],
            )
        };
        Self {
            kinds: RwLock::default(),
            reading: gauge("readOnly"),
            writing: gauge("mutating"),
        }
    }
}

fn verb(about: &About) -> &'static str {
    match about.verb.as_str() {
        "list" => "LIST",
        "watch" => "WATCH",
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "GET",
    }
}

fn is_stream(about: &About) -> bool {
    matches!(
        about.subresource.as_str(),
        "exec" | "attach" | "portforward" | "proxy" | "log"
    )
}

impl Requests {
    /// A request that was understood.
    pub(crate) fn begin(&self, about: &About) -> Running {
        let verb = if is_stream(about) && about.subresource != "log" {
            "CONNECT"
        } else {
            verb(about)
        };
        let scope = match (&*about.resource, &*about.name, &*about.namespace) {
            ("", ..) => "",
            (_, "", "") => "cluster",
            (_, "", _) => "namespace",
            _ => "resource",
        };
        let of = [
            verb,
            &about.group,
            &about.version,
            &about.resource,
            &about.subresource,
            scope,
        ];
        let kind = self.kind(of, verb != "WATCH" && !is_stream(about));
        let gauge = match verb {
            "WATCH" | "CONNECT" => None,
            "GET" | "LIST" => Some(self.reading.clone()),
            _ => Some(self.writing.clone()),
        };
        if let Some(gauge) = &gauge {
            gauge.add(1);
        }
        Running {
            kind,
            gauge,
            begin: SystemClock.monotonic(),
        }
    }

    fn kind(&self, of: [&str; 6], timed: bool) -> Arc<Kind> {
        let key = of.join("\0");
        if let Some(kind) = self.kinds.read().get(&key) {
            return kind.clone();
        }
        let mut kinds = self.kinds.write();
        let (key, of) = if kinds.len() < KINDS {
            (key, of)
        } else {
            (of[0].to_string(), [of[0], "", "", "", "", ""])
        };
        kinds
            .entry(key)
            .or_insert_with(|| Arc::new(Kind::new(of, timed)))
            .clone()
    }
}

impl Kind {
    fn new(of: [&str; 6], timed: bool) -> Self {
        let names = [
            "verb",
            "group",
            "version",
            "resource",
            "subresource",
            "scope",
        ];
        let mut at = 0;
        let labels = names.map(|name| {
            at += 1;
            (name, of[at - 1].to_string())
        });
        let given: Vec<(&'static str, &str)> = labels
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .chain([("component", "apiserver")])
            .collect();
        let histogram = |name, help| metrics::histogram(name, help, LATENCY, &given);
        let timed = timed.then(|| {
            (
                histogram(
                    "apiserver_request_duration_seconds",
                    "Response latency distribution in seconds for each verb, group, version, resource, subresource, scope and component.",
                ),
                histogram(
                    "apiserver_request_sli_duration_seconds",
                    "Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in seconds for each verb, group, version, resource, subresource, scope and component.",
                ),
            )
        });
        Self {
            labels,
            timed,
            codes: RwLock::default(),
        }
    }

    fn code(&self, code: u16) -> Counter {
        let known = |codes: &[(u16, Counter)]| {
            let found = codes.iter().find(|(own, _)| *own == code);
            found.map(|(_, counter)| counter.clone())
        };
        if let Some(counter) = known(&self.codes.read()) {
            return counter;
        }
        let mut codes = self.codes.write();
        if let Some(counter) = known(&codes) {
            return counter;
        }
        let text = code.to_string();
        let labels: Vec<(&'static str, &str)> = self
            .labels
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .chain([("component", "apiserver"), ("code", &text)])
            .collect();
        let counter = metrics::counter(
            "apiserver_request_total",
            "Counter of apiserver requests broken out for each verb, group, version, resource, scope, component, and HTTP response code.",
            &labels,
        );
        codes.push((code, counter.clone()));
        counter
    }
}

impl Running {
    /// The request is answered.
    pub(crate) fn end(self, status: StatusCode) {
        self.kind.code(status.as_u16()).inc();
        if let Some((all, indicator)) = &self.kind.timed {
            let took = SystemClock.monotonic().duration_since(self.begin);
            all.observe(took);
            indicator.observe(took);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(gauge) = &self.gauge {
            gauge.add(-1);
        }
    }
}
