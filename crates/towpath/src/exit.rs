//! Exit codes and the shape of errors: what, why, state, next. The same words go to people,
//! to `-o json` and to the API.

use serde::Serialize;
use std::fmt;
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The asked state is reached.
    Reached = 0,
    /// The operation failed: build, gate, unhealthy.
    Failed = 1,
    /// Differences were found.
    Differs = 3,
    /// A person must act first.
    WaitingForHuman = 4,
    /// It failed, and the environment was taken back to what ran before.
    RolledBack = 5,
    /// No such thing.
    NotFound = 6,
    /// Not logged in, or not permitted.
    Denied = 7,
    /// Something else holds it.
    Conflict = 8,
    /// The server cannot be reached, or failed inside.
    Unreachable = 9,
    /// `--timeout` passed; the operation goes on.
    TimedOut = 124,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// An error for people.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// Stable word for programs, e.g. `server-unreachable`.
    pub reason: &'static str,
    /// What went wrong.
    pub message: String,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What is so now.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Commands that help.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
    /// Exit code.
    #[serde(skip)]
    pub exit: Exit,
}

impl Problem {
    /// A problem with its exit code, stable word and sentence.
    pub fn new(exit: Exit, reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            reason,
            message,
            why: String::new(),
            state: String::new(),
            next: Vec::new(),
            exit,
        }
    }

    /// Adds the cause.
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// Adds what is so now.
    pub fn state(mut self, state: impl Into<String>) -> Self {
        self.state = state.into();
        self
    }

    /// Adds a command that helps.
    pub fn next(mut self, command: impl Into<String>) -> Self {
        self.next.push(command.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if !self.why.is_empty() {
            write!(f, "\n  why    {}", self.why)?;
        }
        if !self.state.is_empty() {
            write!(f, "\n  state  {}", self.state)?;
        }
        for (index, command) in self.next.iter().enumerate() {
            write!(
                f,
                "\n  {}   {command}",
                if index == 0 { "next" } else { "    " }
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl From<kube::Error> for Problem {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                let (exit, reason) = match status.code {
                    401 => (Exit::Denied, "not-logged-in"),
                    403 => (Exit::Denied, "not-permitted"),
                    404 => (Exit::NotFound, "not-found"),
                    409 => (Exit::Conflict, "conflict"),
                    500.. => (Exit::Unreachable, "server-error"),
                    _ => (Exit::Failed, "refused"),
                };
                Problem::new(exit, reason, status.message.clone())
            }
            other => Problem::new(
                Exit::Unreachable,
                "server-unreachable",
                "the server does not answer",
            )
            .why(chain(&other))
            .next("towpath status")
            .next("towpath up"),
        }
    }
}

/// An error and its causes, outermost first, without repeating what a cause already says.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_why_state_next() {
        let problem = Problem::new(Exit::Failed, "x", "it stopped")
            .why("because")
            .state("nothing changed")
            .next("towpath up")
            .next("towpath doctor");
        let expected = "error: it stopped\n  why    because\n  state  nothing changed\n  \
                        next   towpath up\n         towpath doctor";
        assert_eq!(problem.to_string(), expected);
    }
}
