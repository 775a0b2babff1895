//! Segments: files of blocks that are never changed.
//!
//! Blocks, then their filters, then an index (the streams, and of each block its stream, times,
//! size, place and checksum), then a footer of fixed size that says where the index is. A segment
//! names the segments it was made from, so that of both only it remains after a crash, and the
//! file of the log from which on lines are not in it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use towpath_query::promql::Labels;

use super::bloom::{self, CELL};
use super::{block, record};
use crate::bytes::{Cursor, put_bytes, put_uvarint, put_varint};
use crate::objects::Object;
use crate::segment::Data;
use crate::unpack::unpack;

const MAGIC: &[u8; 8] = b"TPLOGS\0\x03";
/// Of segments whose filters have no checksums, and of those whose index does not say either what
/// kind of filter a block has. They are read.
const EARLIER: [&[u8]; 2] = [b"TPLOGS\0\x02", b"TPLOGS\0\x01"];
const FOOTER: usize = 8 + 8 + 8 + 4 + 8;
/// The longest index that is read, packed and unpacked.
const MAX_INDEX: usize = 256 << 20;

/// A block in a segment.
#[derive(Clone, Debug)]
pub(super) struct Meta {
    /// The stream: its place in the list of the segment, later its number in the store.
    pub(super) stream: u32,
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) rows: u32,
    pub(super) raw: u64,
    offset: u64,
    length: u32,
    checksum: u32,
    bloom: u64,
    cells: u32,
    make: bloom::Make,
    pub(super) escapes: bool,
}

/// A segment that is open.
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    data: Arc<Data>,
    /// Where filters and index begin.
    pub(super) tail_at: u64,
    pub(super) blocks: Vec<Meta>,
    pub(super) times: (i64, i64),
    pub(super) bytes: u64,
    /// Lines in files of the log before this one are here or in an earlier segment.
    pub(super) log: u64,
    /// The segments it was made from.
    pub(super) replaces: Vec<u64>,
}

pub(super) fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:012}.seg"))
}

/// The numbers of the segments in a directory, in order; of those in a bucket the tails are here.
/// What was not finished is removed.
pub(super) fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.ends_with(".seg.part") {
            std::fs::remove_file(entry.path())?;
        } else if let Some((number, "seg" | "tail")) = name.split_once('.') {
            out.extend(number.parse::<u64>().ok());
        }
    }
    out.sort_unstable();
    out.dedup();
    Ok(out)
}

/// Writes a segment, block by block.
pub(super) struct Writer {
    dir: PathBuf,
    number: u64,
    out: BufWriter<File>,
    at: u64,
    streams: Vec<Labels>,
    blocks: Vec<Meta>,
    blooms: Vec<Vec<u8>>,
}

impl Writer {
    pub(super) fn new(dir: &Path, number: u64) -> io::Result<Self> {
        let part = path(dir, number).with_extension("seg.part");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(part)?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        out.write_all(MAGIC)?;
        Ok(Self {
            dir: dir.to_path_buf(),
            number,
            out,
            at: MAGIC.len() as u64,
            streams: Vec::new(),
            blocks: Vec::new(),
            blooms: Vec::new(),
        })
    }

    /// Adds a block. Blocks of a stream come one after the other.
    pub(super) fn add(&mut self, labels: &Labels, block: &block::Encoded) -> io::Result<()> {
        let meta = Meta {
            stream: 0,
            first: block.first,
            last: block.last,
            rows: block.rows,
            raw: block.raw,
            offset: 0,
            length: block.bytes.len() as u32,
            checksum: crc32c::crc32c(&block.bytes),
            bloom: 0,
            cells: (block.bloom.len() / CELL) as u32,
            make: block.make,
            escapes: block.escapes,
        };
        self.put(labels, meta, &block.bytes, block.bloom.clone())
    }

    /// Adds a block of another segment as it is, with its filter.
    pub(super) fn copy(
        &mut self,
        labels: &Labels,
        meta: &Meta,
        bytes: &[u8],
        filter: Vec<u8>,
    ) -> io::Result<()> {
        self.put(labels, meta.clone(), bytes, filter)
    }

