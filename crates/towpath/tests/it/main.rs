//! Journeys through the built binary and its parts together: one test binary, one module per
//! area. Each test has a server of its own: directory, ports, networks.

mod bad_input;
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
mod pipeline;
mod repo;
mod spans;
mod sync_kills;
mod traces;
mod web;
mod why;
