//! `docs/conformance.md`: one row for each test of the suite, read back as the history that the
//! next run is held against.

use super::report::Case;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fmt::Write;

const HEAD: &str = "# Conformance
The upstream end-to-end suite of Kubernetes 1.36.3, tests marked `[Conformance]`, against Towpath on one machine. `cargo xtask conformance` builds the suite and its test images from their Go modules (`tests/peers/e2e`), starts a Towpath of its own, runs the tests, and writes this file; it fails where a test fails that once passed. Narrower: `--sig api-machinery,auth`, `--focus REGEX`.

A test that fails while others run is run once more, alone, unless `--no-retry` says otherwise; that result counts. A commit with `+` had changes that were not committed yet. A row that is blank in both columns has not run.
";

/// What is known of one test.
#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    /// Commit at which it first passed.
    first: String,
    /// `passed`, or `failed since` a commit, or nothing.
    last: String,
}

/// All tests of the suite, by name.
pub(super) struct History {
    rows: BTreeMap<String, Row>,
}

impl History {
    /// The file, with a row for every test of the suite; tests that upstream dropped go.
    pub(super) fn read(file: &str, tests: Vec<String>) -> Result<Self> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).context(file.to_string()),
        };
        Ok(Self::parse(&text, tests))
    }

    fn parse(text: &str, tests: Vec<String>) -> Self {
        let mut rows: BTreeMap<String, Row> =
            tests.into_iter().map(|t| (t, Row::default())).collect();
        let mut sig = "";
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                sig = title;
            }
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, name, first, last, _] = cells[..] else {
                continue;
            };
            if let Some(row) = rows.get_mut(&format!("[sig-{sig}] {name}")) {
                row.first = first.into();
                row.last = last.into();
            }
        }
        Self { rows }
    }

    /// Takes a run's results in; returns the tests that once passed and failed now.
    pub(super) fn record(&mut self, commit: &str, results: &[Case]) -> Vec<String> {
        let mut lost = Vec::new();
        for case in results {
            let Some(row) = self.rows.get_mut(&case.name) else {
                continue;
            };
            if case.passed {
                row.last = "passed".into();
                if row.first.is_empty() {
                    row.first = commit.into();
                }
                continue;
            }
            if !row.last.starts_with("failed") {
                row.last = format!("failed since {commit}");
            }
            if !row.first.is_empty() {
                lost.push(case.name.clone());
            }
        }
        lost
    }

    fn by_sig(&self) -> BTreeMap<&str, Vec<(&str, &Row)>> {
        let mut sigs: BTreeMap<&str, Vec<(&str, &Row)>> = BTreeMap::new();
        for (name, row) in &self.rows {
            let rest = name.strip_prefix("[sig-").unwrap_or(name);
            let (sig, rest) = rest.split_once("] ").unwrap_or(("other", rest));
            sigs.entry(sig).or_default().push((rest, row));
        }
        sigs
    }

    /// Sums per interest group.
    pub(super) fn sums(&self) -> String {
        let mut text =
            String::from("| sig | tests | passed | failed | not run |\n|---|---|---|---|---|\n");
        let mut all = [0; 4];
        let count = |rows: &[(&str, &Row)]| {
            let passed = rows.iter().filter(|(_, r)| r.last == "passed").count();
            let failed = rows.iter().filter(|(_, r)| r.last.starts_with("failed"));
            let failed = failed.count();
            [rows.len(), passed, failed, rows.len() - passed - failed]
        };
        let mut line = |name: &str, [tests, passed, failed, rest]: [usize; 4]| {
            let _ = writeln!(text, "| {name} | {tests} | {passed} | {failed} | {rest} |");
        };
        for (sig, rows) in self.by_sig() {
            let sums = count(&rows);
            for (sum, part) in all.iter_mut().zip(sums) {
                *sum += part;
            }
            line(sig, sums);
        }
        line("all", all);
        text
    }

    fn text(&self) -> String {
        let mut text = format!("{HEAD}\n{}", self.sums());
        for (sig, rows) in self.by_sig() {
            let _ = write!(
                text,
                "\n## {sig}\n| test | first passed | last |\n|---|---|---|\n"
            );
            for (name, row) in rows {
                let _ = writeln!(text, "| {name} | {} | {} |", row.first, row.last);
            }
        }
        text
    }

    /// Writes the file.
    pub(super) fn write(&self, file: &str) -> Result<()> {
        std::fs::write(file, self.text()).context(file.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, passed: bool) -> Case {
        Case {
            name: name.into(),
            passed,
            seconds: 1.0,
            why: String::new(),
        }
    }

    #[test]
    fn remembers_what_passed() {
        let tests = || -> Vec<String> {
            ["[sig-a] one", "[sig-a] two", "[sig-b] three"]
                .map(String::from)
                .into()
        };
        let mut history = History::parse("", tests());
        let first = [case("[sig-a] one", true), case("[sig-b] three", false)];
        assert!(history.record("c1", &first).is_empty());
        let mut history = History::parse(&history.text(), tests());
        let lost = history.record("c2", &[case("[sig-a] one", false)]);
        assert_eq!(lost, ["[sig-a] one"]);
        let text = history.text();
        assert!(text.contains("| one | c1 | failed since c2 |"), "{text}");
        assert!(text.contains("| two |  |  |"), "{text}");
        assert!(text.contains("| three |  | failed since c1 |"), "{text}");
        assert!(text.contains("| all | 3 | 0 | 2 | 1 |"), "{text}");
        assert_eq!(History::parse(&text, tests()).text(), text);
    }
}
