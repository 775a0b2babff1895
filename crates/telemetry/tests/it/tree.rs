//! Trees of files written by hand: `== path` begins a file.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use towpath_stdx::Clock;

/// A clock that does not move.
pub(crate) struct Still(Instant);

impl Still {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Still {
    fn since_epoch(&self) -> Duration {
        Duration::from_millis(1_795_300_000_500)
    }
    fn monotonic(&self) -> Instant {
        self.0
    }
}

pub(crate) fn files(tree: &str) -> BTreeMap<String, String> {
    let sections = tree.split("== ").skip(1);
    let parts = sections.filter_map(|section| section.split_once('\n'));
    parts.map(|(a, b)| (a.to_string(), b.to_string())).collect()
}

pub(crate) fn lay(files: &BTreeMap<String, String>, root: &Path) {
    for (name, text) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("make directory");
        std::fs::write(path, text).expect("write");
    }
}
