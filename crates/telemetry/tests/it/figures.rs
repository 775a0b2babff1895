//! What the house tells of its rules, targets and messages beside what the real programs tell of
//! theirs: the same names, types and labels.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use towpath_signals::metrics::{Options, Store};
use towpath_stdx::{Clock, SystemClock};
use towpath_telemetry::alertmanager::{Alertmanager, AlertmanagerTarget};
use towpath_telemetry::exporters::prometheus::PrometheusTarget;
use towpath_telemetry::family::{self, Gather};
use towpath_telemetry::rules::{Engine, Settings as RuleSettings};
use towpath_telemetry::scrape::Pools;

use crate::alerts::{now, program, settings, until};
use crate::outgrow::server::{self, Prometheus};
use crate::receivers;
use crate::smtp;

/// Labels whose values are the same everywhere.
const FIXED: [&str; 6] = ["state", "reason", "status", "version", "le", "type"];

/// Types of families, and series by names of labels, with the values of those that are fixed.
#[derive(Debug, Default)]
struct Page {
    types: BTreeMap<String, String>,
    series: BTreeSet<(String, Vec<String>)>,
}

fn page(text: &str) -> Page {
    let mut page = Page::default();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            page.types.insert(name.into(), kind.into());
        }
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let end = line.find(['{', ' ']).expect("a name");
        let labels = match line[end..].strip_prefix('{') {
            Some(rest) => rest.split_once('}').expect("labels").0,
            None => "",
        };
        let labels = labels.split(',').filter_map(|label| label.split_once('='));
        let mut labels: Vec<String> = labels
            .map(|(name, value)| match FIXED.contains(&name) {
                true => format!("{name}={}", value.replace(".0\"", "\"")),
                false => name.into(),
            })
            .collect();
        labels.sort();
        // Each says what it knows of how it was built.
        if !line.contains("_build_info") {
            page.series.insert((line[..end].into(), labels));
        }
    }
    page
}

