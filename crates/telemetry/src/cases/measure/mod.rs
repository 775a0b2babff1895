//! What the objects do not show and the metrics do: who calls whom, how full volumes are, which
//! pods crowd a node, and whether a workload fails more, is slower or grows since a while.

mod felt;
mod onset;

pub use felt::Felt;
pub(crate) use felt::pods;

use crate::ledger::Object;
use std::sync::Arc;
use std::time::{Duration, Instant};
use towpath_query::promql::{self, Answer, Labels, Settings, Stop, Value};
use towpath_signals::Read;
use towpath_stdx::Clock;

/// For all questions of one look.
const LIMIT: Duration = Duration::from_secs(5);
/// What one question may hold in memory.
const SAMPLES: usize = 2_000_000;
/// A processor busier than this leaves others waiting.
const SHORT: f64 = 0.9;

/// The store of metrics, asked for what speaks for a cause. Cheap to clone.
#[derive(Clone)]
pub struct Figures {
    read: Arc<dyn Read>,
    clock: Arc<dyn Clock>,
}

/// What is to be measured.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Now, milliseconds since the epoch.
    pub now: i64,
    /// Volumes of this namespace.
    pub namespace: String,
    /// Errors, slowness and growth of these workloads.
    pub workloads: Vec<Object>,
    /// Whether pods on busy nodes matter.
    pub hungry: bool,
}

/// What was measured.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Pairs of caller and called, by the names that services give themselves.
    pub calls: Vec<(String, String)>,
    /// Claims: used and total bytes.
    pub disks: Vec<(Object, u64, u64)>,
    /// Pods on nodes whose processors are busy: use and request in cores.
    pub hungry: Vec<(Object, f64, f64)>,
    /// What the workload feels.
    pub felt: Vec<Felt>,
    /// What could not be measured, and why.
    pub unseen: Vec<String>,
}

/// Asks one question after the other until the time is over.
struct Asking<'a> {
    read: &'a dyn Read,
    clock: &'a dyn Clock,
    end: Instant,
    now: i64,
    unseen: Vec<String>,
}

struct Samples<'a>(&'a dyn Read);

impl promql::Source for Samples<'_> {
    fn select<'a>(
        &'a self,
        matchers: &[promql::Matcher],
        hints: &promql::Hints<'_>,
    ) -> Result<Box<dyn Iterator<Item = Result<promql::Series, String>> + 'a>, String> {
        self.0.select(matchers, hints)
    }
}

