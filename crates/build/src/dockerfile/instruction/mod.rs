//! Logical lines to typed instructions. Values are as written: they are expanded when their
//! stage runs, as they depend on what came before.

mod forms;
mod reader;

use super::Findings;
use super::lines::{Heredoc, Line};
use reader::Reader;

/// 1-based line and column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A command in its two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Shell(String),
    Exec(Vec<String>),
}

/// A flag as written: `--name=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flag {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) command: Command,
    pub(crate) heredocs: Vec<Heredoc>,
    /// Values of `--mount`, unexpanded.
    pub(crate) mounts: Vec<Flag>,
    /// `default`, `none` or `host`.
    pub(crate) network: Network,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Network {
    #[default]
    Default,
    None,
    Host,
}

/// `COPY` and `ADD`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) sources: Vec<String>,
    pub(crate) target: String,
    pub(crate) heredocs: Vec<Heredoc>,
    pub(crate) from: Option<String>,
    pub(crate) chown: Option<String>,
    pub(crate) chmod: Option<String>,
    pub(crate) exclude: Vec<String>,
    pub(crate) link: bool,
    pub(crate) parents: bool,
    /// Archives are unpacked.
    pub(crate) add: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) none: bool,
    pub(crate) command: Option<Command>,
    pub(crate) interval: u64,
    pub(crate) timeout: u64,
    pub(crate) start_period: u64,
    pub(crate) start_interval: u64,
    pub(crate) retries: u64,
}

impl Default for Command {
    fn default() -> Self {
        Self::Exec(Vec::new())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Add(Copy),
    Arg(Vec<(String, Option<String>)>),
    Cmd(Command),
    Copy(Copy),
    Entrypoint(Command),
    Env(Vec<(String, String)>),
    Expose(String),
    From {
        image: String,
        platform: Option<String>,
        name: Option<String>,
    },
    Healthcheck(Health),
    Label(Vec<(String, String)>),
    Maintainer(String),
    Onbuild(String),
    Run(Run),
    Shell(Vec<String>),
    Stopsignal(String),
    User(String),
    Volume(Vec<String>),
    Workdir(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) place: Place,
    /// As written, continuations joined: for history and log.
    pub(crate) text: String,
    pub(crate) op: Op,
}

const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Reads one logical line.
pub(crate) fn parse(line: &Line, escape: char, findings: &mut Findings) -> Option<Instruction> {
    let keyword = line.text.split_whitespace().next().unwrap_or_default();
    let name = keyword.to_ascii_uppercase();
    let place = line.place;
    if !NAMES.contains(&name.as_str()) {
        let near = NAMES.iter().find(|n| near(n, &name));
        let hint = near.map_or(String::new(), |n| format!("; did you mean {n}?"));
        findings.error(
            place,
            "unknown-instruction",
            format!("unknown instruction {keyword:?}{hint}"),
        );
        return None;
    }
    if keyword != name && keyword.chars().any(|c| c.is_ascii_uppercase()) {
        findings.warning(
            place,
            "consistent-instruction-casing",
            "instruction in mixed case",
            "write it in capitals",
        );
    }
    let rest = line.text[keyword.len()..].trim();
    let column =
        place.column + (line.text.len() - line.text[keyword.len()..].trim_start().len()) as u32;
    let mut reader = Reader {
        place,
        rest,
        column,
        escape,
        heredocs: &line.heredocs,
        flags: Vec::new(),
        findings,
    };
    reader.flags();
    let op = reader.op(&name)?;
    reader.unused(&name);
    Some(Instruction {
        place,
        text: line.text.clone(),
        op,
    })
}

// One insertion, deletion or replacement apart, or two neighbours swapped.
fn near(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let head = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[head..], &b[head..]);
    match (a, b) {
        ([x, y, rest_a @ ..], [z, w, rest_b @ ..]) if x == w && y == z => rest_a == rest_b,
        ([_, rest_a @ ..], [_, rest_b @ ..]) if rest_a == rest_b => true,
        ([_, rest @ ..], other) if rest == other => true,
        (other, [_, rest @ ..]) => rest == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_near() {
        assert!(
            near("RUN", "RUM")
                && near("COPY", "COYP")
                && near("ENV", "ENVV")
                && near("FROM", "FRM")
        );
        assert!(!near("RUN", "COPY"));
    }
}
