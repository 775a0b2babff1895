//! Lines of a stream that are not in a segment yet.

use std::sync::Arc;

use super::block::{self, Encoded};
use super::push::Line;

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
    /// What they would take as a block that is unpacked.
    weight: usize,
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
    fn push(&mut self, line: &Line) -> usize {
        if let Some(last) = self.rows.last()
            && last.at == line.at
            && self.text_of(self.rows.len() - 1) == line.text
        {
            return 0;
        }
        self.text.push_str(&line.text);
        // Lines that follow each other mostly have the same labels.
        let last = self.rows.last().and_then(|row| row.metadata.as_ref());
        let (metadata, own) = match last {
            _ if line.metadata.is_empty() => (None, 0),
            Some(last) if **last == *line.metadata => (Some(Arc::clone(last)), 0),
            _ => {
                let pairs = line.metadata.iter();
                let own: usize = pairs.map(|(n, v)| n.len() + v.len() + 48).sum();
                (Some(Metadata::from(&*line.metadata)), own)
            }
        };
        let added = line.text.len() + own + std::mem::size_of::<Row>();
        let (first, last) = self.times.unwrap_or((line.at, line.at));
        self.times = Some((first.min(line.at), last.max(line.at)));
        self.rows.push(Row {
            at: line.at,
            end: self.text.len() as u32,
            metadata,
        });
        self.bytes += added;
        self.weight += block::weight(&line.text, &line.metadata);
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
    pub(super) fn push(&mut self, line: &Line, block_bytes: usize) -> i64 {
        let mut grown = self.lines.push(line) as i64;
        let full = self.lines.text_bytes() >= block_bytes
            || self.lines.weight >= block::FULL * block_bytes
            || self.lines.len() >= block::MAX_ROWS;
        if full {
            let lines = std::mem::take(&mut self.lines);
            let sealed = lines.encode();
            grown += (sealed.bytes.len() + sealed.bloom.len()) as i64 - lines.bytes as i64;
            self.sealed.push(Arc::new(sealed));
        }
        grown
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        let sealed = self.sealed.iter();
        let sealed: usize = sealed.map(|one| one.bytes.len() + one.bloom.len()).sum();
        self.lines.bytes() + sealed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.len() == 0 && self.sealed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_much_said_about_them_are_blocks_that_can_be_unpacked() {
        let metadata: Vec<(String, String)> = (0..20)
            .map(|at| (format!("name{at}"), "value".repeat(40)))
            .collect();
        let mut open = Open::default();
        for at in 0..500 {
            let line = Line {
                at,
                text: String::new(),
                metadata: metadata.clone(),
            };
            open.push(&line, 10_000);
        }
        assert!(open.sealed.len() > 10, "{}", open.sealed.len());
        let rows = open.sealed.iter().map(|one| one.rows as usize);
        assert_eq!(rows.sum::<usize>() + open.lines.len(), 500);
        for block in &open.sealed {
            assert!(block::decode(&block.bytes).is_some());
        }
    }
}
