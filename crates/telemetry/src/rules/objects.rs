//! `PrometheusRule` of `monitoring.coreos.com/v1`: groups of rules as objects.
//!
//! A rule sees the samples of the whole cluster, whatever namespace it stands in.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Cache;

use super::Engine;
use crate::operator::PrometheusRule;

/// An object as a rule file: its name and its text.
pub fn file(of: &PrometheusRule) -> (String, String) {
    let mut spec = of.spec.clone();
    let groups = spec.get_mut("groups").and_then(Value::as_array_mut);
    for group in groups.into_iter().flatten() {
        // What other rulers than Prometheus do when an answer lacks something.
        if let Some(group) = group.as_object_mut() {
            group.remove("partial_response_strategy");
        }
    }
    let namespace = of.namespace().unwrap_or_default();
    // JSON is YAML too.
    (format!("{namespace}/{}", of.name_any()), spec.to_string())
}

impl Engine {
    /// Keeps the rules those of `files` and of the objects in `cache`, until it is cancelled.
    pub async fn follow(
        self: Arc<Self>,
        files: Vec<(String, String)>,
        cache: Cache<PrometheusRule>,
        cancel: CancellationToken,
    ) {
        let changed = Arc::new(Notify::new());
        let told = Arc::clone(&changed);
        cache.on_change(move |_| told.notify_one());
        while !cancel.is_cancelled() {
            let mut all = files.clone();
            all.extend(cache.all().iter().map(|object| file(object)));
            let own = Arc::clone(&self);
            let done = tokio::task::spawn_blocking(move || own.set(&all)).await;
            for (name, findings) in done.unwrap_or_default() {
                for finding in findings {
                    tracing::warn!(file = name, %finding, "rules are not taken");
                }
            }
            tokio::select! {
                () = cancel.cancelled() => {}
                () = changed.notified() => {
                    // Many objects that change together are taken in once.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_are_files() {
        let object: PrometheusRule = serde_json::from_value(json!({
            "metadata": {"namespace": "n", "name": "x"},
            "spec": {"groups": [{"name": "g", "partial_response_strategy": "warn",
                "rules": [{"alert": "A", "expr": "up == 0", "for": "5m"}]}]},
        }))
        .expect("an object");
        let (name, text) = file(&object);
        assert_eq!(name, "n/x");
        assert_eq!(
            towpath_alerting::rules::read(&text).expect("rules").len(),
            1
        );
    }
}
