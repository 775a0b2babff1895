//! Segment files: immutable, read by position, of any signal.
//!
//! A file is blocks, then tables, then a footer:
//!
//! | part | what |
//! |---|---|
//! | magic | 8 bytes |
//! | blocks | what the signal stores, see [`Writer::block`] |
//! | streams | a [`table`] from the key of a stream (its labels) to its value (where its data is) |
//! | postings | a [`table`] from `name 0xff value` to the numbers of the streams that have the label |
//! | footer | where the tables are, what the signal adds; length, checksum, magic |
//!
//! Every block, and every page of a table, is one zstd frame behind its raw length and before a
//! CRC32C, checked at each read. Labels are in the pages in full: pages are sorted, so what
//! repeats costs next to nothing after compression, and no table of symbols has to be held. A
//! reader holds the footer and one key per page; all else comes through a bounded [`Cache`].
//! A label lookup is two reads, a stream is one, a block is one.

mod at;
mod block;
mod cache;
mod data;
mod reader;
mod table;
mod writer;

pub(crate) use at::At;
pub(crate) use block::Extent;
pub(crate) use cache::Cache;
pub(crate) use data::{Data, fetch_tail, remove, tail_path};
pub(crate) use reader::Reader;
pub(crate) use writer::Writer;

/// First and last in a file, with the version of the format.
const MAGIC: &[u8; 8] = b"TPSEG\0\0\x01";

/// Between the name and the value of a label; occurs in no text.
pub(crate) const SEPARATOR: u8 = 0xff;

/// Why a segment cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The disk fails.
    #[error("read segment {file}")]
    Io {
        /// Which.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What was read is not what was written.
    #[error("segment {file} is damaged at byte {offset}: {what}")]
    Damaged {
        /// Which.
        file: String,
        /// Where.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
}
