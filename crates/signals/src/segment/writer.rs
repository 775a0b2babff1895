//! Writing a segment: blocks first, streams in the order of their keys, then the end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::block::Packer;
use super::table::Builder;
use super::{Extent, MAGIC, SEPARATOR};
use crate::bytes::{put_bytes, put_uvarint};

/// Lists of streams longer than this are blocks of their own.
const INLINE: usize = 1024;

/// A segment that is written. The file counts only once somebody names it in a manifest.
pub(crate) struct Writer {
    out: Out,
    streams: Builder,
    postings: BTreeMap<Box<[u8]>, Vec<u32>>,
}

/// The file, and where its next block begins.
struct Out {
    file: BufWriter<File>,
    offset: u64,
    packer: Packer,
}

impl Writer {
    /// Begins a file.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        file.write_all(MAGIC)?;
        Ok(Self {
            out: Out {
                file,
                offset: MAGIC.len() as u64,
                packer: Packer::new()?,
            },
            streams: Builder::default(),
            postings: BTreeMap::new(),
        })
    }

    /// Adds a block; where it is goes into the values of streams.
    pub(crate) fn block(&mut self, raw: &[u8]) -> io::Result<Extent> {
        self.out.block(raw)
    }

    /// Adds a stream behind the others: its key, its value, its labels.
    pub(crate) fn stream<'l>(
        &mut self,
        key: &[u8],
        value: &[u8],
        labels: impl Iterator<Item = (&'l str, &'l str)>,
    ) -> io::Result<()> {
        let id = self.streams.add(key, value, |raw| self.out.block(raw))?;
        let mut pair = Vec::new();
        for (name, value) in labels {
            pair.clear();
            pair.extend_from_slice(name.as_bytes());
            pair.push(SEPARATOR);
            pair.extend_from_slice(value.as_bytes());
            match self.postings.get_mut(&pair[..]) {
                Some(list) => list.push(id),
                None => drop(self.postings.insert(pair[..].into(), vec![id])),
            }
        }
        Ok(())
    }

    /// Ends the file with something of the signal's own and makes it durable; its length.
    pub(crate) fn finish(self, own: &[u8]) -> io::Result<u64> {
        let mut out = self.out;
        let mut table = Builder::default();
        for (pair, list) in &self.postings {
            let mut packed = Vec::new();
            put_uvarint(&mut packed, list.len() as u64);
            let mut last = 0;
            for id in list {
                put_uvarint(&mut packed, u64::from(id - last));
                last = *id;
            }
            let mut value = Vec::new();
            if packed.len() <= INLINE {
                value.push(0);
                value.extend_from_slice(&packed);
            } else {
                let extent = out.block(&packed)?;
                value.push(1);
                put_uvarint(&mut value, extent.offset);
                put_uvarint(&mut value, u64::from(extent.bytes));
            }
            table.add(pair, &value, |raw| out.block(raw))?;
        }
        let postings = table.finish(|raw| out.block(raw))?;
        let streams = self.streams.finish(|raw| out.block(raw))?;
        let mut footer = Vec::new();
        put_bytes(&mut footer, &streams);
        put_bytes(&mut footer, &postings);
        put_bytes(&mut footer, own);
        let footer = out.packer.pack(&footer)?;
        out.file.write_all(&footer)?;
        let mut tail = (footer.len() as u32).to_le_bytes().to_vec();
        tail.extend_from_slice(&crc32c::crc32c(&tail).to_le_bytes());
        tail.extend_from_slice(MAGIC);
        out.file.write_all(&tail)?;
        let length = out.offset + (footer.len() + tail.len()) as u64;
        let file = out
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(length)
    }
}

impl Out {
    fn block(&mut self, raw: &[u8]) -> io::Result<Extent> {
        let stored = self.packer.pack(raw)?;
        self.file.write_all(&stored)?;
        let extent = Extent {
            offset: self.offset,
            bytes: stored.len() as u32,
        };
        self.offset += stored.len() as u64;
        Ok(extent)
    }
}
