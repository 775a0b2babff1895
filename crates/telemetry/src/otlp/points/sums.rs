//! What senders tell as additions since the last point, added up by series.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use towpath_query::promql::Histogram;
use towpath_signals::{Refused, SeriesRef, Value};

/// Series of numbers that are added up at a time; beyond that, further ones are refused.
const NUMBERS_MAX: usize = 200_000;
/// Series of histograms; each holds its buckets.
const HISTOGRAMS_MAX: usize = 20_000;

/// What was added up of a series, and until when, in milliseconds.
#[derive(Default)]
struct Sum<T> {
    value: T,
    until: i64,
}

type Table<T> = Mutex<HashMap<SeriesRef, Sum<T>>>;

/// The sums of all series.
#[derive(Default)]
pub(super) struct Sums {
    numbers: Table<f64>,
    histograms: Table<Histogram>,
}

impl Sums {
    /// Adds to a series and gives its sum; nothing where the point is not behind the last one.
    pub(super) fn add(
        &self,
        series: SeriesRef,
        added: &Value,
        at: i64,
    ) -> Result<Option<Value>, Refused> {
        match added {
            Value::Float(number) => {
                let sum = add(&self.numbers, NUMBERS_MAX, series, at, |sum| {
                    *sum += number;
                    Ok(())
                });
                sum.map(|sum| sum.map(Value::Float))
            }
            Value::Histogram(own) => {
                let sum = add(&self.histograms, HISTOGRAMS_MAX, series, at, |sum| {
                    if sum.count == 0.0 {
                        *sum = Histogram::clone(own);
                        return Ok(());
                    }
                    let added = sum.accumulate(own);
                    added.map_err(|why| Refused::Labels(why.to_string()))
                });
                sum.map(|sum| sum.map(|sum| Value::Histogram(Arc::new(sum))))
            }
        }
    }
}

fn add<T: Clone + Default>(
    table: &Table<T>,
    most: usize,
    series: SeriesRef,
    at: i64,
    add: impl FnOnce(&mut T) -> Result<(), Refused>,
) -> Result<Option<T>, Refused> {
    let mut table = table.lock();
    if table.len() >= most && !table.contains_key(&series) {
        let why = format!("more than {most} series tell what was added only");
        return Err(Refused::Limit(why));
    }
    let sum = table.entry(series).or_default();
    if at <= sum.until {
        return Ok(None);
    }
    add(&mut sum.value)?;
    sum.until = at;
    Ok(Some(sum.value.clone()))
}
