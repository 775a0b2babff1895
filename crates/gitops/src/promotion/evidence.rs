//! What a failed deployment leaves behind: reasons of pods, last probe answers, last log lines.

use super::Promotions;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams};
use std::sync::Arc;
use std::time::Duration;
use towpath_kit::kinds::Environment;
use towpath_render::health::pod_trouble;

const PODS: usize = 3;
const LOG_LINES: i64 = 20;
const LINE_BYTES: usize = 400;
const CALL: Duration = Duration::from_secs(5);
// A container that failed this often in one deployment will not get over it.
const RESTARTS: i32 = 3;

fn created(pod: &Pod) -> u64 {
    pod.metadata
        .creation_timestamp
        .as_ref()
        .map_or(0, |t| u64::try_from(t.0.as_second()).unwrap_or(0))
}

// Pods made by this deployment.
fn ours(pods: &[Arc<Pod>], started: u64) -> impl Iterator<Item = &Arc<Pod>> {
    pods.iter()
        .filter(move |pod| created(pod) + 1 >= started && pod.metadata.deletion_timestamp.is_none())
}

fn trouble_of(pod: &Pod) -> Option<String> {
    let json = serde_json::to_value(pod).ok()?;
    pod_trouble(&json)
}

/// The first pod of the deployment that has stopped trying, as a sentence. A single crash is no
/// trouble yet: applications may wait for their database that way.
pub(super) fn trouble(pods: &[Arc<Pod>], started: u64) -> Option<String> {
    ours(pods, started).find_map(|pod| {
        let status = pod.status.as_ref()?;
        let statuses = status
            .init_container_statuses
            .iter()
            .chain(&status.container_statuses)
            .flatten();
        let hopeless = statuses.into_iter().any(|c| {
            let waiting = c
                .state
                .as_ref()
                .and_then(|s| s.waiting.as_ref())
                .and_then(|w| w.reason.as_deref());
            match waiting {
                Some(
                    "InvalidImageName"
                    | "ErrImageNeverPull"
                    | "CreateContainerConfigError"
                    | "ImagePullBackOff",
                ) => true,
                Some("CrashLoopBackOff" | "RunContainerError" | "CreateContainerError") => {
                    c.restart_count >= RESTARTS
                }
                _ => false,
            }
        });
        let words = if hopeless {
            trouble_of(pod)?
        } else {
            return None;
        };
        Some(format!("pod {}: {words}", pod.name_any()))
    })
}

impl Promotions {
    /// Everything worth reading, most telling first. Calls that fail are left out.
    pub(super) async fn gather(
        &self,
        environment: &Environment,
        pods: &[Arc<Pod>],
        started: u64,
    ) -> Vec<String> {
        let namespace = &environment.spec.namespace;
        let mut found = Vec::new();
        let unready = |pod: &&Arc<Pod>| {
            let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
            !conditions.is_some_and(|c| c.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
        };
        let telling: Vec<Arc<Pod>> = ours(pods, started)
            .filter(unready)
            .take(PODS)
            .cloned()
            .collect();
        for pod in &telling {
            let name = pod.name_any();
            let phase = pod
                .status
                .as_ref()
                .and_then(|s| s.phase.clone())
                .unwrap_or_default();
            let words = trouble_of(pod).unwrap_or_else(|| format!("{phase}, not ready"));
            found.push(format!("pod {name}: {words}"));
            found.extend(self.probe_answers(namespace, &name).await);
            found.extend(self.last_words(namespace, pod).await);
        }
        found
    }

    async fn probe_answers(&self, namespace: &str, pod: &str) -> Vec<String> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let params = ListParams::default()
            .fields(&format!("involvedObject.name={pod}"))
            .limit(50);
        let Ok(Ok(events)) = tokio::time::timeout(CALL, api.list(&params)).await else {
            return Vec::new();
        };
        let telling = events.items.into_iter().filter(|e| {
            e.type_.as_deref() == Some("Warning") && e.involved_object.name.as_deref() == Some(pod)
        });
        let mut words: Vec<String> = telling
            .filter_map(|e| Some(format!("pod {pod}: {}: {}", e.reason?, cut(&e.message?))))
            .collect();
        words.dedup();
        let from = words.len().saturating_sub(3);
        words.split_off(from)
    }

    // The last lines of the container that failed, of its last life where it has begun another.
    async fn last_words(&self, namespace: &str, pod: &Pod) -> Vec<String> {
        let status = pod.status.as_ref();
        let statuses = status.into_iter().flat_map(|s| {
            s.init_container_statuses
                .iter()
                .chain(&s.container_statuses)
                .flatten()
        });
        let Some(container) = statuses.into_iter().find(|c| !c.ready) else {
            return Vec::new();
        };
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let previous = container.restart_count > 0;
        for previous in if previous {
            &[true, false][..]
        } else {
            &[false]
        } {
            let params = LogParams {
                container: Some(container.name.clone()),
                tail_lines: Some(LOG_LINES),
                limit_bytes: Some(16 << 10),
                previous: *previous,
                ..LogParams::default()
            };
            let name = pod.name_any();
            let call = api.logs(&name, &params);
            if let Ok(Ok(text)) = tokio::time::timeout(CALL, call).await {
                let lines: Vec<String> = text
                    .lines()
                    .map(|line| format!("{} | {}", container.name, cut(line)))
                    .collect();
                if !lines.is_empty() {
                    return lines;
                }
            }
        }
        Vec::new()
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(LINE_BYTES))
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0);
    text.get(..end).unwrap_or_default()
}
