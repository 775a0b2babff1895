//! What a group knows at one step.

use super::super::Eval;
use super::super::functions::quantile_of;
use super::histogram::Histograms;
use crate::promql::annotation;
use crate::promql::ast::{AggregateOp, Span};
use crate::promql::histogram::add_compensated;
use crate::promql::series::{Series, Value};

/// The aggregation a cell belongs to.
#[derive(Clone, Copy)]
pub(super) struct Place<'e, 'a> {
    pub(super) eval: &'e Eval<'a>,
    pub(super) op: AggregateOp,
    /// Of what is aggregated.
    pub(super) span: Span,
}

impl Place<'_, '_> {
    fn ignore(&self) {
        self.eval.annotate(annotation::ignored_in_aggregation(
            self.op.text(),
            self.span,
        ));
    }
}

/// The samples of one group at one step, as far as they matter.
pub(super) struct Cell {
    sums: Sums,
    drop_name: bool,
}

enum Sums {
    /// Count, group, minimum, maximum.
    Plain(f64),
    /// The sum of numbers alone, and what it lost.
    Floats(f64, f64),
    /// The average of numbers alone.
    Mean(Mean),
    /// Sum and average, of numbers and of histograms.
    Sum {
        floats: Option<Box<Mean>>,
        histograms: Option<Box<Histograms>>,
    },
    /// Variance by Welford's method.
    Variance {
        count: f64,
        mean: f64,
        squares: f64,
    },
    All(Vec<f64>),
}

/// A compensated sum that turns into a running mean where the sum would overflow.
#[derive(Clone, Copy)]
pub(in super::super) struct Mean {
    count: f64,
    /// The sum, or the mean.
    sum: f64,
    error: f64,
    is_mean: bool,
}

impl Mean {
    pub(in super::super) fn new(first: f64) -> Self {
        Self {
            count: 1.0,
            sum: first,
            error: 0.0,
            is_mean: false,
        }
    }

    #[inline]
    pub(in super::super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.is_mean {
            let (sum, error) = add_compensated(value, self.sum, self.error);
            if !sum.is_infinite() {
                (self.sum, self.error) = (sum, error);
                return;
            }
            self.is_mean = true;
            self.sum /= self.count - 1.0;
            self.error /= self.count - 1.0;
        }
        let share = (self.count - 1.0) / self.count;
        (self.sum, self.error) =
            add_compensated(value / self.count, share * self.sum, share * self.error);
    }

    pub(in super::super) fn finish(&self) -> f64 {
        match self.is_mean {
            true => self.sum + self.error,
            false => self.sum / self.count + self.error / self.count,
        }
    }
}

impl Cell {
    /// A cell with its first sample; none if that does not count.
    pub(super) fn new(place: &Place<'_, '_>, value: Value, of: &Series) -> Option<Self> {
        let sums = match (place.op, value) {
            (AggregateOp::Count | AggregateOp::Group, _) => Sums::Plain(1.0),
            (AggregateOp::Sum, Value::Float(value)) => Sums::Floats(value, 0.0),
            (AggregateOp::Avg, Value::Float(value)) => Sums::Mean(Mean::new(value)),
            (AggregateOp::Sum | AggregateOp::Avg, Value::Histogram(histogram)) => {
                let histograms = Histograms::new(&histogram, place.op == AggregateOp::Avg);
                Sums::Sum {
                    floats: None,
                    histograms: Some(Box::new(histograms)),
                }
            }
            (_, Value::Histogram(_)) => {
                place.ignore();
                return None;
            }
            (AggregateOp::Stddev | AggregateOp::Stdvar, Value::Float(value)) => {
                let squares = if value.is_finite() { 0.0 } else { f64::NAN };
                Sums::Variance {
                    count: 1.0,
                    mean: value,
                    squares,
                }
            }
            (AggregateOp::Quantile, Value::Float(value)) => Sums::All(vec![value]),
            (_, Value::Float(value)) => Sums::Plain(value),
        };
        Some(Self {
            sums,
            drop_name: of.drop_name,
        })
    }

