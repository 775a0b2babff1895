//! From figures to a number of replicas, as upstream's replica calculator does it.

use crate::{pods, quantity, time};
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use towpath_kit::traits::PodFigures;

/// A pod younger than this may still be busy starting.
const CPU_INITIALISATION: Duration = Duration::from_secs(300);
/// A pod that was never ready counts as starting this long.
const READINESS_DELAY: Duration = Duration::from_secs(30);

/// What is measured, and over which container (all where `None`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric<'a> {
    /// `cpu` or `memory`.
    pub(crate) resource: &'a str,
    pub(crate) container: Option<&'a str>,
}

/// What usage is compared with; amounts in thousandths.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// Percent of requests.
    Utilization(i32),
    /// Amount per pod.
    AverageValue(i64),
}

/// Tolerated distance of the ratio from one, down and up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tolerance {
    pub(crate) down: f64,
    pub(crate) up: f64,
}

impl Tolerance {
    fn covers(&self, ratio: f64) -> bool {
        (1.0 - self.down..=1.0 + self.up).contains(&ratio)
    }
}

/// What came out.
#[derive(Debug, PartialEq)]
pub(crate) struct Proposal {
    pub(crate) replicas: i32,
    /// Percent of requests, for utilization targets.
    pub(crate) utilization: Option<i32>,
    /// Mean per pod, thousandths.
    pub(crate) average: i64,
}

struct Groups<'a> {
    measured: BTreeMap<&'a str, i64>,
    unready: Vec<&'a str>,
    missing: Vec<&'a str>,
}

fn usage(figures: &PodFigures, metric: Metric<'_>) -> Option<i64> {
    let wanted = figures
        .containers
        .iter()
        .filter(|c| metric.container.is_none_or(|name| c.name == name));
    let values: Vec<i64> = wanted
        .map(|c| match metric.resource {
            "cpu" => i64::try_from(c.cpu_nanocores / 1_000_000).unwrap_or(i64::MAX),
            _ => i64::try_from(c.memory_working_set_bytes.saturating_mul(1000)).unwrap_or(i64::MAX),
        })
        .collect();
    (!values.is_empty()).then(|| values.iter().fold(0i64, |a, b| a.saturating_add(*b)))
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

fn group<'a>(
    pods: &'a [Arc<Pod>],
    figures: &'a [PodFigures],
    metric: Metric<'_>,
    now: Timestamp,
) -> Groups<'a> {
    let mut groups = Groups {
        measured: BTreeMap::new(),
        unready: Vec::new(),
        missing: Vec::new(),
    };
    for pod in pods
        .iter()
        .filter(|p| !pods::is_deleting(p) && pods::phase(p) != "Failed")
    {
        if pods::phase(pod) == "Pending" {
            groups.unready.push(name(pod));
            continue;
        }
        let Some(found) = figures.iter().find(|f| f.pod == name(pod)) else {
            groups.missing.push(name(pod));
            continue;
        };
        let Some(value) = usage(found, metric) else {
            groups.missing.push(name(pod));
            continue;
        };
        if metric.resource == "cpu" && is_starting(pod, found, now) {
            groups.unready.push(name(pod));
        } else {
            groups.measured.insert(name(pod), value);
        }
    }
    groups
}

fn is_starting(pod: &Pod, figures: &PodFigures, now: Timestamp) -> bool {
    let start = pod.status.as_ref().and_then(|s| s.start_time.as_ref());
    let (Some(ready), Some(start)) = (pods::condition(pod, "Ready"), start) else {
        return true;
    };
    let Some(changed) = &ready.last_transition_time else {
        return ready.status != "True";
    };
    if time::left(start, CPU_INITIALISATION, now).is_some() {
        // A window that began before the pod was ready measured its start.
        let settled = changed
            .0
            .saturating_add(figures.window)
            .unwrap_or(changed.0);
        let settled = Duration::try_from(settled.as_duration()).unwrap_or_default();
        return ready.status != "True" || figures.at < settled;
    }
    // Never ready since shortly after its start.
    let limit = start.0.saturating_add(READINESS_DELAY).unwrap_or(start.0);
    ready.status != "True" && changed.0 < limit
}

