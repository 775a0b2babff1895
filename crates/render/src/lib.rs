//! Sources to manifests, and what to think of them: Kustomize, three-way difference, health,
//! order of application.
//!
//! Everything here is a pure function: no clock, no files, no network, no task. Input is a
//! [`Tree`] of bytes, output is values plus [`Finding`]s with a place in a file. Bad input is
//! never an error and never a panic; every parser has a budget for bytes, depth and nodes.
//!
//! * [`yaml`]: nodes with positions, the scalar rules Kubernetes clients use, the emitter whose
//!   output equals that of the common Go tools.
//! * [`kustomize`]: directories to objects, byte-equal with `kustomize build`.
//! * [`build`]: the same for any directory of manifests.
//! * [`object`]: one Kubernetes object and its identity.
//! * [`diff`]: does the live object say what the source says?
//! * [`health`]: is the live object doing what it says?
//! * [`order`]: phases, waves, kinds, names.

pub mod diff;
mod finding;
pub mod health;
pub mod kustomize;
pub mod object;
pub mod order;
mod plain;
mod tree;
pub mod yaml;

pub use finding::{Finding, Severity};
pub use kustomize::Rendered;
pub use object::{Id, Object};
pub use plain::build;
pub use tree::Tree;
