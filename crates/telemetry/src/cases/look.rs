//! The steps that one would take next, taken.

use super::finding::{Finding, Step};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Client;
use kube::api::{Api, ListParams, LogParams};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// For each call to the API.
const CALL: Duration = Duration::from_secs(5);
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

impl Step {
    /// What it is, in words.
    pub fn title(&self) -> String {
        match self {
            Self::Logs {
                pod,
                container,
                previous,
            } => {
                let life = if *previous {
                    " before it began again"
                } else {
                    ""
                };
                format!("last lines of {container} in {pod}{life}")
            }
            Self::Events { of } => format!("events of {of}"),
            Self::Show { object } => object.to_string(),
            Self::Query { title, .. } => title.clone(),
        }
    }
}

/// Events of a namespace.
pub(super) async fn events(client: &Client, namespace: &str) -> Result<Vec<Arc<Event>>, String> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let asked = ListParams::default().limit(EVENTS);
    let list = tokio::time::timeout(CALL, api.list(&asked))
        .await
        .map_err(|_| format!("no answer within {} s", CALL.as_secs()))?
        .map_err(|error| error.to_string())?;
    Ok(list.items.into_iter().map(Arc::new).collect())
}

/// Takes the first steps of the gravest findings.
pub(super) async fn steps(
    client: &Client,
    findings: &[Finding],
    events: &[Arc<Event>],
) -> Vec<Looked> {
    let mut steps: Vec<&Step> = Vec::new();
    for step in findings.iter().flat_map(|f| &f.steps) {
        if !steps.contains(&step) && steps.len() < STEPS {
            steps.push(step);
        }
    }
    let mut looked = Vec::new();
    for step in steps {
        if let Some(output) = look(client, step, events).await {
            let step = step.clone();
            looked.push(Looked { step, output });
        }
    }
    looked
}

// `None` for what is left to people.
async fn look(client: &Client, step: &Step, events: &[Arc<Event>]) -> Option<String> {
    let output = match step {
        Step::Logs {
            pod,
            container,
            previous,
        } => {
            let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
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
                about.name.as_deref() == Some(&of.name) && about.kind.as_deref() == Some(&of.kind)
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
