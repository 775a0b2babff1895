//! What happens to lines with time: the head becomes segments, small segments become larger ones,
//! old ones and what was deleted goes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use towpath_query::logql::Row;
use towpath_query::promql::Labels;

use super::block::{self, Decoded};
use super::deletion::{Active, Deletion};
use super::push::source;
use super::segment::{Meta, Segment, Writer, damaged};
use super::store::{Flushing, LogStore, StoreError, millis, nanos};
use crate::freed::Reason;
use crate::segment::remove;

/// Segments that are made one when there are so many small ones.
const FAN_IN: usize = 8;
/// A segment below this is small, in bytes.
const SMALL: u64 = 64 << 20;

/// What a round of maintenance did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Lines written to a segment.
    pub flushed_lines: u64,
    /// Segments made of others.
    pub merged: u64,
    /// Segments removed because of their age or the limit of the disk.
    pub removed: u64,
    /// Bytes given back to the disk.
    pub freed_bytes: u64,
}

impl LogStore {
    /// Does what is due. To be called every few seconds, and when the head is crowded.
    ///
    /// # Errors
    /// A segment cannot be written or read; the next round tries again.
    pub fn maintain(&self) -> Result<Maintained, StoreError> {
        self.room.look();
        self.budget.settle(self.clock.monotonic());
        let mut done = Maintained::default();
        let now = millis(self.clock.as_ref());
        let oldest = self.oldest.load(Ordering::Relaxed);
        let aged = oldest != 0 && now - oldest >= nanos(self.options.flush_after) / 1_000_000;
        let head = self.head_bytes.load(Ordering::Relaxed).max(0) as u64;
        let deleting = self.deletions().iter().any(|one| !one.done);
        let left = !self.parts.read().flushing.is_empty();
        // First, because it makes room for what follows.
        self.expire(&mut done)?;
        if aged || deleting || left || head > self.options.head_bytes {
            done.flushed_lines = self.flush()?;
        }
        if deleting {
            self.execute_deletions(&mut done)?;
        }
        self.trim(&mut done)?;
        self.merge(&mut done)?;
        Ok(done)
    }

    /// Writes the head as a segment; how many lines that were.
    ///
    /// # Errors
    /// It cannot be written; the lines stay in memory and in the log.
    pub fn flush(&self) -> Result<u64, StoreError> {
        let _writing = self.writing.lock();
        // What an earlier round could not write is written first, with its own part of the log.
        let log = {
            let _gate = self.gate.write();
            let log = self
                .log
                .rotate()
                .map_err(|why| StoreError::Log(why.into()))?;
            self.take_head();
            log
        };
        let flushing = self.parts.read().flushing.clone();
        if flushing.is_empty() {
            return Ok(0);
        }
        let (segment, lines) = self.write_head(&flushing, log).map_err(StoreError::Write)?;
        let gone: i64 = flushing.iter().map(|one| one.bytes()).sum();
        for one in &flushing {
            if let Some(labels) = self.labels_of(one.stream) {
                let source = source(&self.budget, &labels);
                self.budget.change(source, -one.bytes() as isize);
            }
        }
        {
            let mut parts = self.parts.write();
            parts.flushing.clear();
            parts.segments.push(Arc::new(segment));
        }
        self.head_bytes.fetch_sub(gone, Ordering::Relaxed);
        crate::wal::remove_before(&self.dir.join("wal"), log).map_err(StoreError::Write)?;
        self.changed();
        Ok(lines)
    }

    fn take_head(&self) {
        let mut parts = self.parts.write();
        for (stream, entry) in self.registry.read().entries() {
            let mut open = entry.open.lock();
            if open.is_empty() {
                continue;
            }
            let open = std::mem::take(&mut *open);
            parts.flushing.push(Arc::new(Flushing {
                stream,
                lines: open.lines,
                sealed: open.sealed,
            }));
        }
        self.oldest.store(0, Ordering::Relaxed);
    }

    fn write_head(&self, flushing: &[Arc<Flushing>], log: u64) -> io::Result<(Segment, u64)> {
        let mut writer = self.new_segment()?;
        let number = writer.1;
        let mut lines = 0;
        let mut by_stream: Vec<&Arc<Flushing>> = flushing.iter().collect();
        by_stream.sort_by_key(|one| one.stream);
        for one in by_stream {
            let Some(labels) = self.labels_of(one.stream) else {
                continue;
            };
            for sealed in &one.sealed {
                lines += u64::from(sealed.rows);
                writer.0.add(&labels, sealed)?;
            }
            if one.lines.len() > 0 {
                lines += one.lines.len() as u64;
                writer.0.add(&labels, &one.lines.encode())?;
            }
        }
        writer.0.finish(log, &[])?;
        Ok((self.open_segment(number)?, lines))
    }

