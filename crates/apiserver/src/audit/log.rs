//! The files: `audit.log`, one JSON event per line, and older ones beside it, bounded by size
//! and number.
//!
//! Requests do not wait for the disk. What does not fit into the queue, or cannot be written, is
//! counted and said in the server's log; the numbers are at `/metrics`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use towpath_stdx::{Clock, SystemClock};

const QUEUE: usize = 8192;
const QUEUE_BYTES: usize = 32 << 20;
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Numbers since the start.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) written: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) failed: AtomicU64,
    queued_bytes: AtomicUsize,
}

enum Message {
    Line(Vec<u8>),
    Flush(oneshot::Sender<()>),
}

/// Where events go. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Log {
    send: mpsc::Sender<Message>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) directory: Arc<Path>,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) file_bytes: u64,
    pub(crate) files: usize,
}

impl Log {
    pub(crate) fn start(directory: PathBuf, bounds: Bounds) -> Self {
        let (send, receive) = mpsc::channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let files = Files {
            directory: directory.clone(),
            bounds,
            open: None,
        };
        towpath_daemon::spawn("audit log", write(files, receive, counts.clone()));
        Self {
            send,
            counts,
            directory: directory.into(),
        }
    }

    pub(crate) fn line(&self, line: Vec<u8>) {
        let bytes = line.len();
        let queued = self.counts.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let full = queued + bytes > QUEUE_BYTES || self.send.try_send(Message::Line(line)).is_err();
        if !full {
            return;
        }
        self.counts.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        let dropped = self.counts.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        // At 1, 2, 4, 8, …: loud at once, and not a flood.
        if dropped.is_power_of_two() {
            tracing::error!(dropped, "audit events are lost: the disk does not keep up");
        }
    }

    /// Waits until everything so far is written.
    pub(crate) async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.send.send(Message::Flush(done)).await.is_ok() {
            let _ = wait.await;
        }
    }
}

async fn write(mut files: Files, mut receive: mpsc::Receiver<Message>, counts: Arc<Counts>) {
    let mut said: Option<Instant> = None;
    let mut messages = Vec::new();
    while receive.recv_many(&mut messages, 512).await > 0 {
        let (mut lines, mut waiting, mut number) = (Vec::new(), Vec::new(), 0);
        for message in messages.drain(..) {
            match message {
                Message::Line(line) => {
                    counts.queued_bytes.fetch_sub(line.len(), Ordering::Relaxed);
                    lines.extend(line);
                    number += 1;
                }
                Message::Flush(done) => waiting.push(done),
            }
        }
        let work = tokio::task::spawn_blocking(move || {
            let result = match lines.is_empty() {
                true => Ok(()),
                false => files.append(&lines),
            };
            (files, result)
        });
        let Ok((back, result)) = work.await else {
            return tracing::error!("the audit log has ended");
        };
        files = back;
        match result {
            Ok(()) => {
                counts.written.fetch_add(number, Ordering::Relaxed);
            }
            Err(error) => {
                counts.failed.fetch_add(number, Ordering::Relaxed);
                let now = SystemClock.monotonic();
                if said.is_none_or(|said| now - said > SAY_AGAIN) {
                    said = Some(now);
                    tracing::error!(%error, events = number, "audit events are lost: the log cannot be written");
                }
            }
        }
        for done in waiting {
            let _ = done.send(());
        }
    }
}

struct Files {
    directory: PathBuf,
    bounds: Bounds,
    open: Option<(File, u64)>,
}

impl Files {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let (mut file, bytes) = match self.open.take() {
            Some(open) => open,
            None => self.open_file()?,
        };
        // After a failure it is opened anew, where a line may have been cut off.
        file.write_all(lines)?;
        let bytes = bytes + lines.len() as u64;
        if bytes >= self.bounds.file_bytes {
            self.rotate()?;
        } else {
            self.open = Some((file, bytes));
        }
        Ok(())
    }

    fn open_file(&self) -> io::Result<(File, u64)> {
        std::fs::create_dir_all(&self.directory)?;
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .mode(0o600)
            .open(self.directory.join(CURRENT))?;
        let bytes = file.metadata()?.len();
        if bytes > 0 && !ends_with_line(&file, bytes)? {
            file.write_all(b"\n")?;
        }
        Ok((file, bytes))
    }

    fn rotate(&self) -> io::Result<()> {
        let mut stamp = SystemClock.since_epoch().as_millis();
        let name = |stamp: u128| self.directory.join(format!("audit-{stamp:015}.log"));
        while name(stamp).exists() {
            stamp += 1;
        }
        std::fs::rename(self.directory.join(CURRENT), name(stamp))?;
        let older = older(&self.directory)?;
        let keep = self.bounds.files.saturating_sub(1);
        for path in older.iter().rev().skip(keep) {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn ends_with_line(file: &File, bytes: u64) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let mut last = [0];
    file.read_exact_at(&mut last, bytes - 1)?;
    Ok(last[0] == b'\n')
}

/// Name of the file that is written.
pub(crate) const CURRENT: &str = "audit.log";

/// Files that are full, the oldest first.
pub(crate) fn older(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("audit-") && name.ends_with(".log") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_bounded_and_a_cut_line_is_ended() {
        let dir = tempfile::tempdir().expect("directory");
        let bounds = Bounds {
            file_bytes: 100,
            files: 3,
        };
        let log = Log::start(dir.path().into(), bounds);
        for number in 0..40 {
            log.line(format!("{{\"number\":{number},\"filler\":\"xxxxxxxxxx\"}}\n").into_bytes());
            log.flush().await;
        }
        assert_eq!(log.counts.written.load(Ordering::Relaxed), 40);
        let older = older(dir.path()).expect("files");
        assert_eq!(older.len(), 2);
        std::fs::write(dir.path().join(CURRENT), "{\"cut").expect("write");
        let log = Log::start(dir.path().into(), bounds);
        log.line(b"{}\n".to_vec());
        log.flush().await;
        let text = std::fs::read_to_string(dir.path().join(CURRENT)).expect("file");
        assert_eq!(text, "{\"cut\n{}\n");
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_written_is_counted_and_stops_nobody() {
        let dir = tempfile::tempdir().expect("directory");
        let blocked = dir.path().join("file");
        std::fs::write(&blocked, "").expect("write");
        let bounds = Bounds {
            file_bytes: 100,
            files: 3,
        };
        let log = Log::start(blocked.join("below"), bounds);
        log.line(b"{}\n".to_vec());
        log.flush().await;
        assert_eq!(log.counts.failed.load(Ordering::Relaxed), 1);
    }
}
