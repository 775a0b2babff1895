//! What all instructions share: flags before the arguments, and the few forms of arguments.

use super::{Command, Flag, Place};
use crate::dockerfile::Findings;
use crate::dockerfile::lines::Heredoc;
use crate::dockerfile::words::{self, Pairs};

/// The rest of a line, read from the left.
pub(super) struct Reader<'a> {
    pub(super) place: Place,
    pub(super) rest: &'a str,
    pub(super) column: u32,
    pub(super) escape: char,
    pub(super) heredocs: &'a [Heredoc],
    pub(super) flags: Vec<Flag>,
    pub(super) findings: &'a mut Findings,
}

impl Reader<'_> {
    // `--name=value` words before everything else.
    pub(super) fn flags(&mut self) {
        while self.rest.starts_with("--") {
            let word = words::split(self.rest, self.escape)
                .into_iter()
                .next()
                .unwrap_or_default();
            let place = Place {
                line: self.place.line,
                column: self.column,
            };
            let (name, value) = match word[2..].split_once('=') {
                Some((name, value)) => (name.to_string(), Some(value.to_string())),
                None => (word[2..].to_string(), None),
            };
            let after = self.rest[word.len()..].trim_start();
            self.column += (self.rest.len() - after.len()) as u32;
            self.rest = after;
            if name.is_empty() {
                return;
            }
            self.flags.push(Flag { name, value, place });
        }
    }

    pub(super) fn error(&mut self, rule: &str, message: impl Into<String>) {
        self.findings.error(
            Place {
                line: self.place.line,
                column: self.column,
            },
            rule,
            message,
        );
    }

    pub(super) fn take_all(&mut self, name: &str) -> Vec<Flag> {
        let (taken, left) = std::mem::take(&mut self.flags)
            .into_iter()
            .partition(|f| f.name == name);
        self.flags = left;
        taken
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let mut all = self.take_all(name);
        if all.len() > 1 {
            self.findings.error(
                all[1].place,
                "duplicate-flag",
                format!("--{name} is given twice"),
            );
        }
        let flag = if all.is_empty() {
            return None;
        } else {
            all.remove(0)
        };
        if flag.value.is_none() {
            self.findings
                .error(flag.place, "flag", format!("--{name} needs a value"));
        }
        flag.value
    }

    pub(super) fn switch(&mut self, name: &str) -> bool {
        let Some(flag) = self.take_all(name).pop() else {
            return false;
        };
        match flag.value.as_deref() {
            None | Some("true") => true,
            Some("false") => false,
            Some(other) => {
                self.findings.error(
                    flag.place,
                    "flag",
                    format!("--{name} is true or false, not {other:?}"),
                );
                false
            }
        }
    }

    pub(super) fn unused(&mut self, instruction: &str) {
        for flag in std::mem::take(&mut self.flags) {
            let message = format!("{instruction} has no flag --{}", flag.name);
            self.findings.error(flag.place, "unknown-flag", message);
        }
    }

    pub(super) fn needs(&mut self, what: &str) -> Option<String> {
        if self.rest.is_empty() {
            self.error("missing-argument", format!("needs {what}"));
            return None;
        }
        Some(self.rest.to_string())
    }

    pub(super) fn command(&mut self) -> Command {
        if let Some(args) = words::json(self.rest) {
            return Command::Exec(args);
        }
        if self.rest.starts_with('[') {
            let place = Place {
                line: self.place.line,
                column: self.column,
            };
            let hint = "use double quotes and commas for the exec form";
            self.findings.warning(
                place,
                "json-args",
                "looks like JSON but is not; it is run by the shell",
                hint,
            );
        }
        Command::Shell(self.rest.to_string())
    }

    pub(super) fn pairs(&mut self) -> Option<Vec<(String, String)>> {
        let text = self.needs("name=value")?;
        match words::pairs(&text, self.escape) {
            Ok(Pairs::New(pairs)) => Some(pairs),
            Ok(Pairs::Legacy(key, value)) => {
                let hint = format!("write {key}=…");
                let place = self.place;
                self.findings.warning(
                    place,
                    "legacy-key-value-format",
                    "name and value separated by a space",
                    &hint,
                );
                Some(vec![(key, value)])
            }
            Err(message) => {
                self.error("pairs", message);
                None
            }
        }
    }
}
