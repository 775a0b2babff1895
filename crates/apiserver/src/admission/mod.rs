//! What the server adds to objects and forbids, in one fixed order:
//!
//! 1. [`builtin`] plugins that complete objects,
//! 2. defaults again, and what the server itself fills in ([`strategy`]),
//! 3. schema and validation (the caller's, between [`mutate`] and [`validate`]),
//! 4. plugins that only look.
//!
//! Every step sees the same [`Change`] and may add [`Effects`]: writes that happen in the
//! object's transaction or not at all. Warnings and audit annotations go to the call's notes.

mod builtin;
mod quality;
mod strategy;

use crate::core::Call;
use crate::model;
use crate::route::Target;
use serde_json::Value;
pub(crate) use strategy::{mark, released};
use towpath_api::status::{self, Failure};
use towpath_store::{Op, Snapshot};

/// What is done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
}

/// One write on its way.
pub(crate) struct Change<'a> {
    pub(crate) call: &'a Call,
    pub(crate) target: &'a Target,
    pub(crate) state: &'a Snapshot,
    pub(crate) operation: Operation,
    /// Absent on creation.
    pub(crate) old: Option<&'a Value>,
    pub(crate) subresource: &'a str,
    /// Nothing will be stored, and nothing elsewhere may change because of it.
    pub(crate) dry_run: bool,
    /// `CreateOptions`, `UpdateOptions`, `PatchOptions` or `DeleteOptions` of the request.
    pub(crate) options: &'a Value,
}

impl Change<'_> {
    pub(crate) fn forbidden(&self, name: &str, why: &str) -> Failure {
        status::forbidden(
            &self.target.resource.group,
            &self.target.resource.plural,
            name,
            why,
        )
    }

    /// Whether the object itself, no part of it, is of this resource.
    pub(crate) fn is_of(&self, group: &str, plural: &str) -> bool {
        self.subresource.is_empty() && self.target.resource.is(group, plural)
    }

    /// Whether this makes a new object of the resource.
    pub(crate) fn creates(&self, group: &str, plural: &str) -> bool {
        self.operation == Operation::Create && self.is_of(group, plural)
    }

    /// Whether this changes an object of the resource through its main path.
    pub(crate) fn updates(&self, group: &str, plural: &str) -> bool {
        self.operation == Operation::Update && self.is_of(group, plural)
    }
}

/// What else a write does.
#[derive(Default)]
pub(crate) struct Effects {
    /// Further operations of the object's transaction.
    pub(crate) ops: Vec<Op>,
}

/// Completes the new state; the caller validates it afterwards.
pub(crate) async fn mutate(
    change: &Change<'_>,
    new: &mut Value,
    effects: &mut Effects,
) -> Result<(), Failure> {
    builtin::mutate(change, new, effects)?;
    model::default(&change.target.resource, new);
    strategy::prepare(change, new, effects)
}

/// Looks at the new state when it is complete and valid.
pub(crate) async fn validate(
    _change: &Change<'_>,
    _new: &Value,
    _effects: &mut Effects,
) -> Result<(), Failure> {
    Ok(())
}

/// Checks a deletion.
pub(crate) async fn delete(change: &Change<'_>) -> Result<(), Failure> {
    builtin::delete(change)
}
