//! All tests, as CI runs them.

use crate::{codegen, packages, peers, step, tidy, web};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;

/// What to run
#[derive(clap::Args)]
pub struct Args {
    /// Only the Rust tests of one package
    #[arg(short, long)]
    package: Option<String>,
    /// Without the journeys in a browser
    #[arg(long)]
    no_journeys: bool,
}

/// Installs what is needed, runs everything, and checks that nothing is left behind.
pub fn run(args: Args) -> Result<()> {
    room()?;
    packages::install(&[packages::DEMO, packages::TEST])?;
    let peers = peers::run()?;
    if let Some(package) = &args.package {
        return rust(&peers, &["--package", package]);
    }
    let before = Traces::take()?;
    web::check()?;
    step::run(step::cargo().args(["fmt", "--all", "--check"]))?;
    tidy::run()?;
    codegen::check()?;
    clippy()?;
    rust(&peers, &["--workspace"])?;
    if !args.no_journeys {
        journeys(&peers)?;
    }
    empty_groups();
    before.compare(&Traces::take()?)?;
    eprintln!("all tests passed");
    Ok(())
}

/// Bytes that the tests need, and that nodes want to keep free: below 2 GiB they take no pods.
const TESTS: u64 = 6 << 30;
/// Bytes that a build from nothing adds: our own programs and the real ones beside them.
const BUILD: u64 = 15 << 30;

// A disk that fills in the middle is told by pods that wait, an hour later.
fn room() -> Result<()> {
    let root = step::root();
    let text = step::output(
        step::program("df")
            .args(["--output=avail", "-B1"])
            .arg(&root),
    )?;
    let free = text
        .lines()
        .nth(1)
        .and_then(|line| line.trim().parse().ok());
    let free: u64 = free.context("df says no number")?;
    let built = root.join("target/debug/towpath").exists();
    let needed = if built { TESTS } else { TESTS + BUILD };
    if free < needed {
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        bail!(
            "the disk of {} has {:.1} GiB free, and the tests need {:.0}; `cargo clean` in \
             checkouts that are no longer needed frees most",
            root.display(),
            gib(free),
            gib(needed)
        );
    }
    Ok(())
}

// Correctness, performance and suspicion are errors; what is a matter of style is a warning.
fn clippy() -> Result<()> {
    let deny = [
        "-D",
        "clippy::correctness",
        "-D",
        "clippy::perf",
        "-D",
        "clippy::suspicious",
    ];
    let mut clippy = step::cargo();
    clippy.args([
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
    ]);
    step::run(clippy.args(deny))
}

fn rust(peers: &std::path::Path, selection: &[&str]) -> Result<()> {
    let mut test = step::cargo();
    test.args(["test", "--locked", "--no-fail-fast"])
        .args(selection);
    step::run(
        test.env("TOWPATH_PEERS", peers)
            .env("TOWPATH_TEST_FULL", "1"),
    )
}

// With the binary that the tests of the whole server were built with: built by itself it would
// have other features of its dependencies, and everything would be compiled once more.
fn journeys(peers: &std::path::Path) -> Result<()> {
    let mut node = step::program("npm");
    node.current_dir("web").args(["run", "journeys"]);
    node.env("TOWPATH_BIN", step::root().join("target/debug/towpath"));
    step::run(node.env("TOWPATH_PEERS", peers))
}

// Tests of the builder alone have no `towpath down` that would remove the parent of its groups;
// the kernel removes only what is empty.
fn empty_groups() {
    for controller in std::fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten()
    {
        for name in ["towpath/build", "towpath"] {
            let _ = std::fs::remove_dir(controller.path().join(name));
        }
    }
}

/// What a test run must leave as it found it.
struct Traces {
    interfaces: BTreeSet<String>,
    tables: BTreeSet<String>,
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<String>,
    processes: BTreeSet<String>,
}

impl Traces {
    fn take() -> Result<Self> {
        let names = |dir: &str| -> BTreeSet<String> {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            entries
                .map(|e| e.file_name().to_string_lossy().into_owned())
                .collect()
        };
        let tables = step::output(step::program("nft").args(["list", "tables"]))?;
        let mounts = std::fs::read_to_string("/proc/self/mounts").context("/proc/self/mounts")?;
        let ours = |line: &&str| line.contains("towpath");
        let processes = std::fs::read_dir("/proc")?.flatten().filter_map(|e| {
            let command = std::fs::read(e.path().join("cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let first = command.split(' ').next()?.to_string();
            (first.ends_with("/towpath") || command.contains("towpath shim")).then_some(command)
        });
        Ok(Self {
            interfaces: names("/sys/class/net"),
            tables: tables.lines().map(str::to_string).collect(),
            mounts: mounts.lines().filter(ours).map(str::to_string).collect(),
            cgroups: names("/sys/fs/cgroup/memory")
                .into_iter()
                .filter(|n| n.contains("towpath"))
                .collect(),
            processes: processes.collect(),
        })
    }

    fn compare(&self, after: &Self) -> Result<()> {
        let kinds = [
            ("interface", &self.interfaces, &after.interfaces),
            ("nft table", &self.tables, &after.tables),
            ("mount", &self.mounts, &after.mounts),
            ("cgroup", &self.cgroups, &after.cgroups),
            ("process", &self.processes, &after.processes),
        ];
        let left: Vec<String> = kinds
            .iter()
            .flat_map(|(kind, before, after)| {
                after.difference(before).map(move |n| format!("{kind} {n}"))
            })
            .collect();
        if !left.is_empty() {
            bail!("the tests left behind:\n  {}", left.join("\n  "));
        }
        Ok(())
    }
}
