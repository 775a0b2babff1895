//! Where the runtime's own words go: its errors lose their cause on the way between processes,
//! and only its tracing events tell. They are written to a private file; a descriptor that is
//! closed on execution, so nothing reaches the container or its log.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

struct Recorder {
    file: File,
}

/// Sends warnings and errors of this process and its forks to a file.
pub(super) fn install(path: &Path) {
    if let Ok(file) = File::options().create(true).append(true).open(path) {
        let _ = tracing::subscriber::set_global_default(Recorder { file });
    }
}

/// The first errors, which are nearest to the cause, as one line; `None` where there are none.
pub(super) fn first_words(path: &Path) -> Option<String> {
    let text = String::from_utf8_lossy(&std::fs::read(path).ok()?).into_owned();
    let errors: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("ERROR "))
        .take(2)
        .collect();
    (!errors.is_empty()).then(|| errors.join("; "))
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("{} ", event.metadata().level()));
        event.record(&mut line);
        line.0.push('\n');
        let _ = (&self.file).write_all(line.0.as_bytes());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}").replace('\n', " ");
        let _ = match field.name() {
            "message" => write!(self.0, "{text} "),
            name => write!(self.0, "{name}={text} "),
        };
    }
}
