//! New data, copied to other servers: samples by remote write, lines by Loki's push, spans by
//! OpenTelemetry over HTTP.
//!
//! What was taken in here is put into a queue on the disk in the same call, before the sender is
//! told; one task per target empties its queue, one request at a time, within a rate. The log of
//! the store cannot be that queue: it is dropped with every checkpoint, and its series are numbers
//! that only the store knows.

mod drain;
mod figures;
mod lines;
mod samples;
mod spans;
mod target;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinHandle;
use towpath_daemon::{CancellationToken, Service, ServiceContext};
use towpath_signals::Append;
use towpath_signals::logs::LineTap;
use towpath_stdx::Clock;

pub use figures::Figures;
pub use target::OpenError;

use super::settings::{self, Signal};
use crate::otlp::TraceSink;
use drain::Deliver;
use target::{Families, Target};

/// All targets.
pub struct Mirrors {
    targets: Vec<Arc<Target>>,
    families: Arc<Families>,
    clock: Arc<dyn Clock>,
}

impl Mirrors {
    /// Opens the queues below a directory.
    ///
    /// # Errors
    /// A setting is impossible, or a queue cannot be opened.
    pub fn open(
        dir: &Path,
        all: &[settings::Mirror],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let mut targets: Vec<Arc<Target>> = Vec::new();
        for own in all {
            let target = Target::open(dir, own)?;
            if targets.iter().any(|other| other.name == target.name) {
                return Err(OpenError::Twice(target.name));
            }
            targets.push(Arc::new(target));
        }
        let names: Vec<&str> = targets.iter().map(|own| own.name.as_str()).collect();
        for (queue, bytes) in left_over(dir, &names) {
            let queue = queue.display();
            tracing::warn!(%queue, bytes, "no mirror of the settings has this queue; what is in it was not sent, remove it or name the mirror again");
        }
        Ok(Self {
            targets,
            families: Arc::default(),
            clock,
        })
    }

    fn of(&self, signal: Signal) -> Vec<Arc<Target>> {
        let of = self.targets.iter().filter(|own| own.signal() == signal);
        of.cloned().collect()
    }

    /// What takes samples into the store and copies them.
    pub fn samples(&self, store: Arc<dyn Append>) -> Arc<dyn Append> {
        match self.of(Signal::Metrics) {
            none if none.is_empty() => store,
            targets => Arc::new(samples::Mirrored::new(
                store,
                targets,
                Arc::clone(&self.families),
            )),
        }
    }

    /// What is told of lines, where they are copied.
    pub fn lines(&self) -> Option<Arc<dyn LineTap>> {
        let targets = self.of(Signal::Logs);
        (!targets.is_empty()).then(|| Arc::new(lines::Tap::new(targets)) as Arc<dyn LineTap>)
    }

    /// What takes spans into the store and copies them.
    pub fn spans(&self, store: TraceSink) -> TraceSink {
        match self.of(Signal::Traces) {
            none if none.is_empty() => store,
            targets => Arc::new(spans::Mirrored::new(store, targets)),
        }
    }

    /// Begins to empty the queues, until it is told to end.
    pub fn start(&self, cancel: &CancellationToken) -> Vec<JoinHandle<()>> {
        let start = |target: &Arc<Target>| {
            let deliver: Arc<dyn Deliver> = match target.signal() {
                Signal::Metrics => {
                    Arc::new(samples::Sender::new(target, Arc::clone(&self.families)))
                }
                Signal::Logs => Arc::new(lines::Sender::new(target)),
                Signal::Traces => Arc::new(spans::Sender::new(target)),
            };
            let name = format!("mirror {}", target.name);
            let clock = Arc::clone(&self.clock);
            let drained = drain::run(Arc::clone(target), deliver, clock, cancel.clone());
            towpath_daemon::spawn(name, drained)
        };
        self.targets.iter().map(start).collect()
    }

    /// What empties the queues; none without a target.
    pub fn service(self: &Arc<Self>, after: &[&'static str]) -> Option<Service> {
        if self.targets.is_empty() {
            return None;
        }
        let own = Arc::clone(self);
        let run = move |mut context: ServiceContext| async move {
            let tasks = own.start(&context.cancel);
            context.ready();
            for task in tasks {
                // What failed has been told by the hook.
                let _ = task.await;
            }
            Ok(())
        };
        Some(Service::new("mirror", after, run))
    }

    /// What is said about the targets.
    pub fn figures(&self) -> Figures {
        Figures::new(self.targets.clone())
    }
}

/// Queues below a directory that belong to none of the targets, with their bytes. They are kept:
/// what is in them was acknowledged and nobody has it.
fn left_over(dir: &Path, names: &[&str]) -> Vec<(PathBuf, u64)> {
    let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for entry in entries(dir) {
        let own = entry.file_name();
        if names.iter().any(|name| own == *name) || !entry.path().is_dir() {
            continue;
        }
        let sizes = entries(&entry.path()).filter_map(|file| Some(file.metadata().ok()?.len()));
        found.push((entry.path(), sizes.sum()));
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_of_nobody_are_found() {
        let dir = tempfile::tempdir().unwrap();
        assert!(left_over(&dir.path().join("none"), &[]).is_empty());
        for (name, bytes) in [("one", 7), ("two", 9)] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("1.queue"), vec![0; bytes]).unwrap();
        }
        std::fs::write(dir.path().join("file"), "").unwrap();
        let found = left_over(dir.path(), &["two"]);
        assert_eq!(found, [(dir.path().join("one"), 7)]);
    }
}
