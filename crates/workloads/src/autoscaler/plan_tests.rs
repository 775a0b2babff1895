//! Load over time to replicas over time.

use super::*;
use serde_json::{Value, json};
use std::time::Duration;
use towpath_kit::traits::ContainerFigures;

struct World {
    autoscaler: HorizontalPodAutoscaler,
    history: History,
    current: i32,
    elapsed: Duration,
    start: Instant,
}

impl World {
    fn new(current: i32, spec: Value) -> Self {
        let mut full = json!({
            "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"},
            "minReplicas": 1, "maxReplicas": 10,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}],
        });
        for (key, value) in spec.as_object().expect("object") {
            full[key] = value.clone();
        }
        let autoscaler = serde_json::from_value(json!({"metadata": {"name": "h"}, "spec": full}))
            .expect("autoscaler");
        Self {
            autoscaler,
            history: History::default(),
            current,
            elapsed: Duration::from_secs(3600),
            start: Instant::now(),
        }
    }

    // One look after `seconds`, each pod using so many thousandths of its one requested core.
    fn look(&mut self, seconds: u64, milli: &[Option<u64>]) -> Plan {
        self.elapsed += Duration::from_secs(seconds);
        let base: Timestamp = "2026-01-01T00:00:00Z".parse().expect("time");
        let now = base.checked_add(self.elapsed).expect("time");
        let at = Duration::try_from(now.as_duration()).expect("positive");
        let pods: Vec<Arc<Pod>> = (0..milli.len())
            .map(|i| {
                let pod = json!({
                    "metadata": {"name": format!("p{i}")},
                    "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}]},
                    "status": {"phase": "Running", "startTime": "2026-01-01T00:00:00Z",
                               "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"}]},
                });
                Arc::new(serde_json::from_value(pod).expect("pod"))
            })
            .collect();
        let figure = |(i, milli): (usize, &Option<u64>)| {
            milli.map(|milli| PodFigures {
                namespace: "n".into(),
                pod: format!("p{i}"),
                at,
                window: Duration::from_secs(15),
                containers: vec![ContainerFigures {
                    name: "c".into(),
                    cpu_nanocores: milli * 1_000_000,
                    memory_working_set_bytes: 100 << 20,
                }],
            })
        };
        let figures: Vec<PodFigures> = milli.iter().enumerate().filter_map(figure).collect();
        let seen = Observed {
            autoscaler: &self.autoscaler,
            current: self.current,
            pods: &pods,
            figures: &figures,
            now,
            instant: self.start + self.elapsed,
        };
        let plan = plan(&seen, &mut self.history);
        if let Some(to) = plan.rescale {
            self.history
                .changed(self.current, to, self.start + self.elapsed);
            self.current = to;
        }
        self.autoscaler.status = Some(plan.status.clone());
        plan
    }

    fn condition(&self, type_: &str) -> (String, String) {
        let status = self.autoscaler.status.clone().expect("status");
        let found = status
            .conditions
            .into_iter()
            .flatten()
            .find(|c| c.type_ == type_)
            .expect(type_);
        (found.status, found.reason.unwrap_or_default())
    }
}

#[test]
fn load_above_target_scales_up_and_within_tolerance_does_not() {
    let mut world = World::new(2, json!({}));
    assert_eq!(
        world.look(15, &[Some(540), Some(540)]).rescale,
        None,
        "8 % above"
    );
    let plan = world.look(15, &[Some(900), Some(900)]);
    assert_eq!(plan.rescale, Some(4));
    assert_eq!(
        plan.reason,
        "cpu resource utilization (percentage of request) above target"
    );
    assert_eq!(
        world.condition("ScalingActive"),
        ("True".into(), "ValidMetricFound".into())
    );
    let metric = &plan.status.current_metrics.expect("metrics")[0];
    assert_eq!(
        metric
            .resource
            .as_ref()
            .expect("resource")
            .current
            .average_utilization,
        Some(90)
    );
}

#[test]
fn scale_down_waits_for_the_window() {
    let mut world = World::new(4, json!({}));
    assert_eq!(world.look(15, &[Some(500); 4]).rescale, None);
    assert_eq!(world.look(15, &[Some(100); 4]).rescale, None);
    assert_eq!(
        world.condition("AbleToScale"),
        ("True".into(), "ScaleDownStabilized".into())
    );
    assert_eq!(world.look(290, &[Some(100); 4]).rescale, Some(1));
}

#[test]
fn policies_bound_the_rate_and_limits_the_number() {
    let behavior = json!({
        "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]},
        "scaleDown": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}]},
    });
    let mut world = World::new(2, json!({"behavior": behavior, "maxReplicas": 6}));
    assert_eq!(world.look(15, &[Some(4000); 2]).rescale, Some(4));
    assert_eq!(
        world.condition("ScalingLimited"),
        ("True".into(), "ScaleUpLimit".into())
    );
    assert_eq!(
        world.look(15, &[Some(4000); 4]).rescale,
        None,
        "two per minute"
    );
    assert_eq!(world.look(60, &[Some(4000); 4]).rescale, Some(6));
    assert_eq!(world.look(60, &[Some(4000); 6]).rescale, None);
    assert_eq!(
        world.condition("ScalingLimited"),
        ("True".into(), "TooManyReplicas".into())
    );
    assert_eq!(world.look(60, &[Some(1); 6]).rescale, Some(3));
    assert_eq!(
        world.condition("ScalingLimited"),
        ("True".into(), "ScaleDownLimit".into())
    );
}

#[test]
fn missing_figures_hold_back_both_ways() {
    let mut world = World::new(
        3,
        json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}),
    );
    assert_eq!(
        world.look(15, &[Some(100), None, None]).rescale,
        None,
        "the missing count as fully used"
    );
    assert_eq!(
        world.look(15, &[Some(900), None, None]).rescale,
        None,
        "the missing count as idle"
    );
    assert!(world.look(15, &[None, None, None]).warning.is_some());
    assert_eq!(
        world.condition("ScalingActive"),
        ("False".into(), "FailedGetResourceMetric".into())
    );
}

#[test]
fn average_values_and_the_largest_of_several_metrics() {
    let metrics = json!([
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
        {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "50Mi"}}},
    ]);
    let mut world = World::new(2, json!({"metrics": metrics}));
    assert_eq!(world.look(15, &[Some(100); 2]).rescale, Some(4));
}

#[test]
fn unsupported_metrics_and_zero_replicas_say_so() {
    let metrics = json!([{"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "1"}}}]);
    let mut world = World::new(2, json!({"metrics": metrics}));
    let plan = world.look(15, &[Some(900); 2]);
    assert!(plan.warning.expect("warning").1.contains("not supported"));
    let mut world = World::new(0, json!({}));
    assert_eq!(world.look(15, &[]).rescale, None);
    assert_eq!(
        world.condition("ScalingActive"),
        ("False".into(), "ScalingDisabled".into())
    );
    let mut world = World::new(20, json!({}));
    assert_eq!(world.look(15, &[Some(900); 20]).rescale, Some(10));
}
