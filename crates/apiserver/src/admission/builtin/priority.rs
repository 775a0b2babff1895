//! Priority: a pod's number and preemption policy from its class.

use crate::admission::Change;
use crate::record;
use serde_json::Value;
use towpath_api::status::Failure;

pub(super) fn mutate(change: &Change<'_>, pod: &mut Value) -> Result<(), Failure> {
    if !change.creates("", "pods") {
        return Ok(());
    }
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
