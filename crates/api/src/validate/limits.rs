//! Rules of limits and quotas.

use super::check::{Check, entries, list, text};
use crate::field::FieldError;
use crate::names;
use crate::quantity::Quantity;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

fn amount(value: &Value) -> Option<Quantity> {
    value.as_str().and_then(|text| Quantity::parse(text).ok())
}

fn is_standard_of_containers(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}

fn is_standard(name: &str) -> bool {
    is_standard_of_containers(name)
        || is_countable(name)
        || matches!(
            name,
            "requests.cpu"
                | "requests.memory"
                | "requests.storage"
                | "requests.ephemeral-storage"
                | "limits.cpu"
                | "limits.memory"
                | "limits.ephemeral-storage"
                | "storage"
        )
        || name.starts_with("requests.hugepages-")
}

fn is_countable(name: &str) -> bool {
    matches!(
        name,
        "pods"
            | "resourcequotas"
            | "services"
            | "replicationcontrollers"
            | "secrets"
            | "configmaps"
            | "persistentvolumeclaims"
            | "services.nodeports"
            | "services.loadbalancers"
    )
}

pub(super) fn limit_range(new: &Value, check: &mut Check) {
    let mut seen = HashSet::new();
    for (index, limit) in list(&new["spec"]["limits"]).iter().enumerate() {
        let path = format!("spec.limits[{index}]");
        let kind = text(&limit["type"]);
        let at = format!("{path}.type");
        let wrong = names::qualified_name(kind);
        let named = wrong.is_empty();
        check.names(&at, kind, wrong);
        if named
            && !kind.contains('/')
            && !matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim")
        {
            check.invalid(
                &at,
                kind,
                "must be a standard limit type or fully qualified",
            );
        }
        if !seen.insert(kind) {
            check.add(FieldError::duplicate(at, kind));
        }
        limit_item(limit, kind, &path, check);
    }
}

fn limit_item(limit: &Value, kind: &str, path: &str, check: &mut Check) {
    let mut all: BTreeMap<&str, BTreeMap<&str, Quantity>> = BTreeMap::new();
    for part in [
        "max",
        "min",
        "default",
        "defaultRequest",
        "maxLimitRequestRatio",
    ] {
        let own = kind == "Pod" && part.starts_with("default");
        if own {
            if entries(&limit[part]).next().is_some() {
                let why = "may not be specified when `type` is 'Pod'";
                check.add(FieldError::forbidden(format!("{path}.{part}"), why));
            }
            continue;
        }
        for (name, value) in entries(&limit[part]) {
            let at = format!("{path}.{part}[{name}]");
            match kind {
                "Pod" | "Container" => container_resource(name, &at, check),
                _ => resource(name, &at, check),
            }
            if let Some(value) = amount(value) {
                all.entry(name.as_str()).or_default().insert(part, value);
            }
        }
    }
    let storage = |part: &str| !limit[part]["storage"].is_null();
    if kind == "PersistentVolumeClaim" && !storage("min") && !storage("max") {
        let why = "either minimum or maximum storage value is required, but neither was provided";
        check.add(FieldError::required(format!("{path}.limits"), why));
    }
    for (name, parts) in &all {
        compare(limit, name, parts, path, check);
    }
}

fn compare(
    limit: &Value,
    name: &str,
    parts: &BTreeMap<&str, Quantity>,
    path: &str,
    check: &mut Check,
) {
    let shown = |part: &str| text(&limit[part][name]).to_string();
    // Low part, high part, the part that is told, and how both are called.
    for (low, high, place, shows, low_name, high_name) in [
        ("min", "max", "min", "min", "min value", "max value"),
        (
            "min",
            "defaultRequest",
            "defaultRequest",
            "defaultRequest",
            "min value",
            "default request value",
        ),
        (
            "defaultRequest",
            "max",
            "defaultRequest",
            "defaultRequest",
            "default request value",
            "max value",
        ),
        (
            "defaultRequest",
            "default",
            "defaultRequest",
            "defaultRequest",
            "default request value",
            "default limit value",
        ),
        (
            "min",
            "default",
            "default",
            "min",
            "min value",
            "default value",
        ),
        (
            "default",
            "max",
            "default",
            "max",
            "default value",
            "max value",
        ),
    ] {
        if let (Some(a), Some(b)) = (parts.get(low), parts.get(high))
            && a > b
        {
            let why = format!(
                "{low_name} {} is greater than {high_name} {}",
                shown(low),
                shown(high)
            );
            check.invalid(&format!("{path}.{place}[{name}]"), shown(shows), why);
        }
    }
    let Some(ratio) = parts.get("maxLimitRequestRatio") else {
        return;
    };
    let at = format!("{path}.maxLimitRequestRatio[{name}]");
    let shown_ratio = shown("maxLimitRequestRatio");
    if Quantity::parse("1").is_ok_and(|one| *ratio < one) {
        check.invalid(
            &at,
            shown_ratio.clone(),
            format!("ratio {shown_ratio} is less than 1"),
        );
    }
    if let (Some(min), Some(max)) = (parts.get("min"), parts.get("max")) {
        let most = max.approximate() / min.approximate();
        if ratio.approximate() > most {
            let why = format!("ratio {shown_ratio} is greater than max/min = {most:.6}");
            check.invalid(&at, shown_ratio, why);
        }
    }
}

