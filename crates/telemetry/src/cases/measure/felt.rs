//! Whether a workload fails more, answers slower or grows, by its own metrics and by those that
//! are derived from its spans.

use super::Asking;
use super::onset::{self, Onset};
use crate::cases::cause::SymptomKind;
use crate::ledger::Object;
use towpath_query::promql::quote;

/// How far back a curve is looked at.
const SPAN_MS: i64 = 2 * 3_600_000;
const STEP_MS: i64 = 30_000;
/// Who has begun later than this after the begin of the curve is new.
const FRESH_MS: i64 = 300_000;
/// A share of failed requests that matters.
const ERRORS: f64 = 0.02;
/// Seconds that matter.
const SLOW: f64 = 0.1;
/// Bytes that matter.
const GROWTH: f64 = 16.0 * 1024.0 * 1024.0;

/// Tells since when a curve is bad.
type Judge<'a> = dyn Fn(&[(i64, f64)]) -> Option<Onset> + 'a;

/// Something that a workload feels.
#[derive(Clone, Debug, PartialEq)]
pub struct Felt {
    /// Who feels it.
    pub workload: Object,
    /// What.
    pub kind: SymptomKind,
    /// Since when, milliseconds since the epoch.
    pub since: i64,
    /// In one sentence.
    pub words: String,
    /// PromQL that shows it.
    pub query: String,
}

impl Felt {
    pub(super) fn is_slow(&self) -> bool {
        self.kind == SymptomKind::Latency
    }
}

/// Names of a workload's pods, as a pattern.
pub(crate) fn pods(workload: &Object) -> String {
    let name = workload.name.replace('.', "\\.");
    match workload.kind.as_str() {
        "Deployment" => format!("{name}-[a-z0-9]+-[a-z0-9]+"),
        "StatefulSet" => format!("{name}-[0-9]+"),
        "DaemonSet" | "ReplicaSet" | "Job" => format!("{name}-[a-z0-9]+"),
        "CronJob" => format!("{name}-[0-9]+-[a-z0-9]+"),
        _ => name,
    }
}

struct Questions {
    /// Requests of its pods, by the labels that scraping adds.
    own: String,
    /// Requests that its spans tell of.
    spans: String,
    pods: String,
    namespace: String,
}

impl Questions {
    fn of(workload: &Object) -> Self {
        let (namespace, name) = (quote(&workload.namespace), quote(&workload.name));
        let pods = quote(&pods(workload));
        Self {
            own: format!("namespace={namespace},pod=~{pods}"),
            spans: format!("service={name},span_kind=\"SPAN_KIND_SERVER\""),
            pods,
            namespace,
        }
    }

    fn errors(&self) -> [String; 2] {
        let ratio = |bad: String, all: String| {
            format!("(sum(rate({bad}[2m])) or vector(0)) / sum(rate({all}[2m]))")
        };
        let (own, spans) = (&self.own, &self.spans);
        let (requests, calls) = ("http_requests_total", "traces_spanmetrics_calls_total");
        [
            ratio(
                format!("{requests}{{{own},code=~\"5..\"}}"),
                format!("{requests}{{{own}}}"),
            ),
            ratio(
                format!("{calls}{{{spans},status_code=\"STATUS_CODE_ERROR\"}}"),
                format!("{calls}{{{spans}}}"),
            ),
        ]
    }

    fn latency(&self) -> [String; 2] {
        let (own, spans) = (&self.own, &self.spans);
        [
            format!("http_request_duration_seconds_bucket{{{own}}}"),
            format!("traces_spanmetrics_latency_bucket{{{spans}}}"),
        ]
        .map(|bucket| format!("histogram_quantile(0.95, sum by (le) (rate({bucket}[2m])))"))
    }

    fn memory(&self) -> String {
        format!(
            "sum by (pod) (container_memory_working_set_bytes{{namespace={},pod=~{},container!=\"\",image!=\"\"}})",
            self.namespace, self.pods
        )
    }
}

pub(super) fn felt(asking: &mut Asking<'_>, workload: &Object) -> Vec<Felt> {
    let questions = Questions::of(workload);
    let new = asking.now - SPAN_MS + FRESH_MS;
    let mut found = Vec::new();
    let mut first = |asking: &mut Asking<'_>,
                     kind: SymptomKind,
                     queries: &[String],
                     bad: &Judge<'_>,
                     words: &dyn Fn(&Onset) -> String| {
        for query in queries {
            let curves = asking.range(query, SPAN_MS, STEP_MS);
            let onset = curves
                .iter()
                .filter_map(|curve| bad(curve))
                .min_by_key(|o| o.at);
            if let Some(onset) = onset {
                found.push(Felt {
                    workload: workload.clone(),
                    kind,
                    since: onset.at,
                    words: words(&onset),
                    query: query.clone(),
                });
                return;
            }
        }
    };
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    first(
        asking,
        SymptomKind::Errors,
        &questions.errors(),
        &|curve| onset::worse(curve, ERRORS, 2.0, Some(new)),
        &|o| match o.before {
            Some(before) => format!(
                "{} of its requests fail, {} did before",
                percent(o.now),
                percent(before)
            ),
            None => format!("{} of its requests fail", percent(o.now)),
        },
    );
    first(
        asking,
        SymptomKind::Latency,
        &questions.latency(),
        &|curve| onset::worse(curve, SLOW, 2.0, None),
        &|o| {
            let before = o.before.unwrap_or(0.0);
            format!(
                "one of twenty requests takes longer than {:.2} s, {before:.2} s before",
                o.now
            )
        },
    );
    first(
        asking,
        SymptomKind::Leak,
        &[questions.memory()],
        &|curve| onset::grows(curve, GROWTH),
        &|o| {
            let mib = |bytes: f64| bytes / (1024.0 * 1024.0);
            let before = o.before.unwrap_or(0.0);
            format!(
                "its memory grows without an end: from {:.0} to {:.0} MiB",
                mib(before),
                mib(o.now)
            )
        },
    );
    found
}
