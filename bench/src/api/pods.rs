//! 5,000 pods: how fast they are listed whole, and what it takes to hold them.

use super::load::{CLIENTS, Load, load, runtime};
use super::{PEER, Pair};
use crate::counted;
use crate::report::Row;
use crate::stats::median;
use anyhow::Result;

const PODS: usize = 5000;
const LISTERS: usize = 4;
const LISTS: usize = 40;
const PATH: &str = "/api/v1/namespaces/default/pods";

/// As large as pods in use are; gated, so that no scheduler takes them.
fn pod(name: &str) -> String {
    let variables: Vec<serde_json::Value> = (0..12)
        .map(|n| serde_json::json!({"name": format!("VARIABLE_{n}"), "value": format!("value-{n}-of-{name}")}))
        .collect();
    let container = |name: &str| {
        serde_json::json!({
            "name": name, "image": format!("registry.example.org/team/{name}:1.2.3"),
            "args": ["--listen=:8080", "--log=json"], "env": variables,
            "ports": [{"name": "http", "containerPort": 8080}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
            "volumeMounts": [{"name": "settings", "mountPath": "/etc/settings"}],
        })
    };
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "bench", "part": "all", "pod": name}, "annotations": {"example.org/commit": "0123456789abcdef0123456789abcdef01234567"}},
        "spec": {
            "schedulingGates": [{"name": "example.org/bench"}],
            "automountServiceAccountToken": false,
            "containers": [container("main"), container("side")],
            "volumes": [{"name": "settings", "configMap": {"name": "settings"}}],
        },
    })
    .to_string()
}

pub fn bench(repeats: usize) -> Result<Vec<Row>> {
    let runtime = runtime()?;
    let pair = Pair::start("list")?;
    let sides = pair.sides();
    let before = pair.resident();
    let pods = counted(PODS);
    runtime.block_on(async {
        // Nobody beside the real API server makes the account that every pod has.
        let (url, token) = &sides[1];
        let account = super::load::client(token)?
            .post(format!("{url}/api/v1/namespaces/default/serviceaccounts"))
            .body(r#"{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}}"#);
        anyhow::Ok(account.send().await?)
    })?;
    for at in &sides {
        let create = move |client: &reqwest::Client, url: &str, number: usize| {
            let body = pod(&format!("pod-{number}"));
            client.post(format!("{url}{PATH}")).body(body)
        };
        runtime.block_on(load(at, (CLIENTS, pods), create))?;
    }
    let held = pair.resident();
    let mut lists: [Vec<Load>; 2] = Default::default();
    for _ in 0..repeats.min(3) {
        for (side, at) in sides.iter().enumerate() {
            let list =
                |client: &reqwest::Client, url: &str, _: usize| client.get(format!("{url}{PATH}"));
            lists[side].push(runtime.block_on(load(at, (LISTERS, counted(LISTS)), list))?);
        }
    }
    let after = pair.resident();
    let rate = |side: &[Load]| median(side.iter().map(|l| l.bytes_per_second).collect()) / 1e6;
    let p99 = |side: &[Load]| median(side.iter().map(|l| l.times.ms(0.99)).collect());
    let p50 = |side: &[Load]| median(side.iter().map(|l| l.times.ms(0.5)).collect());
    let words = |side: &[Load]| {
        format!(
            "{:.0} MB/s, p50 {:.0} ms, p99 {:.0} ms",
            rate(side),
            p50(side),
            p99(side)
        )
    };
    let ratio = rate(&lists[0]) / rate(&lists[1]);
    let share = after[0] / after[1];
    let memory = |side: usize| {
        format!(
            "{:.0} MB (empty {:.0}, before the lists {:.0})",
            after[side], before[side], held[side]
        )
    };
    Ok(vec![
        Row::new(
            format!("lists of {pods} pods, {LISTERS} at once"),
            format!("{} (**{ratio:.1}×**)", words(&lists[0])),
            format!("{} {PEER}", words(&lists[1])),
            "≥ 3×",
            ratio >= 3.0,
        ),
        Row::new(
            "… resident memory with them, lists done",
            format!("{} (**{share:.2}×**, whole platform)", memory(0)),
            format!("{} {PEER}", memory(1)),
            "≤ 0.25×",
            share <= 0.25,
        ),
    ])
}
