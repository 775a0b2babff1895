//! Exponential histograms as native ones of Prometheus.
//!
//! Bucket `i` of OpenTelemetry ends where bucket `i + 1` of Prometheus does, and a scale is a
//! schema; finer scales than Prometheus knows are made coarser.

use super::super::message::{Buckets, ExponentialHistogramDataPoint};
use towpath_query::promql::Histogram;

const FINEST: i32 = 8;
const COARSEST: i32 = -4;

/// The histogram of a point; the error says what is wrong with it.
pub(super) fn histogram(point: &ExponentialHistogramDataPoint) -> Result<Histogram, String> {
    if point.scale < COARSEST {
        return Err(format!("scale {} is coarser than {COARSEST}", point.scale));
    }
    let coarser = (point.scale - FINEST).max(0);
    Ok(Histogram {
        schema: point.scale.min(FINEST),
        zero_threshold: point.zero_threshold,
        zero_count: point.zero_count as f64,
        count: point.count as f64,
        sum: point.sum.unwrap_or_default(),
        positive: buckets(point.positive.as_ref(), coarser)?,
        negative: buckets(point.negative.as_ref(), coarser)?,
        ..Histogram::default()
    })
}

fn buckets(given: Option<&Buckets>, coarser: i32) -> Result<Vec<(i32, f64)>, String> {
    let mut all: Vec<(i32, f64)> = Vec::new();
    let Some(given) = given else { return Ok(all) };
    for (at, count) in given.bucket_counts.iter().enumerate() {
        if *count == 0 {
            continue;
        }
        let index = i32::try_from(at)
            .ok()
            .and_then(|at| given.offset.checked_add(at))
            .and_then(|index| (index >> coarser.min(31)).checked_add(1));
        let index = index.ok_or("a bucket is too far out")?;
        match all.last_mut() {
            Some((last, sum)) if *last == index => *sum += *count as f64,
            _ => all.push((index, *count as f64)),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_move_by_one_and_fine_ones_are_joined() {
        let point = |scale: i32| ExponentialHistogramDataPoint {
            scale,
            count: 10,
            sum: Some(4.0),
            zero_count: 1,
            positive: Some(Buckets {
                offset: -1,
                bucket_counts: vec![1, 0, 3, 5],
            }),
            ..ExponentialHistogramDataPoint::default()
        };
        let plain = histogram(&point(2)).expect("a histogram");
        assert_eq!(plain.schema, 2);
        assert_eq!(plain.positive, [(0, 1.0), (2, 3.0), (3, 5.0)]);
        let fine = histogram(&point(9)).expect("a histogram");
        assert_eq!(fine.schema, 8);
        assert_eq!(fine.positive, [(0, 1.0), (1, 3.0), (2, 5.0)]);
        assert!(histogram(&point(-5)).is_err());
    }
}
