//! Replays request sequences whose answers were recorded from a real kube-apiserver.

mod peer;
mod properties;
mod world;
