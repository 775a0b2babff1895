//! The host's own root file system as a container's, and namespaces that outlive processes.

use crate::spec::Mount;
use std::io;
use std::path::{Path, PathBuf};

/// Mounts that hide parts of the host where `Rootfs::lower` is `["/"]`: each directory of
/// `hidden` that exists becomes an empty memory file system, each file becomes empty. The overlay
/// itself already leaves out whatever is mounted on the host. `/proc`, `/sys` and `/dev` are the
/// container's own and need no entry. Paths below others are dropped; links are followed on the
/// host.
pub fn host_rootfs_mounts(hidden: &[PathBuf]) -> Vec<Mount> {
    let mut paths: Vec<PathBuf> = hidden
        .iter()
        .filter_map(|path| path.canonicalize().ok())
        .filter(|path| path != Path::new("/"))
        .collect();
    paths.sort();
    let mut kept: Vec<PathBuf> = Vec::new();
    for path in paths {
        let own = ["/proc", "/sys", "/dev"]
            .iter()
            .any(|system| path.starts_with(system));
        if !own && !kept.iter().any(|above| path.starts_with(above)) {
            kept.push(path);
        }
    }
    let mode = |path: &Path| if path.ends_with("tmp") { 0o1777 } else { 0o755 };
    let hide = |path: &PathBuf| {
        let destination = path.display().to_string();
        if path.is_dir() {
            return Mount::tmpfs(destination, 0, mode(path));
        }
        Mount::bind("/dev/null", destination).readonly()
    };
    kept.iter().map(hide).collect()
}

/// Makes an IPC namespace and pins it to a file by a bind mount. Idempotent. Blocks.
pub fn pin_ipc_namespace(file: &Path) -> io::Result<()> {
    if is_pinned(file) {
        return Ok(());
    }
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::File::create(file)?;
    let target = file.to_path_buf();
    // A namespace belongs to a thread until it is pinned; this one ends with its namespace
    // changed, so it must not be one of the pool's.
    let pin = move || -> io::Result<()> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWIPC)?;
        let none: Option<&str> = None;
        nix::mount::mount(
            Some("/proc/thread-self/ns/ipc"),
            &target,
            none,
            nix::mount::MsFlags::MS_BIND,
            none,
        )?;
        Ok(())
    };
    let thread = std::thread::Builder::new()
        .name("pin namespace".into())
        .spawn(pin)?;
    thread
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("pinning panicked")))
}

// A pinned file lies on nsfs, not on the file system of its directory.
fn is_pinned(file: &Path) -> bool {
    const NSFS: u64 = 0x6e73_6673;
    rustix::fs::statfs(file).is_ok_and(|stat| stat.f_type as u64 == NSFS)
}

/// Unpins a namespace and removes its file. Idempotent. Blocks.
pub fn unpin_namespace(file: &Path) -> io::Result<()> {
    while is_pinned(file) {
        nix::mount::umount2(file, nix::mount::MntFlags::MNT_DETACH)?;
    }
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_paths_are_few_and_real() {
        let hidden = [
            "/tmp",
            "/var/run",
            "/run",
            "/run/lock",
            "/proc/sys",
            "/no/such",
            "/",
            "/etc/passwd",
        ]
        .map(PathBuf::from);
        let mounts = host_rootfs_mounts(&hidden);
        let destinations: Vec<&str> = mounts.iter().map(|m| m.destination.as_str()).collect();
        assert_eq!(destinations, ["/etc/passwd", "/run", "/tmp"]);
    }

    #[test]
    fn a_namespace_stays_pinned_until_unpinned() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let file = dir.path().join("ipc");
        if let Err(error) = pin_ipc_namespace(&file) {
            towpath_testkit::skip(&format!("cannot pin a namespace: {error}"));
            return;
        }
        pin_ipc_namespace(&file).expect("again");
        let own = std::fs::metadata("/proc/self/ns/ipc").expect("own");
        let pinned = std::fs::metadata(&file).expect("pinned");
        assert_ne!(
            std::os::unix::fs::MetadataExt::ino(&own),
            std::os::unix::fs::MetadataExt::ino(&pinned)
        );
        unpin_namespace(&file).expect("unpin");
        unpin_namespace(&file).expect("again");
        assert!(!file.exists());
    }
}
