//! Status of an autoscaler in upstream's words.

use super::replicas::{Metric, Proposal};
use crate::quantity;
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus,
    MetricStatus, MetricValueStatus, ResourceMetricStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// Puts a condition in; its time moves only with its status.
pub(crate) fn set(
    status: &mut HorizontalPodAutoscalerStatus,
    type_: &str,
    on: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let word = if on { "True" } else { "False" };
    let conditions = status.conditions.get_or_insert_default();
    let since = conditions
        .iter()
        .find(|c| c.type_ == type_ && c.status == word)
        .and_then(|c| c.last_transition_time.clone());
    let next = HorizontalPodAutoscalerCondition {
        type_: type_.into(),
        status: word.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_transition_time: Some(since.unwrap_or(Time(now))),
    };
    match conditions.iter_mut().find(|c| c.type_ == type_) {
        Some(old) => *old = next,
        None => conditions.push(next),
    }
}

/// What was measured, for people.
pub(crate) fn measured(metric: Metric<'_>, proposal: &Proposal) -> MetricStatus {
    let current = MetricValueStatus {
        average_utilization: proposal.utilization,
        average_value: Some(quantity::from_milli(proposal.average)),
        value: None,
    };
    match metric.container {
        None => MetricStatus {
            type_: "Resource".into(),
            resource: Some(ResourceMetricStatus {
                name: metric.resource.into(),
                current,
            }),
            ..MetricStatus::default()
        },
        Some(container) => MetricStatus {
            type_: "ContainerResource".into(),
            container_resource: Some(ContainerResourceMetricStatus {
                container: container.into(),
                name: metric.resource.into(),
                current,
            }),
            ..MetricStatus::default()
        },
    }
}
