//! Taking lines.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use towpath_query::promql::Labels;

use super::record;
use super::store::{LogStore, millis, nanos};
use crate::metrics::budget::Budget;
use crate::wal::NotTaken;

/// How many refusals are told.
const TOLD: usize = 10;
/// Lines of one record of the log, in bytes.
const RECORD: usize = 4 << 20;

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Nanoseconds since the epoch.
    pub at: i64,
    /// The line.
    pub text: String,
    /// The labels of the line alone.
    pub metadata: Vec<(String, String)>,
}

/// Lines of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// What the stream is.
    pub labels: Labels,
    /// Its lines, in any order.
    pub lines: Vec<Line>,
}

/// Why a line was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedLine {
    /// It is older than lines are kept.
    #[error("entry for stream '{stream}' has timestamp too old: {at}")]
    TooOld {
        /// The stream.
        stream: String,
        /// Nanoseconds since the epoch.
        at: i64,
    },
    /// It is ahead of the clock.
    #[error("entry for stream '{stream}' has timestamp too new: {at}")]
    TooNew {
        /// The stream.
        stream: String,
        /// Nanoseconds since the epoch.
        at: i64,
    },
    /// It is too long.
    #[error(
        "max entry size {limit} bytes exceeded for stream '{stream}' while adding an entry with length {bytes} bytes"
    )]
    TooLong {
        /// The stream.
        stream: String,
        /// The limit.
        limit: usize,
        /// Its length.
        bytes: usize,
    },
    /// The labels are no stream.
    #[error("{0}")]
    Labels(String),
    /// A limit is reached.
    #[error("{0}")]
    Limit(String),
}

/// How a push went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Lines taken.
    pub taken: usize,
    /// Lines not taken.
    pub refused_count: usize,
    /// Why, of the first few.
    pub refused: Vec<RefusedLine>,
}

/// Why nothing is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// For now: the disk is full or does not keep up.
    #[error("lines are not taken now: {0}")]
    Full(String),
    /// Until the store is opened again.
    #[error("write lines to disk: {0}")]
    Failed(String),
}

impl From<NotTaken> for PushError {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::Failed(why) => Self::Failed(why.to_string()),
            NotTaken::Full(why) => Self::Full(why.to_string()),
        }
    }
}

/// Labels that tell who sent a stream, the first that is there.
const SOURCE: [&str; 3] = ["job", "namespace", "service_name"];

/// Whose a stream is.
pub(super) fn source(budget: &Budget, labels: &Labels) -> u32 {
    let texts = || SOURCE.iter().map(|name| labels.get(name));
    budget.source_of(|_| texts().find(|text| !text.is_empty()).unwrap_or_default())
}

impl LogStore {
    /// Takes lines. They can be queried at once; [`LogStore::sync`] waits until they are durable.
    ///
    /// # Errors
    /// Nothing is taken now, or any more; near the limit of memory from those who grew alone.
    pub fn push(&self, streams: Vec<Stream>) -> Result<Pushed, PushError> {
        if let Some(tap) = self.tap.get() {
            tap.room().map_err(PushError::Full)?;
        }
        let head = self.head_bytes.load(Ordering::Relaxed).max(0) as u64;
        if head > self.options.max_head_bytes {
            self.work.notify_one();
            return Err(PushError::Full(format!(
                "{head} bytes of lines wait to be written to segments"
            )));
        }
        if let Some(why) = self.room.short() {
            return Err(PushError::Full(why));
        }
        for stream in &streams {
            let source = source(&self.budget, &stream.labels);
            let head = self.head_bytes.load(Ordering::Relaxed).max(0) as usize;
            if let Some(why) = self.budget.exceeded(source, head) {
                let lines = stream.lines.len() as u64;
                self.budget.shed(source, "memory", lines);
                self.work.notify_one();
                return Err(PushError::Full(why.to_string()));
            }
        }
        let mut out = Pushed::default();
        for mut stream in streams {
            if let Err(why) = self.check_labels(&stream.labels) {
                out.refuse(why, stream.lines.len());
                continue;
            }
            self.check_lines(&mut stream, &mut out);
            if stream.lines.is_empty() {
                continue;
            }
            let Some(id) = self.resolve(&stream.labels) else {
                let limit = self.options.max_streams;
                let why = RefusedLine::Limit(format!(
                    "maximum active stream limit exceeded, limit: {limit}, stream: '{}'",
                    stream.labels
                ));
                out.refuse(why, stream.lines.len());
                continue;
            };
            out.taken += stream.lines.len();
            self.put(id, stream)?;
        }
        Ok(out)
    }

