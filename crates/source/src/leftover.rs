//! Ends the gits of a server that was killed, before the next one serves.
//!
//! A git outlives the server that started it and may still move a ref. Nobody was told of that
//! movement, and whoever pushes again reads the refs before it and is refused for it. What such
//! a git has already written stays: the log of the ref tells the recorder.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

// A git may start another while we look; more rounds than gits have generations.
const ROUNDS: usize = 8;
const PATIENCE: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

/// Kills every process whose `HOME` is ours, which only gits that we started have, and waits
/// for their ends. The data directory's lock says that no other server can own them.
pub(crate) fn end(home: &Path) {
    for _ in 0..ROUNDS {
        let found = find(home);
        if found.is_empty() {
            return;
        }
        for (pid, process) in &found {
            tracing::info!(
                pid = pid.as_raw_nonzero().get(),
                "git of a killed server: ended"
            );
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
        for (pid, process) in &found {
            let mut ended = [PollFd::new(process, PollFlags::IN)];
            if !matches!(poll(&mut ended, Some(&PATIENCE)), Ok(1..)) {
                tracing::warn!(
                    pid = pid.as_raw_nonzero().get(),
                    "a git of a killed server does not end; is the disk stuck?"
                );
                return;
            }
        }
    }
}

fn find(home: &Path) -> Vec<(Pid, OwnedFd)> {
    let wanted = [b"HOME=", home.as_os_str().as_bytes()].concat();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name
            .to_str()
            .and_then(|name| name.parse().ok())
            .and_then(Pid::from_raw)
        else {
            continue;
        };
        // Opened before its environment is read, so that it is the one that was looked at.
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|b| *b == 0).any(|line| line == wanted) {
            found.push((pid, process));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn only_processes_of_this_home_end() {
        let home = tempfile::tempdir().unwrap();
        let start = |home: &Path| {
            Command::new("sleep")
                .arg("60")
                .env("HOME", home)
                .stdin(Stdio::null())
                .spawn()
                .unwrap()
        };
        let mut ours = start(home.path());
        let mut other = start(&home.path().join("longer"));
        end(home.path());
        assert!(!ours.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none(), "still running");
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
