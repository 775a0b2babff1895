//! What is kept of the samples of each interval.

use towpath_query::promql::{Samples, is_stale};

use crate::metrics::column::whole;

/// Intervals of a series that have samples, in order of time; all lists are of the same length.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Buckets {
    /// When the last sample was that is no marker of staleness; where there are only markers, when
    /// the last of those was.
    pub(crate) times: Vec<i64>,
    /// How many samples there are without markers.
    pub(crate) counts: Vec<u32>,
    pub(crate) last: Vec<f64>,
    pub(crate) min: Vec<f64>,
    pub(crate) max: Vec<f64>,
    pub(crate) sum: Vec<f64>,
    /// Markers behind the last sample: of which interval, and when.
    pub(crate) ended: Vec<(u32, i64)>,
    pub(crate) counter: Option<Counter>,
}

/// What tells how much a counter has grown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counter {
    /// When the first sample was, and what.
    pub(crate) first_at: Vec<i64>,
    pub(crate) first: Vec<f64>,
    /// Intervals in which the value fell: what it had reached each time it did, added up, and to
    /// what it fell the last time.
    pub(crate) resets: Vec<(u32, f64, f64)>,
}

/// Which interval a time is in.
pub(crate) fn interval(time: i64, resolution: i64) -> i64 {
    time.saturating_sub(1).div_euclid(resolution)
}

impl Buckets {
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    /// The intervals of samples.
    pub(crate) fn of(samples: &Samples, resolution: i64) -> Self {
        let mut out = Self::default();
        let mut counter = Counter::default();
        let (mut drops, mut finite) = (0usize, true);
        let mut previous = f64::NEG_INFINITY;
        let mut from = 0;
        while from < samples.len() {
            let own = interval(samples.times[from], resolution);
            let rest = &samples.times[from..];
            let to = from + rest.partition_point(|time| interval(*time, resolution) <= own);
            let times = &samples.times[from..to];
            let values = &samples.values[from..to];
            let place = out.len() as u32;
            out.bucket(times, values);
            let plain = times.iter().zip(values).filter(|(_, v)| !is_stale(**v));
            let (mut first, mut peaks, mut low) = (None, 0.0, 0.0);
            let mut fell = false;
            for (time, value) in plain {
                finite &= value.is_finite();
                if *value < previous {
                    drops += 1;
                    if first.is_some() {
                        (peaks, low, fell) = (peaks + previous, *value, true);
                    }
                }
                first = first.or(Some((*time, *value)));
                previous = *value;
            }
            let (time, value) = first.unwrap_or((times[times.len() - 1], 0.0));
            counter.first_at.push(time);
            counter.first.push(value);
            if fell {
                counter.resets.push((place, peaks, low));
            }
            from = to;
        }
        // What falls more often is no counter: all of it is read if somebody asks for its rate.
        out.counter = (finite && drops <= 2 + samples.len() / 200).then_some(counter);
        out.round(samples);
        out
    }

    fn bucket(&mut self, times: &[i64], values: &[f64]) {
        let (mut count, mut sum, mut error) = (0u32, 0.0f64, 0.0f64);
        let (mut min, mut max) = (f64::NAN, f64::NAN);
        let mut last = None;
        for (time, value) in times.iter().zip(values).filter(|(_, v)| !is_stale(**v)) {
            count += 1;
            let next = sum + value;
            // What is lost of the smaller one in adding is kept aside.
            error += if sum.abs() >= value.abs() {
                (sum - next) + value
            } else {
                (value - next) + sum
            };
            sum = next;
            min = if *value < min || min.is_nan() {
                *value
            } else {
                min
            };
            max = if *value > max || max.is_nan() {
                *value
            } else {
                max
            };
            last = Some((*time, *value));
        }
        let end = times[times.len() - 1];
        let (time, value) = last.unwrap_or((end, values[values.len() - 1]));
        if count > 0 && time < end {
            self.ended.push((self.len() as u32, end));
        }
        let empty = count == 0;
        self.times.push(time);
        self.counts.push(count);
        self.last.push(value);
        self.min.push(if empty { 0.0 } else { min });
        self.max.push(if empty { 0.0 } else { max });
        let exact = if sum.is_finite() { sum + error } else { sum };
        self.sum.push(exact);
    }

    /// Sums of decimals are decimals: without what adding floats leaves at their end they are
    /// exact, and short.
    fn round(&mut self, samples: &Samples) {
        let plain: Vec<f64> = samples
            .values
            .iter()
            .copied()
            .filter(|v| !is_stale(*v))
            .collect();
        let Some((power, whole)) = whole(&plain) else {
            return;
        };
        let mut rest = whole.as_slice();
        for (sum, count) in self.sum.iter_mut().zip(&self.counts) {
            let (own, more) = rest.split_at((*count as usize).min(rest.len()));
            let exact: i128 = own.iter().map(|value| i128::from(*value)).sum();
            *sum = exact as f64 / power;
            rest = more;
        }
    }

    /// Keeps the intervals whose last sample is at a time that passes.
    pub(crate) fn retain(&mut self, keep: impl Fn(i64) -> bool) {
        let kept: Vec<bool> = self.times.iter().map(|time| keep(*time)).collect();
        if kept.iter().all(|keep| *keep) {
            return;
        }
        let mut place = Vec::with_capacity(kept.len());
        let mut next = 0;
        for keep in &kept {
            place.push(keep.then_some(next));
            next += u32::from(*keep);
        }
        fn only<T: Copy>(list: &mut Vec<T>, kept: &[bool]) {
            let mut keep = kept.iter();
            list.retain(|_| keep.next().is_none_or(|keep| *keep));
        }
        only(&mut self.times, &kept);
        only(&mut self.counts, &kept);
        for list in [&mut self.last, &mut self.min, &mut self.max, &mut self.sum] {
            only(list, &kept);
        }
        let moved = |old: u32| place.get(old as usize).copied().flatten();
        self.ended = (self.ended.iter())
            .filter_map(|(at, time)| Some((moved(*at)?, *time)))
            .collect();
        if let Some(counter) = &mut self.counter {
            only(&mut counter.first_at, &kept);
            only(&mut counter.first, &kept);
            counter.resets = (counter.resets.iter())
                .filter_map(|(at, peaks, low)| Some((moved(*at)?, *peaks, *low)))
                .collect();
        }
    }
}