fn resource(name: &str, at: &str, check: &mut Check) {
    let wrong = names::qualified_name(name);
    let named = wrong.is_empty();
    check.names(at, name, wrong);
    if named && !name.contains('/') && !is_standard(name) {
        check.invalid(
            at,
            name,
            "must be a standard resource type or fully qualified",
        );
    }
}

fn container_resource(name: &str, at: &str, check: &mut Check) {
    resource(name, at, check);
    if !name.contains('/')
        && names::qualified_name(name).is_empty()
        && !is_standard_of_containers(name)
    {
        check.invalid(at, name, "must be a standard resource for containers");
    }
}

pub(super) fn quota(new: &Value, old: Option<&Value>, check: &mut Check) {
    let spec = &new["spec"];
    amounts(&spec["hard"], "spec.hard", check);
    scopes(spec, check);
    selector(spec, check);
    if let Some(old) = old {
        let set = |object: &Value| {
            let mut scopes: Vec<String> = list(&object["spec"]["scopes"])
                .iter()
                .map(|scope| text(scope).to_string())
                .collect();
            scopes.sort();
            scopes
        };
        if set(new) != set(old) {
            let shown = spec["scopes"].clone();
            check.invalid("spec.scopes", shown, super::check::IMMUTABLE);
        }
    }
}

pub(super) fn quota_status(new: &Value, check: &mut Check) {
    for part in ["hard", "used"] {
        amounts(&new["status"][part], &format!("status.{part}"), check);
    }
}

fn amounts(amounts: &Value, path: &str, check: &mut Check) {
    for (name, value) in entries(amounts) {
        let at = format!("{path}[{name}]");
        resource(name, &at, check);
        if !name.contains('/') && !is_standard(name) {
            check.invalid(&at, name.as_str(), "must be a standard resource for quota");
        }
        let Some(given) = amount(value) else { continue };
        if given.sign() < 0 {
            check.invalid(&at, value.clone(), "must be greater than or equal to 0");
        }
        // Things that are counted come whole; so do those of others.
        let whole = is_countable(name) || name.contains('/');
        if whole && !given.is_whole() {
            check.invalid(&at, value.clone(), "must be an integer");
        }
    }
}

const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

/// Whether a scope says something about a resource of the standard ones.
fn scope_fits(scope: &str, name: &str) -> bool {
    let of_pods = is_standard_of_containers(name)
        || name == "pods"
        || name.starts_with("requests.") && name != "requests.storage"
        || name.starts_with("limits.");
    match scope {
        "Terminating"
        | "NotTerminating"
        | "NotBestEffort"
        | "PriorityClass"
        | "CrossNamespacePodAffinity" => of_pods,
        "BestEffort" => name == "pods",
        "VolumeAttributesClass" => matches!(name, "persistentvolumeclaims" | "requests.storage"),
        _ => true,
    }
}

fn conflicts(scopes: &[&str]) -> usize {
    [
        ("BestEffort", "NotBestEffort"),
        ("Terminating", "NotTerminating"),
    ]
    .iter()
    .filter(|(a, b)| scopes.contains(a) && scopes.contains(b))
    .count()
}

fn scopes(spec: &Value, check: &mut Check) {
    let scopes: Vec<&str> = list(&spec["scopes"]).iter().map(text).collect();
    let shown = json!(scopes);
    for scope in &scopes {
        if !SCOPES.contains(scope) {
            check.invalid("spec.scopes", shown.clone(), "unsupported scope");
        }
        for (name, _) in entries(&spec["hard"]) {
            if is_standard(name) && !scope_fits(scope, name) {
                let why = "unsupported scope applied to resource";
                check.invalid("spec.scopes", shown.clone(), why);
            }
        }
    }
    for _ in 0..conflicts(&scopes) {
        check.invalid("spec.scopes", shown.clone(), "conflicting scopes");
    }
}

fn selector(spec: &Value, check: &mut Check) {
    let path = "spec.scopeSelector.matchExpressions";
    let requirements = list(&spec["scopeSelector"]["matchExpressions"]);
    let mut scopes = Vec::new();
    for requirement in requirements {
        let (scope, operator) = (
            text(&requirement["scopeName"]),
            text(&requirement["operator"]),
        );
        scopes.push(scope);
        if !SCOPES.contains(&scope) {
            check.invalid(&format!("{path}.scopeName"), scope, "unsupported scope");
        }
        let only_exists =
            SCOPES.contains(&scope) && scope != "PriorityClass" && scope != "VolumeAttributesClass";
        if only_exists && operator != "Exists" {
            let why = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            check.invalid(&format!("{path}.operator"), operator, why);
        }
        let values = list(&requirement["values"]);
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                check.add(FieldError::required(format!("{path}.values"), why));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                check.invalid(
                    &format!("{path}.values"),
                    requirement["values"].clone(),
                    why,
                );
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => check.invalid(
                &format!("{path}.operator"),
                other,
                "not a valid selector operator",
            ),
        }
    }
    for _ in 0..conflicts(&scopes) {
        check.invalid("spec.scopes", spec["scopes"].clone(), "conflicting scopes");
    }
}
