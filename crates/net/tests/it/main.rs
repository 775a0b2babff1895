//! Integration tests, each in a network namespace and `/run` of its own: nothing touches the
//! machine's network.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, unreachable_pub)]

mod api;
mod isolated;
mod pods;
mod services;
mod talk;
