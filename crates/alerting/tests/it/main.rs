//! Tests of decisions about alerts, beside the real programs.

mod alertmanager;
mod outage;
mod peer;
mod rules;
