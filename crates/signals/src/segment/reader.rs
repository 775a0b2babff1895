//! Reading a segment, by positions in its file.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use super::block::unpack;
use super::table::{self, Page};
use super::{Cache, Data, Extent, MAGIC, SEPARATOR, SegmentError};
use crate::bytes::Cursor;
use crate::matching::Index;
use crate::objects::Object;

const TAIL: u64 = 16;
/// The longest stored block or footer.
const MAX_STORED: u32 = 80 << 20;

/// A segment that is open.
pub(crate) struct Reader {
    data: Arc<Data>,
    /// Tells it from others in the cache.
    number: u64,
    cache: Arc<Cache>,
    streams: Vec<Page>,
    count: u32,
    postings: Vec<Page>,
    own: Vec<u8>,
    /// Where the list of labels and all behind it begins.
    tail_at: u64,
}

impl Reader {
    /// Opens a file, or where there is none what the bucket has of it; its tables are read when
    /// they are needed.
    pub(crate) fn open(
        path: &Path,
        number: u64,
        cache: Arc<Cache>,
        object: Option<Object>,
    ) -> Result<Self, SegmentError> {
        let data = Data::open(path, object).map_err(|source| SegmentError::Io {
            file: path.display().to_string(),
            source,
        })?;
        let read = |data: &Arc<Data>| Self::of(Arc::clone(data), number, Arc::clone(&cache));
        Arc::new(data).opened(read).map(|(_, reader)| reader)
    }

    fn of(file: Arc<Data>, number: u64, cache: Arc<Cache>) -> Result<Self, SegmentError> {
        let io = |source| SegmentError::Io {
            file: file.name(),
            source,
        };
        let damaged = |offset, what| SegmentError::Damaged {
            file: file.name(),
            offset,
            what,
        };
        let length = file.bytes();
        let tail_at = length
            .checked_sub(TAIL)
            .ok_or_else(|| damaged(0, "file is too short"))?;
        let mut tail = [0; TAIL as usize];
        file.read_exact_at(&mut tail, tail_at).map_err(io)?;
        let sum = u32::from_le_bytes([tail[4], tail[5], tail[6], tail[7]]);
        if tail[8..] != MAGIC[..] || crc32c::crc32c(&tail[..4]) != sum {
            return Err(damaged(tail_at, "no footer"));
        }
        let bytes = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
        let footer_at = tail_at
            .checked_sub(u64::from(bytes))
            .filter(|_| bytes <= MAX_STORED)
            .ok_or_else(|| damaged(tail_at, "footer is too long"))?;
        let mut footer = vec![0; bytes as usize];
        file.read_exact_at(&mut footer, footer_at).map_err(io)?;
        let footer = unpack(&footer).map_err(|what| damaged(footer_at, what))?;
        let mut cursor = Cursor::new(&footer);
        let mut part = || cursor.bytes();
        let (Some(streams), Some(postings), Some(own)) = (part(), part(), part()) else {
            return Err(damaged(footer_at, "footer makes no sense"));
        };
        let (Some((count, streams)), Some((_, postings))) =
            (table::directory(streams), table::directory(postings))
        else {
            return Err(damaged(footer_at, "directory makes no sense"));
        };
        let own = own.to_vec();
        let tail_at = postings
            .first()
            .map_or(footer_at, |page| page.extent.offset);
        Ok(Self {
            data: file,
            number,
            cache,
            streams,
            count,
            tail_at: tail_at.min(footer_at),
            postings,
            own,
        })
    }

    /// How long the segment is.
    pub(crate) fn bytes(&self) -> u64 {
        self.data.bytes()
    }

    /// Its bytes.
    pub(crate) fn data(&self) -> &Arc<Data> {
        &self.data
    }

    /// Where the list of labels and all behind it begins.
    pub(crate) fn tail_at(&self) -> u64 {
        self.tail_at
    }

    /// What the signal added to the footer.
    pub(crate) fn own(&self) -> &[u8] {
        &self.own
    }

    /// How many streams there are.
    pub(crate) fn len(&self) -> u32 {
        self.count
    }

