//! Network namespaces pinned by a bind mount on a file.
//!
//! Entering a namespace changes the thread, so all of it happens on threads of their own that
//! end afterwards; a worker of the async runtime never enters one.

use crate::error::Error;
use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{FsWord, statfs};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

// Magic of the kernel's namespace file system, `linux/magic.h`.
const NSFS_MAGIC: FsWord = 0x6e73_6673;

fn wrong(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Namespace {
        what,
        path: path.to_path_buf(),
        source,
    }
}

/// Whether a namespace is mounted on the file.
pub(crate) fn is_pinned(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.f_type == NSFS_MAGIC)
}

/// Makes a namespace and pins it on `path`.
pub(crate) async fn create(path: PathBuf) -> Result<(), Error> {
    let file = path.clone();
    on_thread("netns create", &file, move || {
        File::create(&path).map_err(wrong("make file", &path))?;
        unshare(CloneFlags::CLONE_NEWNET)
            .map_err(|e| wrong("make network namespace", &path)(e.into()))?;
        mount_bind("/proc/thread-self/ns/net", &path)
            .map_err(|e| wrong("pin network namespace on", &path)(e.into()))
    })
    .await
}

/// Unpins the namespace and removes the file; the kernel frees it with its last process.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    // A crash between mount and record may have stacked two.
    while is_pinned(path) {
        unmount(path, UnmountFlags::DETACH)
            .map_err(|e| wrong("unpin network namespace", path)(e.into()))?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Runs `work` on a thread inside the namespace pinned on `path`.
pub(crate) async fn inside<T, F>(path: PathBuf, work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Error> + Send + 'static,
{
    let file = path.clone();
    on_thread("netns inside", &file, move || {
        let namespace = File::open(&path).map_err(Error::file("open", &path))?;
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)
            .map_err(|e| wrong("enter network namespace", &path)(e.into()))?;
        work()
    })
    .await
}

async fn on_thread<T, F>(name: &str, path: &Path, work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Error> + Send + 'static,
{
    let (send, receive) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            let _ = send.send(work());
        })
        .map_err(wrong("start thread for", path))?;
    match receive.await {
        Ok(result) => result,
        Err(_) => Err(wrong("work in", path)(io::Error::other(
            "thread ended without a word",
        ))),
    }
}
