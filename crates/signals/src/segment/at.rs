//! Where somebody is in a segment who reads its streams one after the other: the page and the
//! block of the one before are those of the next one, mostly.

use std::ops::Range;
use std::sync::Arc;

use super::{Extent, Reader, SegmentError, table};

/// A place in a segment. It belongs to one segment from its first use on.
#[derive(Default)]
pub(crate) struct At {
    /// The numbers of the streams of the page, and where it is.
    streams: Range<u32>,
    extent: Option<Extent>,
    page: Option<Arc<[u8]>>,
    block: Option<(Extent, Arc<[u8]>)>,
}

impl At {
    /// Goes to the page of a stream; it and the place of the stream in it.
    fn page(&mut self, of: &Reader, id: u32) -> Result<(&Arc<[u8]>, usize), SegmentError> {
        let page = match self.page.take() {
            Some(page) if self.streams.contains(&id) => page,
            _ => {
                let found = of.page(id)?;
                let raw = of.block(found.extent)?;
                let count = table::entries(&raw).and_then(|count| u32::try_from(count).ok());
                let wrong = || of.damaged(found.extent.offset, "entry makes no sense");
                self.streams = found.first..found.first.saturating_add(count.ok_or_else(wrong)?);
                self.extent = Some(found.extent);
                raw
            }
        };
        let page = self.page.insert(page);
        Ok((page, id.saturating_sub(self.streams.start) as usize))
    }

    fn wrong(&self, of: &Reader) -> SegmentError {
        let offset = self.extent.map_or(0, |extent| extent.offset);
        of.damaged(offset, "entry makes no sense")
    }

    /// Key and value of a stream, given to `f`.
    pub(crate) fn stream<R>(
        &mut self,
        of: &Reader,
        id: u32,
        f: impl FnOnce(&[u8], &[u8]) -> Option<R>,
    ) -> Result<R, SegmentError> {
        let (page, at) = self.page(of, id)?;
        let found = table::entry(page, at).and_then(|(key, value)| f(key, value));
        found.ok_or_else(|| self.wrong(of))
    }

    /// The key of a stream.
    pub(crate) fn key(&mut self, of: &Reader, id: u32) -> Result<&[u8], SegmentError> {
        // The page is looked for first, so that it can be lent out afterwards.
        self.page(of, id)?;
        let at = id.saturating_sub(self.streams.start) as usize;
        let page = self.page.as_deref();
        let found = page.and_then(|page| table::entry(page, at));
        found.map(|(key, _)| key).ok_or_else(|| self.wrong(of))
    }

    /// A block, checked and decompressed.
    pub(crate) fn block(&mut self, of: &Reader, extent: Extent) -> Result<&[u8], SegmentError> {
        let block = match self.block.take() {
            Some((own, block)) if own == extent => block,
            _ => of.block(extent)?,
        };
        Ok(&self.block.insert((extent, block)).1)
    }
}
