//! Reading a series, from samples or from copies.

use towpath_query::promql::{Downsampled, Samples, stale};

use super::RESOLUTIONS;
use super::buckets::{Buckets, Counter};
use super::plan::{Choice, Plan, Take};
use crate::metrics::chunk::Found;
use crate::metrics::column::Wanted;
use crate::metrics::compact::covers;
use crate::metrics::manifest::Tombstone;
use crate::metrics::segment::{Part, Segment, Walk};
use crate::segment::SegmentError;

/// One series that is read from place to place.
pub(crate) struct Reading<'p> {
    plan: &'p Plan,
    /// For how many samples each one that was read stands, once there are copies among them.
    counts: Vec<u32>,
    used: Option<Downsampled>,
}

impl<'p> Reading<'p> {
    pub(crate) fn new(plan: &'p Plan) -> Self {
        Self {
            plan,
            counts: Vec::new(),
            used: None,
        }
    }

    /// Adds what a segment has of the series that was found in it. Where something is deleted
    /// samples are read.
    pub(crate) fn read(
        &mut self,
        segment: &Segment,
        walk: &mut Walk,
        deleted: bool,
        out: &mut Found,
    ) -> Result<(), SegmentError> {
        let (start, end) = (self.plan.start, self.plan.end);
        let plain = walk.parts.iter().any(Part::is_plain);
        let mixed = plain && walk.parts.iter().any(Part::is_histogram);
        let choices = match plain && (deleted || mixed) {
            true => &[],
            false => &self.plan.choices[..],
        };
        for choice in choices {
            if let Some(take) = self.plan.take
                && let Some(found) = segment.buckets(&walk.parts, choice.level)?
                && (take != Take::Counter || found.counter.is_some())
            {
                // Those beside it are histograms.
                walk.parts.retain(Part::is_histogram);
                segment.read_at(walk, self.plan.wanted(), out)?;
                self.add(&found, take, *choice, (start, end), out);
                return Ok(());
            }
        }
        let wanted = match deleted {
            // What is newest is told only when what is deleted is gone.
            true => Wanted::all(start, end),
            false => self.plan.wanted(),
        };
        segment.read_at(walk, wanted, out)?;
        if !plain {
            self.read_what_is_left(segment, &walk.parts, out)?;
        }
        Ok(())
    }

    /// The samples are gone: the finest copies stand for them.
    fn read_what_is_left(
        &mut self,
        segment: &Segment,
        parts: &[Part],
        out: &mut Found,
    ) -> Result<(), SegmentError> {
        let (start, end) = (self.plan.start, self.plan.end);
        for level in 0..RESOLUTIONS.len() {
            let Some(found) = segment.buckets(parts, level)? else {
                continue;
            };
            let choice = Choice {
                level,
                cut: !self.plan.whole(level),
            };
            let take = match self.plan.take {
                Some(Take::Counter) if found.counter.is_none() => None,
                take => take,
            };
            if self.plan.instant && choice.cut && self.plan.step > 0 {
                self.spread(&found, choice, (start, end.min(segment.end)), out);
            } else {
                let take = take.unwrap_or(Take::Last);
                self.add(&found, take, choice, (start, end), out);
            }
            if let Some(used) = &mut self.used {
                used.lossy |= take.is_none() && !self.plan.instant;
            }
            return Ok(());
        }
        Ok(())
    }

    fn uses(&mut self, choice: Choice, before: usize) {
        let used = self.used.get_or_insert_with(Downsampled::default);
        used.resolution_ms = used.resolution_ms.max(RESOLUTIONS[choice.level]);
        used.cut |= choice.cut;
        self.counts.resize(before, 1);
    }

