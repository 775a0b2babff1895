//! What is said about kinds and fields that should no longer be used.

use crate::kinds::Resource;
use serde_json::Value;

/// The warning that comes with every answer about a kind.
pub(crate) fn warning(resource: &Resource) -> Option<&'static str> {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "endpoints") => {
            Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        }
        ("", "componentstatuses") => Some("v1 ComponentStatus is deprecated in v1.19+"),
        _ => None,
    }
}

/// Warnings about what an object says, in a write that goes through.
pub(crate) fn warnings(resource: &Resource, new: &Value, old: Option<&Value>) -> Vec<String> {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("discovery.k8s.io", "endpointslices") if new["addressType"] == "FQDN" => {
            vec!["spec.addressType: FQDN endpoints are deprecated".into()]
        }
        ("networking.k8s.io", "ingresses") if old.is_none() => {
            let key = "kubernetes.io/ingress.class";
            let set = !new["metadata"]["annotations"][key].is_null();
            match set && new["spec"]["ingressClassName"].is_null() {
                true => vec![format!(
                    "annotation {key:?} is deprecated, please use 'spec.ingressClassName' instead"
                )],
                false => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}
