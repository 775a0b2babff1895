//! From requests and limits to control group numbers, class of service and out-of-memory score.

use crate::quantity;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;
use towpath_container::Resources;
use towpath_kit::kinds::labels;

/// Processes a container may have where nothing else is said: enough for any server, too few
/// for a fork bomb to starve the machine.
const PIDS: i64 = 8192;

fn amount(list: &Option<BTreeMap<String, Quantity>>, name: &str) -> Option<Quantity> {
    list.as_ref()?.get(name).cloned()
}

pub(crate) fn limit(resources: &Option<ResourceRequirements>, name: &str) -> Option<Quantity> {
    amount(&resources.as_ref()?.limits, name)
}

/// A request, or the limit that stands for it.
pub(crate) fn request(resources: &Option<ResourceRequirements>, name: &str) -> Option<Quantity> {
    let resources = resources.as_ref()?;
    amount(&resources.requests, name).or_else(|| amount(&resources.limits, name))
}

/// Limits of one container of a pod.
pub(crate) fn of_container(pod: &Pod, container: &Container) -> Resources {
    let cpu_request = request(&container.resources, "cpu").and_then(|q| quantity::milli(&q));
    let cpu_limit = limit(&container.resources, "cpu").and_then(|q| quantity::milli(&q));
    let memory = limit(&container.resources, "memory").and_then(|q| quantity::whole(&q));
    Resources {
        cpu_shares: Some((cpu_request.unwrap_or(0).max(0) as u64 * 1024 / 1000).clamp(2, 262_144)),
        cpu_quota_us: cpu_limit
            .filter(|milli| *milli > 0)
            .map(|milli| (milli * 100).max(1000)),
        memory_bytes: memory.filter(|bytes| *bytes > 0),
        pids: Some(processes(pod)),
    }
}

// A pod may ask for fewer than the node allows, never for more.
fn processes(pod: &Pod) -> i64 {
    let annotations = pod.metadata.annotations.as_ref();
    let asked = annotations.and_then(|a| a.get(labels::PROCESSES));
    asked
        .and_then(|text| text.parse::<i64>().ok())
        .map_or(PIDS, |asked| asked.clamp(1, PIDS))
}

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(crate) fn qos_class(pod: &Pod) -> &'static str {
    let Some(spec) = &pod.spec else {
        return "BestEffort";
    };
    let (mut any, mut guaranteed) = (false, true);
    for container in spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
    {
        for name in ["cpu", "memory"] {
            let positive =
                |q: Option<Quantity>| q.and_then(|q| quantity::milli(&q)).filter(|n| *n > 0);
            let wanted = positive(request(&container.resources, name));
            let most = positive(limit(&container.resources, name));
            any |= wanted.is_some() || most.is_some();
            guaranteed &= most.is_some() && wanted == most;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Score by which the kernel chooses what to kill: what asked for more memory is spared longer.
pub(crate) fn oom_score(pod: &Pod, container: &Container, machine_bytes: i64) -> i32 {
    let critical = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.priority)
        .is_some_and(|p| p >= 2_000_000_000);
    match qos_class(pod) {
        _ if critical => -997,
        "Guaranteed" => -997,
        "BestEffort" => 1000,
        _ => {
            let wanted = request(&container.resources, "memory")
                .and_then(|q| quantity::whole(&q))
                .unwrap_or(0);
            let share = 1000 - (1000.0 * wanted as f64 / machine_bytes.max(1) as f64) as i64;
            share.clamp(3, 999) as i32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(resources: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {}, "spec": { "containers": [{ "name": "c", "resources": resources }] }
        }))
        .expect("pod")
    }

    #[test]
    fn classes_of_service() {
        let both = json!({ "cpu": "1", "memory": "1Gi" });
        assert_eq!(qos_class(&pod(json!({}))), "BestEffort");
        assert_eq!(
            qos_class(&pod(json!({ "requests": { "cpu": "1" } }))),
            "Burstable"
        );
        assert_eq!(qos_class(&pod(json!({ "limits": both }))), "Guaranteed");
        assert_eq!(
            qos_class(&pod(
                json!({ "limits": both, "requests": { "cpu": "500m" } })
            )),
            "Burstable"
        );
    }

    #[test]
    fn numbers_for_the_kernel() {
        let pod = pod(
            json!({ "requests": { "cpu": "250m", "memory": "1Gi" }, "limits": { "cpu": "1500m", "memory": "2Gi" } }),
        );
        let container = &pod.spec.as_ref().expect("spec").containers[0];
        let limits = of_container(&pod, container);
        assert_eq!(limits.pids, Some(PIDS));
        assert_eq!(limits.cpu_shares, Some(256));
        assert_eq!(limits.cpu_quota_us, Some(150_000));
        assert_eq!(limits.memory_bytes, Some(2 << 30));
        assert_eq!(oom_score(&pod, container, 4 << 30), 750);
    }

    #[test]
    fn a_pod_may_ask_for_fewer_processes() {
        for (asked, given) in [("300", 300), ("99999", PIDS), ("0", 1), ("many", PIDS)] {
            let mut pod = pod(json!({}));
            let annotations = [(labels::PROCESSES.to_string(), asked.to_string())];
            pod.metadata.annotations = Some(annotations.into());
            assert_eq!(processes(&pod), given, "{asked}");
        }
    }
}
