//! `matchConstraints` and `matchResources`: which writes a policy is about.

use super::read::{list, text};
use crate::admission::{Change, Operation};
use crate::kinds::{Kinds, Resource};
use serde_json::Value;
use std::sync::Arc;
use towpath_api::selector::Label;

/// One rule; `*` stands for anything.
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    scope: String,
}

/// What a policy or a binding is about.
pub(super) struct Matches {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    namespaces: Label,
    objects: Label,
    /// `matchPolicy: Exact`.
    exact: bool,
}

/// A write with what selectors look at.
pub(super) struct Object<'a> {
    pub(super) change: &'a Change<'a>,
    pub(super) namespace: Option<&'a Value>,
    pub(super) new: Option<&'a Value>,
}

fn texts(value: &Value, key: &str) -> Vec<String> {
    let all = list(value, key).iter();
    all.filter_map(|text| text.as_str().map(str::to_string))
        .collect()
}

fn rules(value: &Value, key: &str) -> Vec<Rule> {
    let rule = |rule: &Value| Rule {
        operations: texts(rule, "operations"),
        groups: texts(rule, "apiGroups"),
        versions: texts(rule, "apiVersions"),
        resources: texts(rule, "resources"),
        names: texts(rule, "resourceNames"),
        scope: text(rule, "scope").into(),
    };
    list(value, key).iter().map(rule).collect()
}

impl Matches {
    pub(super) fn read(value: &Value) -> Self {
        let selector = |key: &str| match value[key].is_object() {
            // Validation has seen it.
            true => Label::from_object(&value[key]).unwrap_or_default(),
            false => Label::default(),
        };
        Matches {
            rules: rules(value, "resourceRules"),
            excluded: rules(value, "excludeResourceRules"),
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
            exact: text(value, "matchPolicy") == "Exact",
        }
    }
}

/// The version of the resource in which a policy wants to see a write; none where it does not.
pub(super) fn version(
    matches: &Matches,
    object: &Object<'_>,
    kinds: &Kinds,
) -> Option<Arc<Resource>> {
    if !in_namespace(matches, object) || !is_selected(matches, object) {
        return None;
    }
    if fitting(&matches.excluded, matches.exact, object, kinds).is_some() {
        return None;
    }
    if matches.rules.is_empty() {
        return Some(object.change.target.resource.clone());
    }
    fitting(&matches.rules, matches.exact, object, kinds)
}

fn fitting(
    rules: &[Rule],
    exact: bool,
    object: &Object<'_>,
    kinds: &Kinds,
) -> Option<Arc<Resource>> {
    let own = &object.change.target.resource;
    let fits = |resource: &Resource| rules.iter().any(|rule| rule.fits(object, resource));
    if fits(own) {
        return Some(own.clone());
    }
    // The same objects by another name: other versions, and groups that share them.
    let mut others = kinds.resources.iter();
    others
        .find(|other| !exact && other.table == own.table && fits(other))
        .cloned()
}

impl Rule {
    fn fits(&self, object: &Object<'_>, resource: &Resource) -> bool {
        let change = object.change;
        let any = |all: &[String], wanted: &str| all.iter().any(|one| one == "*" || one == wanted);
        let operation = match change.operation {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        };
        let scope = match self.scope.as_str() {
            "Namespaced" => resource.namespaced,
            "Cluster" => !resource.namespaced,
            _ => true,
        };
        let part = |pattern: &String| {
            let (plural, part) = pattern.split_once('/').unwrap_or((pattern, ""));
            (plural == "*" || plural == resource.plural)
                && (part == "*" || part == change.subresource)
        };
        scope
            && any(&self.operations, operation)
            && any(&self.groups, &resource.group)
            && any(&self.versions, &resource.version)
            && self.resources.iter().any(part)
            && (self.names.is_empty() || self.names.contains(&change.name(object.new)))
    }
}

fn in_namespace(matches: &Matches, object: &Object<'_>) -> bool {
    if matches.namespaces.is_everything() {
        return true;
    }
    let resource = &object.change.target.resource;
    let labels = if resource.is("", "namespaces") {
        // A new namespace is judged by the labels it is to have.
        object.new.or(object.change.old)
    } else if resource.namespaced {
        object.namespace
    } else {
        return true;
    };
    let labels = labels.map_or(&Value::Null, |namespace| &namespace["metadata"]["labels"]);
    matches.namespaces.matches(labels)
}

fn is_selected(matches: &Matches, object: &Object<'_>) -> bool {
    let fits = |object: Option<&Value>| {
        object.is_some_and(|object| matches.objects.matches(&object["metadata"]["labels"]))
    };
    matches.objects.is_everything() || fits(object.new) || fits(object.change.old)
}
