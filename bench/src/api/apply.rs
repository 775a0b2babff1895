//! Server-side applies of a Deployment of some thirty fields, each of which changes it.

use super::load::{CLIENTS, Load, load, runtime};
use super::{Pair, Target, row};
use crate::counted;
use crate::report::Row;
use anyhow::Result;

const DEPLOYMENTS: usize = 200;
const APPLIES: usize = 3000;

/// Paused and without replicas, so that the API is measured, not what controllers make of it.
fn deployment(name: &str, turn: usize) -> String {
    serde_json::json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name, "tier": "web"}, "annotations": {"example.org/turn": turn.to_string()}},
        "spec": {
            "replicas": 0, "paused": true, "minReadySeconds": turn % 100, "revisionHistoryLimit": 3,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name, "tier": "web"}},
                "spec": {
                    "terminationGracePeriodSeconds": 20,
                    "securityContext": {"runAsNonRoot": true, "runAsUser": 1000},
                    "containers": [{
                        "name": "web", "image": "registry.example.org/web:1", "args": ["--listen=:8080"],
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}],
                        "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9090}],
                        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 5},
                        "volumeMounts": [{"name": "settings", "mountPath": "/etc/settings"}],
                    }],
                    "volumes": [{"name": "settings", "configMap": {"name": "settings"}}],
                },
            },
        },
    })
    .to_string()
}

pub fn bench(repeats: usize) -> Result<Vec<Row>> {
    let runtime = runtime()?;
    let pair = Pair::start("apply")?;
    let mut applies: [Vec<Load>; 2] = Default::default();
    for round in 0..repeats.min(3) {
        for (side, at) in pair.sides().iter().enumerate() {
            let apply = move |client: &reqwest::Client, url: &str, number: usize| {
                let name = format!("web-{}", number % DEPLOYMENTS);
                let path = format!("/apis/apps/v1/namespaces/default/deployments/{name}");
                client
                    .patch(format!("{url}{path}?fieldManager=bench&force=true"))
                    .header("content-type", "application/apply-patch+yaml")
                    .body(deployment(&name, round * APPLIES + number))
            };
            if round == 0 {
                // The objects are there before the clock starts.
                runtime.block_on(load(at, (CLIENTS, DEPLOYMENTS), apply))?;
            }
            let count = counted(APPLIES);
            applies[side].push(runtime.block_on(load(at, (CLIENTS, count), apply))?);
        }
    }
    let target = Target {
        text: "≥ 3×",
        rate: 3.0,
        p99: f64::INFINITY,
    };
    Ok(vec![row(
        "server-side applies of a 30-field Deployment by 64 clients",
        &applies,
        target,
    )])
}