impl Asking<'_> {
    fn ask(
        &mut self,
        query: &str,
        evaluate: impl Fn(&promql::Expr, &Settings<'_>) -> Result<Answer, promql::EvalError>,
    ) -> Option<Value> {
        let stop = || (self.clock.monotonic() > self.end).then_some(Stop::TimedOut);
        let settings = Settings {
            max_samples: SAMPLES,
            stop: Some(&stop),
            ..Settings::default()
        };
        let asked = promql::parse(query).map_err(|error| error.to_string());
        let answer =
            asked.and_then(|expr| evaluate(&expr, &settings).map_err(|error| error.to_string()));
        match answer {
            Ok(answer) => Some(answer.value),
            Err(why) => {
                self.unseen.push(format!("{query}: {why}"));
                None
            }
        }
    }

    fn instant(&mut self, query: &str) -> Vec<(Labels, f64)> {
        let (now, read) = (self.now, self.read);
        let value = self.ask(query, |expr, settings| {
            promql::instant(expr, now, &Samples(read), settings)
        });
        match value {
            Some(Value::Vector(samples)) => {
                samples.into_iter().map(|s| (s.labels, s.value)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn range(&mut self, query: &str, span_ms: i64, step_ms: i64) -> Vec<Vec<(i64, f64)>> {
        let (now, read) = (self.now, self.read);
        let value = self.ask(query, |expr, settings| {
            promql::range(expr, now - span_ms, now, step_ms, &Samples(read), settings)
        });
        match value {
            Some(Value::Matrix(series)) => {
                series.iter().map(|s| s.floats.iter().collect()).collect()
            }
            _ => Vec::new(),
        }
    }

    fn calls(&mut self) -> Vec<(String, String)> {
        let found = self.instant(
            "sum by (client, server) (increase(traces_service_graph_request_total[1h])) > 0",
        );
        let pair = |labels: &Labels| {
            let (client, server) = (labels.get("client"), labels.get("server"));
            (client.to_string(), server.to_string())
        };
        let pairs = found.iter().map(|(labels, _)| pair(labels));
        pairs
            .filter(|(a, b)| !a.is_empty() && !b.is_empty())
            .collect()
    }

    fn disks(&mut self, namespace: &str) -> Vec<(Object, u64, u64)> {
        let by = "by (namespace, persistentvolumeclaim)";
        let of = |name: &str| {
            let wanted = promql::quote(namespace);
            format!("max {by} (kubelet_volume_stats_{name}{{namespace={wanted}}})")
        };
        // A directory among others counts against what was promised, which nothing keeps: beyond
        // it, nothing fails. It is told by its files not being all those of its file system.
        let (all, free, own) = (of("inodes"), of("inodes_free"), of("inodes_used"));
        let used = self.instant(&format!(
            "{} unless ({all} - {free} != {own})",
            of("used_bytes")
        ));
        let total = self.instant(&of("capacity_bytes"));
        let bytes = |value: f64| value.max(0.0) as u64;
        let paired = used.into_iter().filter_map(|(labels, used)| {
            let (_, total) = total.iter().find(|(other, _)| *other == labels)?;
            let claim = labels.get("persistentvolumeclaim");
            let claim = Object::new("PersistentVolumeClaim", labels.get("namespace"), claim);
            Some((claim, bytes(used), bytes(*total)))
        });
        paired.collect()
    }

    fn hungry(&mut self) -> Vec<(Object, f64, f64)> {
        let busy = self.instant(r#"1 - avg(rate(node_cpu_seconds_total{mode="idle"}[2m]))"#);
        if busy.first().is_none_or(|(_, share)| *share < SHORT) {
            return Vec::new();
        }
        let used = self.instant(
            r#"topk(20, sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{container!="",image!=""}[2m])))"#,
        );
        let asked = self.instant(
            r#"sum by (namespace, pod) (kube_pod_container_resource_requests{resource="cpu"})"#,
        );
        let found = used.into_iter().map(|(labels, used)| {
            let request = asked.iter().find(|(other, _)| *other == labels);
            let pod = Object::new("Pod", labels.get("namespace"), labels.get("pod"));
            (pod, used, request.map_or(0.0, |(_, cores)| *cores))
        });
        found.collect()
    }
}

impl Figures {
    /// Over a store.
    pub fn new(read: Arc<dyn Read>, clock: Arc<dyn Clock>) -> Self {
        Self { read, clock }
    }

    /// Measures, off the reactor and for a few seconds at most.
    pub async fn measure(&self, wanted: Wanted) -> Measured {
        let own = self.clone();
        let done = tokio::task::spawn_blocking(move || own.look(&wanted));
        done.await.unwrap_or_else(|error| Measured {
            unseen: vec![format!("metrics: {error}")],
            ..Measured::default()
        })
    }

    fn look(&self, wanted: &Wanted) -> Measured {
        let mut asking = Asking {
            read: &*self.read,
            clock: &*self.clock,
            end: self.clock.monotonic() + LIMIT,
            now: wanted.now,
            unseen: Vec::new(),
        };
        let mut measured = Measured {
            calls: asking.calls(),
            disks: asking.disks(&wanted.namespace),
            ..Measured::default()
        };
        for workload in &wanted.workloads {
            measured.felt.extend(felt::felt(&mut asking, workload));
        }
        if wanted.hungry || measured.felt.iter().any(Felt::is_slow) {
            measured.hungry = asking.hungry();
        }
        measured.unseen = asking.unseen;
        measured
    }
}
