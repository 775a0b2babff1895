//! File trees by descriptor: stages as overlays that are mounted nowhere, and everything that
//! reads or writes below them.
//!
//! An overlay made with `fsmount` needs no place in a mount namespace: it is used through its
//! descriptor and is gone when that is closed, also after a crash. Paths are resolved with the
//! tree as root (`openat2`, `RESOLVE_IN_ROOT`), so links in an image lead inside the image.

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

const RESOLVE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// A tree to read from or write to.
pub(crate) struct Tree {
    root: OwnedFd,
}

impl Tree {
    /// A plain directory.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self {
            root: rustix::fs::openat(CWD, path, flags, Mode::empty())?,
        })
    }

    /// Layers, uppermost first; writes go to `upper`.
    pub(crate) fn writable(lower: &[PathBuf], upper: &Path, work: &Path) -> io::Result<Self> {
        Self::overlay(lower, Some((upper, work)))
    }

    /// Layers, uppermost first, above an empty directory: the kernel wants two.
    pub(crate) fn readable(lower: &[PathBuf], below: &Path) -> io::Result<Self> {
        let mut lower = lower.to_vec();
        lower.push(below.to_path_buf());
        Self::overlay(&lower, None)
    }

    fn overlay(lower: &[PathBuf], upper: Option<(&Path, &Path)>) -> io::Result<Self> {
        let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let set = |key: &str, path: &Path| {
            fsconfig_set_string(&overlay, key, path).map_err(|errno| {
                io::Error::new(
                    io::Error::from(errno).kind(),
                    format!("{key} {}: {errno}", path.display()),
                )
            })
        };
        fsconfig_set_string(&overlay, "source", "overlay")?;
        let mut seen: Vec<&PathBuf> = Vec::new();
        for dir in lower {
            // The same layer twice adds nothing, and the kernel refuses it.
            if !seen.contains(&dir) {
                set("lowerdir+", dir)?;
                seen.push(dir);
            }
        }
        if let Some((upper, work)) = upper {
            let _ = std::fs::remove_dir_all(work.join("work/incompat"));
            set("upperdir", upper)?;
            set("workdir", work)?;
            let _ = fsconfig_set_flag(&overlay, "volatile");
        }
        let _ = fsconfig_set_string(&overlay, "redirect_dir", "off");
        let _ = fsconfig_set_string(&overlay, "metacopy", "off");
        fsconfig_create(&overlay)?;
        let root = fsmount(
            &overlay,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )?;
        Ok(Self { root })
    }

    /// Opens a path, links followed inside the tree.
    pub(crate) fn find(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let path = path.trim_start_matches('/');
        let path = if path.is_empty() { "." } else { path };
        Ok(rustix::fs::openat2(
            &self.root,
            path,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            RESOLVE,
        )?)
    }

    /// What a path is, links followed inside the tree.
    pub(crate) fn stat(&self, path: &str) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(self.find(path, OFlags::PATH)?)?)
    }

    /// A small file's bytes.
    pub(crate) fn read(&self, path: &str, limit_bytes: u64) -> io::Result<Vec<u8>> {
        let file = std::fs::File::from(self.find(path, OFlags::RDONLY | OFlags::NONBLOCK)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        towpath_stdx::bounded::read_all(file, limit_bytes)
    }

    /// Makes a directory and those above it; returns how many were made.
    pub(crate) fn make_directories(
        &self,
        path: &str,
        owner: Option<(u32, u32)>,
    ) -> io::Result<usize> {
        let (mut done, mut made) = (String::new(), 0);
        for name in path
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
        {
            let parent = self.find(&done, OFlags::DIRECTORY | OFlags::RDONLY)?;
            done = if name == ".." {
                format!("{done}/..")
            } else {
                format!("{done}/{name}")
            };
            match self.find(&done, OFlags::DIRECTORY | OFlags::PATH) {
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)).map_err(|errno| {
                match errno {
                    // A link that leads nowhere.
                    Errno::EXIST => io::Error::other(format!("{done} is a link to nothing")),
                    errno => errno.into(),
                }
            })?;
            let (uid, gid) = owner.unwrap_or((0, 0));
            chown(parent.as_fd(), name.as_bytes(), uid, gid)?;
            rustix::fs::chmodat(&parent, name, Mode::from_raw_mode(0o755), AtFlags::empty())?;
            made += 1;
        }
        Ok(made)
    }
}

/// Sorted names in a directory.
pub(crate) fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

pub(crate) fn stat_at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Stat> {
    Ok(rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?)
}

pub(crate) fn open_at(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(
        dir,
        name,
        flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

pub(crate) fn chown(dir: BorrowedFd<'_>, name: &[u8], uid: u32, gid: u32) -> io::Result<()> {
    use rustix::fs::{Gid, Uid};
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    Ok(rustix::fs::chownat(
        dir,
        name,
        uid,
        gid,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

/// Extended attributes that belong to content, by name.
pub(crate) fn xattrs(dir: BorrowedFd<'_>, name: &[u8]) -> Vec<(String, Vec<u8>)> {
    let path = [
        format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(),
        name,
    ]
    .concat();
    let path = Path::new(std::os::unix::ffi::OsStrExt::from_bytes(&path[..]) as &std::ffi::OsStr);
    let Ok(list) = xattr::list(path) else {
        return Vec::new();
    };
    let kept = |name: &String| {
        (name.starts_with("user.") && !name.starts_with("user.overlay."))
            || name == "security.capability"
    };
    let mut names: Vec<String> = list
        .filter_map(|name| name.into_string().ok())
        .filter(kept)
        .collect();
    names.sort_unstable();
    names
        .into_iter()
        .filter_map(|name| Some((name.clone(), xattr::get(path, &name).ok()??)))
        .collect()
}

/// A path without `.`, empty and `..` components; `..` stops at the root.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A path relative to a working directory as an absolute one.
pub(crate) fn absolute(workdir: &str, path: &str) -> String {
    let joined = if path.starts_with('/') {
        path.to_string()
    } else {
        format!("{workdir}/{path}")
    };
    format!("/{}", clean(&joined))
}
