//! PromQL against upstream's own material.
//!
//! The Go module of Prometheus, at the version that `tests/peers/prometheus` pins, is read where
//! the module cache keeps it; nothing of it is copied here.

#![allow(clippy::unwrap_used)] // these are tests

mod differential;
mod engine;
mod extract;
mod limits;
mod parser;
mod queries;
mod run;
mod script;
mod scripts;
mod store;

use std::path::PathBuf;

/// The folder of the pinned module; none, said aloud, where Go or the module is not to be had.
pub(crate) fn upstream() -> Option<PathBuf> {
    towpath_testkit::go_module("prometheus", "github.com/prometheus/prometheus", "")
}
