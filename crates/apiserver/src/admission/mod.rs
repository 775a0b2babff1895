//! What the server adds to objects and forbids, in one fixed order:
//!
//! 1. [`builtin`] plugins that complete objects,
//! 2. mutating [`policies`] and [`webhooks`]; where one changes the object, plugins and those that
//!    ask for it see it once more,
//! 3. what the server itself fills in ([`strategy`]),
//! 4. schema and validation (the caller's, between [`mutate`] and [`validate`]),
//! 5. plugins that only look,
//! 6. the expressions of [`policies`],
//! 7. validating webhooks,
//! 8. [`quota`], charged in the object's own transaction.
//!
//! Every step sees the same [`Change`] and may add [`Effects`]: writes that happen in the
//! object's transaction or not at all. Warnings and audit annotations go to the call's notes.

mod action;
mod builtin;
mod expressions;
mod policies;
mod quota;
mod strategy;
mod webhooks;

pub(crate) use builtin::node_token;

use crate::core::Call;
use crate::model;
use crate::record;
use crate::route::Target;
pub(crate) use action::{act, connect};
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
    /// A stream is opened.
    Connect,
}

/// What admission remembers between writes.
#[derive(Default)]
pub(crate) struct Shared {
    hooks: webhooks::Registry,
    policies: policies::Registry,
    turns: quota::Turns,
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

    /// Name of the object, which may be in the object only.
    pub(crate) fn name(&self, new: Option<&Value>) -> String {
        match (self.target.name.as_str(), new) {
            ("", Some(new)) => new["metadata"]["name"].as_str().unwrap_or_default().into(),
            (name, _) => name.into(),
        }
    }

    /// Whether the object itself, no part of it, is of this resource.
    pub(crate) fn is_of(&self, group: &str, plural: &str) -> bool {
        self.subresource.is_empty() && self.target.resource.is(group, plural)
    }

    /// Whether a part of an object of this resource is written.
    pub(crate) fn is_part(&self, group: &str, plural: &str, subresource: &str) -> bool {
        self.subresource == subresource && self.target.resource.is(group, plural)
    }

    /// The namespace that the object is in, or is.
    pub(crate) fn namespace(&self) -> Option<Value> {
        let name = match self.target.resource.is("", "namespaces") {
            true => &self.target.name,
            false => &self.target.namespace,
        };
        let found = self
            .state
            .get("namespaces", &towpath_store::key("", name))?;
        Some(record::decode(found))
    }

    /// Whether the object that is written is one of the resource itself, not a part with a kind
    /// of its own.
    fn is_whole(&self) -> bool {
        let part = self.target.resource.subresource(self.subresource);
        self.subresource.is_empty() || part.is_none_or(|part| !part.foreign)
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
    /// Held until the transaction is done.
    turn: Option<quota::Turn>,
}

/// Completes the new state; the caller validates it afterwards.
pub(crate) async fn mutate(
    change: &Change<'_>,
    new: &mut Value,
    effects: &mut Effects,
) -> Result<(), Failure> {
    let custom = change.target.resource.custom.as_ref();
    if change.operation == Operation::Create && custom.is_some_and(|custom| custom.ending) {
        let why = "create not allowed while custom resource definition is terminating";
        return Err(change.forbidden(&change.name(Some(new)), why));
    }
    builtin::mutate(change, new, effects)?;
    let (mut policies, mut hooks) = Default::default();
    let mut again = policies::mutate(change, new, &mut policies)?;
    if webhooks::mutates(change, Some(new)) {
        again |= webhooks::mutate(change, new, &mut hooks).await?;
    }
    if again {
        // What was added is completed like what a client sent; the conditions of the transaction
        // are known already.
        builtin::mutate(change, new, &mut Effects::default())?;
        policies::mutate(change, new, &mut policies)?;
        webhooks::mutate(change, new, &mut hooks).await?;
    }
    model::default(&change.target.resource, new);
    strategy::prepare(change, new, effects)
}

/// Looks at the new state when it is complete and valid.
pub(crate) async fn validate(
    change: &Change<'_>,
    new: &Value,
    effects: &mut Effects,
) -> Result<(), Failure> {
    builtin::validate(change, new)?;
    webhooks::check(change, new)?;
    policies::check(change, new)?;
    policies::validate(change, Some(new))?;
    webhooks::validate(change, Some(new)).await?;
    quota::charge(change, new, effects).await
}

/// Checks a deletion.
pub(crate) async fn delete(change: &Change<'_>) -> Result<(), Failure> {
    builtin::delete(change)?;
    webhooks::observe(change).await?;
    policies::validate(change, None)?;
    webhooks::validate(change, None).await
}