    fn put(
        &mut self,
        labels: &Labels,
        meta: Meta,
        bytes: &[u8],
        filter: Vec<u8>,
    ) -> io::Result<()> {
        if self.streams.last() != Some(labels) {
            self.streams.push(labels.clone());
        }
        self.out.write_all(bytes)?;
        self.blocks.push(Meta {
            stream: self.streams.len() as u32 - 1,
            offset: self.at,
            ..meta
        });
        self.at += bytes.len() as u64;
        self.blooms.push(filter);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Removes what was begun.
    pub(super) fn abandon(self) -> io::Result<()> {
        std::fs::remove_file(path(&self.dir, self.number).with_extension("seg.part"))
    }

    /// Makes the segment durable and visible.
    pub(super) fn finish(mut self, log: u64, replaces: &[u64]) -> io::Result<PathBuf> {
        for (meta, bloom) in self.blocks.iter_mut().zip(&self.blooms) {
            meta.bloom = self.at;
            self.out.write_all(bloom)?;
            self.at += bloom.len() as u64;
        }
        let index = index(&self.streams, &self.blocks, replaces);
        let packed = zstd::bulk::compress(&index, 3)?;
        let mut tail = Vec::new();
        put_uvarint(&mut tail, index.len() as u64);
        tail.extend_from_slice(&packed);
        let checksum = crc32c::crc32c(&tail);
        let length = tail.len() as u64;
        tail.extend_from_slice(&self.at.to_le_bytes());
        tail.extend_from_slice(&length.to_le_bytes());
        tail.extend_from_slice(&log.to_le_bytes());
        tail.extend_from_slice(&checksum.to_le_bytes());
        tail.extend_from_slice(MAGIC);
        self.out.write_all(&tail)?;
        let file = self
            .out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        let done = path(&self.dir, self.number);
        std::fs::rename(done.with_extension("seg.part"), &done)?;
        File::open(&self.dir)?.sync_all()?;
        Ok(done)
    }
}

fn index(streams: &[Labels], blocks: &[Meta], replaces: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    put_uvarint(&mut out, replaces.len() as u64);
    for number in replaces {
        put_uvarint(&mut out, *number);
    }
    put_uvarint(&mut out, streams.len() as u64);
    for labels in streams {
        let mut one = Vec::new();
        record::put_labels(&mut one, labels);
        put_bytes(&mut out, &one);
    }
    put_uvarint(&mut out, blocks.len() as u64);
    for block in blocks {
        put_uvarint(&mut out, u64::from(block.stream));
        put_varint(&mut out, block.first);
        put_varint(&mut out, block.last);
        put_uvarint(&mut out, u64::from(block.rows));
        put_uvarint(&mut out, block.raw);
        put_uvarint(&mut out, block.offset);
        put_uvarint(&mut out, u64::from(block.length));
        out.extend_from_slice(&block.checksum.to_le_bytes());
        put_uvarint(&mut out, block.bloom);
        put_uvarint(&mut out, u64::from(block.cells));
        let make = u8::from(block.make.lean) << 1 | u8::from(block.make.sealed) << 2;
        out.push(u8::from(block.escapes) | make);
    }
    out
}

struct Index {
    replaces: Vec<u64>,
    streams: Vec<Labels>,
    blocks: Vec<Meta>,
}

fn read_index(bytes: &[u8]) -> Option<Index> {
    let mut cursor = Cursor::new(bytes);
    let length = usize::try_from(cursor.uvarint()?).ok()?;
    if length > MAX_INDEX {
        return None;
    }
    let unpacked = unpack(cursor.rest(), length).ok()?;
    let mut cursor = Cursor::new(&unpacked);
    let count = cursor.count()?;
    let replaces = (0..count)
        .map(|_| cursor.uvarint())
        .collect::<Option<_>>()?;
    let count = cursor.count()?;
    let streams = (0..count)
        .map(|_| record::labels(&mut Cursor::new(cursor.bytes()?)))
        .collect::<Option<Vec<_>>>()?;
    let count = cursor.count()?;
    let blocks = (0..count).map(|_| read_meta(&mut cursor, streams.len()));
    Some(Index {
        replaces,
        blocks: blocks.collect::<Option<_>>()?,
        streams,
    })
}

fn read_meta(cursor: &mut Cursor<'_>, streams: usize) -> Option<Meta> {
    let small = |value: Option<u64>| u32::try_from(value?).ok();
    let mut meta = Meta {
        stream: small(cursor.uvarint())?,
        first: cursor.varint()?,
        last: cursor.varint()?,
        rows: small(cursor.uvarint())?,
        raw: cursor.uvarint()?,
        offset: cursor.uvarint()?,
        length: small(cursor.uvarint())?,
        checksum: cursor.u32()?,
        bloom: cursor.uvarint()?,
        cells: small(cursor.uvarint())?,
        make: bloom::Make {
            lean: false,
            sealed: false,
        },
        escapes: false,
    };
    let flags = cursor.u8()?;
    meta.escapes = flags & 1 != 0;
    meta.make = bloom::Make {
        lean: flags & 2 != 0,
        sealed: flags & 4 != 0,
    };
    let sound = (meta.stream as usize) < streams
        && meta.length as usize <= block::MAX_UNPACKED
        && meta.cells as usize <= bloom::MAX_CELLS;
    sound.then_some(meta)
}

/// What the end of a segment says.
struct Tables {
    index: Index,
    /// Where the index is.
    at: u64,
    log: u64,
}

fn read_tables(file: &Data) -> io::Result<Tables> {
    let start = file
        .bytes()
        .checked_sub(FOOTER as u64)
        .ok_or_else(|| damaged("the segment is too short"))?;
    let mut footer = [0; FOOTER];
    file.read_exact_at(&mut footer, start)?;
    let mut cursor = Cursor::new(&footer);
    let fields = (cursor.u64(), cursor.u64(), cursor.u64(), cursor.u32());
    let (Some(at), Some(length), Some(log), Some(checksum)) = fields else {
        return Err(damaged("the segment has no footer"));
    };
    let known = cursor.rest() == MAGIC || EARLIER.contains(&cursor.rest());
    if !known || at.checked_add(length) != Some(start) {
        return Err(damaged("the segment has no footer"));
    }
    if length > MAX_INDEX as u64 {
        return Err(damaged("the index of the segment is too long"));
    }
    let mut index = vec![0; length as usize];
    file.read_exact_at(&mut index, at)?;
    if crc32c::crc32c(&index) != checksum {
        return Err(damaged("the index of the segment has another checksum"));
    }
    let index = read_index(&index).ok_or_else(|| damaged("the index cannot be read"))?;
    Ok(Tables { index, at, log })
}

impl Segment {
    /// Opens a segment; `intern` gives the streams their numbers.
    pub(super) fn open(
        dir: &Path,
        number: u64,
        object: Option<Object>,
        intern: impl FnMut(&Labels) -> u32,
    ) -> io::Result<Self> {
        let path = path(dir, number);
        let data = Arc::new(Data::open(&path, object)?);
        let (data, found) = data.opened(|data| read_tables(data))?;
        let Tables { index, at, log } = found;
        let ids: Vec<u32> = index.streams.iter().map(intern).collect();
        let mut blocks = index.blocks;
        for block in &mut blocks {
            block.stream = ids[block.stream as usize];
        }
        let first = blocks.iter().map(|block| block.first).min();
        let last = blocks.iter().map(|block| block.last).max();
        let filters = blocks.iter().map(|block| block.bloom).min();
        Ok(Self {
            number,
            path,
            bytes: data.bytes(),
            data,
            tail_at: filters.unwrap_or(at).min(at),
            times: (first.unwrap_or(i64::MAX), last.unwrap_or(i64::MIN)),
            blocks,
            log,
            replaces: index.replaces,
        })
    }

