//! Tables: keys in ascending order with a value each, in pages of about 32 KiB. A directory holds
//! the first key of every page.
//!
//! A page is entries (key length, key, value length, value), then the offset of each entry in 4
//! bytes, then their number in 4 bytes.

use super::Extent;
use crate::bytes::{Cursor, put_bytes, put_uvarint};

const PAGE: usize = 32 << 10;

/// A page of a table that is read.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) first_key: Box<[u8]>,
    pub(super) first: u32,
    pub(super) extent: Extent,
}

/// Gathers the pages of a table.
#[derive(Default)]
pub(super) struct Builder {
    raw: Vec<u8>,
    offsets: Vec<u32>,
    first_key: Vec<u8>,
    pages: Vec<Page>,
    count: u32,
}

impl Builder {
    /// Adds an entry behind the others; a page that is full is given to `write`.
    pub(super) fn add(
        &mut self,
        key: &[u8],
        value: &[u8],
        write: impl FnMut(&[u8]) -> std::io::Result<Extent>,
    ) -> std::io::Result<u32> {
        if self.offsets.is_empty() {
            self.first_key = key.to_vec();
        }
        self.offsets.push(self.raw.len() as u32);
        put_bytes(&mut self.raw, key);
        put_bytes(&mut self.raw, value);
        self.count += 1;
        if self.raw.len() >= PAGE {
            self.page(write)?;
        }
        Ok(self.count - 1)
    }

    fn page(
        &mut self,
        mut write: impl FnMut(&[u8]) -> std::io::Result<Extent>,
    ) -> std::io::Result<()> {
        let entries = self.offsets.len() as u32;
        for offset in self.offsets.drain(..) {
            self.raw.extend_from_slice(&offset.to_le_bytes());
        }
        self.raw.extend_from_slice(&entries.to_le_bytes());
        let extent = write(&self.raw)?;
        self.raw.clear();
        self.pages.push(Page {
            first_key: std::mem::take(&mut self.first_key).into_boxed_slice(),
            first: self.count - entries,
            extent,
        });
        Ok(())
    }

    /// The directory of all pages.
    pub(super) fn finish(
        mut self,
        write: impl FnMut(&[u8]) -> std::io::Result<Extent>,
    ) -> std::io::Result<Vec<u8>> {
        if !self.offsets.is_empty() {
            self.page(write)?;
        }
        let mut out = Vec::new();
        put_uvarint(&mut out, u64::from(self.count));
        put_uvarint(&mut out, self.pages.len() as u64);
        for page in &self.pages {
            put_bytes(&mut out, &page.first_key);
            put_uvarint(&mut out, u64::from(page.first));
            put_uvarint(&mut out, page.extent.offset);
            put_uvarint(&mut out, u64::from(page.extent.bytes));
        }
        Ok(out)
    }
}

/// The directory of a table: how many entries, and its pages.
pub(super) fn directory(bytes: &[u8]) -> Option<(u32, Vec<Page>)> {
    let mut cursor = Cursor::new(bytes);
    let count = u32::try_from(cursor.uvarint()?).ok()?;
    let pages = cursor.count()?;
    let mut out = Vec::with_capacity(pages);
    for _ in 0..pages {
        out.push(Page {
            first_key: cursor.bytes()?.into(),
            first: u32::try_from(cursor.uvarint()?).ok()?,
            extent: Extent {
                offset: cursor.uvarint()?,
                bytes: u32::try_from(cursor.uvarint()?).ok()?,
            },
        });
    }
    Some((count, out))
}

/// How many entries a page has.
pub(super) fn entries(raw: &[u8]) -> Option<usize> {
    let at = raw.len().checked_sub(4)?;
    let count = u32::from_le_bytes(raw[at..].try_into().ok()?) as usize;
    (count <= at / 4).then_some(count)
}

/// An entry of a page.
pub(super) fn entry(raw: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    let count = entries(raw)?;
    let end = raw.len() - 4 - count * 4;
    if at >= count {
        return None;
    }
    let place = end + at * 4;
    let offset = u32::from_le_bytes(raw[place..place + 4].try_into().ok()?) as usize;
    let mut cursor = Cursor::new(raw[..end].get(offset..)?);
    Some((cursor.bytes()?, cursor.bytes()?))
}

/// The first entry of a page whose key is not below `key`.
pub(super) fn lower_bound(raw: &[u8], key: &[u8]) -> Option<usize> {
    let (mut low, mut high) = (0, entries(raw)?);
    while low < high {
        let middle = low + (high - low) / 2;
        if entry(raw, middle)?.0 < key {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Some(low)
}