    pub(super) fn labels_of(&self, stream: u32) -> Option<Labels> {
        let registry = self.registry.read();
        registry.entry(stream).map(|entry| entry.labels.clone())
    }

    fn new_segment(&self) -> io::Result<(Writer, u64)> {
        let number = self.next_segment.fetch_add(1, Ordering::Relaxed);
        Ok((Writer::new(&self.dir, number)?, number))
    }

    fn open_segment(&self, number: u64) -> io::Result<Segment> {
        let mut registry = self.registry.write();
        Segment::open(&self.dir, number, None, |labels| registry.intern(labels))
    }

    fn execute_deletions(&self, done: &mut Maintained) -> Result<(), StoreError> {
        if self.rests() {
            return Ok(());
        }
        let deletions = self.deletions.read().clone();
        let segments = self.parts.read().segments.clone();
        for segment in segments {
            let touched = segment.blocks.iter().any(|meta| {
                self.labels_of(meta.stream).is_some_and(|labels| {
                    let mut active = deletions.iter();
                    active.any(|one| one.touches(&labels, meta.first, meta.last))
                })
            });
            if touched {
                self.rewrite(&[segment], Some(Reason::Deleted), done)?;
            }
        }
        let mut all = self.deletions.write();
        let finished = |active: &Arc<Active>| {
            let mine = deletions
                .iter()
                .any(|one| one.deletion.id == active.deletion.id);
            if !mine || active.deletion.done {
                return Ok(Arc::clone(active));
            }
            Active::new(Deletion {
                done: true,
                ..active.deletion.clone()
            })
            .map(Arc::new)
        };
        let next = all.iter().map(finished).collect::<Result<Vec<_>, _>>()?;
        self.keep_deletions(&next).map_err(StoreError::Write)?;
        *all = next;
        Ok(())
    }

    /// Makes one of several small segments that follow each other.
    fn merge(&self, done: &mut Maintained) -> Result<(), StoreError> {
        let mut small: Vec<Arc<Segment>> = self.parts.read().segments.clone();
        let unreadable = self.unreadable.lock().clone();
        small.retain(|one| one.bytes < SMALL && !unreadable.contains(&one.number));
        small.sort_by_key(|segment| segment.times.0);
        if small.len() < FAN_IN || self.rests() {
            return Ok(());
        }
        small.truncate(FAN_IN);
        if !self.room.fits(small.iter().map(|one| one.bytes).sum()) {
            return Ok(());
        }
        if self.rewrite(&small, None, done)? {
            done.merged += 1;
        }
        Ok(())
    }

    /// Replaces segments by one without what is deleted or kept no longer, and counts what that
    /// frees where there is a reason for it. False where one of them cannot be read: it is named in
    /// the server's log and left as it is from then on.
    pub(super) fn rewrite(
        &self,
        old: &[Arc<Segment>],
        reason: Option<Reason>,
        done: &mut Maintained,
    ) -> Result<bool, StoreError> {
        let _writing = self.writing.lock();
        let deletions = self.deletions.read().clone();
        let (mut writer, number) = self.new_segment().map_err(StoreError::Write)?;
        let mut by_stream: BTreeMap<u32, Vec<(usize, usize)>> = BTreeMap::new();
        for (at, segment) in old.iter().enumerate() {
            for (place, meta) in segment.blocks.iter().enumerate() {
                by_stream.entry(meta.stream).or_default().push((at, place));
            }
        }
        let most = block::FULL * self.options.block_bytes;
        for (stream, mut places) in by_stream {
            let Some(labels) = self.labels_of(stream) else {
                continue;
            };
            let cut = self.cut(&labels);
            places.retain(|(at, place)| old[*at].blocks[*place].last >= cut);
            places.sort_by_key(|(at, place)| old[*at].blocks[*place].first);
            let mut group: Vec<Decoded> = Vec::new();
            let (mut raw, mut rows) = (0, 0);
            for (at, place) in places {
                let meta = &old[at].blocks[place];
                let full = raw + meta.raw > self.options.block_bytes as u64
                    || rows + meta.rows as usize > block::MAX_ROWS;
                if full && !group.is_empty() {
                    add_group(&mut writer, &labels, &group, &deletions, cut, most)?;
                    group.clear();
                    (raw, rows) = (0, 0);
                }
                match self.piece(&old[at], meta, &labels, &deletions, cut) {
                    Ok(Piece::Lines(block)) => {
                        raw += meta.raw;
                        rows += meta.rows as usize;
                        group.push(block);
                    }
                    Ok(Piece::AsItIs(bytes, filter)) => {
                        add_group(&mut writer, &labels, &group, &deletions, cut, most)?;
                        group.clear();
                        (raw, rows) = (0, 0);
                        let copied = writer.copy(&labels, meta, &bytes, filter);
                        copied.map_err(StoreError::Write)?;
                    }
                    Err(error) if self.is_out_of_reach(&old[at]) => {
                        writer.abandon().map_err(StoreError::Write)?;
                        return Err(StoreError::Read(error));
                    }
                    Err(error) => {
                        let segment = old[at].data().name();
                        tracing::error!(segment, %error, "a segment of lines is left as it is");
                        self.unreadable.lock().insert(old[at].number);
                        writer.abandon().map_err(StoreError::Write)?;
                        return Ok(false);
                    }
                }
            }
            add_group(&mut writer, &labels, &group, &deletions, cut, most)?;
        }
        let numbers: Vec<u64> = old.iter().map(|segment| segment.number).collect();
        let log = old.iter().map(|segment| segment.log).max().unwrap_or(1);
        let newest_log = self.parts.read().segments.iter().map(|one| one.log).max();
        let replacement = if writer.is_empty() && newest_log != Some(log) {
            writer.abandon().map_err(StoreError::Write)?;
            None
        } else {
            writer.finish(log, &numbers).map_err(StoreError::Write)?;
            Some(self.open_segment(number).map_err(StoreError::Read)?)
        };
        let gone: BTreeSet<u64> = numbers.into_iter().collect();
        let before: u64 = old.iter().map(|segment| segment.bytes).sum();
        let after = replacement.as_ref().map_or(0, |segment| segment.bytes);
        {
            let mut parts = self.parts.write();
            parts
                .segments
                .retain(|segment| !gone.contains(&segment.number));
            parts.segments.extend(replacement.map(Arc::new));
        }
        for segment in old {
            remove(&segment.path).map_err(StoreError::Write)?;
        }
        self.changed();
        done.freed_bytes += before.saturating_sub(after);
        if let Some(reason) = reason {
            self.freed.add(reason, before as i64 - after as i64);
        }
        Ok(true)
    }
}

