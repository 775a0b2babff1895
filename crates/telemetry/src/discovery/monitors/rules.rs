//! Rules of relabelling as prometheus-operator writes them.

use serde_json::Value as Json;

use super::spec::{Endpoint, LabelSelector, RelabelOf};
use crate::discovery::plain;
use crate::scrape::relabel::{Action, Written};
use crate::scrape::written::{Attach, KubernetesDiscovery, Namespaces, Role};

pub(super) fn rules(own: &[RelabelOf]) -> Vec<Written> {
    let rule = |own: &RelabelOf| Written {
        source_labels: own.source_labels.clone(),
        separator: own.separator.clone(),
        regex: own.regex.clone(),
        modulus: own.modulus,
        target_label: own.target_label.clone(),
        replacement: own.replacement.clone(),
        action: own.action.unwrap_or_default(),
    };
    own.iter().map(rule).collect()
}

pub(super) fn picks(action: Action, source: &[&str], regex: &str) -> Written {
    Written {
        action,
        source_labels: Some(source.iter().map(|name| (*name).to_owned()).collect()),
        regex: Some(regex.to_owned()),
        ..Written::default()
    }
}

pub(super) fn copies(source: &str, target: &str) -> Written {
    Written {
        source_labels: Some(vec![source.to_owned()]),
        target_label: Some(target.to_owned()),
        ..Written::default()
    }
}

/// Copies what is not empty.
pub(super) fn copies_some(source: &str, target: &str, regex: &str) -> Written {
    Written {
        separator: Some(";".to_owned()),
        regex: Some(regex.to_owned()),
        replacement: Some("${1}".to_owned()),
        ..copies(source, target)
    }
}

pub(super) fn sets(target: &str, value: &str) -> Written {
    Written {
        target_label: Some(target.to_owned()),
        replacement: Some(value.to_owned()),
        ..Written::default()
    }
}

/// A selector of labels as rules over what discovery tells of an object.
pub(super) fn selection(selector: &LabelSelector, role: &str) -> Result<Vec<Written>, String> {
    let mut out = Vec::new();
    let label = |name: &str| {
        let name = plain(name);
        let prefix = format!("__meta_kubernetes_{role}_label");
        (
            format!("{prefix}_{name}"),
            format!("{prefix}present_{name}"),
        )
    };
    for (name, value) in &selector.match_labels {
        let (value_of, present) = label(name);
        let regex = format!("({});true", regex::escape(value));
        out.push(picks(Action::Keep, &[&value_of, &present], &regex));
    }
    for own in &selector.match_expressions {
        let (value_of, present) = label(&own.key);
        let values: Vec<String> = own
            .values
            .iter()
            .map(|value| regex::escape(value))
            .collect();
        let regex = format!("({});true", values.join("|"));
        out.push(match own.operator.as_str() {
            "In" => picks(Action::Keep, &[&value_of, &present], &regex),
            "NotIn" => picks(Action::Drop, &[&value_of, &present], &regex),
            "Exists" => picks(Action::Keep, &[&present], "true"),
            "DoesNotExist" => picks(Action::Drop, &[&present], "true"),
            other => return Err(format!("operator {other} is none of a label selector")),
        });
    }
    Ok(out)
}

/// Keeps targets of the wanted port.
pub(super) fn port(endpoint: &Endpoint, named: &str) -> Option<Written> {
    let name = endpoint.port.as_deref().filter(|port| !port.is_empty());
    let keep = |source: &str, regex: String| Some(picks(Action::Keep, &[source], &regex));
    if let Some(name) = name {
        return keep(named, regex::escape(name));
    }
    match (&endpoint.target_port, endpoint.port_number) {
        (Some(Json::String(name)), _) if !name.is_empty() => keep(
            "__meta_kubernetes_pod_container_port_name",
            regex::escape(name),
        ),
        (Some(Json::Number(number)), _) => keep(
            "__meta_kubernetes_pod_container_port_number",
            number.to_string(),
        ),
        (_, Some(number)) => keep(
            "__meta_kubernetes_pod_container_port_number",
            number.to_string(),
        ),
        _ => None,
    }
}

pub(super) fn discovery(
    role: Role,
    namespaces: Namespaces,
    attach_metadata: Attach,
) -> KubernetesDiscovery {
    KubernetesDiscovery {
        role,
        namespaces,
        selectors: Vec::new(),
        attach_metadata,
        api_server: None,
        kubeconfig_file: None,
    }
}

pub(super) fn running(endpoint: &Endpoint) -> Option<Written> {
    let wanted = endpoint.filter_running.unwrap_or(true);
    wanted.then(|| {
        picks(
            Action::Drop,
            &["__meta_kubernetes_pod_phase"],
            "(Failed|Succeeded)",
        )
    })
}

pub(super) fn labels(rules: &mut Vec<Written>, names: &[String], role: &str) {
    for name in names {
        let name = plain(name);
        let source = format!("__meta_kubernetes_{role}_label_{name}");
        rules.push(copies_some(&source, &name, "(.+)"));
    }
}

pub(super) fn named_port(rules: &mut Vec<Written>, endpoint: &Endpoint) {
    let target = match &endpoint.target_port {
        Some(Json::String(name)) => Some(name.clone()),
        Some(Json::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let name = endpoint
        .port
        .clone()
        .filter(|port| !port.is_empty())
        .or(target);
    if let Some(name) = name {
        rules.push(sets("endpoint", &name));
    }
}
