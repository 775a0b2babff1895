//! The memory budget, and who was refused something.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicU64, Ordering};

use parking_lot::RwLock;
use towpath_query::promql::Labels;

use crate::Refused;

/// The most sources told apart; what comes after is counted as one.
const SOURCES: usize = 10_000;

struct Source {
    name: Arc<str>,
    bytes: AtomicIsize,
    shed_series: AtomicU64,
    shed_memory: AtomicU64,
    shed_disk: AtomicU64,
}

#[derive(Default)]
struct Sources {
    all: Vec<Arc<Source>>,
    by_name: HashMap<Arc<str>, u32>,
}

/// What was refused of a source for a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shed {
    /// The value of the source label.
    pub source: String,
    /// Which limit: `series`, `memory` or `disk`.
    pub reason: &'static str,
    /// How many samples or series.
    pub count: u64,
}

/// One hard budget of bytes.
pub(crate) struct Budget {
    limit: usize,
    label: String,
    chunks: AtomicIsize,
    sources: RwLock<Sources>,
}

impl Budget {
    pub(crate) fn new(limit: usize, label: String) -> Self {
        Self {
            limit,
            label,
            chunks: AtomicIsize::new(0),
            sources: RwLock::default(),
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The refusal, when that much is in use.
    pub(crate) fn exceeded(&self, bytes: usize) -> Option<Refused> {
        (bytes >= self.limit).then(|| {
            Refused::Limit(format!(
                "memory limit of {} bytes for metrics is reached",
                self.limit
            ))
        })
    }

    /// The source of a series, given what its labels are.
    pub(crate) fn source_of<'l>(&self, label: impl FnOnce(&str) -> &'l str) -> u32 {
        let name = label(&self.label);
        if let Some(known) = self.sources.read().by_name.get(name) {
            return *known;
        }
        let mut sources = self.sources.write();
        let name = if sources.all.len() >= SOURCES {
            "(others)"
        } else {
            name
        };
        if let Some(known) = sources.by_name.get(name) {
            return *known;
        }
        let name: Arc<str> = Arc::from(name);
        let number = sources.all.len() as u32;
        sources.by_name.insert(Arc::clone(&name), number);
        sources.all.push(Arc::new(Source {
            name,
            bytes: AtomicIsize::new(0),
            shed_series: AtomicU64::new(0),
            shed_memory: AtomicU64::new(0),
            shed_disk: AtomicU64::new(0),
        }));
        number
    }

    pub(crate) fn chunk_bytes(&self) -> usize {
        usize::try_from(self.chunks.load(Ordering::Relaxed)).unwrap_or(0)
    }

    pub(crate) fn change(&self, source: u32, bytes: isize) {
        if bytes == 0 {
            return;
        }
        self.chunks.fetch_add(bytes, Ordering::Relaxed);
        if let Some(source) = self.sources.read_recursive().all.get(source as usize) {
            source.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Counts what was refused.
    pub(crate) fn shed(&self, source: u32, reason: &'static str, count: u64) {
        if let Some(source) = self.sources.read_recursive().all.get(source as usize) {
            let counter = match reason {
                "series" => &source.shed_series,
                "memory" => &source.shed_memory,
                _ => &source.shed_disk,
            };
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn shed_of(&self, labels: &Labels, reason: &'static str, count: u64) {
        let source = self.source_of(|name| labels.get(name));
        self.shed(source, reason, count);
    }

    /// What was refused so far.
    pub(crate) fn sheds(&self) -> Vec<Shed> {
        let sources = self.sources.read();
        let mut out = Vec::new();
        for source in &sources.all {
            let each = [
                ("series", &source.shed_series),
                ("memory", &source.shed_memory),
                ("disk", &source.shed_disk),
            ];
            for (reason, count) in each {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    out.push(Shed {
                        source: source.name.to_string(),
                        reason,
                        count,
                    });
                }
            }
        }
        out
    }

    /// Bytes in memory by source, most first.
    pub(crate) fn by_source(&self) -> Vec<(String, u64)> {
        let sources = self.sources.read();
        let bytes =
            |source: &Source| u64::try_from(source.bytes.load(Ordering::Relaxed)).unwrap_or(0);
        let mut all: Vec<_> = sources
            .all
            .iter()
            .map(|source| (source.name.to_string(), bytes(source)))
            .collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all
    }
}
