//! Autoscalers, quotas and disruption budgets.

use super::show::{Row, Show, name, namespace, quantity};
use crate::family::Kind::Gauge;
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus,
};
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

macro_rules! base {
    ($fn:ident, $kind:ty, $label:literal) => {
        pub(super) fn $fn(object: &$kind) -> Vec<(&'static str, &str)> {
            vec![
                ("namespace", namespace(&object.metadata)),
                ($label, name(&object.metadata)),
            ]
        }
    };
}

base!(
    autoscaler,
    HorizontalPodAutoscaler,
    "horizontalpodautoscaler"
);
base!(quota, ResourceQuota, "resourcequota");
base!(budget, PodDisruptionBudget, "poddisruptionbudget");

fn info(object: &HorizontalPodAutoscaler, show: &mut Show<'_>) {
    let target = &object.spec.scale_target_ref;
    show.info(&[
        (
            "scaletargetref_api_version",
            target.api_version.as_deref().unwrap_or_default(),
        ),
        ("scaletargetref_kind", &target.kind),
        ("scaletargetref_name", &target.name),
    ]);
}

fn amounts(
    show: &mut Show<'_>,
    metric: &str,
    value: Option<&Quantity>,
    average: Option<&Quantity>,
    utilization: Option<i32>,
) {
    let number = |q: Option<&Quantity>| q.and_then(|q| quantity(q, true));
    let all = [
        ("value", number(value)),
        ("average", number(average)),
        ("utilization", utilization.map(f64::from)),
    ];
    for (kind, value) in all {
        if let Some(value) = value {
            show.put(
                &[("metric_name", metric), ("metric_target_type", kind)],
                value,
            );
        }
    }
}

fn wanted(metric: &MetricSpec) -> Option<(&str, &MetricTarget)> {
    Some(match metric.type_.as_str() {
        "Object" => metric
            .object
            .as_ref()
            .map(|m| (&*m.metric.name, &m.target))?,
        "Pods" => metric.pods.as_ref().map(|m| (&*m.metric.name, &m.target))?,
        "Resource" => metric.resource.as_ref().map(|m| (&*m.name, &m.target))?,
        "ContainerResource" => {
            let metric = metric.container_resource.as_ref()?;
            (&metric.name, &metric.target)
        }
        "External" => metric
            .external
            .as_ref()
            .map(|m| (&*m.metric.name, &m.target))?,
        _ => return None,
    })
}

fn told(metric: &MetricStatus) -> Option<(&str, &MetricValueStatus)> {
    Some(match metric.type_.as_str() {
        "Object" => metric
            .object
            .as_ref()
            .map(|m| (&*m.metric.name, &m.current))?,
        "Pods" => metric
            .pods
            .as_ref()
            .map(|m| (&*m.metric.name, &m.current))?,
        "Resource" => metric.resource.as_ref().map(|m| (&*m.name, &m.current))?,
        "ContainerResource" => {
            let metric = metric.container_resource.as_ref()?;
            (&metric.name, &metric.current)
        }
        "External" => metric
            .external
            .as_ref()
            .map(|m| (&*m.metric.name, &m.current))?,
        _ => return None,
    })
}