fn request(pod: &Pod, metric: Metric<'_>) -> Result<i64, String> {
    let spec = pod.spec.clone().unwrap_or_default();
    let sidecars = spec
        .init_containers
        .into_iter()
        .flatten()
        .filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let containers: Vec<Container> = spec.containers.into_iter().chain(sidecars).collect();
    let mut total = 0i64;
    for container in containers
        .iter()
        .filter(|c| metric.container.is_none_or(|name| c.name == name))
    {
        let requests = container
            .resources
            .as_ref()
            .and_then(|r| r.requests.as_ref());
        let Some(amount) = requests.and_then(|r| r.get(metric.resource)) else {
            return Err(format!(
                "missing request for {} in container {} of Pod {}",
                metric.resource,
                container.name,
                name(pod)
            ));
        };
        total = total.saturating_add(quantity::milli(amount));
    }
    Ok(total)
}

/// Proposes a number of replicas; an error says why none can be known.
pub(crate) fn propose(
    current: i32,
    pods: &[Arc<Pod>],
    figures: &[PodFigures],
    metric: Metric<'_>,
    target: Target,
    tolerance: Tolerance,
    now: Timestamp,
) -> Result<Proposal, String> {
    if pods.is_empty() {
        return Err("no pods returned by selector while calculating replica count".into());
    }
    let mut groups = group(pods, figures, metric, now);
    if groups.measured.is_empty() {
        return Err("did not receive metrics for targeted pods (pods might be unready)".into());
    }
    let mut requests: BTreeMap<&str, i64> = BTreeMap::new();
    if let Target::Utilization(_) = target {
        for pod in pods
            .iter()
            .filter(|p| !pods::is_deleting(p) && pods::phase(p) != "Failed")
        {
            requests.insert(name(pod), request(pod, metric)?);
        }
    }
    let (ratio, utilization, average) = ratio(&groups.measured, &requests, target)?;
    let proposal = |replicas| Proposal {
        replicas,
        utilization,
        average,
    };
    let scale_up_with_unready = !groups.unready.is_empty() && ratio > 1.0;
    if !scale_up_with_unready && groups.missing.is_empty() {
        if tolerance.covers(ratio) {
            return Ok(proposal(current));
        }
        return Ok(proposal(ceil(ratio * groups.measured.len() as f64)));
    }
    // Pods without figures count against the direction of change.
    for pod in std::mem::take(&mut groups.missing) {
        let assumed = match target {
            _ if ratio >= 1.0 => 0,
            Target::Utilization(percent) => {
                let request = requests.get(pod).copied().unwrap_or(0);
                request.saturating_mul(i64::from(percent.max(100))) / 100
            }
            Target::AverageValue(value) => value,
        };
        groups.measured.insert(pod, assumed);
    }
    if scale_up_with_unready {
        for pod in std::mem::take(&mut groups.unready) {
            groups.measured.insert(pod, 0);
        }
    }
    let (again, _, _) = self::ratio(&groups.measured, &requests, target)?;
    if tolerance.covers(again) || (ratio < 1.0 && again > 1.0) || (ratio > 1.0 && again < 1.0) {
        return Ok(proposal(current));
    }
    let replicas = ceil(again * groups.measured.len() as f64);
    if (again < 1.0 && replicas > current) || (again > 1.0 && replicas < current) {
        return Ok(proposal(current));
    }
    Ok(proposal(replicas))
}

// Ratio of usage to target; utilization in percent and mean usage beside it.
fn ratio(
    measured: &BTreeMap<&str, i64>,
    requests: &BTreeMap<&str, i64>,
    target: Target,
) -> Result<(f64, Option<i32>, i64), String> {
    let total: i64 = measured.values().fold(0, |a: i64, b| a.saturating_add(*b));
    let average = total / measured.len() as i64;
    match target {
        Target::Utilization(percent) => {
            let requested: i64 = measured
                .keys()
                .filter_map(|p| requests.get(p))
                .fold(0, |a: i64, b| a.saturating_add(*b));
            if requested == 0 {
                return Err("no metrics returned matched known pods".into());
            }
            let utilization =
                i32::try_from(i128::from(total) * 100 / i128::from(requested)).unwrap_or(i32::MAX);
            Ok((
                f64::from(utilization) / f64::from(percent.max(1)),
                Some(utilization),
                average,
            ))
        }
        Target::AverageValue(value) => Ok((average as f64 / value.max(1) as f64, None, average)),
    }
}

fn ceil(value: f64) -> i32 {
    value.ceil().min(f64::from(i32::MAX)) as i32
}
