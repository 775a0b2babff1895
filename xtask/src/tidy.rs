//! Rules of the house that a compiler does not check. Each finding names file and line.

use crate::step;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::Path;

/// Layer of every crate, as in ARCHITECTURE.md; a crate depends only on lower ones.
const LAYERS: &[(&str, u8)] = &[
    ("stdx", 0),
    ("daemon", 1),
    ("oci", 1),
    ("query", 1),
    ("api", 2),
    ("alerting", 3),
    ("container", 3),
    ("render", 3),
    ("scan", 3),
    ("signals", 3),
    ("store", 3),
    ("kit", 4),
    ("apiserver", 5),
    ("build", 5),
    ("gitops", 5),
    ("net", 5),
    ("node", 5),
    ("pipeline", 5),
    ("registry", 5),
    ("source", 5),
    ("telemetry", 5),
    ("workloads", 5),
    ("towpath", 6),
    // For tests: above all, so that no product code may name it.
    ("testkit", 7),
];

/// Runs every check and fails with all findings.
pub fn run() -> Result<()> {
    let mut findings = Vec::new();
    layers(&mut findings)?;
    sources(&mut findings)?;
    links(&mut findings)?;
    if findings.is_empty() {
        eprintln!("tidy: nothing found");
        return Ok(());
    }
    findings.sort();
    bail!(
        "tidy found {}:\n  {}",
        findings.len(),
        findings.join("\n  ")
    );
}

fn layers(findings: &mut Vec<String>) -> Result<()> {
    let layer: BTreeMap<&str, u8> = LAYERS.iter().copied().collect();
    let architecture = std::fs::read_to_string("ARCHITECTURE.md").context("ARCHITECTURE.md")?;
    for entry in std::fs::read_dir("crates")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let manifest = format!("crates/{name}/Cargo.toml");
        let Some(own) = layer.get(name.as_str()) else {
            findings.push(format!(
                "{manifest}:1: crate {name} has no layer in xtask/src/tidy.rs"
            ));
            continue;
        };
        if !architecture.contains(&format!("| `{name}` | {own} |")) {
            findings.push(format!(
                "ARCHITECTURE.md:1: no row for crate {name} in layer {own}"
            ));
        }
        let text = std::fs::read_to_string(&manifest)?;
        if !text.contains("[lints]\nworkspace = true") {
            findings.push(format!(
                "{manifest}:1: does not inherit the workspace's lints"
            ));
        }
        let dependencies = text.split("[dev-dependencies]").next().unwrap_or_default();
        for (number, line) in dependencies.lines().enumerate() {
            let Some(other) = line
                .strip_prefix("towpath-")
                .and_then(|l| l.split(['.', ' ', '=']).next())
            else {
                continue;
            };
            if layer.get(other).is_none_or(|theirs| theirs >= own) {
                findings.push(format!(
                    "{manifest}:{}: layer {own} must not depend on {other}",
                    number + 1
                ));
            }
        }
    }
    Ok(())
}

fn sources(findings: &mut Vec<String>) -> Result<()> {
    let files = step::output(
        step::program("git").args(["ls-files", "*.rs", "*.md", "*.ts", "*.svelte", "*.toml"]),
    )?;
    for file in files.lines().filter(|f| Path::new(f).exists()) {
        let text = std::fs::read_to_string(file).with_context(|| file.to_string())?;
        if file.ends_with(".rs") && !file.contains("/tests/") && !text.starts_with("//!") {
            findings.push(format!("{file}:1: no module doc that says what and why"));
        }
        for (number, line) in text.lines().enumerate() {
            let place = format!("{file}:{}", number + 1);
            if file.ends_with(".rs")
                && (line.contains("#[ignore") || line.contains("todo!("))
                && !file.ends_with("tidy.rs")
            {
                findings.push(format!("{place}: ignored test or unfinished code"));
            }
            if line.contains("/home/")
                && line.contains("/target/debug")
                && !file.ends_with("tidy.rs")
            {
                findings.push(format!("{place}: path of one machine"));
            }
        }
        if ["utils.rs", "util.rs", "common.rs", "helpers.rs"]
            .iter()
            .any(|n| file.ends_with(&format!("/{n}")))
        {
            findings.push(format!("{file}:1: name the idea, not the drawer"));
        }
    }
    Ok(())
}

fn links(findings: &mut Vec<String>) -> Result<()> {
    let link = regex::Regex::new(r"\]\(([^)#\s]+)(#[^)]*)?\)")?;
    let files = step::output(step::program("git").args(["ls-files", "*.md"]))?;
    for file in files.lines().filter(|f| Path::new(f).exists()) {
        let text = std::fs::read_to_string(file)?;
        let dir = Path::new(file).parent().unwrap_or(Path::new(""));
        for (number, line) in text.lines().enumerate() {
            for found in link.captures_iter(line) {
                let target = &found[1];
                if !target.contains("://")
                    && !target.starts_with("mailto:")
                    && !dir.join(target).exists()
                {
                    findings.push(format!(
                        "{file}:{}: link to {target}, which is not there",
                        number + 1
                    ));
                }
            }
        }
    }
    Ok(())
}
