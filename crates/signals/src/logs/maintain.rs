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
use super::segment::{Segment, Writer};
use super::store::{Flushing, LogStore, StoreError, millis, nanos};

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
        let mut done = Maintained::default();
        let now = millis(self.clock.as_ref());
        let oldest = self.oldest.load(Ordering::Relaxed);
        let aged = oldest != 0 && now - oldest >= nanos(self.options.flush_after) / 1_000_000;
        let head = self.head_bytes.load(Ordering::Relaxed).max(0) as u64;
        let deleting = self.deletions().iter().any(|one| !one.done);
        let left = !self.parts.read().flushing.is_empty();
        if aged || deleting || left || head > self.options.head_bytes {
            done.flushed_lines = self.flush()?;
        }
        self.expire(&mut done)?;
        if deleting {
            self.execute_deletions(&mut done)?;
        }
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
        {
            let mut parts = self.parts.write();
            parts.flushing.clear();
            parts.segments.push(Arc::new(segment));
        }
        self.head_bytes.fetch_sub(gone, Ordering::Relaxed);
        crate::wal::remove_before(&self.dir.join("wal"), log).map_err(StoreError::Write)?;
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

    fn labels_of(&self, stream: u32) -> Option<Labels> {
        let registry = self.registry.read();
        registry.entry(stream).map(|entry| entry.labels.clone())
    }

    fn new_segment(&self) -> io::Result<(Writer, u64)> {
        let number = self.next_segment.fetch_add(1, Ordering::Relaxed);
        Ok((Writer::new(&self.dir, number)?, number))
    }

    fn open_segment(&self, number: u64) -> io::Result<Segment> {
        let mut registry = self.registry.write();
        Segment::open(&self.dir, number, |labels| registry.intern(labels))
    }

    /// Removes segments that are too old, and the oldest while there are too many bytes.
    fn expire(&self, done: &mut Maintained) -> Result<(), StoreError> {
        let now = self.clock.since_epoch().as_nanos() as i64;
        let kept = nanos(self.options.retention);
        let mut parts = self.parts.write();
        let mut total: u64 = parts.segments.iter().map(|one| one.bytes).sum();
        let mut order: Vec<Arc<Segment>> = parts.segments.clone();
        order.sort_by_key(|one| one.times.1);
        let limit = self.options.max_disk_bytes;
        let newest_log = parts.segments.iter().map(|one| one.log).max().unwrap_or(0);
        for segment in order {
            let old = kept > 0 && segment.times.1 < now.saturating_sub(kept);
            let much = limit > 0 && total > limit;
            // The one that tells where the log begins stays: what it has would come back.
            if !(old || much) || segment.log == newest_log {
                continue;
            }
            std::fs::remove_file(&segment.path).map_err(StoreError::Write)?;
            parts.segments.retain(|one| one.number != segment.number);
            total -= segment.bytes;
            done.removed += 1;
            done.freed_bytes += segment.bytes;
        }
        Ok(())
    }

    fn execute_deletions(&self, done: &mut Maintained) -> Result<(), StoreError> {
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
                self.rewrite(&[segment], done)?;
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
        small.retain(|segment| segment.bytes < SMALL);
        small.sort_by_key(|segment| segment.times.0);
        if small.len() < FAN_IN {
            return Ok(());
        }
        small.truncate(FAN_IN);
        self.rewrite(&small, done)?;
        done.merged += 1;
        Ok(())
    }

    /// Replaces segments by one without what is deleted.
    fn rewrite(&self, old: &[Arc<Segment>], done: &mut Maintained) -> Result<(), StoreError> {
        let _writing = self.writing.lock();
        let deletions = self.deletions.read().clone();
        let (mut writer, number) = self.new_segment().map_err(StoreError::Write)?;
        let mut by_stream: BTreeMap<u32, Vec<(usize, usize)>> = BTreeMap::new();
        for (at, segment) in old.iter().enumerate() {
            for (place, meta) in segment.blocks.iter().enumerate() {
                by_stream.entry(meta.stream).or_default().push((at, place));
            }
        }
        for (stream, mut places) in by_stream {
            let Some(labels) = self.labels_of(stream) else {
                continue;
            };
            places.sort_by_key(|(at, place)| old[*at].blocks[*place].first);
            let mut group: Vec<Decoded> = Vec::new();
            let mut raw = 0;
            for (at, place) in places {
                let meta = &old[at].blocks[place];
                if raw + meta.raw > self.options.block_bytes as u64 && !group.is_empty() {
                    add_group(&mut writer, &labels, &group, &deletions)?;
                    group.clear();
                    raw = 0;
                }
                raw += meta.raw;
                group.push(old[at].read(meta).map_err(StoreError::Read)?);
            }
            add_group(&mut writer, &labels, &group, &deletions)?;
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
            std::fs::remove_file(&segment.path).map_err(StoreError::Write)?;
        }
        done.freed_bytes += before.saturating_sub(after);
        Ok(())
    }
}

/// Writes blocks of a stream as one block without what is deleted.
fn add_group(
    writer: &mut Writer,
    labels: &Labels,
    group: &[Decoded],
    deletions: &[Arc<Active>],
) -> Result<(), StoreError> {
    let touching: Vec<&Arc<Active>> = deletions
        .iter()
        .filter(|active| active.touches(labels, i64::MIN, i64::MAX))
        .collect();
    let mut owned = Vec::new();
    for block in group {
        for at in 0..block.len() {
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
    let block = block::encode(&mut lines);
    writer.add(labels, &block).map_err(StoreError::Write)
}

impl Flushing {
    /// Bytes in memory, counted as the head counts them.
    fn bytes(&self) -> i64 {
        let sealed = self.sealed.iter();
        let sealed: usize = sealed.map(|one| one.bytes.len() + one.bloom.len()).sum();
        (self.lines.bytes() + sealed) as i64
    }
}
