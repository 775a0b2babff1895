//! Making few large segments of many small ones, and dropping what is too old or deleted.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use towpath_query::promql::{Labels, Matcher};

use super::chunk::Found;
use super::manifest::{Listed, Tombstone};
use super::segment::{Segment, Writer, labels};
use super::select::told;
use super::store::Store;
use super::upkeep::{Upkeep, UpkeepError, segment_path, step, sync_dir};
use crate::{Delete, WriteError};

const DAY: i64 = 86_400_000;
/// How long the segments of each level are, in milliseconds; those of the first are the head's.
const LEVELS: [i64; 2] = [DAY, 7 * DAY];

/// Whether a series lies under a tombstone.
fn covers(stone: &Tombstone, labels: &Labels) -> bool {
    stone
        .matchers
        .iter()
        .all(|matcher| matcher.matches(labels.get(&matcher.name)))
}

/// Takes away what is deleted.
pub(crate) fn bury(found: &mut Found, labels: &Labels, stones: &[Tombstone]) {
    for stone in stones.iter().filter(|stone| covers(stone, labels)) {
        let gone = |time: i64| time >= stone.start && time <= stone.end;
        found.histograms.retain(|(time, _)| !gone(*time));
        let kept: Vec<(i64, f64)> = found.floats.iter().filter(|(t, _)| !gone(*t)).collect();
        (found.floats.times, found.floats.values) = kept.into_iter().unzip();
    }
}

impl Store {
    /// Joins segments that together cover a day, then a week, once that is over.
    pub(crate) fn compact(&self, upkeep: &mut Upkeep) -> Result<(), UpkeepError> {
        for (level, length) in (1u8..).zip(LEVELS) {
            loop {
                let left = self.unreadable(upkeep);
                let Some(group) = joinable(&upkeep.manifest.segments, level, length, &left) else {
                    break;
                };
                self.rewrite(upkeep, &group, level)?;
            }
        }
        Ok(())
    }

    /// Segments that are left as they are.
    fn unreadable(&self, upkeep: &Upkeep) -> BTreeSet<u64> {
        let mut out = upkeep.unreadable.clone();
        out.extend(self.view().broken.iter().map(|one| one.number));
        out
    }

    /// Writes segments anew as one, without what is deleted; tells the bytes freed.
    fn rewrite(&self, upkeep: &mut Upkeep, group: &[u64], level: u8) -> Result<i64, UpkeepError> {
        let view = self.view();
        let number = upkeep.manifest.next;
        let path = segment_path(&self.dir, number);
        let open: Vec<Arc<Segment>> = view
            .segments
            .iter()
            .filter(|segment| group.contains(&segment.number))
            .cloned()
            .collect();
        drop(view);
        let merged = match merge(&open, &path, &upkeep.manifest.tombstones) {
            Ok(merged) => merged,
            Err(UpkeepError::Segment(error)) => {
                tracing::error!(error = %told(&error), "segments of metrics are not joined");
                upkeep.unreadable.extend(group);
                fs::remove_file(&path)?;
                return Ok(0);
            }
            Err(other) => return Err(other),
        };
        step();
        sync_dir(&self.dir)?;
        let mut manifest = upkeep.manifest.clone();
        manifest.next += 1;
        let (old, kept): (Vec<Listed>, Vec<Listed>) = manifest
            .segments
            .into_iter()
            .partition(|listed| group.contains(&listed.number));
        manifest.segments = kept;
        let before: u64 = old.iter().map(|listed| listed.bytes).sum();
        let mut after = 0;
        if let (Some((bytes, summary)), Some(end)) =
            (merged, old.iter().map(|listed| listed.end).max())
        {
            after = bytes;
            manifest.segments.push(Listed {
                number,
                min: summary.min,
                end,
                level,
                bytes,
            });
            manifest.segments.sort_by_key(|listed| listed.min);
        } else {
            fs::remove_file(&path)?;
        }
        drop(open);
        self.publish(upkeep, manifest)?;
        for listed in old {
            fs::remove_file(segment_path(&self.dir, listed.number))?;
            step();
        }
        Ok(before as i64 - after as i64)
    }

    /// Drops segments that are too old or too much.
    pub(crate) fn retain(&self, upkeep: &mut Upkeep) -> Result<(), UpkeepError> {
        let oldest = self.head.max().saturating_sub(self.options.retention_ms);
        let mut manifest = upkeep.manifest.clone();
        let limit = match self.options.retention_bytes {
            0 => u64::MAX,
            limit => limit,
        };
        let mut total: u64 = manifest.segments.iter().map(|listed| listed.bytes).sum();
        let mut gone = Vec::new();
        manifest.segments.retain(|listed| {
            let keep = listed.end > oldest && total <= limit;
            if !keep {
                total -= listed.bytes;
                gone.push(listed.clone());
            }
            keep
        });
        if gone.is_empty() {
            return Ok(());
        }
        let flushed = manifest.flushed;
        let first = manifest
            .segments
            .first()
            .map_or(flushed, |listed| listed.min);
        manifest.tombstones.retain(|stone| stone.end >= first);
        self.publish(upkeep, manifest)?;
        for listed in &gone {
            fs::remove_file(segment_path(&self.dir, listed.number))?;
            tracing::info!(
                segment = listed.number,
                bytes = listed.bytes,
                "dropped metrics that were kept long enough"
            );
        }
        Ok(())
    }

