//! What is kept of a group for each step, from the first one that has something to the last.

use super::budget::Hold;
use super::window::Steps;
use super::{Eval, EvalError};
use crate::promql::series::Series;

/// One cell for each step between the first and the last that were covered. Series that live
/// shortly, of which there may be very many, take no more than they have.
pub(super) struct Row<T> {
    first: usize,
    cells: Vec<T>,
}

impl<T> Default for Row<T> {
    fn default() -> Self {
        Self {
            first: 0,
            cells: Vec::new(),
        }
    }
}

impl<T: Default> Row<T> {
    /// Makes room for the cells from one step to another, if the limit of samples allows it: each
    /// counts as `weight` of them.
    pub(super) fn cover<'e, 'a>(
        &mut self,
        (from, to): (usize, usize),
        weight: usize,
        (eval, hold): (&'e Eval<'a>, &mut Hold<'e, 'a>),
    ) -> Result<(), EvalError> {
        if self.cells.is_empty() {
            eval.hold_more(hold, (to + 1 - from) * weight)?;
            self.first = from;
            self.cells.resize_with(to + 1 - from, T::default);
            return Ok(());
        }
        let before = self.first.saturating_sub(from);
        let behind = (to + 1).saturating_sub(self.first + self.cells.len());
        if before + behind > 0 {
            eval.hold_more(hold, (before + behind) * weight)?;
        }
        if before > 0 {
            self.first = from;
            self.cells
                .splice(..0, std::iter::repeat_with(T::default).take(before));
        }
        self.cells
            .resize_with(self.cells.len() + behind, T::default);
        Ok(())
    }

    /// The cells, and the step of the first.
    pub(super) fn cells(&mut self) -> (usize, &mut [T]) {
        (self.first, &mut self.cells)
    }

    /// Times and cells.
    pub(super) fn into_times(self, steps: Steps) -> impl Iterator<Item = (i64, T)> {
        (self.first..)
            .map(move |step| steps.time(step))
            .zip(self.cells)
    }

    /// The step of the first cell.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// The steps that are covered.
    pub(super) fn steps(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.cells.len()
    }

    /// The cell of a step, if that is covered.
    pub(super) fn get(&self, step: usize) -> Option<&T> {
        self.cells.get(step.checked_sub(self.first)?)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, step: usize) -> Option<&mut T> {
        self.cells.get_mut(step.checked_sub(self.first)?)
    }
}

/// The first and the last step that a series has something at.
pub(super) fn range(steps: Steps, series: &Series) -> Option<(usize, usize)> {
    let floats = series.floats.times.first().zip(series.floats.times.last());
    let histograms = series.histograms.first().zip(series.histograms.last());
    let histograms = histograms.map(|((first, _), (last, _))| (first, last));
    let from = floats.iter().chain(&histograms).map(|(first, _)| **first);
    let to = floats.iter().chain(&histograms).map(|(_, last)| **last);
    Some((steps.index(from.min()?), steps.index(to.max()?)))
}
