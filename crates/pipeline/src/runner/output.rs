//! What a step prints: lines, `::commands::`, masks.

use super::sink::Sink;
use crate::commands;
use crate::mask::Stream;
use towpath_kit::kinds::{Finding, Severity};

// A longer line is passed on in pieces, without being read as a command.
const LIMIT_LINE_BYTES: usize = 1 << 20;

/// Takes a step's output, chunk by chunk.
pub(super) struct Output {
    step: u32,
    sink: Sink,
    line: Vec<u8>,
    overflow: Option<Stream>,
    stopped: Option<String>,
    echo: bool,
    /// From `::set-output` and `::save-state`.
    pub(super) outputs: Vec<(String, String)>,
    warned: bool,
}

impl Output {
    pub(super) fn new(step: u32, sink: Sink) -> Self {
        Self {
            step,
            sink,
            line: Vec::new(),
            overflow: None,
            stopped: None,
            echo: false,
            outputs: Vec::new(),
            warned: false,
        }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            self.line.extend_from_slice(&rest[..end]);
            self.end_line();
            rest = &rest[end + 1..];
        }
        self.line.extend_from_slice(rest);
        if self.line.len() > LIMIT_LINE_BYTES {
            let piece = std::mem::take(&mut self.line);
            let out = self
                .overflow
                .get_or_insert_default()
                .push(&self.sink.masker(), &piece);
            self.sink
                .log_masked(self.step, &String::from_utf8_lossy(&out));
        }
    }

    /// The last line may have no end.
    pub(super) fn finish(&mut self) {
        if !self.line.is_empty() || self.overflow.is_some() {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if let Some(mut stream) = self.overflow.take() {
            let masker = self.sink.masker();
            let mut out = stream.push(&masker, &line);
            out.extend(stream.finish(&masker));
            return self
                .sink
                .log_masked(self.step, &String::from_utf8_lossy(&out));
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.strip_suffix('\r').unwrap_or(&text);
        if let Some(token) = &self.stopped {
            if text.trim() == format!("::{token}::") {
                self.stopped = None;
                return;
            }
            return self.sink.log(self.step, text);
        }
        match commands::parse(text) {
            Some(command) => self.command(text, &command),
            None => self.sink.log(self.step, text),
        }
    }

    fn command(&mut self, line: &str, command: &commands::Command) {
        let data = command.data.as_str();
        if self.echo && command.name != "add-mask" {
            self.sink.log(self.step, line);
        }
        match command.name.as_str() {
            "add-mask" => {
                self.sink.add_mask(data);
                self.sink.log(self.step, "::add-mask::***");
            }
            "error" | "warning" | "notice" => self.annotation(command),
            "debug" => self.sink.log(self.step, &format!("##[debug]{data}")),
            "group" => self.sink.log(self.step, &format!("##[group]{data}")),
            "endgroup" => self.sink.log(self.step, "##[endgroup]"),
            "stop-commands" if !data.is_empty() => self.stopped = Some(data.to_string()),
            "echo" => self.echo = data.eq_ignore_ascii_case("on"),
            "set-output" | "save-state" => {
                if command.name == "set-output" {
                    self.outputs
                        .push((command.property("name").to_string(), data.to_string()));
                }
                if !std::mem::replace(&mut self.warned, true) {
                    let message = format!(
                        "::{}:: is old: write to $GITHUB_OUTPUT or $GITHUB_STATE",
                        command.name
                    );
                    self.sink.warning(self.step, &message);
                }
            }
            "set-env" | "add-path" => {
                let message = format!(
                    "::{}:: is refused: write to $GITHUB_ENV or $GITHUB_PATH",
                    command.name
                );
                self.sink.error(self.step, &message);
            }
            "add-matcher" | "remove-matcher" => {
                self.sink
                    .warning(self.step, "problem matchers are not supported yet");
            }
            _ => self.sink.log(self.step, line),
        }
    }

    fn annotation(&mut self, command: &commands::Command) {
        let severity = if command.name == "error" {
            Severity::Error
        } else {
            Severity::Warning
        };
        self.sink
            .log(self.step, &format!("##[{}]{}", command.name, command.data));
        let number = |name: &str| command.property(name).parse().unwrap_or(0);
        let title = command.property("title");
        let message = if title.is_empty() {
            command.data.clone()
        } else {
            format!("{title}: {}", command.data)
        };
        self.sink.annotate(
            self.step,
            Finding {
                severity,
                rule: format!("step/{}", command.name),
                message,
                file: command.property("file").to_string(),
                line: number("line"),
                column: number("col"),
                hint: String::new(),
            },
        );
    }
}
