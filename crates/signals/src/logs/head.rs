//! Lines of a stream that are not in a segment yet.

use std::sync::Arc;

use super::block::{self, Encoded};
use super::store::Line;

/// The metadata of a line, shared by lines that have none.
type Metadata = Arc<[(String, String)]>;

#[derive(Clone, Debug)]
struct Row {
    at: i64,
    end: u32,
    metadata: Option<Metadata>,
}

/// Lines as they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    rows: Vec<Row>,
    text: String,
    /// First and last time.
    times: Option<(i64, i64)>,
    /// Bytes in memory.
    bytes: usize,
}

impl Lines {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn times(&self) -> Option<(i64, i64)> {
        self.times
    }

    pub(super) fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn text_of(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.rows[before].end);
        &self.text[start as usize..self.rows[at].end as usize]
    }

    pub(super) fn row(&self, at: usize) -> (i64, &str, &[(String, String)]) {
        let row = &self.rows[at];
        let metadata = row.metadata.as_deref().unwrap_or_default();
        (row.at, self.text_of(at), metadata)
    }

    /// The places of the rows, in order of time.
    pub(super) fn order(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.rows.len() as u32).collect();
        order.sort_by_key(|at| self.rows[*at as usize].at);
        order
    }

    pub(super) fn encode(&self) -> Encoded {
        let mut lines: Vec<block::Line<'_>> = (0..self.len())
            .map(|at| {
                let (at, text, metadata) = self.row(at);
                block::Line { at, text, metadata }
            })
            .collect();
        block::encode(&mut lines)
    }

    /// Adds a line; the same line at the same time as the last one is one line.
    fn push(&mut self, line: Line) -> usize {
        if let Some(last) = self.rows.last()
            && last.at == line.at
            && self.text_of(self.rows.len() - 1) == line.text
        {
            return 0;
        }
        self.text.push_str(&line.text);
        let own: usize = line
            .metadata
            .iter()
            .map(|(n, v)| n.len() + v.len() + 48)
            .sum();
        let added = line.text.len() + own + 32;
        let (first, last) = self.times.unwrap_or((line.at, line.at));
        self.times = Some((first.min(line.at), last.max(line.at)));
        self.rows.push(Row {
            at: line.at,
            end: self.text.len() as u32,
            metadata: (!line.metadata.is_empty()).then(|| line.metadata.into()),
        });
        self.bytes += added;
        added
    }
}

/// What a stream has in the head: lines, and blocks of lines that became too many.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) lines: Lines,
    pub(super) sealed: Vec<Arc<Encoded>>,
}

impl Open {
    /// Adds a line; the answer is by how many bytes the head grew.
    pub(super) fn push(&mut self, line: Line, block_bytes: usize) -> i64 {
        let mut grown = self.lines.push(line) as i64;
        if self.lines.text_bytes() >= block_bytes {
            let lines = std::mem::take(&mut self.lines);
            let sealed = lines.encode();
            grown += (sealed.bytes.len() + sealed.bloom.len()) as i64 - lines.bytes as i64;
            self.sealed.push(Arc::new(sealed));
        }
        grown
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.len() == 0 && self.sealed.is_empty()
    }
}
