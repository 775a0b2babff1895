//! Writing a segment: blocks first, streams in the order of their keys, then the end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::block::pack;
use super::table::Builder;
use super::{Extent, MAGIC, SEPARATOR};
use crate::bytes::{put_bytes, put_uvarint};

/// Lists of streams longer than this are blocks of their own.
const INLINE: usize = 1024;

/// A segment that is written. The file counts only once somebody names it in a manifest.
pub(crate) struct Writer {
    file: BufWriter<File>,
    offset: u64,
    streams: Builder,
    postings: BTreeMap<Box<[u8]>, Vec<u32>>,
}

impl Writer {
    /// Begins a file.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        file.write_all(MAGIC)?;
        Ok(Self {
            file,
            offset: MAGIC.len() as u64,
            streams: Builder::default(),
            postings: BTreeMap::new(),
        })
    }

    /// Adds a block; where it is goes into the values of streams.
    pub(crate) fn block(&mut self, raw: &[u8]) -> io::Result<Extent> {
        write_block(&mut self.file, &mut self.offset, raw)
    }

    /// Adds a stream behind the others: its key, its value, its labels.
    pub(crate) fn stream<'l>(
        &mut self,
        key: &[u8],
        value: &[u8],
        labels: impl Iterator<Item = (&'l str, &'l str)>,
    ) -> io::Result<()> {
        let (file, offset) = (&mut self.file, &mut self.offset);
        let id = self
            .streams
            .add(key, value, |raw| write_block(file, offset, raw))?;
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
    pub(crate) fn finish(mut self, own: &[u8]) -> io::Result<u64> {
        let (file, offset) = (&mut self.file, &mut self.offset);
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
                let extent = write_block(file, offset, &packed)?;
                value.push(1);
                put_uvarint(&mut value, extent.offset);
                put_uvarint(&mut value, u64::from(extent.bytes));
            }
            table.add(pair, &value, |raw| write_block(file, offset, raw))?;
        }
        let postings = table.finish(|raw| write_block(file, offset, raw))?;
        let streams = std::mem::take(&mut self.streams);
        let streams = streams.finish(|raw| write_block(file, offset, raw))?;
        let mut footer = Vec::new();
        put_bytes(&mut footer, &streams);
        put_bytes(&mut footer, &postings);
        put_bytes(&mut footer, own);
        let footer = pack(&footer)?;
        file.write_all(&footer)?;
        let mut tail = (footer.len() as u32).to_le_bytes().to_vec();
        tail.extend_from_slice(&crc32c::crc32c(&tail).to_le_bytes());
        tail.extend_from_slice(MAGIC);
        file.write_all(&tail)?;
        *offset += (footer.len() + tail.len()) as u64;
        let length = *offset;
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(length)
    }
}

fn write_block(file: &mut BufWriter<File>, offset: &mut u64, raw: &[u8]) -> io::Result<Extent> {
    let stored = pack(raw)?;
    file.write_all(&stored)?;
    let extent = Extent {
        offset: *offset,
        bytes: stored.len() as u32,
    };
    *offset += stored.len() as u64;
    Ok(extent)
}
