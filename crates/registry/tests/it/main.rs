//! The registry over HTTP on loopback: a table of requests, the field's own clients, and kills.

#![allow(clippy::unwrap_used)] // a failed step is a failed test

mod clients;
mod conformance;
mod harness;
mod kill;
mod origin;
