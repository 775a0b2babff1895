//! Downsampled copies: of every five minutes and of every hour of a series its count, sum, smallest,
//! largest and last sample, and of what counts also the first one and where it began anew.
//!
//! An interval begins right behind a multiple of its length and ends with the next one, as the
//! windows of queries do. So a window whose edges are such multiples holds whole intervals, and
//! what is answered from them is what all samples would answer. Copies are made when a segment of a
//! day or longer is written, and stand in it beside the samples; see [`plan`] for when a query
//! reads them.

mod buckets;
mod column;
mod plan;
mod read;
#[cfg(test)]
mod tests;

pub(crate) use buckets::Buckets;
pub(crate) use column::{get, put};
pub(crate) use plan::Plan;
pub(crate) use read::Reading;

use super::column::MOST;

/// How long intervals are, in milliseconds.
pub(crate) const RESOLUTIONS: [i64; 2] = [300_000, 3_600_000];

/// An interval has to stand for this many samples at least, on average, to be worth it.
const WORTH: usize = 3;

/// The copies of one series.
pub(crate) type Copies = [Option<Buckets>; 2];

/// The copies that are worth their bytes.
pub(crate) fn copies(samples: &towpath_query::promql::Samples) -> Copies {
    RESOLUTIONS.map(|resolution| {
        let made = Buckets::of(samples, resolution);
        let fits = (1..=MOST).contains(&made.len());
        (fits && samples.len() >= WORTH * made.len()).then_some(made)
    })
}
