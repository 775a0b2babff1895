//! Plugins that are always on, one file each, in upstream's order.

mod classes;
mod lifecycle;
mod priority;
mod promotion;
mod service_account;
mod tolerations;

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
    if !matches!(change.subresource, "" | "finalize") {
        return Ok(());
    }
    service_account::mutate(change, new)?;
    priority::mutate(change, new)?;
    tolerations::mutate(change, new);
    classes::mutate(change, new);
    promotion::mutate(change, new);
    Ok(())
}

/// What forbids deletions.
pub(super) fn delete(change: &Change<'_>) -> Result<(), Failure> {
    lifecycle::delete(change)
}
