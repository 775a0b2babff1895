//! Nobody gives away what they do not have: roles and bindings are checked against the rights
//! of whoever writes them.

use crate::admission::Change;
use crate::rbac::{Ask, Rule, uncovered};
use serde_json::Value;
use towpath_api::status::Failure;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Whether nothing but what the garbage collector writes differs.
fn only_for_collection(old: &Value, new: &Value) -> bool {
    let bare = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for key in [
                "ownerReferences",
                "finalizers",
                "managedFields",
                "resourceVersion",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
            ] {
                metadata.remove(key);
            }
        }
        object
    };
    bare(old) == bare(new)
}

pub(crate) fn admit(change: &Change<'_>, new: &Value) -> Result<(), Failure> {
    let resource = &change.target.resource;
    if change
        .call
        .principal
        .groups
        .iter()
        .any(|g| g == "system:masters")
    {
        return Ok(());
    }
    if change.old.is_some_and(|old| only_for_collection(old, new)) {
        return Ok(());
    }
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    let namespace = &change.target.namespace;
    let (verb, about, wanted) = match resource.plural.as_str() {
        "roles" | "clusterroles" => {
            let mut rules: Vec<Rule> = new["rules"]
                .as_array()
                .into_iter()
                .flatten()
                .map(Rule::read)
                .collect();
            // Such a role may come to hold anything.
            if new["aggregationRule"]["clusterRoleSelectors"].is_array() {
                rules.extend(Rule::everything());
            }
            (
                "escalate",
                (resource.plural.clone(), name.to_string()),
                rules,
            )
        }
        "rolebindings" | "clusterrolebindings" => {
            let role = new["roleRef"]["name"].as_str().unwrap_or_default();
            let cluster = new["roleRef"]["kind"] == "ClusterRole";
            let place = if cluster { "" } else { namespace.as_str() };
            let rules = change.call.core.rbac.role_rules(change.state, place, role);
            let plural = if cluster { "clusterroles" } else { "roles" };
            ("bind", (plural.to_string(), role.to_string()), rules)
        }
        _ => return Ok(()),
    };
    let ask = Ask {
        verb,
        group: GROUP,
        resource: &about.0,
        namespace,
        name: &about.1,
        ..Ask::default()
    };
    if change.call.may(&ask) {
        return Ok(());
    }
    let held = change
        .call
        .core
        .rbac
        .rules(change.state, &change.call.principal, namespace);
    let missing = uncovered(&held, &wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = missing
        .iter()
        .take(20)
        .map(|rule| rule.to_value().to_string())
        .collect();
    let who = &change.call.principal;
    let why = format!(
        "user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{}",
        who.name,
        who.groups,
        shown.join("\n")
    );
    Err(change.forbidden(name, &why))
}
