//! Real builds: root, overlay, containers. What a test needs beyond that it checks for.

#![allow(clippy::unwrap_used)] // a failed step is a failed test

mod bases;
mod builds;
mod copies;
mod harness;
mod http;
mod kill;
mod peer;
