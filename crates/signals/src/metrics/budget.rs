//! The memory budget, and who was refused something.
//!
//! The last twentieth of a limit is kept for those who did not grow: from there on a source is
//! refused that takes more than it usually did, and more than half of what everybody could have.
//! At the limit itself all are refused.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use crate::Refused;

/// The most sources told apart; what comes after is counted as one.
const SOURCES: usize = 10_000;

/// What a source took at most in this period is what it usually takes in the next.
const PERIOD: Duration = Duration::from_secs(7200);

/// Something that is counted for a source.
#[derive(Default)]
struct Use {
    now: AtomicIsize,
    most: AtomicIsize,
    usual: AtomicIsize,
}

impl Use {
    /// Whether it is more than usual, and more than half of an equal share.
    fn grew(&self, limit: usize, active: usize) -> bool {
        let now = self.now.load(Ordering::Relaxed);
        let usual = self.usual.load(Ordering::Relaxed);
        let share = isize::try_from(limit / (2 * active.max(1))).unwrap_or(isize::MAX);
        now > share && now > usual.saturating_add(usual / 4)
    }

    fn see(&self) {
        let now = self.now.load(Ordering::Relaxed);
        self.most.fetch_max(now, Ordering::Relaxed);
    }

    fn begin(&self, learn: bool) {
        let most = self.most.swap(0, Ordering::Relaxed);
        if learn {
            self.usual.store(most, Ordering::Relaxed);
        }
    }
}

struct Source {
    name: Arc<str>,
    bytes: Use,
    series: Use,
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
    /// Of what.
    signal: &'static str,
    limit: usize,
    label: String,
    chunks: AtomicIsize,
    sources: RwLock<Sources>,
    /// Sources that have something.
    active: AtomicUsize,
    /// When the period began.
    began: Mutex<Option<Instant>>,
    /// Somebody was refused in it, so it says nothing about what is usual.
    pressed: AtomicBool,
}

impl Budget {
    pub(crate) fn new(signal: &'static str, limit: usize, label: String) -> Self {
        Self {
            signal,
            limit,
            label,
            chunks: AtomicIsize::new(0),
            sources: RwLock::default(),
            active: AtomicUsize::new(0),
            began: Mutex::default(),
            pressed: AtomicBool::new(false),
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The refusal of memory for a source, when that much is in use in all.
    pub(crate) fn exceeded(&self, source: u32, bytes: usize) -> Option<Refused> {
        if bytes < self.limit - self.limit / 20 {
            return None;
        }
        self.pressed.store(true, Ordering::Relaxed);
        let (limit, signal) = (self.limit, self.signal);
        if bytes >= limit {
            let why = format!("memory limit of {limit} bytes for {signal} is reached");
            return Some(Refused::Limit(why));
        }
        let sources = self.sources.read_recursive();
        let own = sources.all.get(source as usize)?;
        let active = self.active.load(Ordering::Relaxed);
        own.bytes.grew(limit, active).then(|| {
            let (label, name) = (&self.label, &own.name);
            Refused::Limit(format!(
                "memory limit of {limit} bytes for {signal} is near, and {label} \"{name}\" grew"
            ))
        })
    }

    /// The refusal of a new series for a source, when there are `count` of at most `limit`.
    pub(crate) fn crowded(&self, source: u32, count: usize, limit: usize) -> Option<Refused> {
        if count < limit - limit / 20 {
            return None;
        }
        self.pressed.store(true, Ordering::Relaxed);
        if count >= limit {
            let why = format!("limit of {limit} series is reached");
            return Some(Refused::Limit(why));
        }
        let sources = self.sources.read_recursive();
        let own = sources.all.get(source as usize)?;
        let active = self.active.load(Ordering::Relaxed);
        own.series.grew(limit, active).then(|| {
            let (label, name) = (&self.label, &own.name);
            Refused::Limit(format!(
                "limit of {limit} series is near, and {label} \"{name}\" grew"
            ))
        })
    }

    /// Remembers what sources take. To be called every few seconds.
    pub(crate) fn settle(&self, now: Instant) {
        let mut began = self.began.lock();
        let over = now.duration_since(*began.get_or_insert(now)) >= PERIOD;
        let sources = self.sources.read();
        let mut active = 0;
        let pressed = over && self.pressed.swap(false, Ordering::Relaxed);
        for source in &sources.all {
            active += usize::from(source.bytes.now.load(Ordering::Relaxed) > 0);
            for one in [&source.bytes, &source.series] {
                one.see();
                if over {
                    one.begin(!pressed);
                }
            }
        }
        self.active.store(active, Ordering::Relaxed);
        if over {
            *began = Some(now);
        }
    }

    /// The label whose values are the sources.
    pub(crate) fn label(&self) -> &str {
        &self.label
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
        self.active.fetch_add(1, Ordering::Relaxed);
        sources.by_name.insert(Arc::clone(&name), number);
        sources.all.push(Arc::new(Source {
            name,
            bytes: Use::default(),
            series: Use::default(),
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
            source.bytes.now.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Series of a source came or went.
    pub(crate) fn change_series(&self, source: u32, by: isize) {
        if let Some(source) = self.sources.read_recursive().all.get(source as usize) {
            source.series.now.fetch_add(by, Ordering::Relaxed);
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
            |source: &Source| u64::try_from(source.bytes.now.load(Ordering::Relaxed)).unwrap_or(0);
        let mut all: Vec<_> = sources
            .all
            .iter()
            .map(|source| (source.name.to_string(), bytes(source)))
            .collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all
    }
}
