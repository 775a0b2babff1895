//! PodSecurity: what pods may ask of the host, by labels of their namespace. Pods are refused,
//! what makes pods is warned about, and both are noted for the audit log.

mod checks;
mod policy;
#[cfg(test)]
mod tests;

use crate::admission::{Change, Operation};
use crate::record;
use checks::Finding;
use policy::{Level, Policies, Policy, of_labels};
use serde_json::Value;
use std::collections::BTreeMap;
use towpath_api::status::{self, Failure};

const AUDIT: &str = "pod-security.kubernetes.io/";
/// Pods of a namespace that are looked at when it becomes stricter.
const PODS: usize = 3000;

/// Parts of a pod through which nothing that matters here changes.
const HARMLESS: [&str; 4] = ["binding", "eviction", "status", "proxy"];

pub(super) fn validate(change: &Change<'_>, new: &Value) -> Result<(), Failure> {
    let resource = &change.target.resource;
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "namespaces") if change.subresource.is_empty() => namespace(change, new),
        ("", "pods") if !HARMLESS.contains(&change.subresource) => pod(change, new),
        _ if change.subresource.is_empty() => {
            if let Some(template) = template(&resource.group, &resource.plural, new) {
                maker(change, template);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The template of a kind that makes pods.
fn template<'a>(group: &str, plural: &str, object: &'a Value) -> Option<&'a Value> {
    let template = match (group, plural) {
        ("", "podtemplates") => &object["template"],
        ("batch", "cronjobs") => &object["spec"]["jobTemplate"]["spec"]["template"],
        ("", "replicationcontrollers")
        | ("apps", "replicasets" | "deployments" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => &object["spec"]["template"],
        _ => return None,
    };
    template.is_object().then_some(template)
}

fn policies(change: &Change<'_>) -> Policies {
    let namespace = change.namespace();
    let labels = namespace.map(|object| object["metadata"]["labels"].clone());
    let (policies, errors) = of_labels(&labels.unwrap_or_default());
    if !errors.is_empty() {
        let why = towpath_api::field::aggregate(&errors);
        change.call.annotate(
            format!("{AUDIT}error"),
            format!("Failed to parse policy: {why}"),
        );
    }
    policies
}

fn show(findings: &[Finding]) -> String {
    let parts = findings
        .iter()
        .map(|finding| match finding.detail.as_str() {
            "" => finding.reason.to_string(),
            detail => format!("{} ({detail})", finding.reason),
        });
    parts.collect::<Vec<_>>().join(", ")
}

fn judge(policy: Policy, pod: &Value) -> Vec<Finding> {
    checks::run(policy, &pod["metadata"]["annotations"], &pod["spec"])
}

fn pod(change: &Change<'_>, new: &Value) -> Result<(), Failure> {
    let policies = policies(change);
    let modes = [policies.enforce, policies.audit, policies.warn];
    if modes.iter().all(|policy| policy.level == Level::Privileged) {
        let policy = policies.enforce.to_string();
        change
            .call
            .annotate(format!("{AUDIT}enforce-policy"), policy);
        return Ok(());
    }
    if change.old.is_some_and(|old| !is_significant(new, old)) {
        return Ok(());
    }
    change.call.annotate(
        format!("{AUDIT}enforce-policy"),
        policies.enforce.to_string(),
    );
    let forbidden = judge(policies.enforce, new);
    note(change, policies.audit, new);
    if !forbidden.is_empty() {
        let why = format!(
            "violates PodSecurity {:?}: {}",
            policies.enforce.to_string(),
            show(&forbidden)
        );
        return Err(change.forbidden(new["metadata"]["name"].as_str().unwrap_or_default(), &why));
    }
    warn(change, policies.warn, new);
    Ok(())
}

fn maker(change: &Change<'_>, template: &Value) {
    let policies = policies(change);
    note(change, policies.audit, template);
    warn(change, policies.warn, template);
}

fn note(change: &Change<'_>, policy: Policy, pod: &Value) {
    let found = judge(policy, pod);
    if !found.is_empty() {
        let text = format!(
            "would violate PodSecurity {:?}: {}",
            policy.to_string(),
            show(&found)
        );
        change
            .call
            .annotate(format!("{AUDIT}audit-violations"), text);
    }
}

fn warn(change: &Change<'_>, policy: Policy, pod: &Value) {
    let found = judge(policy, pod);
    if !found.is_empty() {
        let text = format!(
            "would violate PodSecurity {:?}: {}",
            policy.to_string(),
            show(&found)
        );
        change.call.warn(text);
    }
}

// Of what can change in a pod, only images and further containers matter here.
fn is_significant(new: &Value, old: &Value) -> bool {
    let list = |pod: &Value, key: &str| pod["spec"][key].as_array().cloned().unwrap_or_default();
    let same_images = |key: &str| {
        let (new, old) = (list(new, key), list(old, key));
        new.len() == old.len()
            && new
                .iter()
                .zip(&old)
                .all(|(new, old)| new["image"] == old["image"])
    };
    let known = list(old, "ephemeralContainers");
    let ephemeral = list(new, "ephemeralContainers");
    let mut added = ephemeral.iter().filter(|container| {
        let before = known.iter().find(|old| old["name"] == container["name"]);
        before.is_none_or(|old| old["image"] != container["image"])
    });
    !same_images("containers") || !same_images("initContainers") || added.next().is_some()
}

fn namespace(change: &Change<'_>, new: &Value) -> Result<(), Failure> {
    let (policies, errors) = of_labels(&new["metadata"]["labels"]);
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    let Some(old) = change.old.filter(|_| change.operation == Operation::Update) else {
        return match errors.as_slice() {
            [] => Ok(()),
            errors => Err(status::invalid("", "Namespace", name, errors)),
        };
    };
    let (before, wrong_before) = of_labels(&old["metadata"]["labels"]);
    if !errors.is_empty() && errors != wrong_before {
        return Err(status::invalid("", "Namespace", name, &errors));
    }
    let (enforce, was) = (policies.enforce, before.enforce);
    let relaxed = enforce.minor == was.minor && enforce.level <= was.level;
    if enforce.level != Level::Privileged && !relaxed {
        warn_of_pods(change, name, enforce);
    }
    Ok(())
}

// Pods that run already stay, but whoever makes their namespace stricter is told of them.
fn warn_of_pods(change: &Change<'_>, namespace: &str, policy: Policy) {
    let mut found: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let total = change.state.range("pods", namespace, None).count();
    for rec in change.state.range("pods", namespace, None).take(PODS) {
        let findings = judge(policy, &record::decode(rec));
        if !findings.is_empty() {
            let reasons: Vec<&str> = findings.iter().map(|f| f.reason).collect();
            let entry = found
                .entry(reasons.join(", "))
                .or_insert((rec.name().into(), 0));
            entry.1 += 1;
        }
    }
    if total > PODS {
        change.call.warn(format!(
            "new PodSecurity enforce level only checked against the first {PODS} of {total} existing pods"
        ));
    }
    if found.is_empty() {
        return;
    }
    let policy = policy.to_string();
    change.call.warn(format!(
        "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level {policy:?}"
    ));
    let mut lines: Vec<String> = found
        .into_iter()
        .map(|(reasons, (pod, count))| match count {
            1 => format!("{pod}: {reasons}"),
            2 => format!("{pod} (and 1 other pod): {reasons}"),
            more => format!("{pod} (and {} other pods): {reasons}", more - 1),
        })
        .collect();
    lines.sort();
    for line in lines {
        change.call.warn(line);
    }
}
