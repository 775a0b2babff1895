//! How long what is kept: segments as a whole, and within them by series.
//!
//! A segment goes when nothing in it is kept any longer, or when there is too much. Before that
//! samples go and their downsampled copies stay, if these are kept longer, and what rules say of
//! some series is done by whole days (UTC). Each of these writes a segment anew, at most once a day.

use std::collections::BTreeSet;

use towpath_query::promql::Labels;

use super::compact::DAY;
use super::manifest::Listed;
use super::store::Store;
use super::upkeep::{Upkeep, UpkeepError, segment_path};
use crate::freed::Reason;
use crate::matching;
use crate::segment::{SegmentError, remove};

/// What of a series in a segment is older than this is kept no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cuts {
    pub(crate) samples: i64,
    pub(crate) copies: [i64; 2],
}

/// A segment in which nothing is kept of series without a rule.
const EMPTY: u8 = 3;

impl Store {
    /// How long samples and the copies of them are kept.
    fn kept(&self) -> [i64; 3] {
        let samples = self.options.retention_ms;
        let [fine, coarse] = self.options.retention_copies_ms.map(|own| own.max(samples));
        [samples, fine, coarse.max(fine)]
    }

    /// What is kept no longer of a segment that ends at a time.
    pub(crate) fn thin(&self, end: i64) -> u8 {
        let now = self.head.max();
        let over = |kept: &&i64| end <= now.saturating_sub(**kept);
        self.kept().iter().take_while(over).count() as u8
    }

    /// What is kept no longer of a series in a segment that ends at a time.
    pub(crate) fn cuts(&self, labels: &Labels, end: i64) -> Cuts {
        let mut rules = self.options.rules.iter();
        let own = rules.find(|rule| rule.matchers.iter().all(|m| m.matches(labels.get(&m.name))));
        if let Some(rule) = own {
            let cut = self.cut_of(rule.keep_ms);
            return Cuts {
                samples: cut,
                copies: [cut; 2],
            };
        }
        let thin = self.thin(end);
        let cut = |least: u8| if thin >= least { i64::MAX } else { i64::MIN };
        Cuts {
            samples: cut(1),
            copies: [cut(2), cut(EMPTY)],
        }
    }

    /// The day before which what a rule says is over.
    fn cut_of(&self, keep_ms: i64) -> i64 {
        let oldest = self.head.max().saturating_sub(keep_ms);
        oldest.div_euclid(DAY).saturating_mul(DAY)
    }

    /// Whether segments of so many bytes can be written anew.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let fits = self.room.fits(bytes);
        if !fits {
            tracing::warn!(
                bytes,
                "no room on the disk to write segments of metrics anew"
            );
        }
        fits
    }

    /// Drops segments that are too old or too much.
    pub(crate) fn retain(&self, upkeep: &mut Upkeep) -> Result<(), UpkeepError> {
        let rules = self.options.rules.iter().map(|rule| rule.keep_ms);
        let longest = rules.chain(self.kept()).max().unwrap_or(i64::MAX);
        let oldest = self.head.max().saturating_sub(longest);
        let mut manifest = upkeep.manifest.clone();
        let limit = match self.options.retention_bytes {
            0 => u64::MAX,
            limit => limit,
        };
        // What is in a bucket can leave the disk at any time.
        let counts = |listed: &Listed| !self.depot.as_ref().is_some_and(|d| d.has(listed.number));
        let counted = manifest.segments.iter().filter(|listed| counts(listed));
        let mut total: u64 = counted.map(|listed| listed.bytes).sum();
        let mut gone = Vec::new();
        manifest.segments.retain(|listed| {
            let reason = match listed.end > oldest {
                false => Reason::Retention,
                true if total > limit && counts(listed) => Reason::Size,
                true => return true,
            };
            if counts(listed) {
                total -= listed.bytes;
            }
            gone.push((listed.clone(), reason));
            false
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
        for (listed, reason) in &gone {
            remove(&segment_path(&self.dir, listed.number))?;
            self.freed.add(*reason, listed.bytes as i64);
            tracing::info!(
                segment = listed.number,
                bytes = listed.bytes,
                ?reason,
                "dropped metrics that were kept long enough"
            );
        }
        Ok(())
    }

    /// Writes segments anew in which something is kept no longer.
    pub(crate) fn trim(&self, upkeep: &mut Upkeep) -> Result<(), UpkeepError> {
        let numbers: BTreeSet<u64> = upkeep.manifest.segments.iter().map(|s| s.number).collect();
        upkeep.trimmed.retain(|number, _| numbers.contains(number));
        let left = self.unreadable(upkeep);
        let today = self.cut_of(0);
        for listed in upkeep.manifest.segments.clone() {
            if left.contains(&listed.number) {
                continue;
            }
            let due = self.thin(listed.end) > listed.thin || {
                let looked = upkeep.trimmed.insert(listed.number, today);
                looked.is_none_or(|before| before < today) && self.has_expired(&listed)?
            };
            if due && self.has_room(listed.bytes) {
                self.rewrite(
                    upkeep,
                    &[listed.number],
                    listed.level,
                    Some(Reason::Retention),
                )?;
            }
        }
        Ok(())
    }

    /// Whether a segment has something that a rule does not keep any longer.
    fn has_expired(&self, listed: &Listed) -> Result<bool, SegmentError> {
        let view = self.view();
        let Some(segment) = view.segments.iter().find(|s| s.number == listed.number) else {
            return Ok(false);
        };
        let mut known = BTreeSet::new();
        for rule in &self.options.rules {
            let cut = self.cut_of(rule.keep_ms);
            let found = matching::select(&segment.file, &rule.matchers)?;
            for id in found {
                // The first rule that fits counts.
                if !known.insert(id) || listed.min >= cut {
                    continue;
                }
                let (_, parts) = segment.series(id)?;
                if parts.iter().any(|part| part.min < cut) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
