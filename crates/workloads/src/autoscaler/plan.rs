//! One look of an autoscaler: figures in, wished number, conditions and measured values out.

use super::behavior::History;
use super::replicas::{Metric, Proposal, Target, Tolerance, propose};
use super::status::{measured, set};
use crate::quantity;
use k8s_openapi::api::autoscaling::v2::{
    HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec,
    HorizontalPodAutoscalerStatus, MetricSpec, MetricTarget,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use std::sync::Arc;
use std::time::Instant;
use towpath_kit::traits::PodFigures;

/// What was seen.
pub(crate) struct Observed<'a> {
    pub(crate) autoscaler: &'a HorizontalPodAutoscaler,
    /// Replicas that the target is told to have.
    pub(crate) current: i32,
    /// Pods of the target.
    pub(crate) pods: &'a [Arc<Pod>],
    pub(crate) figures: &'a [PodFigures],
    pub(crate) now: Timestamp,
    pub(crate) instant: Instant,
}

/// What to do.
#[derive(Debug)]
pub(crate) struct Plan {
    /// New number of replicas, where it changes.
    pub(crate) rescale: Option<i32>,
    /// Why, for the event.
    pub(crate) reason: String,
    pub(crate) status: HorizontalPodAutoscalerStatus,
    /// Figures could not be had: `(reason, note)`.
    pub(crate) warning: Option<(String, String)>,
}

fn tolerance(spec: &HorizontalPodAutoscalerSpec) -> Tolerance {
    let of = |rules: Option<&HPAScalingRules>| {
        rules
            .and_then(|r| r.tolerance.as_ref())
            .map_or(0.1, |q| quantity::milli(q) as f64 / 1000.0)
    };
    let behavior = spec.behavior.as_ref();
    Tolerance {
        down: of(behavior.and_then(|b| b.scale_down.as_ref())),
        up: of(behavior.and_then(|b| b.scale_up.as_ref())),
    }
}

fn target(target: &MetricTarget) -> Option<Target> {
    match (&target.average_utilization, &target.average_value) {
        (_, Some(value)) => Some(Target::AverageValue(quantity::milli(value))),
        (Some(percent), None) => Some(Target::Utilization(*percent)),
        _ => None,
    }
}

// The metric, its target, and words for both.
fn read(spec: &MetricSpec) -> Result<(Metric<'_>, Target, String), String> {
    let unsupported = || {
        format!(
            "metrics of type {} are not supported; use Resource or ContainerResource",
            spec.type_
        )
    };
    let (metric, wanted) = match (&spec.resource, &spec.container_resource) {
        (Some(r), _) => (
            Metric {
                resource: &r.name,
                container: None,
            },
            &r.target,
        ),
        (_, Some(c)) => (
            Metric {
                resource: &c.name,
                container: Some(&c.container),
            },
            &c.target,
        ),
        _ => return Err(unsupported()),
    };
    if !matches!(metric.resource, "cpu" | "memory") {
        return Err(format!(
            "resource {} is not measured; use cpu or memory",
            metric.resource
        ));
    }
    let target = target(wanted).ok_or("invalid resource metric source: neither an average utilization target nor an average value target was set")?;
    let kind = if metric.container.is_some() {
        "container resource"
    } else {
        "resource"
    };
    let words = match target {
        Target::Utilization(_) => format!(
            "{} {kind} utilization (percentage of request)",
            metric.resource
        ),
        Target::AverageValue(_) => format!("{} {kind}", metric.resource),
    };
    Ok((metric, target, words))
}

