//! The limit of samples in memory, and the hook that ends a query.

use super::window::Steps;
use super::{Eval, EvalError, Stop, Stream};
use crate::promql::series::Series;

/// Samples that are in memory until this is dropped.
pub(super) struct Hold<'e, 'a> {
    eval: &'e Eval<'a>,
    samples: usize,
}

impl Drop for Hold<'_, '_> {
    fn drop(&mut self) {
        self.eval
            .held
            .set(self.eval.held.get().saturating_sub(self.samples));
    }
}

/// Series in memory, with their weight in the limit.
pub(super) struct Collected<'e, 'a> {
    pub(super) series: Vec<Series>,
    _hold: Hold<'e, 'a>,
}

impl Collected<'_, '_> {
    pub(super) fn into_inner(self) -> Vec<Series> {
        self.series
    }
}

impl<'a> Eval<'a> {
    /// Counts samples that are in memory until the guard is dropped.
    pub(super) fn hold(&self, samples: usize) -> Result<Hold<'_, 'a>, EvalError> {
        let held = self.held.get() + samples;
        if held > self.settings.max_samples {
            return Err(EvalError::TooManySamples);
        }
        self.held.set(held);
        self.peak.set(self.peak.get().max(held));
        Ok(Hold {
            eval: self,
            samples,
        })
    }

    /// Counts more samples that are in memory as long as those of the guard.
    pub(super) fn hold_more(
        &self,
        hold: &mut Hold<'_, '_>,
        samples: usize,
    ) -> Result<(), EvalError> {
        let mut more = self.hold(samples)?;
        hold.samples += more.samples;
        more.samples = 0;
        Ok(())
    }

    /// Refuses more steps than there may be samples: any series would have one at each.
    pub(super) fn check_steps(&self, steps: Steps) -> Result<(), EvalError> {
        if steps.count() > self.settings.max_samples {
            return Err(EvalError::TooManySamples);
        }
        Ok(())
    }

    /// Asks whether the query shall go on.
    pub(super) fn check(&self) -> Result<(), EvalError> {
        match self.settings.stop.and_then(|stop| stop()) {
            None => Ok(()),
            Some(Stop::Canceled) => Err(EvalError::Canceled),
            Some(Stop::TimedOut) => Err(EvalError::TimedOut),
        }
    }

    /// Takes a stream into memory.
    pub(super) fn collect(&self, stream: Stream<'_>) -> Result<Collected<'_, 'a>, EvalError> {
        let mut hold = self.hold(0)?;
        let mut series = Vec::new();
        for one in stream {
            let one = one?;
            self.hold_more(&mut hold, one.weight())?;
            series.push(one);
        }
        Ok(Collected {
            series,
            _hold: hold,
        })
    }
}
