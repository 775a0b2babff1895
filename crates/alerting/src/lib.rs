//! From samples to messages: rule files, alerts, and what an Alertmanager's configuration makes of
//! them. Decisions only: what is sent, kept and asked is done by who hands in the traits.
//!
//! [`rules`] reads rule files and says at a time, over a source of samples, what is to be written
//! and which alerts there are. What is wrong in a file is a [`Finding`] with its place.

mod finding;
mod yaml;

pub mod alertmanager;
pub mod rules;

pub use finding::Finding;
