//! What this machine lacks, found before anything starts: each problem with its fix.

use crate::config::Config;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

/// One thing that is missing.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Missing {
    /// What and why it is needed.
    pub what: String,
    /// What to do.
    pub fix: String,
}

impl Missing {
    fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            fix: fix.into(),
        }
    }
}

/// Programs that must be there: name, purpose, Debian package.
const PROGRAMS: [(&str, &str, &str); 2] = [
    ("git", "serves and reads repositories", "git"),
    ("nft", "routes services to pods", "nftables"),
];

/// Programs without which one feature is away: name, purpose, Debian package.
const OPTIONAL: [(&str, &str, &str); 1] = [(
    "mmdebstrap",
    "makes base images such as debian:bookworm-slim",
    "mmdebstrap",
)];

const BUSY_PAUSE: std::time::Duration = std::time::Duration::from_millis(25);
// For all ports together.
const BUSY_TRIES: u32 = 40;

/// All problems that keep the server from starting.
pub fn problems(config: &Config) -> Vec<Missing> {
    let mut found = Vec::new();
    if !rustix::process::geteuid().is_root() {
        found.push(Missing::new(
            "not running as root, which containers need",
            "run it as root: sudo towpath up",
        ));
    }
    for (program, purpose, package) in PROGRAMS {
        if towpath_stdx::process::find(program).is_none() {
            let what = format!("program {program} is missing; it {purpose}");
            found.push(Missing::new(what, format!("apt-get install {package}")));
        }
    }
    found.extend(kernel());
    found.extend(cgroups());
    let mut tries = BUSY_TRIES;
    for (address, purpose, flag) in [
        (config.http, "web UI", "--http"),
        (config.api, "Kubernetes API", "--api"),
        (config.ingress, "ingress", "--ingress"),
    ] {
        found.extend(busy(address, purpose, flag, &mut tries));
    }
    found.extend(room(&config.data_dir));
    if let Err(error) = std::fs::create_dir_all(&config.data_dir) {
        let what = format!(
            "data directory {} cannot be made: {error}",
            config.data_dir.display()
        );
        found.push(Missing::new(what, "choose another with --data-dir"));
    }
    found
}

/// What works less well than it could.
pub fn warnings() -> Vec<Missing> {
    OPTIONAL
        .iter()
        .filter(|(program, ..)| towpath_stdx::process::find(program).is_none())
        .map(|(program, purpose, package)| {
            Missing::new(
                format!("program {program} is missing; it {purpose}"),
                format!("apt-get install {package}"),
            )
        })
        .collect()
}

// A running server refuses writes long before; to start one some files must be written.
const START_BYTES: u64 = 2 << 20;

fn room(data_dir: &Path) -> Option<Missing> {
    let there = data_dir.ancestors().find(|dir| dir.is_dir())?;
    let disk = rustix::fs::statvfs(there).ok()?;
    let free = disk.f_bavail * disk.f_frsize;
    (free < START_BYTES).then(|| {
        let place = data_dir.display();
        Missing::new(
            format!("no space left: {free} bytes are free on the disk of {place}"),
            format!(
                "free at least {} MiB there, then start again; nothing was lost",
                START_BYTES >> 20
            ),
        )
    })
}

fn kernel() -> Vec<Missing> {
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let mut found = Vec::new();
    if !filesystems
        .lines()
        .any(|l| l.trim_start_matches("nodev").trim() == "overlay")
    {
        found.push(Missing::new(
            "the kernel has no overlay file system, which images need",
            "modprobe overlay",
        ));
    }
    if !Path::new("/proc/self/ns/net").exists() {
        found.push(Missing::new(
            "the kernel has no network namespaces",
            "use a kernel with CONFIG_NET_NS",
        ));
    }
    if !Path::new("/proc/sys/kernel/seccomp").exists() {
        found.push(Missing::new(
            "the kernel has no seccomp, without which no container starts",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        ));
    }
    found
}

fn cgroups() -> Vec<Missing> {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        let have = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        return ["cpu", "memory", "pids"]
            .iter()
            .filter(|c| !have.split_whitespace().any(|h| h == **c))
            .map(|c| {
                Missing::new(
                    format!("cgroup controller {c} is off; limits need it"),
                    format!("boot with cgroup_enable={c}"),
                )
            })
            .collect();
    }
    ["cpu", "memory", "pids", "devices", "freezer"]
        .iter()
        .filter(|c| {
            !Path::new("/sys/fs/cgroup")
                .join(c)
                .join("cgroup.procs")
                .exists()
        })
        .map(|c| {
            let what = format!("cgroup controller {c} is not mounted; limits need it");
            Missing::new(
                what,
                format!("mount -t cgroup -o {c} {c} /sys/fs/cgroup/{c}"),
            )
        })
        .collect()
}

// A server that was killed in the moment of starting a program leaves a copy of its listeners to
// that child until the child has become the program, so a busy port gets a second to get free.
fn busy(address: SocketAddr, purpose: &str, flag: &str, tries: &mut u32) -> Option<Missing> {
    let mut error = TcpListener::bind(address).err()?;
    while error.kind() == std::io::ErrorKind::AddrInUse && *tries > 0 {
        *tries -= 1;
        std::thread::sleep(BUSY_PAUSE);
        error = TcpListener::bind(address).err()?;
    }
    let what = format!("{address} for the {purpose} cannot be used: {error}");
    Some(Missing::new(
        what,
        format!("stop what listens there (ss -ltnp), or choose another with {flag}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_port_is_named_with_its_flag() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let missing = busy(address, "web UI", "--http", &mut 2).expect("busy");
        assert!(missing.what.contains(&address.to_string()), "{missing:?}");
        assert!(missing.fix.contains("--http"), "{missing:?}");
    }
}
