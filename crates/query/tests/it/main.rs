//! Tests of the query languages.

mod corpus;
mod properties;
mod scene;
