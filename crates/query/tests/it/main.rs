//! Tests of the query languages.

mod corpus;
mod logql;
mod promql;
mod properties;
mod scene;
mod template;
mod traceql;
