//! `PrometheusRule` of `monitoring.coreos.com/v1`: groups of rules as objects.
//!
//! A rule sees the samples of the whole cluster, whatever namespace it stands in.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Cache;

use super::Engine;

const GROUP: &str = "monitoring.coreos.com";

/// Groups of rules.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PrometheusRule {
    /// Its name and place.
    pub metadata: ObjectMeta,
    /// As it was written.
    #[serde(default)]
    pub spec: Value,
}

impl Resource for PrometheusRule {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        "PrometheusRule".into()
    }

    fn group(_: &()) -> Cow<'_, str> {
        GROUP.into()
    }

    fn version(_: &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural(_: &()) -> Cow<'_, str> {
        "prometheusrules".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The definition of the kind, without a schema of its own.
pub fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("prometheusrules.{GROUP}")},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": "PrometheusRule",
                "listKind": "PrometheusRuleList",
                "plural": "prometheusrules",
                "singular": "prometheusrule",
                "shortNames": ["promrule"],
                "categories": ["prometheus-operator"],
            },
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "required": ["spec"],
                    "properties": {"spec": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": true,
                    }},
                }},
            }],
        },
    })
}

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
        cache.ready().await;
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