fn compare(ours: &str, theirs: &str) {
    let (ours, theirs) = (page(ours), page(theirs));
    for (name, kind) in &ours.types {
        assert_eq!(theirs.types.get(name), Some(kind), "{name}");
    }
    let beyond: Vec<_> = ours.series.difference(&theirs.series).collect();
    assert!(beyond.is_empty(), "{beyond:#?}\nbeside {:#?}", theirs.types);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_of_rules_and_targets_are_named_as_the_real_ones() {
    let Some(program) = server::program() else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Store::open(&dir.path().join("metrics"), Options::new(clock.clone()));
    let store = store.expect("a store");
    let cancel = CancellationToken::new();
    let manager = Alertmanager::open(settings(dir.path(), "http://x.test"), clock.clone());
    let engine = Engine::new(
        store.clone(),
        store.clone(),
        clock.clone(),
        manager.expect("opens"),
        RuleSettings::default(),
    );
    let rules = "groups:\n- name: g\n  interval: 1s\n  rules:\n  - {record: one, expr: vector(1)}\n  - {record: bad, expr: 'label_replace(vector(1), \"a\", \"\", \"b\", \"(\")'}\n";
    assert!(engine.set(&[("a.yml".into(), rules.into())]).is_empty());
    towpath_daemon::spawn("test rules", Arc::clone(&engine).run(cancel.clone()));
    let pools = Arc::new(Pools::new(store.clone(), clock, cancel.clone()));
    let job = "scrape_configs: [{job_name: x}]";
    let job = towpath_telemetry::scrape::config::parse(job, dir.path()).expect("a job");
    let target = Arc::new(PrometheusTarget {
        store,
        targets: pools.clone(),
        rules: engine.clone(),
    });
    pools.gather(&Arc::new(job[0].clone()), "here", &[], target.clone());
    until("evaluations", || engine.tallies()[0].evaluations > 1).await;
    let families = target.gather().await.expect("families");
    let (_, ours) = family::shown(&families, "");
    cancel.cancel();
    for line in [
        "prometheus_rule_group_rules{rule_group=\"a.yml;g\"} 2",
        "prometheus_target_scrape_pool_targets{scrape_job=\"x\"} 1",
        "prometheus_notifications_alertmanagers_discovered 1",
    ] {
        assert!(ours.contains(line), "{line}\n{ours}");
    }
    let failed = engine.tallies()[0].clone();
    assert!(failed.failures >= 2 && failed.failures * 2 == failed.rule_evaluations);
    let theirs = tokio::task::spawn_blocking(move || {
        let file = dir.path().join("rules.yml");
        std::fs::write(&file, rules).expect("written");
        let config = format!(
            "rule_files: ['{}']\nscrape_configs: [{{job_name: x, static_configs: [{{targets: ['127.0.0.1:1']}}]}}]\n",
            file.display()
        );
        let peer = Prometheus::start(&program, dir.path(), &config, &[]);
        let mut text = String::new();
        // Some series are there once something was done.
        for _ in 0..600 {
            text = server::get(&peer.base, "/metrics").1;
            let there = |name: &str| text.contains(name);
            if there("prometheus_sd_discovered_targets{")
                && there("prometheus_target_scrape_pool_targets{")
                && there("prometheus_rule_evaluations_total{")
            {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        text
    });
    compare(&ours, &theirs.await.expect("asked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_of_messages_are_named_as_the_real_ones() {
    let Some(peer) = program("alertmanager") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let configured = settings(dir.path(), "http://127.0.0.1:1");
    let file = configured.config_file.clone().expect("a file");
    let text = std::fs::read_to_string(file).expect("a configuration");
    let (_child, address) = receivers::alertmanager(&peer, dir.path(), &text);
    let manager = Alertmanager::open(configured, Arc::new(SystemClock)).expect("opens");
    let cancel = CancellationToken::new();
    towpath_daemon::spawn("test manager", Arc::clone(&manager).run(cancel.clone()));
    let mut over = smtp::alert("Over");
    over.ends_at = now() - 1;
    manager.take(vec![smtp::alert("Hot"), over]);
    until("a failure", || !manager.failures().is_empty()).await;
    let target = AlertmanagerTarget(manager);
    let families = target.gather().await.expect("families");
    cancel.cancel();
    let (_, ours) = family::shown(&families, "");
    for line in [
        "alertmanager_alerts{state=\"active\"} 1",
        "alertmanager_alerts_received_total{status=\"resolved\",version=\"v2\"} 1",
        "alertmanager_notifications_failed_total{integration=\"webhook\",reason=\"other\"} 1",
        "alertmanager_notification_latency_seconds_count{integration=\"webhook\"} 1",
        "alertmanager_config_last_reload_successful 1",
    ] {
        assert!(ours.contains(line), "{line}\n{ours}");
    }
    let theirs = tokio::task::spawn_blocking(move || {
        let base = format!("http://{address}");
        crate::outgrow::until("the peer is ready", || {
            server::try_get(&base, "/-/ready", "").is_some_and(|(status, _)| status == 200)
        });
        server::get(&base, "/metrics").1
    });
    compare(&ours, &theirs.await.expect("asked"));
}

/// Operations of a description: what is needed and what may be said.
fn operations(page: &str) -> BTreeMap<(String, String), BTreeSet<(String, bool)>> {
    let page: Value = serde_saphyr::from_str(page).expect("YAML");
    let schema = |of: &Value| match of["$ref"].as_str() {
        Some(name) => page
            .pointer(name.trim_start_matches('#'))
            .expect("a schema")
            .clone(),
        None => of.clone(),
    };
    let mut out = BTreeMap::new();
    for (path, verbs) in page["paths"].as_object().expect("paths") {
        for (verb, of) in verbs.as_object().expect("verbs") {
            let mut said = BTreeSet::new();
            for one in of["parameters"].as_array().into_iter().flatten() {
                let name = one["name"].as_str().expect("a name").to_owned();
                said.insert((name, one["required"] == true));
            }
            let form = &of["requestBody"]["content"]["application/x-www-form-urlencoded"];
            let form = schema(&form["schema"]);
            let needed: Vec<&Value> = form["required"].as_array().into_iter().flatten().collect();
            for name in form["properties"].as_object().into_iter().flatten() {
                let is_needed = needed.iter().any(|n| n.as_str() == Some(name.0));
                said.insert((name.0.clone(), is_needed));
            }
            out.insert((path.clone(), verb.clone()), said);
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_of_the_api_is_that_of_the_real_one() {
    let Some(program) = server::program() else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let store = crate::outgrow::store(&dir.path().join("own"));
    let base = server::serve(crate::outgrow::api(store)).await;
    let asked = tokio::task::spawn_blocking(move || {
        let peer = Prometheus::start(&program, dir.path(), "", &[]);
        for version in ["", "?openapi_version=3.2"] {
            let path = format!("/api/v1/openapi.yaml{version}");
            let (status, theirs) = server::get(&peer.base, &path);
            assert_eq!(status, 200);
            let (status, ours) = server::get(&base, &format!("/prometheus{path}"));
            assert_eq!(status, 200);
            assert_eq!(operations(&ours), operations(&theirs), "{version}");
            let first = |text: &str| text.lines().next().map(str::to_owned);
            assert_eq!(first(&ours), first(&theirs));
            // What is described is served; what takes samples is served elsewhere.
            for (path, verb) in operations(&ours).into_keys() {
                let elsewhere = ["/read", "/write", "/otlp/v1/metrics"];
                if verb != "get" || path.ends_with("/live") || elsewhere.contains(&path.as_str()) {
                    continue;
                }
                let path = path.replace("{name}", "job");
                let (status, said) = server::get(&base, &format!("/prometheus/api/v1{path}"));
                assert!(![404, 405].contains(&status), "{path}: {status} {said}");
            }
        }
    });
    asked.await.expect("compared");
}
