//! What a running server leaves for the command line: `<data>/server.json`.

use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// A running server, as it described itself when it got ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerState {
    /// Process id.
    pub pid: u32,
    /// Start time of the process in clock ticks since boot, so that a reused id is not mistaken
    /// for the server.
    pub started_ticks: u64,
    /// `http://…` of the UI, git and the registry.
    pub url: String,
    /// `https://…` of the Kubernetes API.
    pub api_url: String,
    /// Milliseconds from start to ready.
    pub ready_ms: u64,
    /// Version that runs.
    pub version: String,
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("server.json")
}

/// Process start time out of `/proc/<pid>/stat`; `None` where there is no such process.
pub fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name may contain anything, so count from its closing parenthesis: state is
    // field 3, start time field 22.
    let rest = &stat[stat.rfind(')')? + 2..];
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

impl ServerState {
    /// The server of a data directory, where it runs.
    pub fn running(data_dir: &Path) -> Option<Self> {
        let state = Self::read(data_dir)?;
        (start_ticks(state.pid) == Some(state.started_ticks)).then_some(state)
    }

    /// What is written, whether or not it still runs.
    pub fn read(data_dir: &Path) -> Option<Self> {
        let bytes = towpath_stdx::bounded::read_file(&path(data_dir), 64 << 10).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Writes it, whole or not at all.
    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        let target = path(data_dir);
        let temporary = target.with_extension("json.new");
        std::fs::write(&temporary, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(temporary, target)
    }

    /// Removes it.
    pub fn remove(data_dir: &Path) {
        let _ = std::fs::remove_file(path(data_dir));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_process_id_is_not_the_server() {
        let dir = std::env::temp_dir().join(format!("towpath-state-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("directory");
        let pid = std::process::id();
        let ticks = start_ticks(pid).expect("own start time");
        let mut state = ServerState {
            pid,
            started_ticks: ticks,
            url: String::new(),
            api_url: String::new(),
            ready_ms: 1,
            version: "0".into(),
        };
        state.write(&dir).expect("write");
        assert_eq!(ServerState::running(&dir), Some(state.clone()));
        state.started_ticks = ticks - 1;
        state.write(&dir).expect("write");
        assert_eq!(ServerState::running(&dir), None);
        std::fs::remove_dir_all(dir).expect("remove");
    }
}
