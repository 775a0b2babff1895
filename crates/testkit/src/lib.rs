//! What tests of several crates need: ports of their own, the real peers, what the machine has, and
//! the rule that a full run skips nothing. Only ever a `dev-dependency`, and of tools that run tests.

mod machine;
mod peers;
mod ports;

pub use machine::{busybox, go_module};
pub use peers::{ask, peer, peer_directory};
pub use ports::free_port;

/// Whether nothing may be left out: `cargo xtask test` sets `TOWPATH_TEST_FULL`.
pub fn full() -> bool {
    std::env::var_os("TOWPATH_TEST_FULL").is_some()
}

/// Says loudly that a test does not run here, and why.
///
/// # Panics
/// In a full run.
#[track_caller]
pub fn skip(why: &str) {
    assert!(!full(), "a full run must not skip: {why}");
    eprintln!("SKIPPED: {why}");
}
