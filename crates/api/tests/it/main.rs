//! Replays request sequences whose answers were recorded from a real kube-apiserver.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod fixtures;
mod fuzz;
mod mutate;
mod peer;
mod properties;
mod world;
