//! Tests of the query languages.

#![allow(clippy::unwrap_used)] // these are tests

mod corpus;
mod logql;
mod promql;
mod properties;
mod scene;
mod template;
mod traceql;