/// Decides.
pub(crate) fn plan(seen: &Observed<'_>, history: &mut History) -> Plan {
    let spec = &seen.autoscaler.spec;
    let mut status = seen.autoscaler.status.clone().unwrap_or_default();
    status.current_replicas = Some(seen.current);
    status.observed_generation = seen.autoscaler.metadata.generation;
    let message = "the HPA controller was able to get the target's current scale";
    set(
        &mut status,
        "AbleToScale",
        true,
        "SucceededGetScale",
        message,
        seen.now,
    );
    let none = |status, warning| Plan {
        rescale: None,
        reason: String::new(),
        status,
        warning,
    };
    let least = spec.min_replicas.unwrap_or(1);
    if seen.current == 0 && least != 0 {
        let message = "scaling is disabled since the replica count of the target is zero";
        set(
            &mut status,
            "ScalingActive",
            false,
            "ScalingDisabled",
            message,
            seen.now,
        );
        status.desired_replicas = 0;
        return none(status, None);
    }
    let (mut wish, mut reason) = (None, String::new());
    if seen.current > spec.max_replicas {
        (wish, reason) = (
            Some(spec.max_replicas),
            "Current number of replicas above Spec.MaxReplicas".to_string(),
        );
    } else if seen.current < least {
        (wish, reason) = (
            Some(least),
            "Current number of replicas below Spec.MinReplicas".to_string(),
        );
    }
    if let Some(wish) = wish {
        status.desired_replicas = wish;
        return Plan {
            rescale: Some(wish),
            reason,
            status,
            warning: None,
        };
    }
    let (best, failures, values) = all_metrics(spec, seen);
    let lowering = best.as_ref().is_none_or(|(p, _)| p.replicas < seen.current);
    if let (true, Some(first)) = (lowering, failures.first()) {
        // What cannot be measured must not shrink anything.
        let (reason, cause) = first;
        let message = format!("the HPA was unable to compute the replica count: {cause}");
        set(
            &mut status,
            "ScalingActive",
            false,
            reason,
            &message,
            seen.now,
        );
        status.current_metrics = Some(values);
        return none(status, Some((reason.to_string(), cause.clone())));
    }
    let Some((proposal, words)) = best else {
        return none(status, None);
    };
    let message =
        format!("the HPA was able to successfully calculate a replica count from {words}");
    set(
        &mut status,
        "ScalingActive",
        true,
        "ValidMetricFound",
        &message,
        seen.now,
    );
    status.current_metrics = Some(values);
    let settled = history.settle(spec, seen.current, proposal.replicas, seen.instant);
    match settled.stabilized {
        Some((reason, message)) => set(&mut status, "AbleToScale", true, reason, message, seen.now),
        None => {
            let message = "recommended size matches current size";
            set(
                &mut status,
                "AbleToScale",
                true,
                "ReadyForNewScale",
                message,
                seen.now,
            );
        }
    }
    match settled.limited {
        Some((reason, message)) => set(
            &mut status,
            "ScalingLimited",
            true,
            reason,
            message,
            seen.now,
        ),
        None => {
            let message = "the desired count is within the acceptable range";
            set(
                &mut status,
                "ScalingLimited",
                false,
                "DesiredWithinRange",
                message,
                seen.now,
            );
        }
    }
    status.desired_replicas = settled.replicas;
    let reason = if settled.replicas > seen.current {
        format!("{words} above target")
    } else {
        "All metrics below target".into()
    };
    let rescale = (settled.replicas != seen.current).then_some(settled.replicas);
    Plan {
        rescale,
        reason,
        status,
        warning: None,
    }
}

type Failures = Vec<(&'static str, String)>;
type Best = Option<(Proposal, String)>;

// The largest proposal wins.
fn all_metrics(
    spec: &HorizontalPodAutoscalerSpec,
    seen: &Observed<'_>,
) -> (
    Best,
    Failures,
    Vec<k8s_openapi::api::autoscaling::v2::MetricStatus>,
) {
    let default = default_metrics();
    let metrics = spec
        .metrics
        .as_ref()
        .filter(|m| !m.is_empty())
        .unwrap_or(&default);
    let (mut best, mut failures, mut values): (Best, Failures, Vec<_>) =
        (None, Vec::new(), Vec::new());
    for one in metrics {
        let (metric, target, words) = match read(one) {
            Ok(read) => read,
            Err(why) => {
                failures.push(("InvalidMetricSourceType", why));
                continue;
            }
        };
        let found = propose(
            seen.current,
            seen.pods,
            seen.figures,
            metric,
            target,
            tolerance(spec),
            seen.now,
        );
        match found {
            Err(why) => {
                let reason = if metric.container.is_some() {
                    "FailedGetContainerResourceMetric"
                } else {
                    "FailedGetResourceMetric"
                };
                failures.push((
                    reason,
                    format!(
                        "failed to get {} {}: {why}",
                        metric.resource,
                        if matches!(target, Target::Utilization(_)) {
                            "utilization"
                        } else {
                            "usage"
                        }
                    ),
                ));
            }
            Ok(proposal) => {
                values.push(measured(metric, &proposal));
                if best
                    .as_ref()
                    .is_none_or(|(most, _)| proposal.replicas > most.replicas)
                {
                    best = Some((proposal, words));
                }
            }
        }
    }
    (best, failures, values)
}

fn default_metrics() -> Vec<MetricSpec> {
    let target = MetricTarget {
        average_utilization: Some(80),
        type_: "Utilization".into(),
        ..MetricTarget::default()
    };
    let cpu = k8s_openapi::api::autoscaling::v2::ResourceMetricSource {
        name: "cpu".into(),
        target,
    };
    vec![MetricSpec {
        type_: "Resource".into(),
        resource: Some(cpu),
        ..MetricSpec::default()
    }]
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
