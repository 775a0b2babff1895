//! The product: command line, composition root and embedded web UI.
//!
//! * [`cli`] and [`commands`]: one struct and one function per command.
//! * [`config`]: `towpath.toml`, environment, flags.
//! * [`preflight`]: what the machine lacks, before anything starts.
//! * [`compose`]: the only place that knows every feature crate; hands each the traits it needs.
//! * [`http`]: port 8080: session, Kubernetes proxy, the one WebSocket, the UI's files.
//! * [`inner`]: the hidden commands that run inside containers and shims.

pub mod cli;
pub mod commands;
pub mod compose;
pub mod config;
pub mod connection;
pub mod exit;
pub mod http;
pub mod inner;
pub mod preflight;
pub mod state;
