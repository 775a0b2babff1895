//! Sums and means of histograms.

use std::sync::Arc;

use super::cell::Place;
use crate::promql::annotation::{self, Operation};
use crate::promql::histogram::{Compensated, Histogram, Incompatible, Layout, Merged, ResetHint};
use crate::promql::labels::NAME;
use crate::promql::series::Series;

/// Histograms added up with compensation; the sum turns into a running mean where it overflows.
pub(in super::super) struct Running {
    sum: Layout<Compensated>,
    /// Whether a mean is wanted, so that an overflow is to be avoided.
    averages: bool,
    mean: bool,
    count: f64,
    reset_seen: bool,
    no_reset_seen: bool,
    pub(in super::super) bounds_reconciled: bool,
}

impl Running {
    pub(in super::super) fn new(first: &Histogram, averages: bool) -> Self {
        let mut running = Self {
            sum: first.map(Compensated::from),
            averages,
            mean: false,
            count: 1.0,
            reset_seen: false,
            no_reset_seen: false,
            bounds_reconciled: false,
        };
        running.see(first);
        running
    }

    fn see(&mut self, histogram: &Histogram) {
        self.reset_seen |= histogram.hint == ResetHint::Reset;
        self.no_reset_seen |= histogram.hint == ResetHint::NotReset;
    }

    /// Whether there was a histogram after a reset and one known to follow none.
    pub(in super::super) fn resets_collide(&self) -> bool {
        self.reset_seen && self.no_reset_seen
    }

    pub(in super::super) fn add(&mut self, histogram: &Histogram) -> Result<Merged, Incompatible> {
        self.count += 1.0;
        self.see(histogram);
        if !self.averages {
            let merged = self.sum.add(histogram)?;
            self.bounds_reconciled |= merged.bounds_reconciled;
            return Ok(merged);
        }
        if !self.mean {
            let mut next = self.sum.clone();
            let merged = next.add(histogram)?;
            self.bounds_reconciled |= merged.bounds_reconciled;
            if !next.map(|cell| cell.sum).overflows() {
                self.sum = next;
                return Ok(merged);
            }
            self.mean = true;
            self.sum.divide(self.count - 1.0);
        }
        self.sum.scale((self.count - 1.0) / self.count);
        let mut part = histogram.clone();
        part.divide(self.count);
        let merged = self.sum.add(&part)?;
        self.bounds_reconciled |= merged.bounds_reconciled;
        Ok(merged)
    }

    pub(in super::super) fn finish(mut self) -> Histogram {
        if self.averages && !self.mean {
            self.sum.divide(self.count);
        }
        self.sum.map(|cell| cell.sum + cell.error)
    }
}

/// The histograms of one group at one step.
pub(super) struct Histograms {
    running: Running,
    failed: bool,
}

impl Histograms {
    pub(super) fn new(first: &Histogram, averages: bool) -> Self {
        Self {
            running: Running::new(first, averages),
            failed: false,
        }
    }

    /// Whether histograms came together that cannot be added.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    pub(super) fn add(&mut self, place: &Place<'_, '_>, histogram: &Histogram, of: &Series) {
        match self.running.add(histogram) {
            Ok(merged) if merged.bounds_reconciled => {
                let remark = annotation::bounds_reconciled(Operation::Aggregation, place.span);
                place.eval.annotate(remark);
            }
            Ok(_) => {}
            Err(Incompatible) => {
                place
                    .eval
                    .annotate(annotation::mixed_schemas(of.labels.get(NAME), place.span));
                self.failed = true;
            }
        }
    }

    pub(super) fn finish(self, place: &Place<'_, '_>) -> Option<Arc<Histogram>> {
        if self.failed {
            return None;
        }
        if self.running.resets_collide() {
            let remark = annotation::resets_collide(Operation::Aggregation, place.span);
            place.eval.annotate(remark);
        }
        let mut result = self.running.finish();
        result.compact();
        Some(Arc::new(result))
    }
}
