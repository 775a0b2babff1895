//! What a new pod is given: service account, priority, tolerations, first status.

use crate::admission::Change;
use crate::record;
use serde_json::{Value, json};
use towpath_api::status::Failure;

pub(crate) fn admit(change: &Change<'_>, pod: &mut Value) -> Result<(), Failure> {
    service_account(change, pod)?;
    priority(change, pod)?;
    tolerations(pod);
    pod["status"] = json!({"phase": "Pending", "qosClass": quality(pod)});
    Ok(())
}

fn service_account(change: &Change<'_>, pod: &mut Value) -> Result<(), Failure> {
    let pod_name = pod["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_string();
    let given = [
        &pod["spec"]["serviceAccountName"],
        &pod["spec"]["serviceAccount"],
    ];
    let name = given
        .iter()
        .filter_map(|v| v.as_str())
        .find(|n| !n.is_empty())
        .unwrap_or("default")
        .to_string();
    let namespace = &change.target.namespace;
    let Some(account) = change
        .state
        .get("serviceaccounts", &towpath_store::key(namespace, &name))
    else {
        let why = format!(
            "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
        );
        return Err(change.forbidden(&pod_name, &why));
    };
    pod["spec"]["serviceAccountName"] = name.clone().into();
    pod["spec"]["serviceAccount"] = name.into();
    let account = record::decode(account);
    if pod["spec"]["imagePullSecrets"]
        .as_array()
        .is_none_or(Vec::is_empty)
        && let Some(secrets) = account["imagePullSecrets"]
            .as_array()
            .filter(|s| !s.is_empty())
    {
        pod["spec"]["imagePullSecrets"] = secrets.clone().into();
    }
    let wanted = pod["spec"]["automountServiceAccountToken"].as_bool();
    let wanted = wanted
        .or(account["automountServiceAccountToken"].as_bool())
        .unwrap_or(true);
    if change.call.core.settings.project_tokens && wanted {
        project_token(change, pod);
    }
    Ok(())
}

const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

fn project_token(change: &Change<'_>, pod: &mut Value) {
    let name = format!(
        "kube-api-access-{}",
        towpath_stdx::id::suffix(&*change.call.core.random, 5)
    );
    let mut used = false;
    for list in ["containers", "initContainers"] {
        let found = pod
            .pointer_mut(&format!("/spec/{list}"))
            .and_then(Value::as_array_mut);
        for container in found.into_iter().flatten() {
            let mounts = container["volumeMounts"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            if mounts.iter().any(|m| m["mountPath"] == TOKEN_PATH) {
                continue;
            }
            let mut mounts = mounts;
            mounts.push(json!({"name": name, "readOnly": true, "mountPath": TOKEN_PATH}));
            container["volumeMounts"] = mounts.into();
            used = true;
        }
    }
    if !used {
        return;
    }
    let volume = json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}
    ]}});
    match pod
        .pointer_mut("/spec/volumes")
        .and_then(Value::as_array_mut)
    {
        Some(volumes) => volumes.push(volume),
        None => pod["spec"]["volumes"] = json!([volume]),
    }
}

fn priority(change: &Change<'_>, pod: &mut Value) -> Result<(), Failure> {
    const TABLE: &str = "scheduling.k8s.io/priorityclasses";
    let named = pod["spec"]["priorityClassName"]
        .as_str()
        .unwrap_or_default()
        .to_string();
    let class = if named.is_empty() {
        change
            .state
            .range(TABLE, "", None)
            .map(|rec| record::decode(rec))
            .find(|class| class["globalDefault"] == true)
    } else {
        let Some(rec) = change.state.get(TABLE, &towpath_store::key("", &named)) else {
            let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
            return Err(change.forbidden(
                pod_name,
                &format!("no PriorityClass with name {named} was found"),
            ));
        };
        Some(record::decode(rec))
    };
    let (value, policy) = match &class {
        Some(class) => {
            pod["spec"]["priorityClassName"] = class["metadata"]["name"].clone();
            (
                class["value"].as_i64().unwrap_or(0),
                class["preemptionPolicy"]
                    .as_str()
                    .unwrap_or("PreemptLowerPriority"),
            )
        }
        None => (0, "PreemptLowerPriority"),
    };
    pod["spec"]["priority"] = value.into();
    if pod["spec"]["preemptionPolicy"].is_null() {
        pod["spec"]["preemptionPolicy"] = policy.into();
    }
    Ok(())
}

fn tolerations(pod: &mut Value) {
    let mut list = pod["spec"]["tolerations"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let known = list.iter().any(|t| {
            (t["key"] == key || t["key"].as_str().unwrap_or_default().is_empty())
                && (t["effect"] == "NoExecute"
                    || t["effect"].as_str().unwrap_or_default().is_empty())
        });
        if !known {
            list.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
        }
    }
    pod["spec"]["tolerations"] = list.into();
}

/// `Guaranteed`, `Burstable` or `BestEffort`.
fn quality(pod: &Value) -> &'static str {
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
