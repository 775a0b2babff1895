//! Rules of nodes.

use super::check::{Check, entries, list, text};
use crate::field::FieldError;
use crate::names;
use crate::quantity::Quantity;
use serde_json::{Value, json};
use std::collections::HashSet;

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub(super) fn node(new: &Value, old: Option<&Value>, check: &mut Check) {
    taints(&new["spec"]["taints"], check);
    resources(new, check);
    let cidrs = cidrs(new);
    let Some(old) = old else {
        for (index, cidr) in cidrs.iter().enumerate() {
            super::network::cidr(&format!("spec.podCIDRs[{index}]"), cidr, check);
        }
        return;
    };
    let before = self::cidrs(old);
    if !before.is_empty() && before != cidrs {
        let why = "node updates may not change podCIDR except from \"\" to valid";
        check.add(FieldError::forbidden("spec.podCIDRs", why));
    }
    let (id, known) = (&new["spec"]["providerID"], &old["spec"]["providerID"]);
    if !text(known).is_empty() && id != known {
        let why = "node updates may not change providerID except from \"\" to valid";
        check.add(FieldError::forbidden("spec.providerID", why));
    }
}

/// The one range wins where both are given and differ.
fn cidrs(node: &Value) -> Vec<&str> {
    let one = text(&node["spec"]["podCIDR"]);
    let all: Vec<&str> = list(&node["spec"]["podCIDRs"]).iter().map(text).collect();
    match all.first() {
        _ if one.is_empty() => all,
        Some(first) if *first == one => all,
        _ => vec![one],
    }
}

fn taints(taints: &Value, check: &mut Check) {
    let mut seen = HashSet::new();
    for (index, taint) in list(taints).iter().enumerate() {
        // Upstream has them under metadata.
        let path = format!("metadata.taints[{index}]");
        let (key, value) = (text(&taint["key"]), text(&taint["value"]));
        let effect = text(&taint["effect"]);
        check.names(&format!("{path}.key"), key, names::qualified_name(key));
        check.names(&format!("{path}.value"), value, names::label_value(value));
        if effect.is_empty() {
            check.add(FieldError::required(format!("{path}.effect"), ""));
        } else if !EFFECTS.contains(&effect) {
            let error = FieldError::unsupported(format!("{path}.effect"), effect, &EFFECTS);
            check.add(error);
        }
        if !seen.insert((key, effect)) {
            let shown = json!({"Key": key, "Value": value, "Effect": effect, "TimeAdded": taint["timeAdded"]});
            let mut error = FieldError::duplicate(path, shown);
            error.detail = "taints must be unique by key and effect pair".into();
            check.add(error);
        }
    }
}

pub(super) fn resources(new: &Value, check: &mut Check) {
    for part in ["capacity", "allocatable"] {
        for (name, amount) in entries(&new["status"][part]) {
            let given = amount.as_str().and_then(|text| Quantity::parse(text).ok());
            if given.is_some_and(|given| given.sign() < 0) {
                let at = format!("status.{part}.{name}");
                check.invalid(&at, amount.clone(), "must be greater than or equal to 0");
            }
        }
    }
}
