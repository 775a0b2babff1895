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
use std::time::Duration;

// A git may start another while we look; more rounds than gits have generations.
const ROUNDS: usize = 8;
// Becoming another program takes microseconds, but for a machine that is busy.
const LOOKS: usize = 200;
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);
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
        let environment = environment(&entry.path());
        if environment.split(|b| *b == 0).any(|line| line == wanted) {
            found.push((pid, process));
        }
    }
    found
}

/// The environment of a process. One that is about to become another program has none for a
/// moment, and nothing tells when that is over.
fn environment(process: &Path) -> Vec<u8> {
    for _ in 0..LOOKS {
        let found = std::fs::read(process.join("environ")).unwrap_or_default();
        if !found.is_empty() || !is_between_programs(process) {
            return found;
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
    Vec::new()
}

/// Whether a process has a program, but no place yet for its environment. The kernel's own and
/// those that have ended have neither.
fn is_between_programs(process: &Path) -> bool {
    let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    // Behind the name, which may contain anything, field 3 comes first; 51 is `env_end`.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let end = fields.split(' ').nth(51 - 3);
    end == Some("0") && std::fs::read_link(process.join("exe")).is_ok()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // a test's own children
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// A program that has just been started is found, however busy the machine is.
    #[test]
    fn processes_that_begin_are_found() {
        let home = tempfile::tempdir().unwrap();
        for _ in 0..200 {
            let mut sleep = Command::new("sleep");
            sleep.arg("60").env("HOME", home.path());
            let mut ours = sleep.stdin(Stdio::null()).spawn().unwrap();
            let found = find(home.path()).len();
            ours.kill().unwrap();
            ours.wait().unwrap();
            assert_eq!(found, 1);
        }
    }

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