    /// Adds a plain sample: most are.
    #[inline]
    pub(super) fn add_float(&mut self, place: &Place<'_, '_>, value: f64, of: &Series) {
        match &mut self.sums {
            Sums::Floats(sum, error) => {
                (*sum, *error) = add_compensated(value, *sum, *error);
            }
            Sums::Plain(kept) => match place.op {
                AggregateOp::Count => *kept += 1.0,
                AggregateOp::Group => {}
                AggregateOp::Max => {
                    if *kept < value || kept.is_nan() {
                        *kept = value;
                    }
                }
                _ => {
                    if *kept > value || kept.is_nan() {
                        *kept = value;
                    }
                }
            },
            Sums::Mean(mean) => mean.add(value),
            Sums::Variance {
                count,
                mean,
                squares,
            } => {
                *count += 1.0;
                let delta = value - *mean;
                *mean += delta / *count;
                *squares += delta * (value - *mean);
            }
            Sums::All(values) => values.push(value),
            Sums::Sum { .. } => return self.add(place, Value::Float(value), of),
        }
        self.drop_name |= of.drop_name;
    }

    pub(super) fn add(&mut self, place: &Place<'_, '_>, value: Value, of: &Series) {
        if let Value::Float(value) = value
            && !matches!(self.sums, Sums::Sum { .. })
        {
            return self.add_float(place, value, of);
        }
        // A histogram among numbers.
        let floats = match self.sums {
            Sums::Floats(sum, error) => Some(Mean {
                error,
                ..Mean::new(sum)
            }),
            Sums::Mean(mean) => Some(mean),
            _ => None,
        };
        if let Some(floats) = floats {
            self.sums = Sums::Sum {
                floats: Some(Box::new(floats)),
                histograms: None,
            };
        }
        if let Sums::Sum {
            histograms: Some(histograms),
            ..
        } = &self.sums
            && histograms.failed()
        {
            return;
        }
        self.drop_name |= of.drop_name;
        match (&mut self.sums, value) {
            (Sums::Plain(count), _) if place.op == AggregateOp::Count => *count += 1.0,
            (Sums::Plain(_), _) if place.op == AggregateOp::Group => {}
            (Sums::Sum { floats, .. }, Value::Float(value)) => match floats {
                Some(mean) if place.op == AggregateOp::Avg => mean.add(value),
                Some(mean) => {
                    (mean.sum, mean.error) = add_compensated(value, mean.sum, mean.error);
                }
                None => *floats = Some(Box::new(Mean::new(value))),
            },
            (Sums::Sum { histograms, .. }, Value::Histogram(histogram)) => match histograms {
                Some(sums) => sums.add(place, &histogram, of),
                None => {
                    let sums = Histograms::new(&histogram, place.op == AggregateOp::Avg);
                    *histograms = Some(Box::new(sums));
                }
            },
            (_, Value::Histogram(_)) => place.ignore(),
            // Taken care of above.
            (_, Value::Float(_)) => {}
        }
    }

    pub(super) fn drops_name(&self) -> bool {
        self.drop_name
    }

    /// The result, if there is one.
    pub(super) fn finish(self, place: &Place<'_, '_>, param: f64) -> Option<Value> {
        Some(Value::Float(match self.sums {
            Sums::Plain(value) => value,
            Sums::Floats(sum, error) => sum + error,
            Sums::Mean(mean) => mean.finish(),
            Sums::Variance { count, squares, .. } => {
                let variance = squares / count;
                if place.op == AggregateOp::Stddev {
                    variance.sqrt()
                } else {
                    variance
                }
            }
            Sums::All(mut values) => quantile_of(param, &mut values),
            Sums::Sum {
                floats: Some(_),
                histograms: Some(_),
            } => {
                place
                    .eval
                    .annotate(annotation::mixed_aggregation(place.span));
                return None;
            }
            Sums::Sum {
                floats: None,
                histograms: Some(sums),
            } => {
                return sums.finish(place).map(Value::Histogram);
            }
            Sums::Sum {
                floats: Some(mean), ..
            } if place.op == AggregateOp::Avg => mean.finish(),
            Sums::Sum {
                floats: Some(mean), ..
            } => mean.sum + mean.error,
            Sums::Sum {
                floats: None,
                histograms: None,
            } => return None,
        }))
    }
}
