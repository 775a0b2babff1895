//! What is told of alerts of before a start.

use super::{Engine, Settings, Settled, Told};
use parking_lot::Mutex;
use std::sync::Arc;
use towpath_alerting::rules::Notice;
use towpath_query::promql::Labels;
use towpath_signals::metrics::{Options, Store};
use towpath_signals::{Append, Sample, Value};
use towpath_stdx::{Clock, SystemClock};

/// Waits, and refuses what it is told the first time.
#[derive(Default)]
struct Waiting(Mutex<Vec<Settled>>, Mutex<bool>);

impl Told for Waiting {
    fn told(&self, _: Vec<Notice>) {}

    fn urls(&self) -> Vec<String> {
        Vec::new()
    }

    fn waits(&self) -> bool {
        true
    }

    fn settled(&self, rules: Vec<Settled>) -> bool {
        self.0.lock().extend(rules);
        std::mem::replace(&mut *self.1.lock(), true)
    }
}

#[test]
fn which_alerts_there_are_is_told_once_samples_are_younger_than_the_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Store::open(&dir.path().join("metrics"), Options::new(clock.clone()));
    let store = store.expect("a store");
    let waiting = Arc::new(Waiting::default());
    let engine = Engine::new(
        store.clone(),
        store.clone(),
        clock,
        waiting.clone(),
        Settings::default(),
    );
    let start = engine.started_at;
    let write = |pod: &str, at: i64, value: f64| {
        let labels: Labels = [("__name__", "up"), ("pod", pod)].into_iter().collect();
        let series = store.resolve(&labels).expect("a series");
        let sample = Sample {
            series,
            at,
            value: Value::Float(value),
            start: None,
        };
        let taken = store.append(&[sample]).expect("taken");
        assert!(taken.refused.is_empty());
    };
    write("a", start - 2_000, 0.0);
    write("b", start - 2_000, 0.0);
    let rules = "groups:\n- name: g\n  rules:\n  - {alert: Down, expr: up == 0, labels: {severity: warning}}\n  - {record: ups, expr: count(up)}\n";
    assert!(engine.set(&[("a.yml".into(), rules.into())]).is_empty());
    let slot = engine
        .slots
        .lock()
        .values()
        .next()
        .expect("a group")
        .clone();
    engine.evaluate(&slot, start + 31_000);
    engine.evaluate(&slot, start + 32_000);
    assert!(waiting.0.lock().is_empty(), "all is from before the start");
    write("a", start + 33_000, 0.0);
    write("b", start + 33_000, 1.0);
    engine.evaluate(&slot, start + 34_000);
    engine.evaluate(&slot, start + 35_000);
    engine.evaluate(&slot, start + 36_000);
    let told = waiting.0.lock();
    assert_eq!(
        told.len(),
        2,
        "again where it was not taken, and never after"
    );
    for rule in told.iter() {
        assert_eq!(
            (rule.name.as_str(), rule.expr.as_str()),
            ("Down", "up == 0")
        );
        assert_eq!(rule.labels["severity"], "warning");
        let pods: Vec<_> = rule.active.iter().map(|labels| labels.get("pod")).collect();
        assert_eq!(pods, ["a"]);
    }
}
