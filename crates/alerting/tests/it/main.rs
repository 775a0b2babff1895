//! Tests of decisions about alerts, beside the real programs.

mod peer;
mod rules;
