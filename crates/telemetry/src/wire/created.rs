//! Since when the series of an OpenMetrics family count: its lines `…_created`.
//!
//! They may stand anywhere in the family, most often at its end, so the first one who asks reads
//! the family once and keeps what it found until the next family begins.

use std::collections::HashMap;

use super::openmetrics::OpenMetrics;
use super::{Entry, Kind};

/// What the lines of one family say.
#[derive(Default)]
pub(super) struct Created {
    /// Where the series of the family begin.
    from: usize,
    read: bool,
    /// Labels as they are written, without those of buckets and quantiles: when.
    times: HashMap<Vec<u8>, i64>,
    /// Whether the whole text has such lines; looked up once.
    any: Option<bool>,
}

impl Created {
    /// What was described last ends at `from`.
    pub(super) fn forget(&mut self, from: usize) {
        self.from = from;
        if std::mem::take(&mut self.read) {
            self.times.clear();
        }
    }

    /// Whether a text has such lines at all.
    pub(super) fn any(&mut self, input: &[u8]) -> bool {
        let look = || memchr::memmem::find(input, b"_created").is_some();
        *self.any.get_or_insert_with(look)
    }

    /// When counting began for the series that `parser` read last, in milliseconds.
    pub(super) fn of(&mut self, parser: &OpenMetrics<'_>) -> Option<i64> {
        if !self.any(parser.input) {
            return None;
        }
        if !std::mem::replace(&mut self.read, true) {
            let mut ahead = parser.peeking(self.from);
            while let Ok(Some(Entry::Series)) = ahead.next() {
                let base = ahead.metric_name().strip_suffix(b"_created");
                if base.is_some_and(|base| base == ahead.family) {
                    self.times
                        .insert(identity(&ahead), (ahead.value * 1000.0) as i64);
                }
            }
        }
        let own = parser.metric_name().starts_with(parser.family);
        self.times
            .get(&identity(parser))
            .copied()
            .filter(|at| own && *at > 0)
    }
}

fn identity(parser: &OpenMetrics<'_>) -> Vec<u8> {
    let inner: &[u8] = match parser.kind {
        Kind::Summary => b"quantile",
        Kind::Histogram => b"le",
        _ => b"",
    };
    let mut out = Vec::new();
    for pair in &parser.pairs {
        let name = &parser.input[pair.name.clone()];
        if name != inner {
            out.extend_from_slice(name);
            out.push(0xff);
            out.extend_from_slice(&parser.input[pair.value.clone()]);
            out.push(0xff);
        }
    }
    out
}
