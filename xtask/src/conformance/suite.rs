//! The suite itself: built from its Go module, run by ginkgo.

use super::report::{self, Case};
use crate::{peers, step};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::{Path, PathBuf};

const MODULE: &str = "tests/peers/e2e";
const VERSION: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3";

/// Programs: name, package, whether it must not need the C library.
const PROGRAMS: &[(&str, &str, bool)] = &[
    ("ginkgo", "github.com/onsi/ginkgo/v2/ginkgo", false),
    ("agnhost", "k8s.io/kubernetes/test/images/agnhost", true),
    ("nnp", "k8s.io/kubernetes/test/images/nonewprivs", true),
    ("sample-apiserver", "k8s.io/sample-apiserver", true),
];

/// Where the built programs are.
pub(super) struct Suite {
    /// Programs.
    pub(super) dir: PathBuf,
    /// Sources of Kubernetes, for the files of test images.
    pub(super) source: PathBuf,
}

/// Which tests to run, where.
pub(super) struct Selection<'a> {
    pub(super) kubeconfig: &'a Path,
    pub(super) focus: &'a str,
    pub(super) skip: Option<&'a str>,
    pub(super) procs: u32,
    pub(super) limit: &'a str,
    pub(super) keep: bool,
}

#[derive(Deserialize)]
struct Entry {
    codename: String,
}

impl Suite {
    /// Builds what is missing.
    pub(super) fn build() -> Result<Self> {
        let dir = peers::run()?;
        let suite = dir.join("e2e.test");
        if !suite.exists() {
            eprintln!("building the conformance suite (many minutes, once)");
            let mut go = go(&["test", "-c", "-vet=off", "-trimpath", "-buildvcs=false"]);
            go.args(["-ldflags", VERSION, "-o"]).arg(&suite);
            step::run(go.arg("k8s.io/kubernetes/test/e2e"))?;
        }
        for (name, package, alone) in PROGRAMS {
            let target = dir.join(name);
            if target.exists() {
                continue;
            }
            let mut go = go(&["build", "-trimpath", "-buildvcs=false"]);
            go.args(["-ldflags", VERSION, "-o"]).arg(&target);
            if *alone {
                go.env("CGO_ENABLED", "0");
            }
            step::run(go.arg(package))?;
        }
        let mut list = go(&["list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"]);
        let source = step::output(&mut list)?;
        Ok(Self {
            dir,
            source: source.trim().into(),
        })
    }

    /// Names of all conformance tests, as upstream lists them.
    pub(super) fn tests(&self) -> Result<Vec<String>> {
        let file = self
            .source
            .join("test/conformance/testdata/conformance.yaml");
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let entries: Vec<Entry> = serde_saphyr::from_str(&text).context("conformance.yaml")?;
        let name = |entry: Entry| {
            let words: Vec<&str> = entry.codename.split_whitespace().collect();
            words.join(" ")
        };
        Ok(entries.into_iter().map(name).collect())
    }

    /// Runs the selected tests and returns what ran.
    pub(super) fn run(&self, selection: &Selection<'_>) -> Result<Vec<Case>> {
        let out = self.dir.join("conformance");
        let report = out.join("junit_01.xml");
        std::fs::create_dir_all(&out)?;
        let _ = std::fs::remove_file(&report);
        let mut ginkgo = step::program(&self.dir.join("ginkgo").to_string_lossy());
        ginkgo.args(["run", "--no-color", "--succinct"]);
        ginkgo.arg(format!("--timeout={}", selection.limit));
        ginkgo.arg(format!("--procs={}", selection.procs));
        ginkgo.arg(format!("--focus={}", selection.focus));
        if let Some(skip) = selection.skip {
            ginkgo.arg(format!("--skip={skip}"));
        }
        ginkgo.arg(self.dir.join("e2e.test")).arg("--").args([
            "--provider=skeleton",
            "--allowed-not-ready-nodes=-1",
            "--disable-log-dump",
        ]);
        ginkgo.arg(format!("--delete-namespace-on-failure={}", !selection.keep));
        ginkgo.arg(format!("--kubeconfig={}", selection.kubeconfig.display()));
        ginkgo.arg(format!("--report-dir={}", out.display()));
        // Some tests run kubectl.
        let path = std::env::var("PATH").unwrap_or_default();
        ginkgo.env("PATH", format!("{}:{path}", self.dir.display()));
        let log = out.join("log");
        eprintln!("running; details go to {}", log.display());
        let file = std::fs::File::create(&log)?;
        ginkgo.stdout(file.try_clone()?).stderr(file);
        // A failed test is a failed run; what counts is the report.
        let status = ginkgo.status().context("ginkgo")?;
        let cases = report::read(&report)?;
        if cases.is_empty() {
            bail!("no test ran ({status}); see {}", log.display());
        }
        Ok(cases)
    }
}

fn go(arguments: &[&str]) -> std::process::Command {
    let mut go = step::program("go");
    go.current_dir(MODULE).args(arguments);
    go
}

/// The commit under test; `+` where tracked sources differ from it.
pub(super) fn commit() -> Result<String> {
    let git = |arguments: &[&str]| step::output(step::program("git").args(arguments));
    let mut commit = git(&["rev-parse", "--short=9", "HEAD"])?.trim().to_string();
    let sources = ["status", "--porcelain", "--untracked-files=no", "crates"];
    if !git(&sources)?.trim().is_empty() {
        commit.push('+');
    }
    Ok(commit)
}