    pub(crate) fn damaged(&self, offset: u64, what: &'static str) -> SegmentError {
        SegmentError::Damaged {
            file: self.data.name(),
            offset,
            what,
        }
    }

    /// A block, checked and decompressed.
    pub(crate) fn block(&self, extent: Extent) -> Result<Arc<[u8]>, SegmentError> {
        let key = (self.number, extent.offset);
        if let Some(found) = self.cache.get(key) {
            return Ok(found);
        }
        let raw: Arc<[u8]> = self.read(extent)?.into();
        self.cache.put(key, Arc::clone(&raw));
        Ok(raw)
    }

    /// A block that will hardly be read again soon.
    pub(crate) fn block_once(&self, extent: Extent) -> Result<Arc<[u8]>, SegmentError> {
        match self.cache.get((self.number, extent.offset)) {
            Some(found) => Ok(found),
            None => Ok(self.read(extent)?.into()),
        }
    }

    fn read(&self, extent: Extent) -> Result<Vec<u8>, SegmentError> {
        if extent.bytes > MAX_STORED {
            return Err(self.damaged(extent.offset, "block is too long"));
        }
        let length = extent.bytes as usize;
        let read = self
            .data
            .part(extent.offset, length, |stored| unpack(&stored));
        let read = read.map_err(|source| SegmentError::Io {
            file: self.data.name(),
            source,
        })?;
        read.map_err(|what| self.damaged(extent.offset, what))
    }

    /// Key and value of a stream, given to `f`.
    pub(crate) fn stream<R>(
        &self,
        id: u32,
        f: impl FnOnce(&[u8], &[u8]) -> Option<R>,
    ) -> Result<R, SegmentError> {
        let page = self.page(id)?;
        let raw = self.block(page.extent)?;
        table::entry(&raw, (id - page.first) as usize)
            .and_then(|(key, value)| f(key, value))
            .ok_or_else(|| self.damaged(page.extent.offset, "entry makes no sense"))
    }

    /// The page that a stream is in.
    pub(super) fn page(&self, id: u32) -> Result<&Page, SegmentError> {
        let page = self.streams.partition_point(|page| page.first <= id);
        let page = page.checked_sub(1).map(|at| &self.streams[at]);
        page.ok_or_else(|| self.damaged(0, "no such stream"))
    }

