//! The real programs that contract tests run against, built from their Go modules with the
//! versions that `tests/peers/*/go.mod` pin.

use crate::step;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

const VERSION: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3";

/// Module folder, package, program, toolchain (empty: the installed one).
const PEERS: &[(&str, &str, &str, &str)] = &[
    ("k8s", "k8s.io/kubernetes/cmd/kubectl", "kubectl", ""),
    (
        "kustomize",
        "sigs.k8s.io/kustomize/kustomize/v5",
        "kustomize",
        "go1.27.0",
    ),
    ("etcd", ".", "etcd", ""),
    ("cel", ".", "cel", ""),
    ("prometheus", ".", "promql", ""),
    ("template", ".", "template", ""),
    ("prometheus", "./api", "promapi", ""),
    (
        "alerting",
        "github.com/prometheus/prometheus/cmd/promtool",
        "promtool",
        "",
    ),
    (
        "alerting",
        "github.com/prometheus/prometheus/cmd/prometheus",
        "prometheus",
        "",
    ),
    (
        "alerting",
        "github.com/prometheus/alertmanager/cmd/amtool",
        "amtool",
        "",
    ),
    (
        "alerting",
        "github.com/prometheus/alertmanager/cmd/alertmanager",
        "alertmanager",
        "",
    ),
    ("smtp", ".", "smtp", ""),
    ("s3", ".", "s3", ""),
    ("informer", ".", "informer", ""),
    (
        "kube-state-metrics",
        "k8s.io/kube-state-metrics/v2",
        "kube-state-metrics",
        "",
    ),
    ("helm", "helm.sh/helm/v4/cmd/helm", "helm", ""),
    (
        "k8s",
        "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-apiserver",
        "",
    ),
    (
        "k8s",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kube-controller-manager",
        "",
    ),
];

/// Package of the distribution, file in it, program.
const UNPACKED: &[(&str, &str, &str)] = &[(
    "prometheus-node-exporter",
    "usr/bin/prometheus-node-exporter",
    "node-exporter",
)];

/// Where they are: `TOWPATH_PEERS`, else `target/peers`.
pub fn dir() -> PathBuf {
    std::env::var_os("TOWPATH_PEERS")
        .map_or_else(|| step::root().join("target/peers"), PathBuf::from)
}

/// Builds what is missing and returns the directory.
pub fn run() -> Result<PathBuf> {
    let dir = dir();
    std::fs::create_dir_all(&dir)?;
    for (module, package, program, toolchain) in PEERS {
        let target = dir.join(program);
        if target.exists() {
            continue;
        }
        eprintln!("building the real {program} (minutes, once)");
        let mut go = step::program("go");
        go.current_dir(format!("tests/peers/{module}")).args([
            "build",
            "-trimpath",
            "-buildvcs=false",
            // Prometheus without the clients of every cloud.
            "-tags=remove_all_sd",
        ]);
        go.args(["-ldflags", VERSION, "-o"])
            .arg(&target)
            .arg(package);
        if !toolchain.is_empty() {
            go.env("GOTOOLCHAIN", toolchain);
        }
        step::run(&mut go)?;
    }
    for (package, file, program) in UNPACKED {
        let target = dir.join(program);
        if !target.exists() {
            eprintln!("unpacking the distribution's {program}");
            unpack(&dir, package, file, &target)?;
        }
    }
    Ok(dir)
}

// Downloaded and unpacked, not installed: a package of a service would start it.
fn unpack(dir: &Path, package: &str, file: &str, target: &Path) -> Result<()> {
    let place = dir.join(format!("unpack-{package}"));
    let _ = std::fs::remove_dir_all(&place);
    std::fs::create_dir_all(&place)?;
    let download = || {
        let mut apt = step::program("apt-get");
        step::run(apt.current_dir(&place).args(["download", "-qq", package]))
    };
    if download().is_err() {
        step::run(step::program("apt-get").args(["update", "-qq"]))?;
        download()?;
    }
    let archive = std::fs::read_dir(&place)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .with_context(|| format!("apt-get brought no archive of {package}"))?;
    let mut dpkg = step::program("dpkg");
    step::run(dpkg.arg("--extract").arg(archive).arg(&place))?;
    std::fs::rename(place.join(file), target).with_context(|| format!("{package}: {file}"))?;
    std::fs::remove_dir_all(&place)?;
    Ok(())
}
