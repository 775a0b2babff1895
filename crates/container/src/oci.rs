//! From a [`ContainerSpec`] to the OCI runtime specification's `config.json` and process files.
//!
//! Everything a runtime would otherwise fill in by its own defaults is written out: the five
//! capability lists, the device rules, groups, umask, working directory.

use crate::seccomp;
use crate::spec::{ContainerSpec, MountKind, Namespace, Process, Propagation, Seccomp};
use crate::user::Ids;
use serde_json::{Value, json};
use std::path::Path;

const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

// Character devices every container may use: null, zero, full, random, urandom, tty, console,
// ptmx and the terminals of devpts.
const DEVICES: [(i64, Option<i64>); 8] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(2)),
    (136, None),
];

/// Which dialect to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// For our executor, which loads the filter and then drops capabilities itself: neither is
    /// in the file.
    Executor,
    /// For a runtime program that does both.
    Program,
}

/// The whole `config.json`.
pub(crate) fn config(spec: &ContainerSpec, ids: &Ids, rootfs: &Path, dialect: Dialect) -> Value {
    let mut linux = json!({
        "cgroupsPath": spec.cgroup,
        "namespaces": namespaces(spec),
        "resources": resources(spec),
        "rootfsPropagation": rootfs_propagation(spec),
    });
    if !spec.sysctls.is_empty() {
        linux["sysctl"] = json!(spec.sysctls);
    }
    if !spec.privileged {
        linux["maskedPaths"] = json!(MASKED);
        linux["readonlyPaths"] = json!(READONLY);
    }
    if dialect == Dialect::Program && spec.process.seccomp == Seccomp::Default {
        linux["seccomp"] = seccomp::as_oci();
    }
    let mut config = json!({
        "ociVersion": "1.0.2",
        "root": { "path": rootfs, "readonly": spec.readonly_rootfs },
        "process": process(&spec.process, ids, dialect),
        "mounts": mounts(spec),
        "linux": linux,
    });
    if let (Some(hostname), Namespace::New) = (&spec.hostname, &spec.namespaces.uts) {
        config["hostname"] = json!(hostname);
    }
    config
}

/// A process, of the container or added to it.
pub(crate) fn process(process: &Process, ids: &Ids, dialect: Dialect) -> Value {
    let cwd = if process.cwd.is_empty() {
        "/"
    } else {
        &process.cwd
    };
    let rlimits: Vec<Value> = process
        .rlimits
        .iter()
        .map(|(name, soft, hard)| json!({ "type": name, "soft": soft, "hard": hard }))
        .collect();
    let mut value = json!({
        "terminal": process.terminal,
        "user": { "uid": ids.uid, "gid": ids.gid, "umask": 0o022, "additionalGids": ids.groups },
        "args": process.args,
        "env": process.env,
        "cwd": cwd,
        "noNewPrivileges": process.no_new_privileges,
        "rlimits": rlimits,
    });
    if dialect == Dialect::Program {
        value["capabilities"] = capabilities(&process.capabilities);
        value["oomScoreAdj"] = json!(process.oom_score_adj);
    }
    value
}

/// The five lists. Inheritable and ambient stay empty, so that a process that leaves root
/// loses its capabilities.
pub(crate) fn capabilities(names: &[String]) -> Value {
    json!({
        "bounding": names, "effective": names, "permitted": names, "inheritable": [], "ambient": [],
    })
}

fn namespaces(spec: &ContainerSpec) -> Value {
    let mut list = vec![json!({ "type": "mount" })];
    let wanted = [
        ("network", &spec.namespaces.network),
        ("ipc", &spec.namespaces.ipc),
        ("pid", &spec.namespaces.pid),
        ("uts", &spec.namespaces.uts),
    ];
    for (name, namespace) in wanted {
        match namespace {
            Namespace::New => list.push(json!({ "type": name })),
            Namespace::Join(path) => list.push(json!({ "type": name, "path": path })),
            Namespace::Host => {}
        }
    }
    Value::Array(list)
}

fn resources(spec: &ContainerSpec) -> Value {
    let limits = &spec.resources;
    let mut value = json!({ "devices": devices(spec.privileged) });
    if limits.cpu_shares.is_some() || limits.cpu_quota_us.is_some() {
        let mut cpu = json!({});
        if let Some(shares) = limits.cpu_shares {
            cpu["shares"] = json!(shares.clamp(2, 262_144));
        }
        if let Some(quota) = limits.cpu_quota_us {
            cpu["quota"] = json!(quota.max(1000));
            cpu["period"] = json!(100_000);
        }
        value["cpu"] = cpu;
    }
    if let Some(bytes) = limits.memory_bytes.filter(|bytes| *bytes > 0) {
        value["memory"] = json!({ "limit": bytes });
    }
    if let Some(pids) = limits.pids.filter(|pids| *pids > 0) {
        value["pids"] = json!({ "limit": pids });
    }
    value
}

