//! `metrics.k8s.io`: what pods and the machine use, from the node's own figures. Served as soon
//! as someone hands figures in.

use crate::accept::{self, Form};
use crate::body::{self, Answer};
use crate::core::Call;
use crate::filter::Filter;
use crate::form;
use crate::kinds::Resource;
use crate::route::Target;
use http::header::ACCEPT;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use towpath_api::status;
use towpath_kit::traits::PodFigures;
use towpath_stdx::clock::rfc3339;

/// The group that is served.
pub(crate) const GROUP: &str = "metrics.k8s.io";
const VERSION: &str = "v1beta1";

/// The two resources of the group.
pub(crate) fn resources() -> Vec<Arc<Resource>> {
    let one = |plural: &str, singular: &str, kind: &str, namespaced: bool| {
        Arc::new(Resource {
            group: GROUP.into(),
            version: VERSION.into(),
            kind: kind.into(),
            list_kind: format!("{kind}List"),
            plural: plural.into(),
            singular: singular.into(),
            namespaced,
            verbs: vec!["get".into(), "list".into()],
            short_names: Vec::new(),
            categories: Vec::new(),
            storage_hash: String::new(),
            subresources: Vec::new(),
            // Selectors look at the pods and nodes themselves.
            table: plural.into(),
            stored_as: (GROUP.into(), VERSION.into()),
            custom: None,
        })
    };
    vec![
        one("nodes", "", "NodeMetrics", false),
        one("pods", "", "PodMetrics", true),
    ]
}

pub(crate) async fn serve(call: &Call, target: &Target) -> Answer {
    let figures = call
        .core
        .figures
        .read()
        .clone()
        .ok_or_else(status::no_such_resource)?;
    let mut form = accept::wanted(call.header(ACCEPT), target)?;
    if form.form == Form::Table {
        form.form = Form::Object;
    }
    let state = call.core.store.snapshot();
    let filter = Filter::new(target, &call.query)?;
    let mut items = Vec::new();
    if target.resource.namespaced {
        for pod in figures.pods(&target.namespace).await {
            let rec = state.get("pods", &towpath_store::key(&pod.namespace, &pod.pod));
            if rec.is_some_and(|rec| filter.matches(rec))
                && (target.name.is_empty() || target.name == pod.pod)
            {
                items.push(pod_metrics(&pod));
            }
        }
    } else if let Some(node) = figures.node().await {
        let rec = state.get("nodes", &towpath_store::key("", &node.node));
        if rec.is_some_and(|rec| filter.matches(rec))
            && (target.name.is_empty() || target.name == node.node)
        {
            let usage = usage(node.cpu_nanocores, node.memory_bytes);
            items.push(metrics(
                "NodeMetrics",
                json!({"name": node.node}),
                node.at,
                node.window,
                ("usage", usage),
            ));
        }
    }
    if target.name.is_empty() {
        let metadata = json!({"resourceVersion": ""});
        return Ok(body::json(
            200,
            &form::many(call, target, form, items, metadata),
        ));
    }
    match items.pop() {
        Some(item) => Ok(body::json(200, &form::one(call, target, form, item))),
        None => Err(status::not_found(
            GROUP,
            &target.resource.plural,
            &target.name,
        )),
    }
}

fn usage(cpu_nanocores: u64, memory_bytes: u64) -> Value {
    json!({"cpu": format!("{cpu_nanocores}n"), "memory": format!("{}Ki", memory_bytes / 1024)})
}

fn metrics(
    kind: &str,
    metadata: Value,
    at: Duration,
    window: Duration,
    (key, content): (&str, Value),
) -> Value {
    let at = rfc3339(at.as_secs());
    let mut metadata = metadata;
    metadata["creationTimestamp"] = at.clone().into();
    let mut object = json!({
        "kind": kind,
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "metadata": metadata,
        "timestamp": at,
        "window": format!("{}s", window.as_secs().max(1)),
    });
    object[key] = content;
    object
}

fn pod_metrics(pod: &PodFigures) -> Value {
    let containers: Vec<Value> = pod
        .containers
        .iter()
        .map(|c| json!({"name": c.name, "usage": usage(c.cpu_nanocores, c.memory_working_set_bytes)}))
        .collect();
    let metadata = json!({"name": pod.pod, "namespace": pod.namespace});
    metrics(
        "PodMetrics",
        metadata,
        pod.at,
        pod.window,
        ("containers", containers.into()),
    )
}
