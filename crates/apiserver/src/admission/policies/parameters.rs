//! The parameters of a policy: objects of the store that a binding names or selects.

use super::registry::{Binding, Policy};
use crate::admission::Change;
use crate::{form, record};
use serde_json::Value;
use std::sync::Arc;
use towpath_store::Rec;

/// One evaluation for each; one without where there are none to have.
pub(super) fn of(
    change: &Change<'_>,
    policy: &Policy,
    binding: &Binding,
) -> Result<Vec<Option<Value>>, String> {
    let Some(kind) = &policy.param_kind else {
        return Ok(vec![None]);
    };
    let kinds = change.call.core.kinds.load();
    let resource = kinds
        .resources
        .iter()
        .find(|r| r.kind == kind.kind && r.api_version() == kind.api_version);
    let Some(resource) = resource else {
        return Err(format!(
            "failed to configure policy: failed to find resource referenced by paramKind: '{}, Kind={}'",
            kind.api_version, kind.kind
        ));
    };
    let Some(reference) = &binding.param_ref else {
        return Ok(vec![None]);
    };
    let wrong = |why: &str| Err(format!("failed to configure binding: {why}"));
    let mut namespace = "";
    if resource.namespaced {
        namespace = match reference.namespace.as_str() {
            "" => &change.target.namespace,
            given => given,
        };
        if namespace.is_empty() {
            return wrong(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources",
            );
        }
    } else if !reference.namespace.is_empty() {
        return wrong("paramRef.namespace must not be provided for a cluster-scoped `paramKind`");
    }
    let read = |rec: &Arc<Rec>| Some(form::serve_version(resource, record::decode(rec)));
    let found: Vec<Option<Value>> = match reference.name.as_str() {
        "" => change
            .state
            .range(&resource.table, namespace, None)
            .map(read)
            .filter(|object| {
                object
                    .as_ref()
                    .is_some_and(|o| reference.selector.matches(&o["metadata"]["labels"]))
            })
            .collect(),
        name => {
            let key = towpath_store::key(namespace, name);
            change
                .state
                .get(&resource.table, &key)
                .map(read)
                .into_iter()
                .collect()
        }
    };
    if found.is_empty() && reference.denies_without {
        return wrong("no params found for policy binding with `Deny` parameterNotFoundAction");
    }
    Ok(found)
}
