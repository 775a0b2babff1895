//! Whether a query may read copies instead of samples, and which.
//!
//! | function | reads | where windows are whole intervals |
//! |---|---|---|
//! | a plain selector, `last_over_time`, `present_over_time`, `absent_over_time`, `ts_of_last_over_time` | the last sample | the same |
//! | `count_over_time`, `sum_over_time`, `avg_over_time` | counts and sums | the same but for rounding |
//! | `min_over_time`, `max_over_time` | the smallest, the largest | the same |
//! | `rate`, `increase`, `delta` | of counters the first and the last sample and what was lost in resets | the same but for rounding |
//! | all others | samples | |
//!
//! A range selector needs a range, a plain selector a step of five intervals at least. Where windows
//! begin or end within intervals a plain selector reads samples. A range selector reads copies if
//! either the step is that long too or there is one window of sixty intervals; to `count_over_time`
//! and `sum_over_time` sixty intervals are needed in both cases. Then an interval counts in the
//! window that its last sample is in: the edges of windows are moved by less than an interval.
//!
//! Where only copies are kept they are read whatever is asked, the finest ones.

use towpath_query::promql::Hints;

use super::RESOLUTIONS;
use crate::metrics::column::Wanted;

/// What is read of intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    Last,
    Sum,
    Min,
    Max,
    Counter,
}

/// Copies that may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Which resolution.
    pub(crate) level: usize,
    /// Windows may cut intervals.
    pub(crate) cut: bool,
}

/// How a selector reads.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// None where the function needs all samples.
    pub(crate) take: Option<Take>,
    /// The best first.
    pub(crate) choices: Vec<Choice>,
    /// A plain selector: markers of staleness are read too.
    pub(crate) instant: bool,
    /// At a single time.
    once: bool,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) step: i64,
    pub(crate) range: i64,
}

/// A window or a step is this many intervals long at least.
const LEAST: i64 = 5;
/// And this many where an interval more or less is seen in the result.
const MANY: i64 = 60;

fn take(function: &str) -> Option<Take> {
    Some(match function {
        "last_over_time"
        | "present_over_time"
        | "absent_over_time"
        | "count_over_time"
        | "ts_of_last_over_time" => Take::Last,
        "sum_over_time" | "avg_over_time" => Take::Sum,
        "min_over_time" => Take::Min,
        "max_over_time" => Take::Max,
        "rate" | "increase" | "delta" => Take::Counter,
        _ => return None,
    })
}

impl Plan {
    pub(crate) fn new(hints: &Hints<'_>) -> Self {
        let instant = hints.range == 0;
        let take = match instant {
            true => (!matches!(hints.function, "info" | "smoothed")).then_some(Take::Last),
            false => take(hints.function),
        };
        let once = hints.step == Hints::ONCE;
        let mut plan = Self {
            take,
            choices: Vec::new(),
            instant,
            start: hints.start,
            end: hints.end,
            once,
            step: if once { 1 } else { hints.step },
            range: hints.range,
        };
        if take.is_some() {
            let adds_up = matches!(hints.function, "count_over_time" | "sum_over_time");
            plan.choose(adds_up);
        }
        plan
    }

    /// Whether only the newest sample matters, as it does to a plain selector at a single time.
    pub(crate) fn newest(&self) -> bool {
        self.once && self.instant && self.take.is_some()
    }

    /// What of the samples is wanted: of a plain selector the newest ones at the times of
    /// evaluation, which end with the last time asked for.
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted {
            start: self.start,
            end: self.end,
            step: match self.instant && self.take.is_some() && self.step > 1 {
                true => self.step,
                false => 0,
            },
        }
    }

    /// Whether all windows are whole intervals.
    pub(crate) fn whole(&self, level: usize) -> bool {
        let resolution = RESOLUTIONS[level];
        let all = [
            self.end,
            self.range,
            if self.single() { 0 } else { self.step },
        ];
        all.iter().all(|time| time % resolution == 0)
    }

    /// Whether there is one window only.
    fn single(&self) -> bool {
        !self.instant && self.start.saturating_add(self.range).saturating_sub(1) >= self.end
    }

    fn choose(&mut self, adds_up: bool) {
        let coarsest_first = || (0..RESOLUTIONS.len()).rev();
        for level in coarsest_first() {
            let length = if self.instant { self.step } else { self.range };
            if length >= LEAST * RESOLUTIONS[level] && self.whole(level) {
                self.choices.push(Choice { level, cut: false });
            }
        }
        if self.instant {
            return;
        }
        for level in coarsest_first() {
            if self.whole(level) {
                continue;
            }
            let resolution = RESOLUTIONS[level];
            let (rough, many) = (
                self.step >= LEAST * resolution,
                self.range >= MANY * resolution,
            );
            let long = self.range >= LEAST * resolution;
            if long && ((rough && !adds_up) || ((rough || self.single()) && many)) {
                self.choices.push(Choice { level, cut: true });
            }
        }
    }
}