    /// Adds intervals whose last sample lies from `start` to `end`.
    fn add(
        &mut self,
        found: &Buckets,
        take: Take,
        choice: Choice,
        (start, end): (i64, i64),
        out: &mut Found,
    ) {
        self.uses(choice, out.floats.len());
        let counts = &mut self.counts;
        let mut push = |samples: &mut Samples, time: i64, value: f64, count: u32| {
            samples.push(time, value);
            counts.push(count);
        };
        let samples = &mut out.floats;
        let values = match take {
            Take::Last | Take::Counter => &found.last,
            Take::Sum => &found.sum,
            Take::Min => &found.min,
            Take::Max => &found.max,
        };
        let mut ended = found.ended.iter().peekable();
        let mut before = f64::NEG_INFINITY;
        for (at, time) in found.times.iter().enumerate() {
            let marker = ended.next_if(|(of, _)| *of as usize == at);
            if *time < start || *time > end {
                continue;
            }
            let count = found.counts[at];
            if count == 0 {
                if self.plan.instant {
                    push(samples, *time, stale(), 0);
                }
                continue;
            }
            let mut rest = count;
            if let (Take::Counter, Some(counter)) = (take, &found.counter) {
                let from = counter.first_at[at];
                for (value, counted) in extras(counter, at, choice.cut, before) {
                    if from >= start && from < *time {
                        push(samples, from, value, counted);
                        rest -= counted;
                    }
                }
                before = found.last[at];
            }
            push(samples, *time, values[at], rest);
            if let Some((_, time)) = marker
                && self.plan.instant
                && *time <= end
            {
                push(samples, *time, stale(), 0);
            }
        }
    }

    /// Adds at every time of evaluation the last sample of the interval that ended before it.
    fn spread(
        &mut self,
        found: &Buckets,
        choice: Choice,
        (start, end): (i64, i64),
        out: &mut Found,
    ) {
        self.uses(choice, out.floats.len());
        // The evaluation at one time only has a step of 1.
        let step = match self.plan.step {
            1 => i64::MAX,
            step => step,
        };
        let old = 2 * RESOLUTIONS[choice.level];
        let Some(first) = found.times.first().map(|first| start.max(first - old / 2)) else {
            return;
        };
        let back = self.plan.end.saturating_sub(first).div_euclid(step);
        let mut time = self.plan.end.saturating_sub(back.saturating_mul(step));
        let mut ended = found.ended.iter().peekable();
        while time <= end {
            let at = found
                .times
                .partition_point(|own| *own <= time)
                .saturating_sub(1);
            while ended.next_if(|(of, _)| (*of as usize) < at).is_some() {}
            let gone = ended
                .peek()
                .is_some_and(|(of, when)| *of as usize == at && *when <= time);
            let fresh = time.saturating_sub(found.times[at]) < old;
            let newer = out.floats.times.last().is_none_or(|last| *last < time);
            if fresh && newer {
                let there = found.counts[at] > 0 && !gone;
                out.floats
                    .push(time, if there { found.last[at] } else { stale() });
                self.counts.push(1);
            }
            time = time.saturating_add(step);
        }
    }

    /// Takes away what is deleted, and says what was read.
    pub(crate) fn finish(
        mut self,
        found: &mut Found,
        labels: &towpath_query::promql::Labels,
        stones: &[Tombstone],
    ) -> Option<Box<Downsampled>> {
        let mut used = self.used.take()?;
        self.counts.resize(found.floats.len(), 1);
        for stone in stones.iter().filter(|stone| covers(stone, labels)) {
            let mut times = found.floats.times.iter();
            let gone = |time: i64| time >= stone.start && time <= stone.end;
            self.counts
                .retain(|_| times.next().is_none_or(|time| !gone(*time)));
            let kept = found.floats.iter().filter(|(time, _)| !gone(*time));
            (found.floats.times, found.floats.values) = kept.unzip();
        }
        used.counts = self.counts;
        Some(Box::new(used))
    }
}

/// Samples before the last one of an interval, each with how many it stands for: with whole
/// intervals the first one; where there was a reset, what makes the same growth of it.
fn extras(
    counter: &Counter,
    at: usize,
    cut: bool,
    before: f64,
) -> impl Iterator<Item = (f64, u32)> {
    let first = counter.first[at];
    // In an interval that is cut, the first one tells only of a reset between this one and the last.
    let first = (!cut || first < before).then_some((first, u32::from(!cut)));
    let reset = counter
        .resets
        .binary_search_by_key(&(at as u32), |(of, _, _)| *of)
        .ok()
        .map(|place| counter.resets[place]);
    let reset = reset.map(|(_, peaks, low)| [(peaks, 0), (low, 0)]);
    first.into_iter().chain(reset.into_iter().flatten())
}
