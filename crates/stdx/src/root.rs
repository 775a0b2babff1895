//! Paths that cannot leave a directory, whatever names and links say.
//!
//! The kernel resolves them (`openat2` with `RESOLVE_BENEATH`), so there is no window between
//! a check and a use.

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// An open directory below which paths are resolved.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

impl Root {
    /// Opens a directory, making it and its parents where missing.
    pub fn create(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Self::open(path)
    }

    /// Opens a directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Self {
            fd,
            path: path.to_path_buf(),
        })
    }

    /// The directory's own path, for messages and for programs that are started in it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file for reading.
    pub fn open_file(&self, relative: &Path) -> io::Result<File> {
        self.open_with(relative, OFlags::RDONLY, Mode::empty())
    }

    /// Opens a file for writing; made where missing, cut to nothing where not. Parents are made.
    pub fn create_file(&self, relative: &Path) -> io::Result<File> {
        if let Some(parent) = relative.parent() {
            self.create_dir_all(parent)?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
        self.open_with(relative, flags, Mode::from_raw_mode(0o644))
    }

    /// Opens with given flags (`CLOEXEC` is added).
    pub fn open_with(&self, relative: &Path, flags: OFlags, mode: Mode) -> io::Result<File> {
        let fd = rustix::fs::openat2(
            self.fd.as_fd(),
            relative,
            flags | OFlags::CLOEXEC,
            mode,
            BENEATH,
        )?;
        Ok(File::from(fd))
    }

    /// Makes a directory and its parents.
    pub fn create_dir_all(&self, relative: &Path) -> io::Result<()> {
        let mut done = PathBuf::new();
        for component in relative.components() {
            let Component::Normal(name) = component else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "path leaves its root",
                ));
            };
            let parent = self.dir(&done)?;
            match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            done.push(name);
        }
        self.dir(&done).map(drop)
    }

    /// Removes a file or, where it is one, an empty directory.
    pub fn remove(&self, relative: &Path) -> io::Result<()> {
        let name = relative
            .file_name()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "path names no file"))?;
        let parent = self.dir(relative.parent().unwrap_or(Path::new("")))?;
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Err(rustix::io::Errno::ISDIR) => {
                Ok(rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?)
            }
            other => Ok(other?),
        }
    }

    fn dir(&self, relative: &Path) -> io::Result<OwnedFd> {
        let relative = if relative.as_os_str().is_empty() {
            Path::new(".")
        } else {
            relative
        };
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat2(
            self.fd.as_fd(),
            relative,
            flags,
            Mode::empty(),
            BENEATH,
        )?)
    }
}

/// Whether a relative path has only normal components (no `..`, no root, not empty).
pub fn is_plain(relative: &Path) -> bool {
    let mut components = relative.components().peekable();
    components.peek().is_some() && components.all(|c| matches!(c, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn nothing_leaves_the_root() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let root = Root::create(&dir.path().join("inside")).expect("root");
        std::fs::write(dir.path().join("outside"), "secret").expect("write");
        std::os::unix::fs::symlink("../outside", dir.path().join("inside/link")).expect("link");
        std::os::unix::fs::symlink("..", dir.path().join("inside/up")).expect("link");
        for path in [
            "../outside",
            "link",
            "up/outside",
            "/etc/passwd",
            "a/../../outside",
        ] {
            assert!(root.open_file(Path::new(path)).is_err(), "{path}");
        }
        assert!(root.create_file(Path::new("up/new")).is_err());
        assert!(root.create_dir_all(Path::new("../x")).is_err());
        root.create_file(Path::new("a/b"))
            .expect("create")
            .write_all(b"x")
            .expect("write");
        let mut text = String::new();
        root.open_file(Path::new("a/b"))
            .expect("open")
            .read_to_string(&mut text)
            .expect("read");
        assert_eq!(text, "x");
        root.remove(Path::new("a/b")).expect("remove");
        root.remove(Path::new("a")).expect("remove");
    }
}
