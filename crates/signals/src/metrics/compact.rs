//! Making few large segments of many small ones, and leaving out what is deleted or kept no longer.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use towpath_query::promql::{Labels, Matcher};

use super::chunk::Found;
use super::downsample::{self, Copies};
use super::manifest::{Listed, Tombstone};
use super::retention::Cuts;
use super::segment::{Part, Segment, Writer, labels};
use super::select::told;
use super::store::Store;
use super::upkeep::{Upkeep, UpkeepError, segment_path, step, sync_dir};
use crate::freed::Reason;
use crate::segment::{SegmentError, remove};
use crate::{Delete, WriteError, matching};

pub(crate) const DAY: i64 = 86_400_000;
/// How long the segments of each level are, in milliseconds; those of the first are the head's.
const LEVELS: [i64; 2] = [DAY, 7 * DAY];

/// Whether a series lies under a tombstone.
pub(crate) fn covers(stone: &Tombstone, labels: &Labels) -> bool {
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
                let of = |listed: &&Listed| group.contains(&listed.number);
                let joined = upkeep.manifest.segments.iter().filter(of);
                if !self.has_room(joined.map(|listed| listed.bytes).sum()) {
                    return Ok(());
                }
                self.rewrite(upkeep, &group, level, None)?;
            }
        }
        Ok(())
    }

    /// Segments that are left as they are.
    pub(crate) fn unreadable(&self, upkeep: &Upkeep) -> BTreeSet<u64> {
        let mut out = upkeep.unreadable.clone();
        out.extend(self.view().broken.iter().map(|one| one.number));
        out
    }

    /// Writes segments anew as one, without what is deleted or kept no longer; tells the bytes
    /// freed, and counts them where there is a reason for it.
    pub(crate) fn rewrite(
        &self,
        upkeep: &mut Upkeep,
        group: &[u64],
        level: u8,
        reason: Option<Reason>,
    ) -> Result<i64, UpkeepError> {
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
        let end = open.iter().map(|segment| segment.end).max().unwrap_or(0);
        let thin = self.thin(end);
        let stones = &upkeep.manifest.tombstones;
        let with_copies = level > 0 || thin > 0;
        let cuts = |labels: &Labels| self.cuts(labels, end);
        let merged = match merge(&open, &path, stones, with_copies, cuts) {
            Ok(merged) => merged,
            Err(UpkeepError::Segment(error)) => {
                if self.is_out_of_reach(&open) {
                    fs::remove_file(&path)?;
                    return Err(error.into());
                }
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
                thin,
            });
            manifest.segments.sort_by_key(|listed| listed.min);
        } else {
            fs::remove_file(&path)?;
        }
        drop(open);
        self.publish(upkeep, manifest)?;
        for listed in old {
            remove(&segment_path(&self.dir, listed.number))?;
            step();
        }
        let freed = before as i64 - after as i64;
        if let Some(reason) = reason {
            self.freed.add(reason, freed);
        }
        Ok(freed)
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

    /// Frees what deleted samples take in segments; tells how many bytes. Upkeep does it too.
    ///
    /// # Errors
    /// The disk fails, or a segment cannot be read.
    pub fn clean(&self) -> Result<u64, UpkeepError> {
        let mut upkeep = self.upkeep.lock();
        self.free_deleted(&mut upkeep)
    }

    pub(crate) fn free_deleted(&self, upkeep: &mut Upkeep) -> Result<u64, UpkeepError> {
        let stones = upkeep.manifest.tombstones.clone();
        if stones.is_empty() {
            return Ok(0);
        }
        let mut freed = 0;
        let left = self.unreadable(upkeep);
        for listed in upkeep.manifest.segments.clone() {
            if !left.contains(&listed.number) && self.has_deleted(&listed, &stones)? {
                let reason = Some(Reason::Deleted);
                freed += self.rewrite(upkeep, &[listed.number], listed.level, reason)?;
            }
        }
        // Those that reach into the head are needed until its samples are in a segment.
        let mut manifest = upkeep.manifest.clone();
        let flushed = manifest.flushed;
        if self.unreadable(upkeep).is_empty() {
            manifest.tombstones.retain(|stone| stone.end >= flushed);
        }
        if manifest.tombstones.len() < stones.len() {
            self.publish(upkeep, manifest)?;
        }
        Ok(u64::try_from(freed).unwrap_or(0))
    }

    /// Whether a segment has samples of which some may be deleted.
    fn has_deleted(&self, listed: &Listed, stones: &[Tombstone]) -> Result<bool, SegmentError> {
        let view = self.view();
        let Some(segment) = view.segments.iter().find(|s| s.number == listed.number) else {
            return Ok(false);
        };
        let within = |stone: &&Tombstone| stone.start < listed.end && stone.end >= listed.min;
        for stone in stones.iter().filter(within) {
            for id in matching::select(&segment.file, &stone.matchers)? {
                let (_, parts) = segment.series(id)?;
                let inside = |part: &Part| part.min <= stone.end && part.max >= stone.start;
                if parts.iter().any(inside) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
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
        let may = |listed: &&Listed| {
            listed.level < level && listed.thin == 0 && !left.contains(&listed.number)
        };
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
    with_copies: bool,
    cuts: impl Fn(&Labels) -> Cuts,
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
        let mut old = Copies::default();
        for (segment, (at, now)) in from.iter().zip(&mut next) {
            if let Some((own, parts)) = now
                && *own == key
            {
                segment.read(parts, i64::MIN, i64::MAX, true, &mut found)?;
                if !parts.iter().any(Part::is_plain) {
                    for (level, old) in old.iter_mut().enumerate() {
                        *old = segment.buckets(parts, level)?;
                    }
                }
                *at += 1;
                *now = entry(segment, *at)?;
            }
        }
        let labels = labels(&key).unwrap_or_default();
        bury(&mut found, &labels, stones);
        let mut made = match with_copies && !found.floats.is_empty() {
            true => downsample::copies(&found.floats),
            false => old,
        };
        for stone in stones.iter().filter(|stone| covers(stone, &labels)) {
            let kept = |time: i64| time < stone.start || time > stone.end;
            made.iter_mut().flatten().for_each(|one| one.retain(kept));
        }
        cut(&mut found, &mut made, cuts(&labels));
        writer.add(key, labels, &found, &made)?;
    }
    let (bytes, summary) = writer.finish()?;
    Ok((summary.samples > 0).then_some((bytes, summary)))
}

/// Takes away what is kept no longer.
fn cut(found: &mut Found, made: &mut Copies, cuts: Cuts) {
    // Samples stay in the place of copies that were not worth making.
    let mut samples = cuts.samples;
    for (made, cut) in made.iter_mut().zip(cuts.copies) {
        match made {
            None => samples = samples.min(cut),
            Some(copies) => copies.retain(|time| time >= cut),
        }
        if made.as_ref().is_some_and(|copies| copies.len() == 0) {
            *made = None;
        }
    }
    if found
        .floats
        .times
        .first()
        .is_some_and(|first| *first < samples)
    {
        let kept = found.floats.iter().filter(|(time, _)| *time >= samples);
        (found.floats.times, found.floats.values) = kept.unzip();
    }
    // There are no copies of histograms.
    let all = cuts.copies.into_iter().fold(cuts.samples, i64::min);
    found.histograms.retain(|(time, _)| *time >= all);
}

type Entry = (Vec<u8>, Vec<super::segment::Part>);

fn entry(segment: &Segment, at: u32) -> Result<Option<Entry>, UpkeepError> {
    match at < segment.file.len() {
        true => Ok(Some(segment.series(at)?)),
        false => Ok(None),
    }
}
