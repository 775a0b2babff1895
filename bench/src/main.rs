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
mod telemetry;

use anyhow::Result;
use clap::Parser;
use report::Row;
use std::sync::atomic::{AtomicBool, Ordering};
use xtask::{packages, peers, step};

/// Measure Towpath beside the real peers
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Args {
    /// Only these: start, api, pods, push, registry, git, kustomize,
    /// telemetry
    names: Vec<String>,
    /// The same, as a flag
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// A twentieth of the objects and requests of `api`, two thousandths of `telemetry`: a trial of
    /// the bench, not a measurement
    #[arg(long)]
    small: bool,
    /// What share of the series, lines and spans of the targets `telemetry` takes; whole, it runs
    /// for hours
    #[arg(long, default_value_t = 0.1)]
    scale: f64,
    /// Only this part of `api`: objects, watchers, pods, apply, start; of `telemetry`: idle, scrape,
    /// head, blocks, logs, traces
    #[arg(long)]
    part: Option<String>,
    /// Also write the rows of only some benches into docs/performance.md
    #[arg(long)]
    write: bool,
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
static PART: std::sync::OnceLock<String> = std::sync::OnceLock::new();
static SCALE: std::sync::OnceLock<f64> = std::sync::OnceLock::new();
static SMALL: AtomicBool = AtomicBool::new(false);

/// The program that is measured.
fn binary() -> String {
    BINARY.get().cloned().unwrap_or_default()
}

/// How many of something a bench takes.
fn counted(whole: usize) -> usize {
    if SMALL.load(Ordering::Relaxed) {
        (whole / 20).max(1)
    } else {
        whole
    }
}

/// How many of something a bench takes that is named at the size of its target.
fn scaled(whole: usize) -> usize {
    let share = SCALE.get().copied().unwrap_or(1.0);
    ((whole as f64 * share) as usize).max(1)
}

/// Whether this part of a bench is asked for.
fn wanted(part: &str) -> bool {
    PART.get().is_none_or(|only| only == part)
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
    ("telemetry", telemetry::bench),
];

fn main() -> Result<()> {
    std::env::set_current_dir(step::root())?;
    let args = Args::parse();
    SMALL.store(args.small, Ordering::Relaxed);
    let _ = SCALE.set(if args.small { 0.002 } else { args.scale });
    if let Some(part) = args.part {
        let _ = PART.set(part);
    }
    let chosen: Vec<&String> = args.names.iter().chain(&args.only).collect();
    for name in &chosen {
        if !BENCHES.iter().any(|(known, _)| known == name) {
            anyhow::bail!("there is no bench {name}");
        }
    }
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
        if chosen.is_empty() || chosen.iter().any(|n| n == name) {
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
    if args.dry_run || args.small {
        return Ok(());
    }
    match (chosen.is_empty(), args.write) {
        (true, _) => report::write(&table)?,
        (false, true) => report::merge(&rows)?,
        (false, false) => {}
    }
    Ok(())
}
