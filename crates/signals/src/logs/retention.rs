//! How long lines are kept: segments as a whole, and within them by stream.
//!
//! A segment goes when nothing in it is kept any longer, or when there is too much. One in which
//! something is kept no longer is written anew, at most once a day and by whole days (UTC).

use std::sync::Arc;

use towpath_query::promql::Labels;

use super::maintain::Maintained;
use super::options::Rule;
use super::segment::Segment;
use super::store::{LogStore, StoreError, nanos};
use crate::freed::Reason;
use crate::segment::remove;

/// A day in nanoseconds.
const DAY: i64 = 86_400_000_000_000;

impl LogStore {
    /// The rule for a stream, if there is one.
    fn rule(&self, labels: &Labels) -> Option<&Rule> {
        let mut rules = self.options.rules.iter();
        rules.find(|rule| rule.matchers.iter().all(|m| m.matches(labels.get(&m.name))))
    }

    fn before(&self, kept: i64) -> i64 {
        let now = self.clock.since_epoch().as_nanos() as i64;
        match kept {
            0 => i64::MIN,
            kept => now.saturating_sub(kept),
        }
    }

    /// Lines of a stream that are older are not taken.
    pub(super) fn oldest_taken(&self, labels: &Labels) -> i64 {
        let rule = self.rule(labels).map(|rule| rule.keep);
        self.before(nanos(rule.unwrap_or(self.options.retention)))
    }

    /// What of a stream is older than this day is kept no longer.
    pub(super) fn cut(&self, labels: &Labels) -> i64 {
        let oldest = self.oldest_taken(labels);
        oldest.div_euclid(DAY).saturating_mul(DAY)
    }

    /// Removes segments that are too old, and the oldest while there are too many bytes.
    pub(super) fn expire(&self, done: &mut Maintained) -> Result<(), StoreError> {
        let rules = self.options.rules.iter().map(|rule| nanos(rule.keep));
        let own = nanos(self.options.retention);
        let kept = match own {
            0 => 0,
            own => rules.chain([own]).max().unwrap_or(own),
        };
        let oldest = self.before(kept);
        let mut parts = self.parts.write();
        // What is in a bucket can leave the disk at any time.
        let counts = |one: &Segment| !self.depot.as_ref().is_some_and(|d| d.has(one.number));
        let counted = parts.segments.iter().filter(|one| counts(one));
        let mut total: u64 = counted.map(|one| one.bytes).sum();
        let mut order: Vec<Arc<Segment>> = parts.segments.clone();
        order.sort_by_key(|one| one.times.1);
        let limit = self.options.max_disk_bytes;
        let newest_log = parts.segments.iter().map(|one| one.log).max().unwrap_or(0);
        for segment in order {
            let reason = match segment.times.1 < oldest {
                true => Reason::Retention,
                false if limit > 0 && total > limit && counts(&segment) => Reason::Size,
                false => continue,
            };
            // The one that tells where the log begins stays: what it has would come back.
            if segment.log == newest_log {
                continue;
            }
            remove(&segment.path).map_err(StoreError::Write)?;
            parts.segments.retain(|one| one.number != segment.number);
            if counts(&segment) {
                total -= segment.bytes;
            }
            done.removed += 1;
            done.freed_bytes += segment.bytes;
            self.freed.add(reason, segment.bytes as i64);
        }
        drop(parts);
        if done.removed > 0 {
            self.changed();
        }
        Ok(())
    }

    /// Writes segments anew in which something is kept no longer.
    pub(super) fn trim(&self, done: &mut Maintained) -> Result<(), StoreError> {
        if self.rests() {
            return Ok(());
        }
        let today = self.before(1).div_euclid(DAY);
        let segments = self.parts.read().segments.clone();
        for segment in &segments {
            let looked = self.trimmed.lock().insert(segment.number, today);
            let unreadable = self.unreadable.lock().contains(&segment.number);
            if unreadable || looked == Some(today) || !self.has_expired(segment) {
                continue;
            }
            if self.room.fits(segment.bytes) {
                let done = self.rewrite(&[Arc::clone(segment)], Some(Reason::Retention), done);
                if done.is_err() {
                    self.trimmed.lock().remove(&segment.number);
                }
                done?;
            }
        }
        let there = |number: &u64| segments.iter().any(|one| one.number == *number);
        self.trimmed.lock().retain(|number, _| there(number));
        Ok(())
    }

    fn has_expired(&self, segment: &Segment) -> bool {
        let mut known: Option<(u32, i64)> = None;
        segment.blocks.iter().any(|meta| {
            let cut = match known {
                Some((stream, cut)) if stream == meta.stream => cut,
                _ => match self.labels_of(meta.stream) {
                    Some(labels) => self.cut(&labels),
                    None => i64::MIN,
                },
            };
            known = Some((meta.stream, cut));
            meta.first < cut
        })
    }
}
