//! How a store of lines is set up.

use std::time::Duration;

use towpath_query::promql::Matcher;

use crate::objects::Objects;

/// How long lines of some streams are kept.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which streams.
    pub matchers: Vec<Matcher>,
    /// How long.
    pub keep: Duration,
}

/// How the store works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of text after which lines of a stream become a block.
    pub block_bytes: usize,
    /// Bytes of the head after which it is written as a segment.
    pub head_bytes: u64,
    /// The most bytes of the head; beyond it nothing is taken.
    pub max_head_bytes: u64,
    /// How long lines stay in the head.
    pub flush_after: Duration,
    /// How long lines are kept; zero for ever.
    pub retention: Duration,
    /// Streams that are kept for another time; of several rules that fit, the first one counts.
    pub rules: Vec<Rule>,
    /// The most bytes of segments; zero for no limit.
    pub max_disk_bytes: u64,
    /// The most streams.
    pub max_streams: usize,
    /// The most labels of a stream.
    pub max_labels: usize,
    /// The longest line, in bytes.
    pub max_line_bytes: usize,
    /// How far ahead of the clock a line may be.
    pub max_ahead: Duration,
    /// Where segments are beside the local disk, if anywhere.
    pub objects: Option<Objects>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            block_bytes: 1 << 20,
            head_bytes: 64 << 20,
            max_head_bytes: 192 << 20,
            flush_after: Duration::from_secs(300),
            retention: Duration::from_secs(14 * 24 * 3600),
            rules: Vec::new(),
            max_disk_bytes: 20 << 30,
            max_streams: 50_000,
            max_labels: 30,
            max_line_bytes: 256 << 10,
            max_ahead: Duration::from_secs(600),
            objects: None,
        }
    }
}
