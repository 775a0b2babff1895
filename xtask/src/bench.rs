//! Measurements beside the real peers.

/// What to measure
#[derive(clap::Args)]
pub struct Args {}

/// Runs them.
pub fn run(_: Args) -> anyhow::Result<()> {
    anyhow::bail!("no bench yet")
}
