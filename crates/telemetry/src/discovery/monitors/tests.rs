//! Monitors with their jobs and targets.

use super::*;
use crate::scrape::relabel::Set;
use crate::scrape::target::{Found, target};
use serde_json::json;

fn set(pairs: &[(&str, &str)]) -> Set {
    let name = |name: &str| match name.starts_with("__") || name.is_empty() {
        true => name.to_owned(),
        false => format!("__meta_kubernetes_{name}"),
    };
    pairs
        .iter()
        .map(|(own, value)| (name(own), (*value).to_owned()))
        .collect()
}

fn meta(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}

fn only(jobs: Jobs) -> Job {
    let mut jobs: Vec<Job> = jobs.into_iter().map(|job| job.unwrap()).collect();
    assert_eq!(jobs.len(), 1);
    jobs.remove(0)
}

fn labels(job: &Job, own: &Set) -> Option<String> {
    match target(job, own, &Set::new()) {
        Found::Target(target) => Some(format!("{} {}", target.url, target.labels)),
        Found::Dropped(_) => None,
        Found::Faulty(why) => panic!("{why}"),
    }
}

#[test]
fn service_monitors() {
    let monitor = ServiceMonitor {
        metadata: meta("mon", "web"),
        spec: json!({
            "jobLabel": "app.kubernetes.io/name",
            "targetLabels": ["tier"],
            "selector": {
                "matchLabels": {"app": "web"},
                "matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}],
            },
            "namespaceSelector": {"matchNames": ["shop"]},
            "endpoints": [{
                "port": "metrics", "path": "/m", "interval": "30s",
                "authorization": {"credentials": {"name": "s", "key": "k"}},
                "relabelings": [{"targetLabel": "added", "replacement": "yes"}],
            }],
        }),
    };
    let references = references(&monitor.metadata, &monitor.spec);
    assert_eq!(references.len(), 1);
    let missing = service_monitor(&monitor, &Values::new())
        .remove(0)
        .unwrap_err();
    assert_eq!(missing, "secret mon/s has no key k");
    let values = references
        .into_iter()
        .map(|own| (own, "t0ken".to_owned()))
        .collect();
    let job = only(service_monitor(&monitor, &values));
    assert_eq!(job.name, "serviceMonitor/mon/web/0");
    assert_eq!((job.interval_ms, job.http.guarded), (30_000, true));
    let found = [
        ("__address__", "10.0.0.1:9"),
        ("namespace", "shop"),
        ("service_name", "front"),
        ("service_label_app", "web"),
        ("service_labelpresent_app", "true"),
        ("service_label_tier", "gold"),
        ("service_label_app_kubernetes_io_name", "frontend"),
        ("endpoint_port_name", "metrics"),
        ("endpoint_address_target_kind", "Pod"),
        ("endpoint_address_target_name", "front-1"),
        ("pod_name", "front-1"),
        ("pod_phase", "Running"),
    ];
    assert_eq!(
        labels(&job, &set(&found)).unwrap(),
        "http://10.0.0.1:9/m {added=\"yes\", endpoint=\"metrics\", instance=\"10.0.0.1:9\", \
         job=\"frontend\", namespace=\"shop\", pod=\"front-1\", service=\"front\", \
         tier=\"gold\"}"
    );
    for (name, value) in [
        ("service_label_app", "other"),
        ("service_labelpresent_skip", "true"),
        ("endpoint_port_name", "http"),
        ("pod_phase", "Failed"),
    ] {
        let mut other = set(&found);
        other.insert(format!("__meta_kubernetes_{name}"), value.to_owned());
        assert_eq!(labels(&job, &other), None, "{name}");
    }
}

#[test]
fn pod_monitors() {
    let monitor = PodMonitor {
        metadata: meta("shop", "pods"),
        spec: json!({"podMetricsEndpoints": [{"portNumber": 8080}], "selector": {}}),
    };
    let job = only(pod_monitor(&monitor, &Values::new()));
    let found = [
        ("__address__", "10.0.0.1:8080"),
        ("namespace", "shop"),
        ("pod_name", "p"),
        ("pod_container_name", "c"),
        ("pod_container_port_number", "8080"),
    ];
    assert_eq!(
        labels(&job, &set(&found)).unwrap(),
        "http://10.0.0.1:8080/metrics {container=\"c\", instance=\"10.0.0.1:8080\", \
         job=\"shop/pods\", namespace=\"shop\", pod=\"p\"}"
    );
}

#[test]
fn probes() {
    let own = Probe {
        metadata: meta("shop", "site"),
        spec: json!({
            "jobName": "sites", "module": "http_2xx",
            "prober": {"url": "blackbox.mon.svc:9115"},
            "targets": {"staticConfig": {"static": ["https://a.b/c"], "labels": {"env": "p"}}},
        }),
    };
    let job = only(probe(&own, &Values::new()));
    let config::Discovery::Static(lists) = &job.discovery[0] else {
        panic!("a list")
    };
    let group = &crate::discovery::outside::listed("static", lists)[0];
    let Found::Target(target) = target(&job, &group.targets[0], &group.labels) else {
        panic!("a target")
    };
    assert_eq!(
        format!("{} {}", target.url, target.labels),
        "http://blackbox.mon.svc:9115/probe?module=http_2xx&target=https%3A%2F%2Fa.b%2Fc \
         {env=\"p\", instance=\"https://a.b/c\", job=\"sites\", namespace=\"shop\"}"
    );
}

#[test]
fn files_of_the_server_stay_closed() {
    let monitor = ServiceMonitor {
        metadata: meta("a", "b"),
        spec: json!({"endpoints": [{"bearerTokenFile": "/etc/shadow"}], "selector": {}}),
    };
    let why = service_monitor(&monitor, &Values::new())
        .remove(0)
        .unwrap_err();
    assert!(why.contains("use a Secret"), "{why}");
}
