//! Metrics of a node and its objects as Towpath's own exporters show them, recorded from a server
//! of this run while the machine works.

use super::Side;
use crate::api::runtime;
use crate::server::Server;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::Duration;

/// How many times each series is looked at.
const LOOKS: u64 = 13;
const DEPLOYMENTS: usize = 4;

/// One series and what it was, one interval apart.
#[derive(Clone)]
pub struct Line {
    pub labels: Vec<(String, String)>,
    pub values: Vec<f64>,
}

impl Line {
    pub fn name(&self) -> &str {
        let name = self.labels.iter().find(|(name, _)| name == "__name__");
        name.map_or("", |(_, value)| value)
    }

    fn moves(&self) -> bool {
        self.values.windows(2).any(|pair| pair[0] != pair[1])
    }
}

/// Percent of the series that were not always the same.
pub fn moving(lines: &[Line]) -> f64 {
    let moving = lines.iter().filter(|line| line.moves()).count();
    moving as f64 * 100.0 / lines.len() as f64
}

/// Records; `seconds` between two looks.
pub fn lines(seconds: u64) -> Result<Vec<Line>> {
    let settings = format!(
        "[telemetry]\nscrape-interval = \"{seconds}s\"\notlp-grpc-port = 0\notlp-http-port = 0\n"
    );
    let server = Server::start_with("record", &settings)?;
    let side = Side::ours(&server);
    let runtime = runtime()?;
    runtime.block_on(objects(&server))?;
    std::thread::sleep(Duration::from_secs(seconds * (LOOKS + 1) + 2));
    let jobs = "node-exporter|kubelet|kube-state-metrics";
    let query = format!("{{job=~\"{jobs}\"}}[{}s]", seconds * LOOKS);
    let answer = runtime.block_on(side.get("/api/v1/query", &[("query", &query)]))?;
    let mut lines = Vec::new();
    for series in answer["data"]["result"].as_array().into_iter().flatten() {
        let metric = series["metric"]
            .as_object()
            .context("a series without labels")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let mut labels: Vec<(String, String)> = metric
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect();
        labels.sort();
        let points = series["values"].as_array().into_iter().flatten();
        let values: Vec<f64> = points
            .filter_map(|point| point[1].as_str()?.parse().ok())
            .filter(|value: &f64| value.is_finite())
            .collect();
        // What came and went within these minutes is no series of a day.
        if values.len() + 2 >= LOOKS as usize {
            lines.push(Line { labels, values });
        }
    }
    lines.sort_by(|a, b| a.labels.cmp(&b.labels));
    if lines.len() < 500 {
        bail!("only {} series were recorded", lines.len());
    }
    let (count, moving) = (lines.len(), moving(&lines));
    eprintln!("  recorded {count} series, {moving:.0} % moving, {LOOKS} times, {seconds} s apart");
    Ok(lines)
}

/// Workloads whose pods nobody runs, so that there is something to show.
async fn objects(server: &Server) -> Result<()> {
    let client = crate::api::client(&server.token)?;
    for number in 0..DEPLOYMENTS {
        let name = format!("shop-{number}");
        let body = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {
                "replicas": 4,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {
                        "schedulingGates": [{"name": "example.org/bench"}],
                        "containers": [{
                            "name": "web", "image": "registry.example.org/team/web:1.2.3",
                            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                        }],
                    },
                },
            },
        });
        let url = format!(
            "{}/apis/apps/v1/namespaces/default/deployments",
            server.api_url
        );
        let answer = client.post(url).body(body.to_string()).send().await?;
        if !answer.status().is_success() {
            bail!("Deployment {name}: {}", answer.text().await?);
        }
    }
    Ok(())
}
