//! Journeys through the built binary and its parts together: one test binary, one module per
//! area. Each test has a server of its own: directory, ports, networks.

mod alerting;
mod bad_input;
mod bucket;
mod cases;
mod cli;
mod clients;
mod commits;
mod full;
mod harness;
mod identity;
mod kills;
mod kubectl;
mod loglines;
mod metrics;
mod misbehave;
mod node_pages;
mod outgrow;
mod pipeline;
mod repo;
mod spans;
mod sync_kills;
mod traces;
mod web;
mod why;
