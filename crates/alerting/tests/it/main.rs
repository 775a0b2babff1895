//! Tests of decisions about alerts, beside the real programs.

mod alertmanager;
mod peer;
mod rules;
