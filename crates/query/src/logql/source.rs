//! Where the lines come from.

use std::ops::ControlFlow;

use crate::promql::{Labels, Matcher};

/// In which order lines are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Newest first.
    #[default]
    Backward,
    /// Oldest first.
    Forward,
}

/// A text that a line, or one of its own labels, must contain to pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle {
    /// The text.
    pub text: String,
    /// The label that has it as its value: streams that have a label of that name are not judged
    /// by the needle. `None` where the line itself must contain it.
    pub label: Option<String>,
}

/// Which lines are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// What the labels of the stream must be.
    pub matchers: &'a [Matcher],
    /// The first time, nanoseconds since the epoch.
    pub start: i64,
    /// The first time behind.
    pub end: i64,
    /// Which lines matter first.
    pub direction: Direction,
    /// What all wanted lines contain. A source may send others, it need not look.
    pub needles: &'a [Needle],
}

/// One line.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Nanoseconds since the epoch.
    pub at: i64,
    /// The line.
    pub line: &'a str,
    /// The labels of this line alone.
    pub metadata: &'a [(&'a str, &'a str)],
}

/// Takes lines.
pub trait Sink {
    /// Whether a line between the two times (both included) can still matter. Sources ask before
    /// they open a block.
    fn wants(&self, first: i64, last: i64) -> bool;

    /// Takes a line of a stream; `stream` is the same number for the same labels within a scan.
    /// A break ends the scan.
    fn row(&mut self, stream: u64, labels: &Labels, row: Row<'_>) -> ControlFlow<()>;
}

/// What a scan cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Blocks that were opened.
    pub blocks: u64,
    /// Blocks that were passed over, because a needle is not in them or they came too late.
    pub blocks_skipped: u64,
    /// Bytes read from the disk.
    pub compressed_bytes: u64,
    /// Bytes of lines that were not on the disk yet.
    pub head_bytes: u64,
    /// Lines that were not on the disk yet.
    pub head_lines: u64,
    /// Streams looked at.
    pub streams: u64,
}

/// Gives lines.
pub trait LogSource {
    /// Sends the lines of a selection to a sink, block by block, those that matter first first
    /// as far as blocks allow; lines within a block in order of time.
    ///
    /// # Errors
    /// Something cannot be read.
    fn scan(&self, selection: &Selection<'_>, sink: &mut dyn Sink) -> Result<Scanned, String>;
}