    /// Its bytes.
    pub(super) fn data(&self) -> &Arc<Data> {
        &self.data
    }

    /// Whether a block may contain what all keys stand for.
    pub(super) fn may_contain(&self, meta: &Meta, keys: &[u64]) -> io::Result<bool> {
        let whole = |cell: Vec<u8>| match bloom::is_sound(&cell, meta.make) {
            true => Ok(cell),
            false => Err(cell),
        };
        for key in keys {
            let at = bloom::cell(*key, meta.cells as usize) as u64 * CELL as u64;
            let (Ok(cell) | Err(cell)) = self.data.part(meta.bloom + at, CELL, whole)?;
            if !bloom::may_contain(&cell, *key, meta.make) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The filter of a block.
    pub(super) fn filter_of(&self, meta: &Meta) -> io::Result<Vec<u8>> {
        let mut filter = vec![0; meta.cells as usize * CELL];
        self.data.read_exact_at(&mut filter, meta.bloom)?;
        Ok(filter)
    }

    /// The bytes of a block.
    pub(super) fn bytes_of(&self, meta: &Meta) -> io::Result<Vec<u8>> {
        if meta.offset + u64::from(meta.length) > self.bytes {
            return Err(damaged("a block lies outside of its segment"));
        }
        let read = |bytes: Vec<u8>| match crc32c::crc32c(&bytes) == meta.checksum {
            true => Ok(bytes),
            false => Err(damaged("a block has another checksum")),
        };
        self.data.part(meta.offset, meta.length as usize, read)?
    }
}

impl Meta {
    /// Bytes in the file.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.length)
    }
}
