//! Distribution packages: what is missing is named with its purpose before it is installed.

use crate::step;
use anyhow::{Result, bail};

/// A Debian package, the file that shows it is there, and what it is for.
pub type Package = (&'static str, &'static str, &'static str);

/// For running Towpath and the sample.
pub const DEMO: &[Package] = &[
    ("git", "/usr/bin/git", "serves repositories"),
    ("nftables", "/usr/sbin/nft", "routes services to pods"),
    (
        "mmdebstrap",
        "/usr/bin/mmdebstrap",
        "makes base images from distribution packages",
    ),
    (
        "iproute2",
        "/usr/sbin/ip",
        "shows networks in error reports",
    ),
    ("gcc", "/usr/bin/gcc", "compiles SQLite and the TLS library"),
    (
        "llvm-19",
        "/usr/bin/llvm-cov-19",
        "turns the sample's test coverage into a report",
    ),
];

/// For the tests, beside the above.
pub const TEST: &[Package] = &[
    (
        "busybox-static",
        "/bin/busybox",
        "is the smallest container root",
    ),
    ("crun", "/usr/bin/crun", "is the second container back end"),
    ("runc", "/usr/sbin/runc", "is the second container back end"),
    (
        "skopeo",
        "/usr/bin/skopeo",
        "pushes and pulls against the registry",
    ),
    (
        "buildah",
        "/usr/bin/buildah",
        "pushes, pulls and builds beside us",
    ),
    (
        "podman",
        "/usr/bin/podman",
        "pushes and pulls against the registry",
    ),
    ("chromium", "/usr/bin/chromium", "runs the journeys"),
    ("dnsutils", "/usr/bin/dig", "asks the cluster DNS"),
    (
        "conntrack",
        "/usr/sbin/conntrack",
        "shows routed connections",
    ),
    ("jq", "/usr/bin/jq", "reads module data"),
    ("strace", "/usr/bin/strace", "injects faults"),
];

/// For the benches, beside the above.
pub const BENCH: &[Package] = &[(
    "docker-registry",
    "/usr/bin/docker-registry",
    "is the registry measured beside ours",
)];

/// Installs what is missing.
pub fn install(sets: &[&[Package]]) -> Result<()> {
    let all = sets.iter().flat_map(|s| s.iter());
    let missing: Vec<&Package> = all
        .filter(|(_, file, _)| !std::path::Path::new(file).exists())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("These distribution packages are missing and will be installed:");
    for (name, _, purpose) in &missing {
        eprintln!("  {name:16} {purpose}");
    }
    if step::output(step::program("id").arg("-u"))?.trim() != "0" {
        let names: Vec<&str> = missing.iter().map(|(name, ..)| *name).collect();
        bail!(
            "not root; install them first: apt-get install {}",
            names.join(" ")
        );
    }
    step::run(step::program("apt-get").args(["update", "-qq"]))?;
    let mut install = step::program("apt-get");
    install.args(["install", "--yes", "-qq", "--no-install-recommends"]);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    step::run(install.args(missing.iter().map(|(name, ..)| name)))
}
