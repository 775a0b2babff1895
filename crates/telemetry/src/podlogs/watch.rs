//! Word of changes in directories.

use std::collections::HashSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};

pub(super) struct Watch {
    inotify: OwnedFd,
    watched: HashSet<PathBuf>,
}

impl Watch {
    pub(super) fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self {
            inotify,
            watched: HashSet::new(),
        })
    }

    /// Watches a directory, if that is not done yet.
    pub(super) fn add(&mut self, dir: &Path) {
        if self.watched.contains(dir) {
            return;
        }
        let flags = WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR;
        if inotify::add_watch(&self.inotify, dir, flags).is_ok() {
            self.watched.insert(dir.to_path_buf());
        }
        if self.watched.len() > 4096 {
            self.watched.retain(|dir| dir.exists());
        }
    }

    /// Waits for a change; whether there was one in the time.
    pub(super) fn changed(&mut self, longest: Duration) -> bool {
        let timeout = Timespec {
            tv_sec: longest.as_secs() as i64,
            tv_nsec: i64::from(longest.subsec_nanos()),
        };
        let mut fds = [PollFd::new(&self.inotify, PollFlags::IN)];
        if !matches!(poll(&mut fds, Some(&timeout)), Ok(ready) if ready > 0) {
            return false;
        }
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        while reader.next().is_ok() {}
        true
    }
}
