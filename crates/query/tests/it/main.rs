//! Tests of the query languages.

mod corpus;
mod promql;
mod properties;
mod scene;
