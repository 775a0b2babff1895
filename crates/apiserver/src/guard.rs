//! Nobody gives away what they do not have: roles and bindings are checked against the rights
//! of whoever writes them.

use crate::admission::Change;
use crate::rbac::{Ask, Rule, uncovered};
use serde_json::Value;
use towpath_api::status::Failure;

const GROUP: &str = "rbac.authorization.k8s.io";

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
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    let namespace = &change.target.namespace;
    let (verb, about, wanted) = match resource.plural.as_str() {
        "roles" | "clusterroles" => {
            let rules: Vec<Rule> = new["rules"]
                .as_array()
                .into_iter()
                .flatten()
                .map(Rule::read)
                .collect();
            (
                "escalate",
                (resource.plural.clone(), name.to_string()),
                rules,
            )
        }
        "rolebindings" | "clusterrolebindings" => {
            if change.old.is_some_and(|old| {
                old["subjects"] == new["subjects"] && old["roleRef"] == new["roleRef"]
            }) {
                return Ok(());
            }
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
