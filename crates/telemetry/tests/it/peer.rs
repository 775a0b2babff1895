//! The real Prometheus code as a program that answers one JSON object per line.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

/// The program; `None`, said loudly, where it is not built.
pub(crate) fn peer() -> Option<PathBuf> {
    towpath_testkit::peer("promql")
}

/// What it answers to the jobs in one of its modes.
pub(crate) fn ask(peer: &Path, mode: &str, jobs: &[Json]) -> Vec<Json> {
    let jobs: Vec<String> = jobs.iter().map(Json::to_string).collect();
    let answers = towpath_testkit::ask(peer, &[mode], &jobs);
    assert_eq!(answers.len(), jobs.len(), "an answer to every job");
    let parsed = answers.iter().map(|line| serde_json::from_str(line));
    parsed.collect::<Result<_, _>>().expect("JSON")
}

/// A small generator of numbers, the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    pub(crate) fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    pub(crate) fn word(&mut self, from: &[&'static str]) -> &'static str {
        from[self.roll(from.len())]
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len())]
    }
}
