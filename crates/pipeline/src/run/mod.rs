//! The life of a run: observe, plan (pure), apply, and follow what its jobs say.

pub mod access;
pub mod contexts;
pub(crate) mod follow;
pub mod graph;
pub mod observed;
pub mod plan;
pub mod pod;
pub(crate) mod reconcile;