pub(super) const AUTOSCALERS: &[Row<HorizontalPodAutoscaler>] = &[
    (
        "kube_horizontalpodautoscaler_info",
        Gauge,
        "Information about this autoscaler.",
        info,
    ),
    (
        "kube_horizontalpodautoscaler_metadata_generation",
        Gauge,
        "The generation observed by the HorizontalPodAutoscaler controller.",
        |a, s| {
            s.value(a.metadata.generation.unwrap_or(0) as f64);
        },
    ),
    (
        "kube_horizontalpodautoscaler_spec_max_replicas",
        Gauge,
        "Upper limit for the number of pods that can be set by the autoscaler; cannot be smaller than MinReplicas.",
        |a, s| {
            s.value(f64::from(a.spec.max_replicas));
        },
    ),
    (
        "kube_horizontalpodautoscaler_spec_min_replicas",
        Gauge,
        "Lower limit for the number of pods that can be set by the autoscaler, default 1.",
        |a, s| {
            s.value(f64::from(a.spec.min_replicas.unwrap_or(1)));
        },
    ),
    (
        "kube_horizontalpodautoscaler_spec_target_metric",
        Gauge,
        "The metric specifications used by this autoscaler when calculating the desired replica count.",
        |a, s| {
            let metrics = a.spec.metrics.iter().flatten();
            for (name, target) in metrics.filter_map(wanted) {
                let (value, average) = (target.value.as_ref(), target.average_value.as_ref());
                amounts(s, name, value, average, target.average_utilization);
            }
        },
    ),
    (
        "kube_horizontalpodautoscaler_status_target_metric",
        Gauge,
        "The current metric status used by this autoscaler when calculating the desired replica count.",
        |a, s| {
            let metrics = a
                .status
                .iter()
                .flat_map(|t| t.current_metrics.iter().flatten());
            for (name, current) in metrics.filter_map(told) {
                let (value, average) = (current.value.as_ref(), current.average_value.as_ref());
                amounts(s, name, value, average, current.average_utilization);
            }
        },
    ),
    (
        "kube_horizontalpodautoscaler_status_current_replicas",
        Gauge,
        "Current number of replicas of pods managed by this autoscaler.",
        |a, s| {
            let count = a.status.as_ref().and_then(|t| t.current_replicas);
            s.value(f64::from(count.unwrap_or(0)));
        },
    ),
    (
        "kube_horizontalpodautoscaler_status_desired_replicas",
        Gauge,
        "Desired number of replicas of pods managed by this autoscaler.",
        |a, s| {
            s.value(
                a.status
                    .as_ref()
                    .map_or(0.0, |t| f64::from(t.desired_replicas)),
            );
        },
    ),
    (
        "kube_horizontalpodautoscaler_status_condition",
        Gauge,
        "The condition of this autoscaler.",
        |a, s| {
            for condition in a.status.iter().flat_map(|t| t.conditions.iter().flatten()) {
                s.status(
                    &[("condition", &condition.type_)],
                    "status",
                    &condition.status,
                );
            }
        },
    ),
];

pub(super) const QUOTAS: &[Row<ResourceQuota>] = &[(
    "kube_resourcequota",
    Gauge,
    "Information about resource quota.",
    |q, s| {
        let Some(status) = &q.status else { return };
        for (kind, amounts) in [("hard", &status.hard), ("used", &status.used)] {
            for (resource, amount) in amounts.iter().flatten() {
                if let Some(value) = quantity(amount, true) {
                    s.put(&[("resource", resource), ("type", kind)], value);
                }
            }
        }
    },
)];

type Count = fn(&PodDisruptionBudgetStatus) -> Option<i32>;

fn count(budget: &PodDisruptionBudget, show: &mut Show<'_>, get: Count) {
    let count = budget.status.as_ref().and_then(get);
    show.value(f64::from(count.unwrap_or(0)));
}

pub(super) const BUDGETS: &[Row<PodDisruptionBudget>] = &[
    (
        "kube_poddisruptionbudget_status_current_healthy",
        Gauge,
        "Current number of healthy pods",
        |b, s| count(b, s, |t| t.current_healthy),
    ),
    (
        "kube_poddisruptionbudget_status_desired_healthy",
        Gauge,
        "Minimum desired number of healthy pods",
        |b, s| count(b, s, |t| t.desired_healthy),
    ),
    (
        "kube_poddisruptionbudget_status_pod_disruptions_allowed",
        Gauge,
        "Number of pod disruptions that are currently allowed",
        |b, s| count(b, s, |t| t.disruptions_allowed),
    ),
    (
        "kube_poddisruptionbudget_status_expected_pods",
        Gauge,
        "Total number of pods counted by this disruption budget",
        |b, s| count(b, s, |t| t.expected_pods),
    ),
    (
        "kube_poddisruptionbudget_status_observed_generation",
        Gauge,
        "Most recent generation observed when updating this PDB status",
        |b, s| {
            let generation = b.status.as_ref().and_then(|t| t.observed_generation);
            s.value(generation.unwrap_or(0) as f64);
        },
    ),
];
