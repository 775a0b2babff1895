//! The pages of a kubelet's port, for those who ask the API server for them: a Prometheus that
//! finds nodes, `kubectl get --raw /api/v1/nodes/<name>/proxy/…`.

use super::{ContainerExporter, Page, families};
use crate::family;
use async_trait::async_trait;
use serde_json::Value;
use std::sync::Arc;
use towpath_kit::traits::{NodePage, NodePageError, NodePages, ResourceFigures};

/// What `only_cpu_and_memory` leaves out of a summary.
const BESIDE: [&str; 4] = ["network", "volume", "rootfs", "process_stats"];

/// Shows what one exporter knows, page by page.
pub struct KubeletPages {
    exporter: Arc<ContainerExporter>,
    figures: Arc<dyn ResourceFigures>,
}

impl KubeletPages {
    /// Pages of an exporter; `figures` are the rates that a summary tells.
    pub fn new(exporter: Arc<ContainerExporter>, figures: Arc<dyn ResourceFigures>) -> Self {
        Self { exporter, figures }
    }

    async fn metrics(&self, page: Page, accept: &str) -> Result<NodePage, String> {
        let families = families(&self.exporter, page).await;
        let families = families.map_err(|error| error.to_string())?;
        let (content_type, text) = family::shown(&families, accept);
        Ok(NodePage {
            content_type,
            body: text.into(),
        })
    }

    async fn summary(&self, query: &str) -> Result<NodePage, String> {
        let rates = self.figures.pods("").await;
        let machine = self.figures.node().await;
        let exporter = self.exporter.clone();
        let read = move || exporter.summary(&rates, machine.as_ref());
        let read = tokio::task::spawn_blocking(read).await;
        let mut summary = read.map_err(|error| error.to_string())?;
        if wants_few(query) {
            leave_out(&mut summary);
        }
        Ok(NodePage {
            content_type: "application/json",
            body: summary.to_string().into(),
        })
    }
}

fn wants_few(query: &str) -> bool {
    let value = |pair: &str| {
        pair.strip_prefix("only_cpu_and_memory=")
            .map(|value| matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True"))
    };
    query.split('&').find_map(value).unwrap_or(false)
}

fn leave_out(summary: &mut Value) {
    let pods = summary["pods"].as_array_mut().into_iter().flatten();
    for pod in pods.filter_map(Value::as_object_mut) {
        pod.retain(|name, _| !BESIDE.contains(&name.as_str()));
        let containers = pod.get_mut("containers").and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            if let Some(container) = container.as_object_mut() {
                container.retain(|name, _| !BESIDE.contains(&name.as_str()));
            }
        }
    }
}

#[async_trait]
impl NodePages for KubeletPages {
    fn node(&self) -> String {
        self.exporter.stats.node()
    }

    async fn page(&self, path: &str, query: &str, accept: &str) -> Result<NodePage, NodePageError> {
        let made = match path.trim_end_matches('/') {
            "/metrics" => self.metrics(Page::Kubelet, accept).await,
            "/metrics/cadvisor" => self.metrics(Page::Cadvisor, accept).await,
            "/metrics/resource" => self.metrics(Page::Resource, accept).await,
            "/stats/summary" => self.summary(query).await,
            "/healthz" | "/healthz/ping" => Ok(NodePage {
                content_type: "text/plain; charset=utf-8",
                body: "ok".into(),
            }),
            _ => return Err(NodePageError::Unknown(path.into())),
        };
        made.map_err(|cause| NodePageError::Failed {
            path: path.into(),
            cause,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_short_summary_has_processors_and_memory_only() {
        assert!(wants_few("a=b&only_cpu_and_memory=true"));
        assert!(!wants_few("only_cpu_and_memory=false"));
        assert!(!wants_few(""));
        let container = json!({"name": "c", "cpu": {}, "memory": {}, "rootfs": {}});
        let pod = json!({"podRef": {}, "cpu": {}, "network": {}, "containers": [container]});
        let mut summary = json!({"node": {"cpu": {}}, "pods": [pod]});
        leave_out(&mut summary);
        let left = json!({"name": "c", "cpu": {}, "memory": {}});
        assert_eq!(summary["pods"][0]["containers"][0], left);
        assert!(summary["pods"][0].get("network").is_none());
    }
}