fn devices(privileged: bool) -> Value {
    if privileged {
        return json!([{ "allow": true, "access": "rwm" }]);
    }
    let mut rules = vec![
        json!({ "allow": false, "access": "rwm" }),
        json!({ "allow": true, "type": "c", "access": "m" }),
        json!({ "allow": true, "type": "b", "access": "m" }),
    ];
    for (major, minor) in DEVICES {
        let mut rule = json!({ "allow": true, "type": "c", "major": major, "access": "rwm" });
        if let Some(minor) = minor {
            rule["minor"] = json!(minor);
        }
        rules.push(rule);
    }
    Value::Array(rules)
}

fn rootfs_propagation(spec: &ContainerSpec) -> &'static str {
    let shared = |mount: &crate::spec::Mount| mount.propagation == Propagation::Shared;
    if spec.mounts.iter().any(shared) {
        "shared"
    } else {
        "slave"
    }
}

fn mounts(spec: &ContainerSpec) -> Value {
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": source, "options": options });
    let sys: &[&str] = if spec.privileged {
        &["nosuid", "noexec", "nodev"]
    } else {
        &["nosuid", "noexec", "nodev", "ro"]
    };
    let mut list = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
    ];
    let own = |destination: &str| {
        spec.mounts
            .iter()
            .any(|m| m.destination.trim_end_matches('/') == destination)
    };
    if !own("/dev/shm") {
        let options = ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"];
        list.push(mount("/dev/shm", "tmpfs", "shm", &options));
    }
    if spec.namespaces.ipc != Namespace::Host {
        list.push(mount(
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"],
        ));
    }
    list.push(mount("/sys", "sysfs", "sysfs", sys));
    for extra in &spec.mounts {
        let propagation = match extra.propagation {
            Propagation::Private => "rprivate",
            Propagation::Slave => "rslave",
            Propagation::Shared => "rshared",
        };
        let write = if extra.readonly { "ro" } else { "rw" };
        list.push(match &extra.kind {
            MountKind::Bind(source) => json!({
                "destination": extra.destination, "type": "bind", "source": source,
                "options": ["rbind", write, propagation],
            }),
            MountKind::Tmpfs { size_bytes, mode } => {
                let mut options = vec![write.to_string(), "nosuid".into(), "nodev".into(), format!("mode={mode:o}")];
                if *size_bytes > 0 {
                    options.push(format!("size={size_bytes}"));
                }
                json!({
                    "destination": extra.destination, "type": "tmpfs", "source": "tmpfs", "options": options,
                })
            }
        });
    }
    Value::Array(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::*;

    fn spec() -> ContainerSpec {
        ContainerSpec {
            id: "c".into(),
            rootfs: Rootfs {
                lower: vec!["/".into()],
                upper: "/u".into(),
                work: "/w".into(),
            },
            process: Process {
                args: vec!["true".into()],
                ..Process::default()
            },
            hostname: Some("h".into()),
            mounts: vec![Mount::bind("/a", "/b").readonly()],
            namespaces: Namespaces {
                network: Namespace::Join("/n".into()),
                ..Namespaces::default()
            },
            resources: Resources::default(),
            cgroup: "/t/p/c".into(),
            sysctls: Default::default(),
            readonly_rootfs: true,
            privileged: false,
            stdio: Stdio::Inherit,
        }
    }

    #[test]
    fn nothing_is_left_to_a_runtimes_defaults() {
        let ids = Ids {
            uid: 1000,
            gid: 1000,
            groups: vec![5],
        };
        let value = config(&spec(), &ids, Path::new("/r"), Dialect::Program);
        for list in [
            "bounding",
            "effective",
            "permitted",
            "inheritable",
            "ambient",
        ] {
            assert!(value["process"]["capabilities"][list].is_array(), "{list}");
        }
        assert_eq!(value["linux"]["resources"]["devices"][0]["allow"], false);
        assert_eq!(value["process"]["user"]["umask"], 0o022);
        assert!(value["linux"]["seccomp"]["syscalls"].is_array());
        assert_eq!(value["hostname"], "h");
        // Our own executor drops capabilities after it loaded the filter.
        let value = config(&spec(), &ids, Path::new("/r"), Dialect::Executor);
        assert!(value["process"].get("capabilities").is_none());
        assert!(value["process"].get("oomScoreAdj").is_none());
    }

    #[test]
    fn it_is_a_valid_runtime_specification() {
        for dialect in [Dialect::Program, Dialect::Executor] {
            let value = config(&spec(), &Ids::default(), Path::new("/r"), dialect);
            let parsed: oci_spec::runtime::Spec =
                serde_json::from_value(value).expect("specification");
            assert_eq!(parsed.mounts().as_ref().map(Vec::len), Some(7));
        }
    }
}
