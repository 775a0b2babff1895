//! ServiceAccount: every pod runs as one, with its pull secrets and its token.

use crate::admission::Change;
use crate::record;
use serde_json::{Value, json};
use towpath_api::status::Failure;

pub(super) fn mutate(change: &Change<'_>, pod: &mut Value) -> Result<(), Failure> {
    if !change.creates("", "pods") {
        return Ok(());
    }
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
    if wanted {
        project_token(change, pod);
    }
    Ok(())
}

const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

const TOKEN_VOLUME: &str = "kube-api-access-";

// A volume with a token, the authority's certificate and the namespace, where containers look for
// them; one that the client put there itself (a copied pod) is used again.
fn project_token(change: &Change<'_>, pod: &mut Value) {
    let random = &*change.call.core.random;
    let given = pod["spec"]["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|volume| volume["name"].as_str())
        .find(|name| name.starts_with(TOKEN_VOLUME))
        .map(str::to_string);
    let name = given
        .clone()
        .unwrap_or_else(|| format!("{TOKEN_VOLUME}{}", towpath_stdx::id::suffix(random, 5)));
    let mut used = false;
    for list in ["initContainers", "containers"] {
        let found = pod
            .pointer_mut(&format!("/spec/{list}"))
            .and_then(Value::as_array_mut);
        for container in found.into_iter().flatten().filter(|c| c.is_object()) {
            let mut mounts = container["volumeMounts"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            if mounts.iter().any(|m| m["mountPath"] == TOKEN_PATH) {
                continue;
            }
            mounts.push(json!({"name": name, "readOnly": true, "mountPath": TOKEN_PATH}));
            container["volumeMounts"] = mounts.into();
            used = true;
        }
    }
    if !used || given.is_some() {
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
