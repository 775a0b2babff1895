//! Measurements beside the real peers, interleaved in one run, as ratios with p50 and p99.
//!
//! Each bench starts what it needs in directories of its own and stops it again. A peer that is
//! absent is named, never replaced by a remembered number.

#![allow(unreachable_pub)] // a program; `pub` here means "used by another module"

mod api;
mod disk;
mod git;
mod kustomize;
mod peer;
mod pods;
mod push;
mod registry;
mod report;
mod server;
mod stats;

use anyhow::Result;
use clap::Parser;
use report::Row;
use xtask::{packages, peers, step};

/// Measure Towpath beside the real peers
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Args {
    /// Only these: start, api, pods, push, registry, git, kustomize
    names: Vec<String>,
    /// Repeats of each measurement; medians are reported
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Measure this program instead of building a release
    #[arg(long)]
    binary: Option<String>,
    /// Do not write docs/performance.md
    #[arg(long)]
    dry_run: bool,
}

static BINARY: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// The program that is measured.
fn binary() -> String {
    BINARY.get().cloned().unwrap_or_default()
}

type Bench = fn(usize) -> Result<Vec<Row>>;

const BENCHES: &[(&str, Bench)] = &[
    ("start", server::bench),
    ("api", api::bench),
    ("pods", pods::bench),
    ("push", push::bench),
    ("registry", registry::bench),
    ("git", git::bench),
    ("kustomize", kustomize::bench),
];

fn main() -> Result<()> {
    std::env::set_current_dir(step::root())?;
    let args = Args::parse();
    packages::install(&[packages::DEMO, packages::TEST, packages::BENCH])?;
    peers::run()?;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    if args.binary.is_none() {
        step::run(step::cargo().args(["build", "--locked", "--package", "towpath", "--release"]))?;
    }
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    let built = args
        .binary
        .unwrap_or_else(|| format!("{target}/release/towpath"));
    let _ = BINARY.set(built);
    let mut rows = vec![disk::fsync()?];
    for (name, bench) in BENCHES {
        if args.names.is_empty() || args.names.iter().any(|n| n == name) {
            eprintln!("bench {name}");
            match bench(args.repeats) {
                Ok(found) => rows.extend(found),
                Err(error) => {
                    eprintln!("bench {name}: {error:#}");
                    rows.push(Row::failed(name, &error));
                }
            }
        }
    }
    let table = report::table(&rows);
    println!("{table}");
    if !args.dry_run && args.names.is_empty() {
        report::write(&table)?;
    }
    Ok(())
}
