//! The table in docs/performance.md.

use anyhow::{Context, Result};
use std::fmt::Write;

/// One measured line.
pub struct Row {
    what: String,
    ours: String,
    peer: String,
    target: String,
    verdict: String,
}

impl Row {
    /// A line with its verdict: whether the target is met.
    pub fn new(
        what: impl Into<String>,
        ours: impl Into<String>,
        peer: impl Into<String>,
        target: &str,
        met: bool,
    ) -> Self {
        let verdict = if met { "met" } else { "**missed**" };
        Self {
            what: what.into(),
            ours: ours.into(),
            peer: peer.into(),
            target: target.into(),
            verdict: verdict.into(),
        }
    }

    /// A line without a target.
    pub fn fact(what: impl Into<String>, ours: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            ours: ours.into(),
            peer: String::new(),
            target: String::new(),
            verdict: String::new(),
        }
    }

    /// A line beside the peer without a target.
    pub fn compared(
        what: impl Into<String>,
        ours: impl Into<String>,
        peer: impl Into<String>,
    ) -> Self {
        Self {
            peer: peer.into(),
            ..Self::fact(what, ours)
        }
    }

    /// A bench that could not be run.
    pub fn failed(what: &str, error: &anyhow::Error) -> Self {
        let words = format!("{error:#}").replace('\n', " ").replace('|', "/");
        Self {
            what: what.into(),
            ours: format!("not measured: {words}"),
            peer: String::new(),
            target: String::new(),
            verdict: "**missed**".into(),
        }
    }
}

impl Row {
    fn line(&self) -> String {
        format!(
            "| {} | {} | {} | {} | {} |",
            self.what, self.ours, self.peer, self.target, self.verdict
        )
    }
}

/// The rows as Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from("| what | Towpath | peer | target | |\n|---|---|---|---|---|\n");
    for row in rows {
        let _ = writeln!(text, "{}", row.line());
    }
    text
}

const PATH: &str = "docs/performance.md";
const BEGIN: &str = "<!-- bench: begin -->\n";
const END: &str = "<!-- bench: end -->";

/// Puts the table between its markers in docs/performance.md.
pub fn write(table: &str) -> Result<()> {
    let text = std::fs::read_to_string(PATH).context(PATH)?;
    let from = text.find(BEGIN).context("no begin marker")? + BEGIN.len();
    let to = text.find(END).context("no end marker")?;
    std::fs::write(PATH, format!("{}{table}{}", &text[..from], &text[to..]))?;
    Ok(())
}

/// Puts rows into the table in docs/performance.md: in the place of those of the same name, new
/// ones after the row that they followed when they were measured.
pub fn merge(rows: &[Row]) -> Result<()> {
    let text = std::fs::read_to_string(PATH).context(PATH)?;
    let from = text.find(BEGIN).context("no begin marker")? + BEGIN.len();
    let to = text.find(END).context("no end marker")?;
    let mut lines: Vec<String> = text[from..to].lines().map(str::to_string).collect();
    let mut last = lines.len();
    for row in rows {
        let begins = format!("| {} |", row.what);
        let known = lines.iter().position(|line| line.starts_with(&begins));
        match known {
            Some(at) => {
                lines[at] = row.line();
                last = at + 1;
            }
            None => {
                lines.insert(last, row.line());
                last += 1;
            }
        }
    }
    write(&(lines.join("\n") + "\n"))
}
