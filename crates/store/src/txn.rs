//! Transactions: a few keys with preconditions, all or nothing.

use crate::rec::{NewRec, Rec};
use std::sync::Arc;

/// How soon a write is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// Synced before it is acknowledged.
    #[default]
    Normal,
    /// Acknowledged once written to the log file, synced within a second: survives a kill of
    /// the process, may be lost with power. For Leases and Events only.
    Relaxed,
}

/// What must hold for an operation.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// `Some(true)`: the key exists; `Some(false)`: it does not.
    pub present: Option<bool>,
    /// Revision of the last write.
    pub revision: Option<u64>,
    /// Unique id.
    pub uid: Option<Box<str>>,
}

impl Expect {
    /// No precondition.
    pub fn any() -> Self {
        Self::default()
    }

    /// The key must be free.
    pub fn absent() -> Self {
        Self {
            present: Some(false),
            ..Self::default()
        }
    }

    /// The key's last write must have this revision.
    pub fn revision(revision: u64) -> Self {
        Self {
            present: Some(true),
            revision: Some(revision),
            uid: None,
        }
    }

    pub(crate) fn holds(&self, current: Option<&Arc<Rec>>) -> bool {
        self.present
            .is_none_or(|present| present == current.is_some())
            && self
                .revision
                .is_none_or(|revision| current.is_some_and(|c| c.revision == revision))
            && self
                .uid
                .as_ref()
                .is_none_or(|uid| current.is_some_and(|c| c.meta.uid == *uid))
    }
}

/// One operation.
#[derive(Clone, Debug)]
pub enum Op {
    /// Creates or replaces. The same bytes again change nothing and keep the revision.
    Put {
        /// E.g. `apps/deployments`.
        resource: Arc<str>,
        /// `<namespace>/<name>`.
        key: Arc<str>,
        /// Precondition.
        expect: Expect,
        /// New state.
        new: NewRec,
    },
    /// Removes; a missing key changes nothing.
    Delete {
        /// E.g. `apps/deployments`.
        resource: Arc<str>,
        /// `<namespace>/<name>`.
        key: Arc<str>,
        /// Precondition.
        expect: Expect,
        /// State that the delete event shows; the last one where not given.
        last: Option<NewRec>,
    },
    /// Only the precondition.
    Check {
        /// E.g. `namespaces`.
        resource: Arc<str>,
        /// `<namespace>/<name>`.
        key: Arc<str>,
        /// Precondition.
        expect: Expect,
    },
}

impl Op {
    pub(crate) fn place(&self) -> (&Arc<str>, &Arc<str>, &Expect) {
        match self {
            Self::Put {
                resource,
                key,
                expect,
                ..
            }
            | Self::Delete {
                resource,
                key,
                expect,
                ..
            }
            | Self::Check {
                resource,
                key,
                expect,
            } => (resource, key, expect),
        }
    }
}

/// Operations that are done together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    /// In order.
    pub ops: Vec<Op>,
    /// How soon durable.
    pub class: Class,
}

/// What a transaction did.
#[derive(Clone, Debug)]
pub struct Done {
    /// Store revision after it.
    pub revision: u64,
    /// Per operation the state after it; for a delete the last state, at the revision of the
    /// deletion; nothing for a check and for a delete of what was not there.
    pub recs: Vec<Option<Arc<Rec>>>,
}
