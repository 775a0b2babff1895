//! Traces, durable: a log and a head in memory, then blocks by column.
//!
//! Spans come in as parts of traces, are written to the log as bytes and kept as the same bytes
//! by trace id. A trace that nothing was added to for 10 s goes into a block once the head holds
//! 32 MiB or something in it is 5 minutes old. Blocks are segments of traces in the order of
//! their ids, in groups of some thousand spans; a group has a column per field and tells in the
//! index of its segment which values occur in it. A trace may be in several blocks: whoever reads
//! merges by id, and of spans that came twice the first stays.
//!
//! Numbers of nested sets are not stored. They would be wrong as soon as a late span came, and
//! are made in one pass when a query looks at a trace.

mod block;
mod bloom;
mod codec;
mod column;
mod draft;
mod group;
mod head;
mod index;
mod join;
mod merge;
mod objects;
mod raw;
mod retention;
mod spine;
mod store;
mod tags;
#[cfg(test)]
mod tests;
mod upkeep;

use std::path::{Path, PathBuf};
use std::time::Duration;

use towpath_query::promql::Matcher;

use crate::objects::{Objects, ObjectsError, ObjectsStats};
use crate::segment::SegmentError;
use crate::wal;

pub use store::Store;
pub use tags::TagValue;

/// How long some traces are kept.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which: conditions on attributes of the resource, where `service` stands for `service.name`.
    pub matchers: Vec<Matcher>,
    /// How long.
    pub keep: Duration,
}

/// Where traces are kept, and how much of them.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory.
    pub dir: PathBuf,
    /// How long they are kept.
    pub retention: Duration,
    /// What is kept for another time; of several rules that fit, the first one counts.
    pub rules: Vec<Rule>,
    /// How much of the disk their blocks take.
    pub max_bytes: u64,
    /// Traces go into a block when those in memory take so much.
    pub flush_bytes: usize,
    /// Or when one of them is so old.
    pub flush_age: Duration,
    /// Beyond this nothing is taken.
    pub head_max_bytes: usize,
    /// The largest trace, as long as it is in memory.
    pub trace_max_bytes: usize,
    /// Memory for parts of blocks that were read lately.
    pub cache_bytes: usize,
    /// Where blocks are beside the local disk, if anywhere.
    pub objects: Option<Objects>,
}

impl Options {
    /// The usual ones.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            retention: Duration::from_secs(7 * 86_400),
            rules: Vec::new(),
            max_bytes: 10 << 30,
            flush_bytes: 32 << 20,
            flush_age: Duration::from_secs(300),
            head_max_bytes: 128 << 20,
            trace_max_bytes: 8 << 20,
            cache_bytes: 32 << 20,
            objects: None,
        }
    }
}

/// What was taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Spans that were.
    pub spans: usize,
    /// Spans that were not, since their trace is too large.
    pub too_large: usize,
}

/// Why nothing was taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// There is no room now.
    #[error("{0}")]
    Busy(String),
    /// The disk failed; there will be no room before the next start.
    #[error("write traces to disk: {0}")]
    Failed(String),
}

impl From<wal::NotTaken> for NotTaken {
    fn from(why: wal::NotTaken) -> Self {
        match why {
            wal::NotTaken::Failed(why) => Self::Failed(why.to_string()),
            wal::NotTaken::Full(why) => Self::Busy(why.to_string()),
        }
    }
}

/// Why the store cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk.
    #[error("{what} {path}")]
    Io {
        /// What was done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A block cannot be read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// What it has in a bucket cannot be used.
    #[error("open the store of traces")]
    Objects(#[from] ObjectsError),
    /// The log takes nothing.
    #[error("begin a file of the log: {0}")]
    Log(String),
    /// A block that should become part of another one cannot be read.
    #[error("merge blocks of traces: {0}")]
    Merge(String),
}

impl Error {
    fn io(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            what,
            path: path.into(),
            source,
        }
    }
}

/// How much there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Traces in memory.
    pub live_traces: usize,
    /// Their bytes.
    pub live_bytes: usize,
    /// Blocks on the disk.
    pub blocks: usize,
    /// Their bytes.
    pub block_bytes: u64,
    /// Their spans.
    pub block_spans: u64,
    /// Spans that were taken since the start.
    pub taken_spans: u64,
    /// Spans that were refused since the start.
    pub refused_spans: u64,
    /// Bytes of the disk that were freed since the start, by what for: `retention`, `size` or
    /// `deleted`.
    pub freed: [(&'static str, u64); 3],
    /// Blocks that could not be opened, their spans are missing from answers; or of which a part
    /// was asked for that makes no sense.
    pub damaged: u64,
    /// What is in a bucket, where there is one.
    pub objects: Option<ObjectsStats>,
}
