//! Looks at a namespace and says what is wrong there and which change is behind it.

use super::analyze::{Snapshot, analyze};
use super::cause::{Cause, Symptom, SymptomKind, causes};
use super::finding::{Finding, Step};
use crate::ledger::{Change, Ledger, Object, Observed};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Client;
use kube::api::{Api, ListParams, LogParams};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use towpath_kit::copies::Copies;
use towpath_stdx::Clock;

/// For each call to the API.
const CALL: Duration = Duration::from_secs(5);
/// Changes before a symptom that are looked at.
const WINDOW_MS: i64 = 24 * 3_600_000;
const EVENTS: u32 = 500;
/// Steps that are done by themselves.
const STEPS: usize = 4;
const LOG_LINES: i64 = 30;
const LOG_BYTES: i64 = 16 << 10;

/// What was looked at, and what it showed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Looked {
    /// What.
    pub step: Step,
    /// What it showed, or why it could not be looked at.
    pub output: String,
}

/// The answer to "why".
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What it is about; `None` where nothing is wrong.
    pub symptom: Option<Symptom>,
    /// The best explanations, best first.
    pub causes: Vec<Cause>,
    /// Everything that is wrong, gravest first.
    pub findings: Vec<Finding>,
    /// Changes of the last day, newest first.
    pub changes: Vec<Change>,
    /// The next steps, done.
    pub looked: Vec<Looked>,
    /// What could not be looked at, and why.
    pub unseen: Vec<String>,
}

/// Explains.
#[derive(Clone)]
pub struct Why {
    /// Reads events and logs.
    pub client: Client,
    /// Pods.
    pub copies: Copies,
    /// Everything else.
    pub observed: Observed,
    /// What changed.
    pub ledger: Ledger,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Why {
    /// What is wrong in a namespace, or with one workload in it, and why. With `felt` a symptom
    /// that the objects do not show is explained: errors, slowness, a leak.
    pub async fn explain(
        &self,
        namespace: &str,
        workload: Option<Object>,
        felt: Option<SymptomKind>,
    ) -> Explanation {
        let now = i64::try_from(self.clock.since_epoch().as_millis()).unwrap_or(i64::MAX);
        let mut unseen = Vec::new();
        let events = self.events(namespace).await.unwrap_or_else(|why| {
            unseen.push(format!("events: {why}"));
            Vec::new()
        });
        let changes = self
            .ledger
            .between(now - WINDOW_MS, now, namespace, 1_000)
            .await;
        let changes = changes.unwrap_or_else(|error| {
            unseen.push(format!("changes: {error}"));
            Vec::new()
        });
        let snapshot = Snapshot {
            now,
            pods: self.copies.pods.in_namespace(namespace),
            events,
            quotas: self.observed.quotas(namespace),
            nodes: self.observed.nodes(),
            certificates: self.observed.certificates(namespace),
            ..Snapshot::default()
        };
        let mut findings = analyze(&snapshot);
        if let Some(workload) = &workload {
            findings.retain(|f| f.workload == *workload || f.workload.namespace.is_empty());
        }
        let first = findings.first();
        let about = workload.or_else(|| first.map(|f| f.workload.clone()));
        let since = match (felt, first) {
            (None, Some(first)) => first.since,
            _ => now,
        };
        let symptom = about.map(|workload| Symptom {
            kind: felt.unwrap_or(SymptomKind::Objects),
            workload,
            since,
        });
        let causes = symptom
            .as_ref()
            .map(|symptom| causes(symptom, &findings, &changes, &[]))
            .unwrap_or_default();
        let mut steps: Vec<Step> = Vec::new();
        for step in findings.iter().flat_map(|f| &f.steps) {
            if !steps.contains(step) && steps.len() < STEPS {
                steps.push(step.clone());
            }
        }
        let mut looked = Vec::new();
        for step in steps {
            if let Some(output) = self.look(&step, &snapshot.events).await {
                looked.push(Looked { step, output });
            }
        }
        Explanation {
            symptom,
            causes,
            findings,
            changes,
            looked,
            unseen,
        }
    }

    async fn events(&self, namespace: &str) -> Result<Vec<Arc<Event>>, String> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let asked = ListParams::default().limit(EVENTS);
        let list = tokio::time::timeout(CALL, api.list(&asked))
            .await
            .map_err(|_| format!("no answer within {} s", CALL.as_secs()))?
            .map_err(|error| error.to_string())?;
        Ok(list.items.into_iter().map(Arc::new).collect())
    }

    // `None` for what is left to people.
    async fn look(&self, step: &Step, events: &[Arc<Event>]) -> Option<String> {
        let output = match step {
            Step::Logs {
                pod,
                container,
                previous,
            } => {
                let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
                let asked = LogParams {
                    container: Some(container.clone()),
                    previous: *previous,
                    tail_lines: Some(LOG_LINES),
                    limit_bytes: Some(LOG_BYTES),
                    ..LogParams::default()
                };
                match tokio::time::timeout(CALL, api.logs(&pod.name, &asked)).await {
                    Ok(Ok(text)) => text,
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => format!("no answer within {} s", CALL.as_secs()),
                }
            }
            Step::Events { of } => {
                let of_it = events.iter().filter(|event| {
                    let about = &event.involved_object;
                    about.name.as_deref() == Some(&of.name)
                        && about.kind.as_deref() == Some(&of.kind)
                });
                let lines: Vec<String> = of_it
                    .map(|event| {
                        format!(
                            "{} {} ×{}: {}",
                            event.type_.as_deref().unwrap_or(""),
                            event.reason.as_deref().unwrap_or(""),
                            event.count.unwrap_or(1),
                            event.message.as_deref().unwrap_or("")
                        )
                    })
                    .collect();
                lines.join("\n")
            }
            Step::Show { .. } | Step::Query { .. } => return None,
        };
        Some(output)
    }
}