    fn resolve(&self, labels: &Labels) -> Option<u32> {
        if let Some(id) = self.registry.read().find(labels) {
            return Some(id);
        }
        let mut registry = self.registry.write();
        (registry.len() < self.options.max_streams).then(|| registry.intern(labels))
    }

    fn put(&self, id: u32, stream: Stream) -> Result<(), PushError> {
        let Some(entry) = self.registry.read().entry(id).cloned() else {
            return Ok(());
        };
        let stream = Arc::new(stream);
        let mut rest = stream.lines.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let count = rest
                .iter()
                .take_while(|line| {
                    bytes += line.text.len();
                    bytes <= RECORD
                })
                .count();
            let (now, later) = rest.split_at(count.max(1));
            rest = later;
            let record = record::encode(&stream.labels, now);
            let _gate = self.gate.read();
            self.log.push(&record)?;
            let mut grown = 0;
            {
                let mut open = entry.open.lock();
                for line in now {
                    grown += open.push(line, self.options.block_bytes);
                }
            }
            let raw: usize = now.iter().map(|line| line.text.len()).sum();
            self.taken.fetch_add(now.len() as u64, Ordering::Relaxed);
            self.taken_bytes.fetch_add(raw as u64, Ordering::Relaxed);
            let source = source(&self.budget, &stream.labels);
            self.budget.change(source, grown as isize);
            let head = self.head_bytes.fetch_add(grown, Ordering::Relaxed) + grown;
            if self.oldest.load(Ordering::Relaxed) == 0 {
                let now = millis(self.clock.as_ref());
                self.oldest.store(now, Ordering::Relaxed);
            }
            if head > self.options.head_bytes as i64 {
                self.work.notify_one();
            }
        }
        if let Some(tap) = self.tap.get() {
            tap.taken(&stream);
        }
        // Nobody may be listening.
        let _ = self.followers.send(stream);
        Ok(())
    }

    fn check_labels(&self, labels: &Labels) -> Result<(), RefusedLine> {
        let count = labels.iter().count();
        if count == 0 {
            return Err(RefusedLine::Labels(
                "error at least one label pair is required per stream".to_owned(),
            ));
        }
        if count > self.options.max_labels {
            return Err(RefusedLine::Labels(format!(
                "entry for stream '{labels}' has {count} label names; limit {}",
                self.options.max_labels
            )));
        }
        match labels
            .iter()
            .find(|(name, value)| name.len() > 1024 || value.len() > 2048)
        {
            Some((name, _)) => Err(RefusedLine::Labels(format!(
                "stream has a label name or value that is too long: {name:.100}"
            ))),
            None => Ok(()),
        }
    }

    fn check_lines(&self, stream: &mut Stream, out: &mut Pushed) {
        let now = self.clock.since_epoch().as_nanos() as i64;
        let newest = now.saturating_add(nanos(self.options.max_ahead));
        let oldest = self.oldest_taken(&stream.labels);
        let limit = self.options.max_line_bytes;
        let labels = &stream.labels;
        let mut refused = Vec::new();
        stream.lines.retain(|line| {
            let name = || labels.to_string();
            let own: usize = line.metadata.iter().map(|(n, v)| n.len() + v.len()).sum();
            let why = if line.text.len() + own > limit {
                RefusedLine::TooLong {
                    stream: name(),
                    limit,
                    bytes: line.text.len() + own,
                }
            } else if line.at < oldest {
                RefusedLine::TooOld {
                    stream: name(),
                    at: line.at,
                }
            } else if line.at > newest {
                RefusedLine::TooNew {
                    stream: name(),
                    at: line.at,
                }
            } else {
                return true;
            };
            refused.push(why);
            false
        });
        for why in refused {
            out.refuse(why, 1);
        }
    }
}

impl Pushed {
    fn refuse(&mut self, why: RefusedLine, lines: usize) {
        self.refused_count += lines;
        if self.refused.len() < TOLD {
            self.refused.push(why);
        }
    }
}
