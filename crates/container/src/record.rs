//! What is known of a container, kept by its shim in `state.json` and replaced as a whole, so
//! that a server that was away reads either the old or the new truth.

use crate::spec::Exit;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// Layout version of records.
pub const VERSION: u32 = 1;
pub(crate) const RECORD: &str = "state.json";

/// Where a container is in its life. It never goes backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The shim is at work.
    Starting,
    /// The first process runs.
    Running,
    /// The first process ended; see [`Record::exit`].
    Exited,
    /// It never ran; see [`Record::error`].
    Failed,
}

/// A process that can be told from a later one with the same id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since boot.
    pub started_ticks: u64,
}

impl ProcessId {
    /// The live process with this id.
    pub fn of(pid: i32) -> Option<Self> {
        started_ticks(pid).map(|started_ticks| Self { pid, started_ticks })
    }

    /// Whether it still runs (a zombie does not).
    pub fn alive(&self) -> bool {
        self.pid > 0 && started_ticks(self.pid) == Some(self.started_ticks)
    }
}

// Fields 3 (state) and 22 (start time) of /proc/<pid>/stat; the name in field 2 may hold
// anything, so counting starts after its last bracket.
fn started_ticks(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.get(text.rfind(')')? + 2..)?.split(' ');
    if matches!(fields.next(), Some("Z" | "X")) {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Why a container did not start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartError {
    /// Whether the program was missing or not runnable (a fault of image or command).
    pub program: bool,
    /// Message.
    pub message: String,
}

/// A container's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Layout version.
    pub version: u32,
    /// Container id.
    pub id: String,
    /// Where it is.
    pub phase: Phase,
    /// Its shim.
    pub shim: ProcessId,
    /// Its first process, once there.
    pub process: Option<ProcessId>,
    /// Start of the first process, RFC 3339 with nanoseconds.
    pub started_at: Option<String>,
    /// Its end.
    pub finished_at: Option<String>,
    /// How it ended.
    pub exit: Option<Exit>,
    /// Why it never ran.
    pub error: Option<StartError>,
    /// Numeric user its first process got.
    #[serde(default)]
    pub uid: u32,
}

impl Record {
    /// Reads the record in a container's state directory.
    pub fn read(dir: &Path) -> io::Result<Self> {
        let bytes = towpath_stdx::bounded::read_file(&dir.join(RECORD), 1 << 20)?;
        let record: Self = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
        if record.version != VERSION {
            return Err(io::Error::other(format!(
                "record version {} is not {VERSION}",
                record.version
            )));
        }
        Ok(record)
    }

    /// Replaces it.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        let bytes = serde_json::to_vec(self).map_err(io::Error::other)?;
        replace(&dir.join(RECORD), &bytes)
    }
}

// Writes beside and renames. Not synced: a power loss ends the container with its record.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes)?;
    std::fs::rename(&beside, path)
}

/// Now as RFC 3339 with nanoseconds.
pub(crate) fn now() -> String {
    use towpath_stdx::Clock;
    let now = towpath_stdx::SystemClock.since_epoch();
    let text = towpath_stdx::clock::rfc3339(now.as_secs());
    format!("{}.{:09}Z", text.trim_end_matches('Z'), now.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_a_later_one() {
        let own = ProcessId::of(std::process::id() as i32).expect("own process");
        assert!(own.alive());
        assert!(
            !ProcessId {
                started_ticks: own.started_ticks + 1,
                ..own
            }
            .alive()
        );
        assert!(!ProcessId::default().alive());
    }
}
