//! Control groups of containers, on version 1 (also hybrid) and version 2: figures, end of
//! memory, killing what is left, removal.
//!
//! The runtime makes a container's group and sets its limits; this module does what it leaves
//! out. Paths are below the hierarchies' roots, e.g. `/towpath/pod<uid>/<id>`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ROOT: &str = "/sys/fs/cgroup";

/// Use of one group, with all below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since the group was made, nanoseconds.
    pub cpu_ns: u64,
    /// Memory that cannot be reclaimed easily, bytes.
    pub working_set_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
}

// Every hierarchy's directory for a path. On version 2 there is one.
fn directories(path: &str) -> Vec<PathBuf> {
    hierarchies()
        .into_iter()
        .map(|root| root.join(path.trim_start_matches('/')))
        .collect()
}

fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return vec![root.to_path_buf()];
    }
    let Ok(entries) = fs::read_dir(root) else {
        return Vec::new();
    };
    let is_directory = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries
        .flatten()
        .filter(is_directory)
        .map(|entry| entry.path())
        .collect()
}

fn unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

fn directory(controller: &str, path: &str) -> PathBuf {
    let root = if unified() {
        PathBuf::from(ROOT)
    } else {
        Path::new(ROOT).join(controller)
    };
    root.join(path.trim_start_matches('/'))
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn field(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

/// Figures of a group; `None` once it is gone.
pub fn usage(path: &str) -> Option<Usage> {
    if unified() {
        let dir = directory("", path);
        let used = number(&dir.join("memory.current"))?;
        let inactive = field(&dir.join("memory.stat"), "inactive_file").unwrap_or(0);
        return Some(Usage {
            cpu_ns: field(&dir.join("cpu.stat"), "usage_usec")? * 1000,
            working_set_bytes: used.saturating_sub(inactive),
            pids: number(&dir.join("pids.current")).unwrap_or(0),
        });
    }
    let memory = directory("memory", path);
    let used = number(&memory.join("memory.usage_in_bytes"))?;
    let inactive = field(&memory.join("memory.stat"), "total_inactive_file").unwrap_or(0);
    Some(Usage {
        cpu_ns: number(&directory("cpuacct", path).join("cpuacct.usage"))?,
        working_set_bytes: used.saturating_sub(inactive),
        pids: number(&directory("pids", path).join("pids.current")).unwrap_or(0),
    })
}

/// How often the kernel killed in this group for want of memory. Read it before removal.
pub fn oom_kills(path: &str) -> u64 {
    let dir = directory("memory", path);
    let file = if unified() {
        "memory.events"
    } else {
        "memory.oom_control"
    };
    field(&dir.join(file), "oom_kill").unwrap_or(0)
}

/// All processes of a group and those below.
pub fn processes(path: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for dir in directories(path) {
        collect(&dir, &mut found);
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn collect(dir: &Path, found: &mut Vec<i32>) {
    if let Ok(text) = fs::read_to_string(dir.join("cgroup.procs")) {
        found.extend(
            text.lines()
                .filter_map(|line| line.parse::<i32>().ok())
                .filter(|pid| *pid > 0),
        );
    }
    for child in children(dir) {
        collect(&child, found);
    }
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let is_directory = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries
        .flatten()
        .filter(is_directory)
        .map(|entry| entry.path())
        .collect()
}

/// Kills everything in a group and below until nothing is left, at most `limit` long. Blocks.
pub fn kill(path: &str, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    loop {
        let left = processes(path);
        if left.is_empty() {
            return true;
        }
        for pid in left {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
        }
        if Instant::now() > end {
            return false;
        }
        // The kernel has no event for a version 1 group that ran empty.
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Removes a group and those below it in all hierarchies, killing what still runs. Blocks.
/// Idempotent.
pub fn remove(path: &str) -> io::Result<()> {
    if !path.trim_matches('/').contains(char::is_alphanumeric) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "refuse to remove a root group",
        ));
    }
    kill(path, Duration::from_secs(5));
    let mut failed = None;
    for dir in directories(path) {
        if let Err(error) = remove_tree(&dir) {
            failed = Some(io::Error::new(
                error.kind(),
                format!("{}: {error}", dir.display()),
            ));
        }
    }
    failed.map_or(Ok(()), Err)
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    for child in children(dir) {
        remove_tree(&child)?;
    }
    // A process that was just reaped may hold its group for a moment longer.
    for _ in 0..100 {
        match fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EBUSY))
}

/// Whether any hierarchy has the group.
pub fn exists(path: &str) -> bool {
    directories(path).iter().any(|dir| dir.exists())
}

/// Names of the groups right below a path, in any hierarchy.
pub fn list(path: &str) -> Vec<String> {
    let mut names: Vec<String> = directories(path)
        .iter()
        .flat_map(|dir| children(dir))
        .filter_map(|dir| dir.file_name()?.to_str().map(String::from))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Makes a group in all hierarchies and sets limits on it, for what holds for several
/// containers together. Blocks. Idempotent.
pub fn make(path: &str, resources: &crate::spec::Resources) -> io::Result<()> {
    for dir in directories(path) {
        fs::create_dir_all(&dir)?;
        // A version 1 cpuset takes no process before it has cores and memory nodes.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            inherit(&dir, file)?;
        }
    }
    let write = |controller: &str, file: &str, text: String| {
        let file = directory(controller, path).join(file);
        if file.exists() {
            fs::write(file, text)
        } else {
            Ok(())
        }
    };
    if let Some(bytes) = resources.memory_bytes {
        write(
            "memory",
            if unified() {
                "memory.max"
            } else {
                "memory.limit_in_bytes"
            },
            bytes.to_string(),
        )?;
    }
    if let Some(shares) = resources.cpu_shares.filter(|_| !unified()) {
        write("cpu", "cpu.shares", shares.to_string())?;
    }
    if let Some(quota) = resources.cpu_quota_us {
        if unified() {
            write("cpu", "cpu.max", format!("{quota} 100000"))?;
        } else {
            write("cpu", "cpu.cfs_quota_us", quota.to_string())?;
        }
    }
    if let Some(pids) = resources.pids {
        write("pids", "pids.max", pids.to_string())?;
    }
    Ok(())
}

fn inherit(dir: &Path, file: &str) -> io::Result<()> {
    let path = dir.join(file);
    if !path.exists() || !fs::read_to_string(&path)?.trim().is_empty() || dir == Path::new(ROOT) {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        inherit(parent, file)?;
        fs::write(path, fs::read_to_string(parent.join(file))?.trim())?;
    }
    Ok(())
}
