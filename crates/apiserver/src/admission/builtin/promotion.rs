//! Promotions of `towpath.dev`: who asked and who approved is what authentication said.

use crate::admission::Change;
use serde_json::Value;
use std::collections::BTreeMap;

/// Who asked for a promotion and who approved it is what authentication said, not the body.
pub(super) fn mutate(change: &Change<'_>, new: &mut Value) {
    if !change.is_of("towpath.dev", "promotions") || !new["spec"].is_object() {
        return;
    }
    let who = change.call.principal.name.clone();
    let by = change
        .old
        .map_or_else(|| Value::from(who.clone()), |old| old["spec"]["by"].clone());
    new["spec"]["by"] = by;
    let known: Vec<Value> = change
        .old
        .and_then(|old| old["spec"]["approvals"].as_array().cloned())
        .unwrap_or_default();
    let now = change.call.core.clock.rfc3339();
    // Not by index: that would leave a null behind where there are none.
    let approvals = new.pointer_mut("/spec/approvals");
    let Some(approvals) = approvals.and_then(Value::as_array_mut) else {
        return;
    };
    let mut left: BTreeMap<String, usize> = BTreeMap::new();
    for approval in &known {
        *left.entry(approval.to_string()).or_default() += 1;
    }
    for approval in approvals {
        match left
            .get_mut(&approval.to_string())
            .filter(|count| **count > 0)
        {
            Some(count) => *count -= 1,
            // What is no object is refused by the schema.
            None if !approval.is_object() => {}
            None => {
                approval["by"] = who.clone().into();
                approval["at"] = now.clone().into();
            }
        }
    }
}