    /// Every label `name`, with its value and its list, in the order of the values; all labels
    /// without a name. `f` ends it with false.
    fn labels(
        &self,
        name: Option<&str>,
        mut f: impl FnMut(&str, &str, &[u8]) -> Result<bool, SegmentError>,
    ) -> Result<(), SegmentError> {
        let mut prefix = Vec::new();
        if let Some(name) = name {
            prefix.extend_from_slice(name.as_bytes());
            prefix.push(SEPARATOR);
        }
        let first = self
            .postings
            .partition_point(|page| *page.first_key <= prefix[..])
            .saturating_sub(1);
        for page in self.postings.iter().skip(first) {
            let raw = self.block(page.extent)?;
            let wrong = || self.damaged(page.extent.offset, "entry makes no sense");
            let count = table::entries(&raw).ok_or_else(wrong)?;
            let begin = table::lower_bound(&raw, &prefix).ok_or_else(wrong)?;
            for at in begin..count {
                let (key, value) = table::entry(&raw, at).ok_or_else(wrong)?;
                if !key.starts_with(&prefix) {
                    return Ok(());
                }
                let mut parts = key.splitn(2, |byte| *byte == SEPARATOR);
                let mut text = || std::str::from_utf8(parts.next()?).ok();
                let (Some(name), Some(own)) = (text(), text()) else {
                    return Err(wrong());
                };
                if !f(name, own, value)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Gives every value of a label to `f`, in order.
    pub(crate) fn values(&self, name: &str, mut f: impl FnMut(&str)) -> Result<(), SegmentError> {
        self.labels(Some(name), |_, value, _| {
            f(value);
            Ok(true)
        })
    }

    /// The streams that have this label with a value that is accepted, in any order, unless the
    /// label has more than `values` values or more than `most` streams are found.
    pub(crate) fn few(
        &self,
        name: &str,
        values: usize,
        most: usize,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Option<Vec<u32>>, SegmentError> {
        let (mut out, mut seen) = (Vec::new(), 0);
        self.labels(Some(name), |_, value, list| {
            seen += 1;
            if seen <= values && accept(value) {
                self.list(list, &mut out)?;
            }
            Ok(seen <= values && out.len() <= most)
        })?;
        Ok((seen <= values && out.len() <= most).then_some(out))
    }

    /// Gives every name of a label to `f`, in order, some more than once.
    pub(crate) fn names(&self, mut f: impl FnMut(&str)) -> Result<(), SegmentError> {
        fn name(key: &[u8]) -> &[u8] {
            key.split(|byte| *byte == SEPARATOR).next().unwrap_or(key)
        }
        for (at, page) in self.postings.iter().enumerate() {
            let own = name(&page.first_key);
            f(std::str::from_utf8(own).unwrap_or_default());
            let next = self.postings.get(at + 1);
            if next.is_some_and(|next| name(&next.first_key) == own) {
                // The whole page is of one name.
                continue;
            }
            let raw = self.block(page.extent)?;
            let mut last = own.to_vec();
            for at in 0..table::entries(&raw).unwrap_or(0) {
                let own = table::entry(&raw, at).map_or(&[][..], |(key, _)| name(key));
                if own != last {
                    f(std::str::from_utf8(own).unwrap_or_default());
                    last = own.to_vec();
                }
            }
        }
        Ok(())
    }

    fn list(&self, value: &[u8], out: &mut Vec<u32>) -> Result<(), SegmentError> {
        let mut cursor = Cursor::new(value);
        let wrong = || self.damaged(0, "list of streams makes no sense");
        let block;
        match cursor.u8().ok_or_else(wrong)? {
            0 => {}
            _ => {
                let offset = cursor.uvarint().ok_or_else(wrong)?;
                let bytes = cursor.uvarint().and_then(|bytes| u32::try_from(bytes).ok());
                let bytes = bytes.ok_or_else(wrong)?;
                block = self.block(Extent { offset, bytes })?;
                cursor = Cursor::new(&block);
            }
        }
        let count = cursor.count().ok_or_else(wrong)?;
        out.reserve(count);
        let mut last = 0u32;
        for _ in 0..count {
            let step = cursor.uvarint().and_then(|step| u32::try_from(step).ok());
            last = step
                .and_then(|step| last.checked_add(step))
                .ok_or_else(wrong)?;
            out.push(last);
        }
        Ok(())
    }
}

impl Index for Reader {
    type Error = SegmentError;

    fn all(&self) -> Result<Cow<'_, [u32]>, SegmentError> {
        Ok(Cow::Owned((0..self.count).collect()))
    }

    fn exact(&self, name: &str, value: &str) -> Result<Cow<'_, [u32]>, SegmentError> {
        let mut key = name.as_bytes().to_vec();
        key.push(SEPARATOR);
        key.extend_from_slice(value.as_bytes());
        let page = self
            .postings
            .partition_point(|page| *page.first_key <= key[..]);
        let mut out = Vec::new();
        let Some(page) = page.checked_sub(1).map(|at| &self.postings[at]) else {
            return Ok(Cow::Owned(out));
        };
        let raw = self.block(page.extent)?;
        let at = table::lower_bound(&raw, &key);
        let at = at.ok_or_else(|| self.damaged(page.extent.offset, "entry makes no sense"))?;
        match table::entry(&raw, at) {
            Some((own, list)) if own == key => self.list(list, &mut out)?,
            _ => {}
        }
        Ok(Cow::Owned(out))
    }

    fn any(
        &self,
        name: &str,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Vec<u32>, SegmentError> {
        let mut out = Vec::new();
        self.labels(Some(name), |_, value, list| {
            if accept(value) {
                self.list(list, &mut out)?;
            }
            Ok(true)
        })?;
        Ok(out)
    }
}
