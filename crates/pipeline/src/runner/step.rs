//! What one step works with, and how it ends.

use super::http::Server;
use super::process::Limits;
use super::sink::Sink;
use super::state::Places;
use crate::job::JobFile;
use std::collections::BTreeMap;

const LIMIT_ANSWER_BYTES: usize = 64 << 10;

/// Input of a built-in step or a script.
pub(super) struct Context<'a> {
    pub(super) number: u32,
    pub(super) sink: Sink,
    pub(super) job: &'a JobFile,
    pub(super) places: &'a Places,
    /// Whole environment of the step's programs.
    pub(super) env: BTreeMap<String, String>,
    /// `with:`, evaluated.
    pub(super) with: Vec<(String, String)>,
    pub(super) server: &'a Server,
    pub(super) limits: Limits,
    /// Set by the step.
    pub(super) outputs: Vec<(String, String)>,
    /// Added to `GITHUB_ENV`'s effect by a built-in step.
    pub(super) exports: Vec<(String, String)>,
    /// What runs after all steps.
    pub(super) posts: Vec<super::Post>,
}

impl Context<'_> {
    /// An input; empty where not given.
    pub(super) fn input(&self, name: &str) -> &str {
        self.with
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map_or("", |(_, v)| v.trim())
    }

    /// A yes-or-no input.
    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        match self.input(name).to_ascii_lowercase().as_str() {
            "" => default,
            "true" | "yes" | "on" | "1" => true,
            _ => false,
        }
    }

    /// Lines of an input.
    pub(super) fn lines(&self, name: &str) -> Vec<String> {
        self.input(name)
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .map(str::to_string)
            .collect()
    }

    pub(super) fn log(&self, text: &str) {
        self.sink.log(self.number, text);
    }

    /// A folded part of the log.
    pub(super) fn group(&self, title: &str, lines: &[String]) {
        self.log(&format!("##[group]{title}"));
        lines.iter().for_each(|line| self.log(line));
        self.log("##[endgroup]");
    }

    pub(super) fn output(&mut self, name: &str, value: impl Into<String>) {
        self.outputs.push((name.to_string(), value.into()));
    }

    pub(super) fn home(&self) -> &str {
        self.env.get("HOME").map_or("/root", String::as_str)
    }

    /// Runs a program of the runner's own, its output to the log; fails unless it exits with 0.
    pub(super) async fn run(
        &self,
        program: &str,
        args: &[&str],
        extra: &[(String, String)],
        dir: &std::path::Path,
    ) -> Result<(), String> {
        let mut env = self.env.clone();
        env.extend(extra.iter().cloned());
        let args: Vec<String> = args.iter().map(|a| a.to_string()).collect();
        let mut output = super::output::Output::new(self.number, self.sink.clone());
        let program_ = super::process::Program {
            program,
            args: &args,
            env: &env,
            dir,
        };
        let ended = super::process::run(program_, &self.limits, &mut |chunk| output.push(chunk))
            .await
            .map_err(|e| format!("start {program}: {e}"))?;
        output.finish();
        match ended {
            super::process::Ended::Code(0) => Ok(()),
            super::process::Ended::Code(code) => Err(format!(
                "{program} {} ended with exit code {code}",
                args.first().map_or("", String::as_str)
            )),
            super::process::Ended::Signal(signal) => {
                Err(format!("{program} was ended by signal {signal}"))
            }
            super::process::Ended::Cancelled => Err("cancelled".into()),
            super::process::Ended::TimedOut => Err(format!("{program} took too long")),
        }
    }

    /// Short answer of a program, e.g. its version.
    pub(super) async fn ask(&self, program: &str, args: &[&str]) -> Result<String, String> {
        let args: Vec<String> = args.iter().map(|a| a.to_string()).collect();
        let mut answer = Vec::new();
        let dir = &self.places.workspace;
        let program_ = super::process::Program {
            program,
            args: &args,
            env: &self.env,
            dir,
        };
        super::process::run(program_, &self.limits, &mut |chunk| {
            let room = LIMIT_ANSWER_BYTES.saturating_sub(answer.len());
            answer.extend_from_slice(&chunk[..chunk.len().min(room)]);
        })
        .await
        .map_err(|e| format!("start {program}: {e}"))?;
        Ok(String::from_utf8_lossy(&answer).trim().to_string())
    }
}