/// A block that goes into another segment.
enum Piece {
    /// Its bytes and those of its filter.
    AsItIs(Vec<u8>, Vec<u8>),
    Lines(Decoded),
}

impl LogStore {
    /// Reads a block; it is taken apart where something of it goes, or where it is so small that it
    /// should become part of another.
    fn piece(
        &self,
        segment: &Segment,
        meta: &Meta,
        labels: &Labels,
        deletions: &[Arc<Active>],
        cut: i64,
    ) -> io::Result<Piece> {
        let bytes = segment.bytes_of(meta)?;
        let whole = meta.first >= cut
            && !deletions
                .iter()
                .any(|one| one.touches(labels, meta.first, meta.last));
        let large = meta.raw >= self.options.block_bytes as u64 / 4;
        if whole && large && block::is_current(&bytes) {
            let filter = segment.filter_of(meta)?;
            return Ok(Piece::AsItIs(bytes, filter));
        }
        let block = block::decode(&bytes);
        block
            .map(Piece::Lines)
            .ok_or_else(|| damaged("a block cannot be read"))
    }
}

/// Writes blocks of a stream as one block without what is deleted, or older than `cut`; as several
/// where they would unpack to more than `most` bytes.
fn add_group(
    writer: &mut Writer,
    labels: &Labels,
    group: &[Decoded],
    deletions: &[Arc<Active>],
    cut: i64,
    most: usize,
) -> Result<(), StoreError> {
    let touching: Vec<&Arc<Active>> = deletions
        .iter()
        .filter(|active| active.touches(labels, i64::MIN, i64::MAX))
        .collect();
    let mut owned = Vec::new();
    for block in group {
        for at in block.times.partition_point(|at| *at < cut)..block.len() {
            let mut metadata = Vec::new();
            block.metadata(at, &mut metadata);
            let row = Row {
                at: block.times[at],
                line: block.line(at),
                metadata: &metadata,
            };
            if touching.iter().any(|active| active.forgets(labels, &row)) {
                continue;
            }
            let own: Vec<(String, String)> = metadata
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            owned.push((block.times[at], block.line(at), own));
        }
    }
    if owned.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<block::Line<'_>> = owned
        .iter()
        .map(|(at, text, metadata)| block::Line {
            at: *at,
            text,
            metadata,
        })
        .collect();
    let mut rest = lines.as_mut_slice();
    while !rest.is_empty() {
        let mut weight = 0;
        let fits = |line: &&block::Line<'_>| {
            weight += line.weight();
            weight <= most
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (now, later) = rest.split_at_mut(count.min(block::MAX_ROWS));
        let block = block::encode(now);
        writer.add(labels, &block).map_err(StoreError::Write)?;
        rest = later;
    }
    Ok(())
}

impl Flushing {
    /// Bytes in memory, counted as the head counts them.
    fn bytes(&self) -> i64 {
        let sealed = self.sealed.iter();
        let sealed: usize = sealed.map(|one| one.bytes.len() + one.bloom.len()).sum();
        (self.lines.bytes() + sealed) as i64
    }
}