    /// Deletes the samples of series that pass all matchers, from `start` to `end`. They are out of
    /// sight at once; [`Store::clean`] frees what they take.
    ///
    /// # Errors
    /// The disk fails.
    pub fn delete(&self, matchers: Vec<Matcher>, start: i64, end: i64) -> Result<(), UpkeepError> {
        let mut upkeep = self.upkeep.lock();
        let mut manifest = upkeep.manifest.clone();
        // What comes in later is not meant.
        let end = end.min(self.head.max());
        manifest.tombstones.push(Tombstone {
            matchers,
            start,
            end,
        });
        self.publish(&mut upkeep, manifest)
    }

    /// Frees what deleted samples take in segments; tells how many bytes.
    ///
    /// # Errors
    /// The disk fails, or a segment cannot be read.
    pub fn clean(&self) -> Result<u64, UpkeepError> {
        let mut upkeep = self.upkeep.lock();
        let stones = upkeep.manifest.tombstones.clone();
        let mut freed = 0;
        let left = self.unreadable(&upkeep);
        let touched: Vec<Listed> = upkeep
            .manifest
            .segments
            .iter()
            .filter(|listed| {
                let within =
                    |stone: &Tombstone| stone.start < listed.end && stone.end >= listed.min;
                stones.iter().any(within) && !left.contains(&listed.number)
            })
            .cloned()
            .collect();
        for listed in touched {
            freed += self.rewrite(&mut upkeep, &[listed.number], listed.level)?;
        }
        // Those that reach into the head are needed until its samples are in a segment.
        let mut manifest = upkeep.manifest.clone();
        let flushed = manifest.flushed;
        if self.unreadable(&upkeep).is_empty() {
            manifest.tombstones.retain(|stone| stone.end >= flushed);
        }
        self.publish(&mut upkeep, manifest)?;
        Ok(u64::try_from(freed).unwrap_or(0))
    }
}

impl Delete for Store {
    fn delete(&self, sets: &[Vec<Matcher>], start: i64, end: i64) -> Result<(), WriteError> {
        for set in sets {
            Self::delete(self, set.clone(), start, end).map_err(|e| lost(&e))?;
        }
        Ok(())
    }

    fn clean(&self) -> Result<u64, WriteError> {
        Self::clean(self).map_err(|e| lost(&e))
    }
}

fn lost(error: &UpkeepError) -> WriteError {
    WriteError(super::upkeep::told(error))
}

/// Segments of lower levels that lie in one interval of `length` which is over.
fn joinable(segments: &[Listed], level: u8, length: i64, left: &BTreeSet<u64>) -> Option<Vec<u64>> {
    let interval = |listed: &Listed| listed.min.div_euclid(length);
    let newest = segments.last()?;
    let mut at = 0;
    while at < segments.len() {
        let own = interval(&segments[at]);
        let same = segments[at..]
            .iter()
            .take_while(|listed| interval(listed) == own);
        let group: Vec<&Listed> = same.collect();
        at += group.len();
        let over = newest.end >= own.saturating_add(1).saturating_mul(length);
        let may = |listed: &&Listed| listed.level < level && !left.contains(&listed.number);
        let within = group.iter().all(may);
        if over && within && group.len() > 1 {
            return Some(group.iter().map(|listed| listed.number).collect());
        }
    }
    None
}

/// Joins segments into a file; none if nothing is left. The file is there in both cases.
fn merge(
    from: &[Arc<Segment>],
    path: &std::path::Path,
    stones: &[Tombstone],
) -> Result<Option<(u64, super::segment::Summary)>, UpkeepError> {
    let mut writer = Writer::create(path)?;
    let mut next: Vec<(u32, Option<Entry>)> = Vec::with_capacity(from.len());
    for segment in from {
        next.push((0, entry(segment, 0)?));
    }
    loop {
        let keys = next.iter().filter_map(|(_, entry)| entry.as_ref());
        let Some(key) = keys.map(|entry| &entry.0).min().cloned() else {
            break;
        };
        let mut found = Found::default();
        for (segment, (at, now)) in from.iter().zip(&mut next) {
            if let Some((own, parts)) = now
                && *own == key
            {
                segment.read(parts, i64::MIN, i64::MAX, true, &mut found)?;
                *at += 1;
                *now = entry(segment, *at)?;
            }
        }
        let labels = labels(&key).unwrap_or_default();
        bury(&mut found, &labels, stones);
        writer.series(key, labels, &found)?;
    }
    let (bytes, summary) = writer.finish()?;
    Ok((summary.samples > 0).then_some((bytes, summary)))
}

type Entry = (Vec<u8>, Vec<super::segment::Part>);

fn entry(segment: &Segment, at: u32) -> Result<Option<Entry>, UpkeepError> {
    match at < segment.file.len() {
        true => Ok(Some(segment.series(at)?)),
        false => Ok(None),
    }
}
