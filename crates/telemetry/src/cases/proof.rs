//! The query that shows what is said, for whoever wants to see it themselves.

use super::finding::{Finding, Kind};
use super::measure;
use crate::ledger::{Change, Object};
use serde::{Deserialize, Serialize};
use towpath_query::promql::quote;

/// A query that shows what is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// `promql`, `logql`, `traceql`, `kubectl` (what comes behind that word) or `changes` (the parameters of
    /// `GET /api/v1/changes`).
    pub language: String,
    /// The query.
    pub text: String,
}

/// What speaks for a cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// In one sentence.
    pub words: String,
    /// Shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<Proof>,
}

impl Evidence {
    pub(super) fn new(words: impl Into<String>, query: Proof) -> Self {
        Self {
            words: words.into(),
            query: Some(query),
        }
    }
}

impl Proof {
    /// A query in a language.
    pub fn new(language: &str, text: impl Into<String>) -> Self {
        Self {
            language: language.into(),
            text: text.into(),
        }
    }

    /// Shows an object.
    fn object(of: &Object, verb: &str) -> Self {
        let space = match of.namespace.as_str() {
            "" => String::new(),
            namespace => format!("-n {namespace} "),
        };
        let kind = of.kind.to_ascii_lowercase();
        let text = match verb {
            "events" => format!("{space}events --for {kind}/{}", of.name),
            verb => format!("{space}{verb} {kind} {}", of.name),
        };
        Self::new("kubectl", text)
    }

    /// Shows what is wrong.
    pub(super) fn of(finding: &Finding) -> Self {
        let about = &finding.about;
        let namespace = quote(&about.namespace);
        let pods = quote(&measure::pods(&finding.workload));
        let container = quote(&finding.container);
        let promql = |text: String| Self::new("promql", text);
        match finding.kind {
            Kind::CrashLoop => promql(format!(
                "increase(kube_pod_container_status_restarts_total{{namespace={namespace},pod=~{pods}}}[15m])"
            )),
            Kind::OutOfMemory => promql(format!(
                "container_memory_working_set_bytes{{namespace={namespace},pod=~{pods},container={container}}}"
            )),
            Kind::DiskFull if about.kind == "PersistentVolumeClaim" => promql(format!(
                "kubelet_volume_stats_used_bytes{{namespace={namespace},persistentvolumeclaim={}}}",
                quote(&about.name)
            )),
            Kind::NoisyNeighbour => promql(format!(
                "sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{{namespace={namespace},pod={}}}[2m]))",
                quote(&about.name)
            )),
            Kind::NodeDown | Kind::Certificate => Self::object(about, "describe"),
            _ => Self::object(about, "events"),
        }
    }

    /// Shows a change in the ledger.
    pub(super) fn change(change: &Change) -> Self {
        let second = change.at.div_euclid(1_000);
        Self::new(
            "changes",
            format!(
                "namespace={}&from={}&to={}",
                change.object.namespace,
                second - 1,
                second + 1
            ),
        )
    }
}
