//! Integration tests with the real git client over a real socket.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, unreachable_pub)]

mod api;
mod kill;
mod runs;
mod server;
mod transfer;
