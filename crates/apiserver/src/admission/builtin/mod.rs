//! Plugins that are always on, one file each, in upstream's order.

mod certificates;
mod classes;
mod lifecycle;
mod limits;
mod node_restriction;
mod pod_security;
mod priority;
mod promotion;
mod protection;
mod resize;
mod runtime_class;
mod service_account;
mod taints;
mod tolerations;
mod topology;

use super::{Change, Effects};
use serde_json::Value;
use towpath_api::status::Failure;

/// What completes objects.
pub(super) fn mutate(
    change: &Change<'_>,
    new: &mut Value,
    effects: &mut Effects,
) -> Result<(), Failure> {
    lifecycle::mutate(change, new, effects)?;
    limits::mutate(change, new);
    service_account::mutate(change, new)?;
    taints::mutate(change, new);
    topology::mutate(change, new);
    priority::mutate(change, new)?;
    tolerations::mutate(change, new);
    classes::mutate(change, new);
    protection::mutate(change, new);
    runtime_class::mutate(change, new)?;
    promotion::mutate(change, new);
    certificates::mutate(change, new);
    Ok(())
}

/// What only looks.
pub(super) fn validate(change: &Change<'_>, new: &Value) -> Result<(), Failure> {
    node_restriction::validate(change, new)?;
    certificates::validate(change, new)?;
    limits::validate(change, new)?;
    pod_security::validate(change, new)?;
    priority::validate(change, new)?;
    resize::validate(change, new)?;
    runtime_class::validate(change, new)
}

/// What forbids deletions.
pub(super) fn delete(change: &Change<'_>) -> Result<(), Failure> {
    lifecycle::delete(change)?;
    node_restriction::delete(change)
}

pub(crate) use node_restriction::token as node_token;
pub(super) use topology::binding;
