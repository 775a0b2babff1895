//! The root file system: an overlay in the shim's own mount namespace.

use crate::spec::Rootfs;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// Mounts the overlay on `target`. Options go in one by one, so neither their number nor odd
/// characters in paths matter.
pub(super) fn mount(rootfs: &Rootfs, target: &Path) -> io::Result<()> {
    for dir in [&rootfs.upper, &rootfs.work, &target.to_path_buf()] {
        fs::create_dir_all(dir).map_err(named(dir))?;
    }
    // The mark of an earlier volatile mount on the same scratch directory; nothing of it is
    // relied on after a crash of the machine.
    let _ = fs::remove_dir_all(rootfs.work.join("work/incompat"));
    if rootfs.lower.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "root file system has no layers",
        ));
    }
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&overlay, "source", "overlay")?;
    for lower in &rootfs.lower {
        fsconfig_set_string(&overlay, "lowerdir+", lower).map_err(|e| named(lower)(e.into()))?;
    }
    fsconfig_set_string(&overlay, "upperdir", &rootfs.upper)
        .map_err(|e| named(&rootfs.upper)(e.into()))?;
    fsconfig_set_string(&overlay, "workdir", &rootfs.work)
        .map_err(|e| named(&rootfs.work)(e.into()))?;
    // What is written lives as long as the container or is read by us afterwards: no need to
    // push it to the disk on unmount. Directory renames are copied, so that the upper directory
    // is a plain layer.
    let _ = fsconfig_set_flag(&overlay, "volatile");
    let _ = fsconfig_set_string(&overlay, "redirect_dir", "off");
    let _ = fsconfig_set_string(&overlay, "metacopy", "off");
    fsconfig_create(&overlay)?;
    let mounted = fsmount(
        &overlay,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    move_mount(
        &mounted,
        "",
        CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    Ok(())
}

fn named(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    let path = path.display().to_string();
    move |error| io::Error::new(error.kind(), format!("{path}: {error}"))
}

/// Opens the mounted root.
pub(super) fn open(target: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, target, flags, Mode::empty())?)
}

/// Makes a working directory where it is missing; links in the image are followed inside it.
/// New directories belong to the process.
pub(super) fn make_working_directory(
    root: BorrowedFd<'_>,
    path: &str,
    uid: u32,
    gid: u32,
) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut done = PathBuf::from(".");
    for component in Path::new(path).components() {
        let Component::Normal(name) = component else {
            if component == Component::ParentDir {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("working directory {path:?} has \"..\""),
                ));
            }
            continue;
        };
        let parent = rustix::fs::openat2(root, &done, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
        done.push(name);
        if rustix::fs::openat2(root, &done, flags, Mode::empty(), ResolveFlags::IN_ROOT).is_ok() {
            continue;
        }
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))
            .map_err(|error| named(Path::new(path))(error.into()))?;
        let owner = (
            rustix::process::Uid::from_raw(uid),
            rustix::process::Gid::from_raw(gid),
        );
        rustix::fs::chownat(
            parent.as_fd(),
            name,
            Some(owner.0),
            Some(owner.1),
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        )?;
    }
    Ok(())
}
