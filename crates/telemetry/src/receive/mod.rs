//! What others push: remote write of Prometheus, both versions.

mod known;
mod remote_write;

pub use remote_write::{RemoteWrite, router};
