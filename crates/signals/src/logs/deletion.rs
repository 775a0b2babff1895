//! Lines that are to be forgotten: at once for queries, on the disk with the next rewriting.

use towpath_query::logql::{Pipeline, Row, parse_log};
use towpath_query::promql::{Labels, Matcher};

use super::store::StoreError;
use crate::bytes::{Cursor, put_bytes, put_uvarint, put_varint};

/// A request to forget lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Its name.
    pub id: String,
    /// Which lines: a query of lines.
    pub query: String,
    /// The first time, nanoseconds since the epoch.
    pub start: i64,
    /// The last time, included.
    pub end: i64,
    /// When it was asked for, nanoseconds since the epoch.
    pub created: i64,
    /// Whether the lines are gone from the disk too.
    pub done: bool,
}

/// A deletion that can be asked.
pub(super) struct Active {
    pub(super) deletion: Deletion,
    pub(super) matchers: Vec<Matcher>,
    pipeline: Pipeline,
}

impl Active {
    pub(super) fn new(deletion: Deletion) -> Result<Self, StoreError> {
        let query =
            parse_log(&deletion.query).map_err(|error| StoreError::Query(error.to_string()))?;
        let pipeline = Pipeline::new(&query).map_err(StoreError::Query)?;
        Ok(Self {
            deletion,
            matchers: query.matchers,
            pipeline,
        })
    }

    /// Whether it may concern lines of a stream between two times.
    pub(super) fn touches(&self, labels: &Labels, first: i64, last: i64) -> bool {
        !self.deletion.done
            && first <= self.deletion.end
            && last >= self.deletion.start
            && self.matchers.iter().all(|m| m.matches(labels.get(&m.name)))
    }

    /// Whether a line of a stream that it touches is forgotten.
    pub(super) fn forgets(&self, labels: &Labels, row: &Row<'_>) -> bool {
        (self.deletion.start..=self.deletion.end).contains(&row.at)
            && self.pipeline.run(labels, row).is_some()
    }
}

/// Writes all deletions.
pub(super) fn encode<'a>(all: impl ExactSizeIterator<Item = &'a Deletion>) -> Vec<u8> {
    let mut out = vec![1];
    put_uvarint(&mut out, all.len() as u64);
    for one in all {
        put_bytes(&mut out, one.id.as_bytes());
        put_bytes(&mut out, one.query.as_bytes());
        put_varint(&mut out, one.start);
        put_varint(&mut out, one.end);
        put_varint(&mut out, one.created);
        out.push(u8::from(one.done));
    }
    let checksum = crc32c::crc32c(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<Deletion>> {
    let (bytes, checksum) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    if crc32c::crc32c(bytes).to_le_bytes() != checksum {
        return None;
    }
    let mut cursor = Cursor::new(bytes);
    if cursor.u8()? != 1 {
        return None;
    }
    let count = cursor.count()?;
    let one = |cursor: &mut Cursor<'_>| {
        Some(Deletion {
            id: cursor.text()?.to_owned(),
            query: cursor.text()?.to_owned(),
            start: cursor.varint()?,
            end: cursor.varint()?,
            created: cursor.varint()?,
            done: cursor.u8()? != 0,
        })
    };
    (0..count).map(|_| one(&mut cursor)).collect()
}
