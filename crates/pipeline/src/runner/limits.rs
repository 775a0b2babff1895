//! What the kernel held the job back from: memory and processes beyond its limits. Without this
//! a step would just end with code 137, or fail to start a program, and nobody would know why.

use std::path::Path;

// Where a container sees its own control group: version 2, then version 1.
const OOM: [&str; 2] = [
    "/sys/fs/cgroup/memory.events",
    "/sys/fs/cgroup/memory/memory.oom_control",
];
const PIDS: [&str; 2] = [
    "/sys/fs/cgroup/pids.events",
    "/sys/fs/cgroup/pids/pids.events",
];

/// Counts at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    oom: u64,
    pids: u64,
}

impl Counts {
    /// Now.
    pub(super) fn now() -> Self {
        Self {
            oom: read(&OOM, "oom_kill"),
            pids: read(&PIDS, "max"),
        }
    }

    /// What happened since, for people.
    pub(super) fn since(self) -> Option<&'static str> {
        let now = Self::now();
        if now.oom > self.oom {
            return Some("the job ran out of memory and the kernel ended a process of it");
        }
        (now.pids > self.pids).then_some("the job reached its limit of processes")
    }
}

fn read(paths: &[&str], key: &str) -> u64 {
    let text = paths
        .iter()
        .find_map(|p| std::fs::read_to_string(Path::new(p)).ok())
        .unwrap_or_default();
    value(&text, key)
}

fn value(text: &str, key: &str) -> u64 {
    text.lines()
        .find_map(|l| l.strip_prefix(key)?.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_versions_are_read() {
        assert_eq!(super::value("low 0\noom 3\noom_kill 2\n", "oom_kill"), 2);
        assert_eq!(
            super::value("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", "oom_kill"),
            1
        );
        assert_eq!(super::value("max 7\n", "max"), 7);
        assert_eq!(super::value("", "max"), 0);
    }
}
