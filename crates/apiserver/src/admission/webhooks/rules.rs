//! Which hooks want to see a change, and in which version of its resource.

use super::registry::{Hook, Rule};
use crate::admission::{Change, Operation};
use crate::kinds::{Kinds, Resource};
use serde_json::Value;
use std::sync::Arc;

/// What rules and selectors are about.
pub(super) struct Object<'a> {
    pub(super) change: &'a Change<'a>,
    pub(super) namespace: Option<&'a Value>,
    pub(super) new: Option<&'a Value>,
}

/// The version in which a hook wants the object; `None` where it does not want it.
pub(super) fn version(hook: &Hook, object: &Object<'_>, kinds: &Kinds) -> Option<Arc<Resource>> {
    let resource = fitting(hook, object, kinds)?;
    (in_namespace(hook, object) && is_selected(hook, object)).then_some(resource)
}

fn fitting(hook: &Hook, object: &Object<'_>, kinds: &Kinds) -> Option<Arc<Resource>> {
    let own = &object.change.target.resource;
    let fits = |resource: &Resource| {
        let mut rules = hook.rules.iter();
        rules.any(|rule| matches(rule, object.change, resource))
    };
    if fits(own) {
        return Some(own.clone());
    }
    // The same objects by another name: other versions, and groups that share them.
    let mut others = kinds.resources.iter();
    others
        .find(|other| !hook.exact && other.table == own.table && fits(other))
        .cloned()
}

fn matches(rule: &Rule, change: &Change<'_>, resource: &Resource) -> bool {
    let any = |list: &[String], wanted: &str| list.iter().any(|one| one == "*" || one == wanted);
    any(&rule.operations, change.operation.word())
        && any(&rule.groups, &resource.group)
        && any(&rule.versions, &resource.version)
        && in_scope(&rule.scope, resource)
        && rule
            .resources
            .iter()
            .any(|pattern| names(pattern, &resource.plural, change.subresource))
}

fn in_scope(scope: &str, resource: &Resource) -> bool {
    match scope {
        "Namespaced" => resource.namespaced,
        "Cluster" => !resource.namespaced,
        _ => true,
    }
}

/// `pods`, `pods/status`, `pods/*`, `*/scale`, `*/*`; `*` is every resource, but no part of one.
fn names(pattern: &str, plural: &str, subresource: &str) -> bool {
    let (resource, part) = pattern.split_once('/').unwrap_or((pattern, ""));
    (resource == "*" || resource == plural) && (part == "*" || part == subresource)
}

fn in_namespace(hook: &Hook, object: &Object<'_>) -> bool {
    if hook.namespaces.is_everything() {
        return true;
    }
    let resource = &object.change.target.resource;
    let labels = if resource.is("", "namespaces") && object.change.operation != Operation::Delete {
        // A new namespace is judged by the labels it is to have.
        object.new.or(object.change.old)
    } else if resource.is("", "namespaces") {
        object.change.old
    } else if resource.namespaced {
        object.namespace
    } else {
        return true;
    };
    let none = Value::Null;
    let labels = labels.map_or(&none, |namespace| &namespace["metadata"]["labels"]);
    hook.namespaces.matches(labels)
}

fn is_selected(hook: &Hook, object: &Object<'_>) -> bool {
    let matches = |object: Option<&Value>| {
        object.is_some_and(|object| hook.objects.matches(&object["metadata"]["labels"]))
    };
    hook.objects.is_everything() || matches(object.new) || matches(object.change.old)
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn patterns_of_resources() {
        assert!(names("pods", "pods", "") && !names("pods", "pods", "status"));
        assert!(names("pods/*", "pods", "status") && names("pods/*", "pods", ""));
        assert!(names("*/scale", "deployments", "scale") && !names("*/scale", "deployments", ""));
        assert!(names("*", "pods", "") && !names("*", "pods", "exec"));
        assert!(names("*/*", "pods", "exec") && !names("pods/exec", "pods", "attach"));
    }
}
