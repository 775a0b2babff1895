//! Stops a job that goes beyond what its machine can give, and says why: the disk has no control
//! group, and the one for processes refuses to start more but ends nothing.

use super::{disk, processes};
use rustix::process::{Pid, Signal, kill_process_group};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;
use towpath_daemon::CancellationToken;

const INTERVAL: Duration = Duration::from_secs(2);

/// Watches until dropped; cancels its token and says why.
pub(super) struct Watch {
    /// Cancelled when the job has to stop.
    pub(super) stop: CancellationToken,
    why: Arc<OnceLock<String>>,
    end: CancellationToken,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Watch {
    /// Starts; limits of 0 only keep the disk's reserve.
    pub(super) fn start(work: &Path, disk_bytes: u64, most_processes: u64) -> Self {
        let watch = Self {
            stop: CancellationToken::new(),
            why: Arc::default(),
            end: CancellationToken::new(),
        };
        let (stop, why, end) = (watch.stop.clone(), watch.why.clone(), watch.end.clone());
        let mut dirs = vec![work.to_path_buf()];
        // A job's container has a /tmp and processes of its own.
        let contained = std::process::id() == 1;
        if contained {
            dirs.push(PathBuf::from("/tmp"));
        }
        let mut crowd = processes::Crowd::new(if contained { most_processes } else { 0 });
        let at_start = disk::free_bytes(work).unwrap_or(u64::MAX);
        towpath_daemon::spawn("limits", async move {
            loop {
                tokio::select! {
                    () = end.cancelled() => return,
                    () = tokio::time::sleep(INTERVAL) => {}
                }
                // Not on another thread: there may be none left for it.
                let mut message = crowd.judge();
                if message.is_none() && !crowd.is_dense() {
                    let dirs = dirs.clone();
                    let look = move || disk::judge(&dirs, at_start, disk_bytes);
                    message = tokio::task::spawn_blocking(look).await.unwrap_or_default();
                }
                if let Some(message) = message {
                    let _ = why.set(message);
                    stop.cancel();
                    if contained {
                        // Everything but this process: what it has started in the background
                        // would go on, and a polite end takes seconds.
                        let _ = kill_process_group(Pid::INIT, Signal::KILL);
                    }
                    return;
                }
            }
        });
        watch
    }

    /// Why the job has to stop, if it has to.
    pub(super) fn why(&self) -> Option<&str> {
        self.why.get().map(String::as_str)
    }
}
