//! Metrics fetched from targets.

mod md5;
mod pattern;
pub mod relabel;
