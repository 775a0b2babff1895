//! How a store is set up.

use std::sync::Arc;
use std::time::Duration;

use towpath_query::promql::Matcher;
use towpath_stdx::Clock;

use crate::objects::Objects;

/// How long some series are kept, samples and copies alike.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which series.
    pub matchers: Vec<Matcher>,
    /// How long, in milliseconds.
    pub keep_ms: i64,
}

/// Options of a store of metrics.
#[derive(Clone)]
pub struct Options {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The most memory for series and samples that are not in segments, in bytes. At 90 % what can
    /// be is written to a segment early, at 100 % samples and new series are refused.
    pub memory_bytes: usize,
    /// The most series in the head.
    pub max_series: usize,
    /// How much older than the newest sample of the store a sample may be, in milliseconds.
    pub out_of_order_ms: i64,
    /// How far in the future a sample may be, in milliseconds.
    pub future_ms: i64,
    /// How long a segment is before it is compacted with others, in milliseconds.
    pub block_ms: i64,
    /// How long samples are kept, in milliseconds.
    pub retention_ms: i64,
    /// How long copies downsampled to five minutes and to an hour are kept, in milliseconds; where
    /// that is less than for samples, as long as those.
    pub retention_copies_ms: [i64; 2],
    /// Series that are kept for another time; of several rules that fit, the first one counts.
    pub rules: Vec<Rule>,
    /// How much the segments may take, in bytes; 0 for no limit.
    pub retention_bytes: u64,
    /// How many exemplars are kept.
    pub exemplars: usize,
    /// How much of segments is kept in memory after it was read, in bytes.
    pub cache_bytes: usize,
    /// How often the head is written down, so that the log before can go.
    pub checkpoint: Duration,
    /// How long the log may get before that is done earlier, in bytes; an eighth of what is in
    /// memory where that is more. It is what has to be read back after a crash.
    pub log_bytes: u64,
    /// The label by which what was refused is counted.
    pub source_label: String,
    /// Whether the store looks after itself; else [`super::Store::maintain`] has to be called.
    pub background: bool,
    /// Where segments are beside the local disk, if anywhere.
    pub objects: Option<Objects>,
}

impl Options {
    /// The usual ones.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            memory_bytes: 1 << 30,
            max_series: 2_000_000,
            out_of_order_ms: 600_000,
            future_ms: 600_000,
            block_ms: 7_200_000,
            retention_ms: 30 * 86_400_000,
            retention_copies_ms: [0; 2],
            rules: Vec::new(),
            retention_bytes: 0,
            exemplars: 100_000,
            cache_bytes: 32 << 20,
            checkpoint: Duration::from_secs(300),
            log_bytes: 64 << 20,
            source_label: "job".to_owned(),
            background: true,
            objects: None,
        }
    }
}
