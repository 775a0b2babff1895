//! Tests of the stores.

#![allow(clippy::unwrap_used)] // these are tests

mod promql;
