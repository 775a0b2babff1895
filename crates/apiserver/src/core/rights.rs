//! Whether who asks may do it.

use super::Call;
use crate::rbac::Ask;
use crate::route::Target;
use crate::{components, node_authorizer};
use http::Method;
use towpath_api::status::{self, Denied, Failure};
use towpath_kit::traits::Principal;

pub(super) fn ask(target: &Target) -> Ask<'_> {
    Ask {
        verb: target.verb,
        group: &target.resource.group,
        resource: &target.resource.plural,
        subresource: &target.subresource,
        // A namespace is in itself, for those who may act in it.
        namespace: if target.resource.is("", "namespaces") {
            &target.name
        } else {
            &target.namespace
        },
        name: &target.name,
        path: "",
    }
}

pub(super) fn path_ask(call: &Call) -> Ask<'_> {
    let verb = match call.method {
        Method::GET | Method::HEAD => "get",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "options",
    };
    Ask {
        verb,
        path: &call.path,
        ..Ask::default()
    }
}

pub(super) fn deny(principal: &Principal, ask: &Ask<'_>) -> Failure {
    status::denied(Denied {
        user: &principal.name,
        verb: ask.verb,
        group: ask.group,
        resource: ask.resource,
        subresource: ask.subresource,
        namespace: ask.namespace,
        name: ask.name,
        path: ask.path,
    })
}

pub(super) fn authorize(call: &Call, ask: &Ask<'_>) -> Result<(), Failure> {
    const DECISION: &str = "authorization.k8s.io/decision";
    let state = call.core.store.snapshot();
    let fields = call.query.get("fieldSelector").unwrap_or_default();
    let as_node = node_authorizer::decide(&state, &call.principal, ask, fields);
    if let Some(Ok(())) = as_node {
        call.annotate(DECISION, "allow");
        call.annotate("authorization.k8s.io/reason", "");
        return Ok(());
    }
    if let Some(reason) = call.core.rbac.reason(&state, &call.principal, ask) {
        call.annotate(DECISION, "allow");
        call.annotate("authorization.k8s.io/reason", reason);
        return Ok(());
    }
    call.annotate(DECISION, "forbid");
    if components::is_component(&call.principal) {
        denied_component(&call.principal, ask);
    }
    let mut failure = deny(&call.principal, ask);
    if let Some(Err(why)) = as_node.filter(|told| told != &Err(String::new())) {
        failure.message = format!("{}: {why}", failure.message);
    }
    Err(failure)
}

/// An apply that makes an object is a creation too.
pub(crate) fn may_create(call: &Call, target: &Target) -> Result<(), Failure> {
    let mut ask = ask(target);
    ask.verb = "create";
    authorize(call, &ask)
}

/// A component lacks a right: a fault of ours, said loudly.
pub(crate) fn denied_component(principal: &Principal, ask: &Ask<'_>) {
    tracing::error!(
        component = principal.name,
        verb = ask.verb,
        group = ask.group,
        resource = ask.resource,
        subresource = ask.subresource,
        namespace = ask.namespace,
        name = ask.name,
        path = ask.path,
        "a component was denied: its role lacks a right"
    );
}
