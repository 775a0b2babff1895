//! Quality of service of a pod, from what its containers ask for.

use serde_json::Value;

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(super) fn quality(pod: &Value) -> &'static str {
    let containers = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten());
    let (mut any, mut guaranteed, mut count) = (false, true, 0);
    for container in containers {
        count += 1;
        for name in ["cpu", "memory"] {
            let limit = container["resources"]["limits"][name].clone();
            let request = container["resources"]["requests"][name].clone();
            any |= !limit.is_null() || !request.is_null();
            guaranteed &= !limit.is_null() && (request.is_null() || request == limit);
        }
    }
    match (any, guaranteed && count > 0) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quality_of_service() {
        let pod = |resources: Value| json!({"spec": {"containers": [{"resources": resources}]}});
        assert_eq!(quality(&pod(json!({}))), "BestEffort");
        assert_eq!(
            quality(&pod(json!({"requests": {"cpu": "1"}}))),
            "Burstable"
        );
        assert_eq!(
            quality(&pod(json!({"limits": {"cpu": "1", "memory": "1Gi"}}))),
            "Guaranteed"
        );
        assert_eq!(quality(&pod(json!({"limits": {"cpu": "1"}}))), "Burstable");
    }
}
