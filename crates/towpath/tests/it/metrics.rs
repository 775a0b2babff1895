//! Metrics of the whole server: scraped, kept, asked over HTTP as Grafana asks, by the CLI, and
//! after a crash.

use crate::harness::{Server, able, until};
use serde_json::Value;
use std::time::Duration;

pub(crate) const SETTINGS: &str = "[telemetry]\nscrape-interval = \"1s\"\n";

pub(crate) fn curl(server: &Server, arguments: &str) -> String {
    let line = format!(
        "curl -sS --max-time 20 -u grafana:{} {arguments}",
        server.token
    );
    server.shell(&line)
}

fn ask(server: &Server, path: &str, form: &str) -> Value {
    let url = format!("{}/prometheus/api/v1/{path}", server.url);
    let text = curl(server, &format!("-X POST {form} {url}"));
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path} {form}: {text}"))
}

pub(crate) fn series(server: &Server, query: &str) -> Vec<Value> {
    let reply = ask(
        server,
        "query",
        &format!("--data-urlencode 'query={query}'"),
    );
    assert_eq!(reply["status"], "success", "{reply}");
    reply["data"]["result"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

#[test]
fn metrics_are_kept_and_asked() {
    if !able(None) {
        return;
    }
    let server = Server::start_with(SETTINGS, |_| {});
    // What a data source of Grafana asks when it is saved.
    let health = ask(&server, "query", "-d query=1%2B1 -d time=4");
    assert_eq!(
        health.to_string(),
        r#"{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}"#
    );
    let built = curl(
        &server,
        &format!("{}/prometheus/api/v1/status/buildinfo", server.url),
    );
    assert!(built.contains("\"version\":\"3."), "{built}");
    until("every target up", Duration::from_secs(30), || {
        let up = series(&server, "up == 1");
        up.len() >= 13
    });
    for metric in [
        "node_cpu_seconds_total",
        "process_resident_memory_bytes",
        "machine_cpu_cores",
        "node_timex_status",
        "kube_namespace_status_phase",
        "kube_node_info",
        "apiserver_request_total",
        "workqueue_adds_total",
        "towpath_store_revision",
        "prometheus_rule_group_rules{job=\"prometheus\"}",
        "prometheus_tsdb_head_series",
        "alertmanager_alerts{job=\"alertmanager\"}",
    ] {
        until(metric, Duration::from_secs(20), || {
            !series(&server, metric).is_empty()
        });
    }
    // A crash loses nothing that was there before.
    let counted = |query: &str| {
        let found = series(&server, query);
        let value = found.first().and_then(|one| one["value"][1].as_str());
        value
            .and_then(|text| text.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    let before = counted("count_over_time(node_time_seconds[10m])");
    let killed_at = counted("vector(time())");
    assert!(before >= 1.0);
    std::thread::sleep(Duration::from_secs(2));
    server.kill_and_restart();
    let after = format!("count_over_time(node_time_seconds[10m] @ {killed_at})");
    assert!(counted(&after) >= before, "{} < {before}", counted(&after));
    until("up again", Duration::from_secs(30), || {
        series(&server, "up == 1").len() >= 4
    });
    // What is deleted is gone at once.
    let load = format!("count_over_time(node_load1[10m] @ {killed_at})");
    assert!(counted(&load) >= 1.0);
    let gone = curl(
        &server,
        &format!(
            "-o /dev/null -w '%{{http_code}}' -X POST -g '{}/prometheus/api/v1/admin/tsdb/delete_series?match[]=node_load1'",
            server.url
        ),
    );
    assert_eq!(gone, "204");
    assert_eq!(counted(&load), 0.0);
    // Without a credential there is nothing, but health.
    let bare = |path: &str| {
        server.shell(&format!(
            "curl -sS -o /dev/null -w '%{{http_code}}' {}/prometheus{path}",
            server.url
        ))
    };
    assert_eq!(bare("/api/v1/query?query=up"), "401");
    assert_eq!(bare("/-/healthy"), "200");
    assert_eq!(bare("/federate"), "401");
    // The house's own figures, for others.
    let own = curl(&server, &format!("{}/metrics", server.url));
    assert!(own.contains("process_resident_memory_bytes"), "{own}");
    for part in ["alertmanager", "prometheus"] {
        let page = curl(&server, &format!("{}/{part}/metrics", server.url));
        assert!(page.contains(&format!("{part}_build_info")), "{page}");
    }
    assert_eq!(bare("/metrics"), "401");
    let spoken = curl(
        &server,
        &format!("{}/prometheus/api/v1/openapi.yaml", server.url),
    );
    assert!(spoken.contains("/query_range:"), "{spoken}");
    // Metrics of OpenTelemetry where a Prometheus takes them; nothing else is taken there.
    let pushed = |path: &str| {
        curl(
            &server,
            &format!(
                "-o /dev/null -w '%{{http_code}}' -X POST -H 'content-type: application/json' -d '{{}}' {}/prometheus/api/v1/otlp/v1/{path}",
                server.url
            ),
        )
    };
    assert_eq!(pushed("metrics"), "200");
    assert_ne!(pushed("traces"), "200");
    // From the command line.
    let up = server.ok(&["metrics", "query", "up"]);
    assert!(up.contains("job=\"node-exporter\""), "{up}");
    let range = server.ok(&["metrics", "query", "up", "--range", "1m", "--step", "5s"]);
    assert!(range.contains("LAST"), "{range}");
    let json: Value =
        serde_json::from_str(&server.ok(&["metrics", "query", "1+1", "-o", "json"])).expect("JSON");
    assert_eq!(json["resultType"], "scalar");
    assert!(server.ok(&["metrics", "labels", "job"]).contains("kubelet"));
    assert!(server.ok(&["metrics", "series", "up"]).contains("up{"));
    assert!(server.ok(&["metrics", "targets"]).contains("towpath"));
    let wrong = server.run(&["metrics", "query", "up{"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("parse error"));
    server.down();
}

const RULES: &str = r#"
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: made, namespace: default}
spec:
  groups:
  - name: made
    interval: 1s
    rules:
    - {record: made:answer, expr: vector(42)}
    - {alert: AlwaysThere, expr: "made:answer > 1", labels: {severity: none}}
"#;

#[test]
fn rules_in_objects_are_evaluated() {
    if !able(Some("kubectl")) {
        return;
    }
    let server = Server::start_with(SETTINGS, |_| {});
    let wanted = Duration::from_secs(30);
    // The kind is there from the start, as with prometheus-operator.
    let path = server.file("rules.yaml", RULES);
    server.kubectl_ok(&["apply", "-f", &path]);
    until("a recorded series", wanted, || {
        let found = series(&server, "made:answer");
        found.len() == 1 && found[0]["value"][1] == "42"
    });
    until("an alert", wanted, || {
        !series(
            &server,
            "ALERTS{alertname=\"AlwaysThere\",alertstate=\"firing\"}",
        )
        .is_empty()
    });
    let groups = || {
        let url = format!("{}/prometheus/api/v1/rules", server.url);
        let reply: Value = serde_json::from_str(&curl(&server, &url)).expect("JSON");
        let groups = reply["data"]["groups"].as_array().cloned();
        let all = groups.unwrap_or_default().into_iter();
        all.filter(|group| group["name"] == "made").count()
    };
    assert_eq!(groups(), 1);
    // A change counts without a restart, and what is deleted is evaluated no more.
    server.file("rules.yaml", &RULES.replace("42", "43"));
    server.kubectl_ok(&["apply", "-f", &path]);
    until("the new value", wanted, || {
        let found = series(&server, "made:answer");
        found.len() == 1 && found[0]["value"][1] == "43"
    });
    server.kubectl_ok(&["delete", "-f", &path]);
    until("no rules", wanted, || groups() == 0);
    until("no series", wanted, || {
        series(&server, "made:answer").is_empty()
    });
    server.down();
}
