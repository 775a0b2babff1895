//! Mounted file systems: size, free space, free inodes.
//!
//! A network file system whose server is gone blocks whoever asks about it, for ever. Such mounts
//! are asked on a thread of their own, at most one per mount; while it hangs, the mount is shown
//! as `node_filesystem_device_error` and not asked again.

use super::files::{Error, text};
use super::{Kind, NodeExporter, Sink};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

/// Longer lists of mounts are cut; a machine with more is one whose mounts leak.
const MOUNTS: usize = 512;
/// How long a server on the network has.
const PATIENCE: Duration = Duration::from_secs(2);

/// Kinds that hold nothing of their own.
const HIDDEN_TYPES: &[&str] = &[
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
];
const HIDDEN_PLACES: &[&str] = &["/dev", "/proc", "/sys"];
const HIDDEN_BELOW: &[&str] = &[
    "/run/credentials",
    "/run/netns",
    "/var/lib/docker",
    "/var/lib/containers/storage",
    "/var/lib/kubelet/pods",
];

/// Mounts that are being asked and have not answered.
#[derive(Clone, Default)]
pub(super) struct Stuck(Arc<Mutex<HashSet<String>>>);

struct Mount {
    device: String,
    place: String,
    kind: String,
    readonly: bool,
    figures: Option<Figures>,
}

#[derive(Clone, Copy)]
struct Figures {
    size: f64,
    free: f64,
    avail: f64,
    files: f64,
    files_free: f64,
    readonly: bool,
}

type Get = fn(&Figures) -> f64;

const FAMILIES: &[(&str, &str, Get)] = &[
    (
        "avail_bytes",
        "Filesystem space available to non-root users in bytes.",
        |f| f.avail,
    ),
    ("files", "Filesystem total file nodes.", |f| f.files),
    ("files_free", "Filesystem total free file nodes.", |f| {
        f.files_free
    }),
    ("free_bytes", "Filesystem free space in bytes.", |f| f.free),
    ("size_bytes", "Filesystem size in bytes.", |f| f.size),
];

pub(super) fn collect(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let mounts = mounts(node)?;
    for (name, help, get) in FAMILIES {
        sink.family(format!("node_filesystem_{name}"), Kind::Gauge, *help);
        for mount in &mounts {
            if let Some(figures) = &mount.figures {
                sink.sample(&labels(mount), get(figures));
            }
        }
    }
    sink.family(
        "node_filesystem_readonly",
        Kind::Gauge,
        "Filesystem read-only status.",
    );
    for mount in &mounts {
        let readonly = mount.readonly || mount.figures.is_some_and(|f| f.readonly);
        sink.sample(&labels(mount), flag(readonly));
    }
    sink.family(
        "node_filesystem_device_error",
        Kind::Gauge,
        "Whether an error occurred while getting statistics for the given device.",
    );
    for mount in &mounts {
        let failed = mount.figures.is_none();
        sink.sample(&labels(mount), flag(failed));
    }
    Ok(())
}

fn labels(mount: &Mount) -> [(&'static str, &str); 3] {
    [
        ("device", &mount.device),
        ("fstype", &mount.kind),
        ("mountpoint", &mount.place),
    ]
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

fn mounts(node: &NodeExporter) -> Result<Vec<Mount>, Error> {
    let proc = &node.config.roots.proc;
    let text = match text(&proc.join("1/mounts")) {
        Ok(text) => text,
        Err(error) if error.absent() => text(&proc.join("self/mounts"))?,
        Err(error) => return Err(error),
    };
    let mut seen = HashSet::new();
    let mut mounts = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let (Some(device), Some(place), Some(kind), Some(options)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Error::malformed(
                &proc.join("1/mounts"),
                format!("line {line:?} is too short"),
            ));
        };
        let place = unescape(place);
        if hidden(node, &place, kind) || !seen.insert((device.to_string(), place.clone())) {
            continue;
        }
        if mounts.len() == MOUNTS {
            tracing::debug!(limit = MOUNTS, "more mounts than are shown");
            break;
        }
        let at = node.config.roots.root.join(place.trim_start_matches('/'));
        mounts.push(Mount {
            device: unescape(device),
            figures: figures(&node.stuck, &at, kind),
            kind: kind.to_string(),
            readonly: options.split(',').any(|option| option == "ro"),
            place,
        });
    }
    Ok(mounts)
}

fn hidden(node: &NodeExporter, place: &str, kind: &str) -> bool {
    let below = |dir: &str| {
        place
            .strip_prefix(dir)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    HIDDEN_TYPES.contains(&kind)
        || HIDDEN_PLACES.iter().any(|dir| place == *dir || below(dir))
        || HIDDEN_BELOW.iter().any(|dir| below(dir))
        || node
            .config
            .hidden_mounts
            .iter()
            .any(|dir| dir.to_str().is_some_and(below))
}

// The kernel writes blanks in names as three octal digits.
fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_string();
    }
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

fn remote(kind: &str) -> bool {
    matches!(
        kind,
        "nfs" | "nfs4" | "cifs" | "smb3" | "ceph" | "9p" | "glusterfs" | "afs" | "lustre"
    ) || kind.starts_with("fuse")
}

fn figures(stuck: &Stuck, place: &Path, kind: &str) -> Option<Figures> {
    if !remote(kind) {
        return ask(place);
    }
    let key = place.display().to_string();
    if !stuck.0.lock().insert(key.clone()) {
        return None;
    }
    let (tell, told) = mpsc::sync_channel(1);
    let (held, place): (Stuck, PathBuf) = (stuck.clone(), place.to_path_buf());
    let asking = std::thread::Builder::new()
        .name("statvfs".into())
        .spawn(move || {
            let answer = ask(&place);
            held.0.lock().remove(&place.display().to_string());
            let _ = tell.send(answer);
        });
    if asking.is_err() {
        stuck.0.lock().remove(&key);
        return None;
    }
    told.recv_timeout(PATIENCE).ok().flatten()
}

fn ask(place: &Path) -> Option<Figures> {
    let stat = rustix::fs::statvfs(place).ok()?;
    let unit = stat.f_frsize as f64;
    Some(Figures {
        size: stat.f_blocks as f64 * unit,
        free: stat.f_bfree as f64 * unit,
        avail: stat.f_bavail as f64 * unit,
        files: stat.f_files as f64,
        files_free: stat.f_ffree as f64,
        readonly: stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
    })
}
