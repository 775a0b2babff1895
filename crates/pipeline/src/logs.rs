//! Step logs: one file per step of an attempt's job, appended line by line. A line is named by
//! its number, so writing it twice changes nothing.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

/// Which attempt of which run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AttemptKey {
    pub(crate) namespace: String,
    pub(crate) run: String,
    pub(crate) attempt: u32,
}

/// All step logs below a directory. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Logs(Arc<Inner>);

struct Inner {
    root: PathBuf,
    limit_bytes: u64,
    changed: Mutex<HashMap<(String, String), watch::Sender<u64>>>,
}

/// Whether a name can be a single path component.
pub(crate) fn is_component(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && name != "."
        && name != ".."
        && !name.contains(['/', '\0'])
}

impl Logs {
    pub(crate) fn new(root: PathBuf, limit_bytes: u64) -> Self {
        Self(Arc::new(Inner {
            root,
            limit_bytes,
            changed: Mutex::default(),
        }))
    }

    fn run_dir(&self, namespace: &str, run: &str) -> Option<PathBuf> {
        (is_component(namespace) && is_component(run))
            .then(|| self.0.root.join(namespace).join(run))
    }

    /// Path of a step's log.
    pub(crate) fn path(&self, key: &AttemptKey, job: &str, step: u32) -> Option<PathBuf> {
        let dir = self.run_dir(&key.namespace, &key.run)?;
        is_component(job).then(|| {
            dir.join(key.attempt.to_string())
                .join(job)
                .join(format!("{step}.log"))
        })
    }

    /// A writer that goes on where the file ends.
    pub(crate) fn writer(&self, key: &AttemptKey, job: &str, step: u32) -> io::Result<Writer> {
        let path = self.path(key, job, step);
        let path = path
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "invalid name of a job"))?;
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)?;
        let (lines, bytes) = count(&mut file)?;
        file.set_len(bytes)?;
        Ok(Writer {
            file,
            lines,
            bytes,
            limit_bytes: self.0.limit_bytes,
        })
    }

    /// Tells when anything about a run may have changed.
    pub(crate) fn watch(&self, namespace: &str, run: &str) -> watch::Receiver<u64> {
        let mut changed = self.0.changed.lock();
        changed.retain(|_, sender| sender.receiver_count() > 0);
        changed
            .entry((namespace.into(), run.into()))
            .or_insert_with(|| watch::Sender::new(0))
            .subscribe()
    }

    /// Wakes those who watch a run.
    pub(crate) fn touch(&self, namespace: &str, run: &str) {
        if let Some(sender) = self
            .0
            .changed
            .lock()
            .get(&(namespace.to_string(), run.to_string()))
        {
            sender.send_modify(|n| *n += 1);
        }
    }

    /// Removes all logs of a run.
    pub(crate) fn remove(&self, namespace: &str, run: &str) -> io::Result<()> {
        match self.run_dir(namespace, run).map(std::fs::remove_dir_all) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

// Whole lines and their bytes; a torn last line of a crash is not counted.
fn count(file: &mut File) -> io::Result<(u64, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let (mut lines, mut bytes, mut at) = (0, 0, 0);
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok((lines, bytes));
        }
        for (i, _) in buffer.iter().enumerate().filter(|(_, b)| **b == b'\n') {
            lines += 1;
            bytes = at + i as u64 + 1;
        }
        at += buffer.len() as u64;
        let n = buffer.len();
        reader.consume(n);
    }
}

/// Appends to one step's log.
pub(crate) struct Writer {
    file: File,
    lines: u64,
    bytes: u64,
    limit_bytes: u64,
}

impl Writer {
    /// Writes line `number` unless it is there. Lines that were lost on the way are named.
    pub(crate) fn write(&mut self, number: u64, text: &str) -> io::Result<()> {
        if number <= self.lines {
            return Ok(());
        }
        let mut out = String::new();
        if number > self.lines + 1 {
            let lost = number - self.lines - 1;
            // Keeps the numbers right: the note stands on the last of the missing lines.
            (1..lost.min(100_000)).for_each(|_| out.push('\n'));
            out.push_str(&format!(
                "##[warning]{lost} lines were lost when the container's log was rotated\n"
            ));
        }
        self.lines = number;
        if self.bytes > self.limit_bytes {
            return Ok(());
        }
        out.push_str(&text.replace('\n', " "));
        out.push('\n');
        self.bytes += out.len() as u64;
        if self.bytes > self.limit_bytes {
            out.push_str(
                "##[warning]the log is larger than the server keeps; the rest is left out\n",
            );
        }
        self.file.write_all(out.as_bytes())
    }
}

/// Reads from a line on (1-based), at most `limit_bytes`; returns the bytes (whole lines) and the
/// offset after them.
pub(crate) fn read_from(path: &Path, from: u64, limit_bytes: usize) -> io::Result<(Vec<u8>, u64)> {
    let mut reader = BufReader::with_capacity(64 << 10, File::open(path)?);
    let mut offset = 0u64;
    let mut skip = from.saturating_sub(1);
    while skip > 0 {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok((Vec::new(), offset));
        }
        let mut used = buffer.len();
        for (i, _) in buffer.iter().enumerate().filter(|(_, b)| **b == b'\n') {
            skip -= 1;
            if skip == 0 {
                used = i + 1;
                break;
            }
        }
        offset += used as u64;
        reader.consume(used);
    }
    drop(reader);
    read_at(path, offset, limit_bytes)
}

/// Reads whole lines from a byte offset.
pub(crate) fn read_at(path: &Path, offset: u64, limit_bytes: usize) -> io::Result<(Vec<u8>, u64)> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path)?;
    let mut bytes = vec![0u8; limit_bytes];
    let mut filled = 0;
    while filled < limit_bytes {
        let n = file.read_at(&mut bytes[filled..], offset + filled as u64)?;
        if n == 0 {
            break;
        }
        filled += n;
    }
    bytes.truncate(filled);
    let end = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    bytes.truncate(end);
    Ok((bytes, offset + end as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_once_and_found_by_number() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::new(dir.path().into(), 1 << 20);
        let key = AttemptKey {
            namespace: "demo".into(),
            run: "r".into(),
            attempt: 1,
        };
        let mut writer = logs.writer(&key, "build", 1).unwrap();
        writer.write(1, "one").unwrap();
        writer.write(2, "two").unwrap();
        drop(writer);
        let path = logs.path(&key, "build", 1).unwrap();
        // A torn line of a crash is written anew.
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"thr")
            .unwrap();
        let mut writer = logs.writer(&key, "build", 1).unwrap();
        for (number, text) in [(1, "one"), (2, "two"), (3, "three"), (6, "six")] {
            writer.write(number, text).unwrap();
        }
        let (bytes, end) = read_from(&path, 2, 1000).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.lines().next(), Some("two"));
        assert_eq!(text.lines().nth(1), Some("three"));
        assert_eq!(text.lines().nth(4), Some("six"));
        assert_eq!(read_at(&path, end, 1000).unwrap().0, b"");
        assert_eq!(read_from(&path, 99, 1000).unwrap().0, b"");
        assert!(logs.path(&key, "../x", 1).is_none());
        logs.remove("demo", "r").unwrap();
        assert!(!path.exists());
    }
}
