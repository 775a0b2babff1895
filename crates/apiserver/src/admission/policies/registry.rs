//! The policies that are bound now, compiled once per change of them or of their bindings.

use super::matching::Matches;
use super::read;
use crate::record;
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use towpath_api::selector::Label;
use towpath_query::cel::Program;
use towpath_store::{Snapshot, Table};

/// Tables of policies and of their bindings.
type Tables = (&'static str, &'static str);

const VALIDATING: Tables = (
    "admissionregistration.k8s.io/validatingadmissionpolicies",
    "admissionregistration.k8s.io/validatingadmissionpolicybindings",
);
const MUTATING: Tables = (
    "admissionregistration.k8s.io/mutatingadmissionpolicies",
    "admissionregistration.k8s.io/mutatingadmissionpolicybindings",
);

/// An expression, compiled; stored ones compiled once, so an error is one of this server.
pub(super) struct Expression {
    pub(super) source: String,
    pub(super) program: Result<Program, String>,
}

/// One rule of a policy.
pub(super) struct Validation {
    pub(super) expression: Expression,
    pub(super) message: String,
    pub(super) message_expression: Option<Expression>,
    pub(super) reason: String,
}

/// What a policy adds to the audit of a request.
pub(super) struct Annotation {
    pub(super) key: String,
    pub(super) expression: Expression,
}

/// One change a policy makes.
pub(super) struct Mutation {
    pub(super) patch: Patch,
    pub(super) expression: Expression,
}

/// What the expression of a mutation gives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Patch {
    /// `Object{...}`, merged as server-side apply merges.
    Apply,
    /// RFC 6902, as `[JSONPatch{...}]`.
    Json,
}

/// The kind of a policy's parameters.
pub(super) struct ParamKind {
    pub(super) api_version: String,
    pub(super) kind: String,
}

/// A policy with its bindings.
pub(super) struct Policy {
    pub(super) name: String,
    /// `failurePolicy: Ignore`.
    pub(super) fails_open: bool,
    pub(super) param_kind: Option<ParamKind>,
    pub(super) matches: Matches,
    pub(super) conditions: Vec<Expression>,
    pub(super) variables: BTreeMap<String, Expression>,
    pub(super) validations: Vec<Validation>,
    pub(super) annotations: Vec<Annotation>,
    pub(super) mutations: Vec<Mutation>,
    /// `reinvocationPolicy: IfNeeded`.
    pub(super) reinvoke: bool,
    pub(super) bindings: Vec<Binding>,
}

/// Which objects are the parameters.
pub(super) struct ParamRef {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) selector: Label,
    /// `parameterNotFoundAction: Deny`.
    pub(super) denies_without: bool,
}

/// Where a policy is in force.
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) param_ref: Option<ParamRef>,
    pub(super) matches: Option<Matches>,
    pub(super) actions: Vec<String>,
}

struct Known {
    policies: Table,
    bindings: Table,
    found: Arc<Vec<Policy>>,
}

/// Remembers what was read last.
#[derive(Default)]
pub(crate) struct Registry {
    validating: Mutex<Option<Known>>,
    mutating: Mutex<Option<Known>>,
}

impl Registry {
    /// The validating policies of a state of the store that have bindings.
    pub(super) fn validating(&self, state: &Snapshot) -> Arc<Vec<Policy>> {
        present(&self.validating, VALIDATING, state)
    }

    /// The mutating ones.
    pub(super) fn mutating(&self, state: &Snapshot) -> Arc<Vec<Policy>> {
        present(&self.mutating, MUTATING, state)
    }
}

fn present(
    known: &Mutex<Option<Known>>,
    (policies, bindings): Tables,
    state: &Snapshot,
) -> Arc<Vec<Policy>> {
    if state.count(policies) == 0 || state.count(bindings) == 0 {
        return Arc::default();
    }
    let (policies, bindings) = (state.table(policies), state.table(bindings));
    let mut known = known.lock();
    if let Some(known) = known.as_ref()
        && known.policies.ptr_eq(&policies)
        && known.bindings.ptr_eq(&bindings)
    {
        return known.found.clone();
    }
    let found = Arc::new(all(&policies, &bindings));
    *known = Some(Known {
        policies,
        bindings,
        found: found.clone(),
    });
    found
}

// Tables are in the order of names.
fn all(policies: &Table, bindings: &Table) -> Vec<Policy> {
    let mut bound: BTreeMap<String, Vec<Binding>> = BTreeMap::new();
    for rec in bindings.values() {
        let object: Value = record::decode(rec);
        let policy = object["spec"]["policyName"].as_str().unwrap_or_default();
        let binding = read::binding(rec.name(), &object["spec"]);
        bound.entry(policy.into()).or_default().push(binding);
    }
    let mut found = Vec::new();
    for rec in policies.values() {
        if let Some(bindings) = bound.remove(rec.name()) {
            let object = record::decode(rec);
            found.push(read::policy(rec.name(), &object["spec"], bindings));
        }
    }
    found
}
