//! Functions that make series, and what is done with those.

use super::field::operator;
use super::{Parser, Step};
use crate::traceql::ast::{Metrics, MetricsFunction, SeriesStage};
use crate::traceql::lex::Token;
use crate::traceql::value::Value;

const FUNCTIONS: [&str; 9] = [
    "rate",
    "count_over_time",
    "min_over_time",
    "max_over_time",
    "avg_over_time",
    "sum_over_time",
    "quantile_over_time",
    "histogram_over_time",
    "compare",
];
/// The most steps behind a function.
const STAGES_MAX: usize = 16;
/// The most quantiles at a time.
const QUANTILES_MAX: usize = 32;

impl Parser {
    /// Whether a bar and a function that makes series come next.
    pub(super) fn metrics_follow(&self) -> bool {
        matches!(self.peek(), Token::Sign("|"))
            && matches!(self.peek_behind(1), Token::Word(word) if FUNCTIONS.contains(&&**word))
    }

    pub(super) fn metrics(&mut self) -> Step<Metrics> {
        let Token::Word(name) = self.peek().clone() else {
            return self.unexpected("a function");
        };
        self.next();
        self.expect("(")?;
        let function = match name.as_str() {
            "rate" => MetricsFunction::Rate,
            "count_over_time" => MetricsFunction::Count,
            "min_over_time" => MetricsFunction::Min(self.expr(0)?),
            "max_over_time" => MetricsFunction::Max(self.expr(0)?),
            "avg_over_time" => MetricsFunction::Avg(self.expr(0)?),
            "sum_over_time" => MetricsFunction::Sum(self.expr(0)?),
            "histogram_over_time" => MetricsFunction::Histogram(self.expr(0)?),
            "quantile_over_time" => self.quantile()?,
            _ => self.compare()?,
        };
        self.expect(")")?;
        let mut by = Vec::new();
        if self.word("by") {
            self.expect("(")?;
            by.push(self.expr(0)?);
            while self.sign(",") {
                by.push(self.expr(0)?);
            }
            self.expect(")")?;
        }
        let mut then = Vec::new();
        while let Some(stage) = self.series_stage()? {
            then.push(stage);
            if then.len() > STAGES_MAX {
                return self.unexpected("a shorter pipeline");
            }
        }
        Ok(Metrics { function, by, then })
    }

    fn quantile(&mut self) -> Step<MetricsFunction> {
        let of = self.expr(0)?;
        let mut quantiles = Vec::new();
        while self.sign(",") {
            let place = self.place();
            let (value, _) = self.literal()?;
            match value.number().filter(|q| (0.0..=1.0).contains(q)) {
                Some(q) if quantiles.len() < QUANTILES_MAX => quantiles.push(q),
                _ => {
                    let message = "a quantile is a number from 0 to 1, and there are at most 32";
                    return Err(super::ParseError::new(place, message));
                }
            }
        }
        if quantiles.is_empty() {
            return self.unexpected("a quantile");
        }
        Ok(MetricsFunction::Quantile(of, quantiles))
    }

    fn compare(&mut self) -> Step<MetricsFunction> {
        self.expect("{")?;
        let selection = match self.sign("}") {
            true => None,
            false => {
                let filter = self.expr(0)?;
                self.expect("}")?;
                Some(filter)
            }
        };
        let mut numbers = Vec::new();
        while self.sign(",") && numbers.len() < 3 {
            let place = self.place();
            match self.literal()?.0 {
                Value::Int(n) if n >= 0 => numbers.push(n),
                _ => return Err(super::ParseError::new(place, "a whole number is expected")),
            }
        }
        let times = match numbers[..] {
            [_, start, end] => Some((start, end)),
            _ => None,
        };
        let top = numbers.first().map_or(10, |n| (*n).clamp(1, 1000) as usize);
        Ok(MetricsFunction::Compare {
            selection,
            top,
            times,
        })
    }

    fn series_stage(&mut self) -> Step<Option<SeriesStage>> {
        if let Some(op) = operator(self.peek()).filter(|op| op.compares()) {
            self.next();
            let (value, place) = self.literal()?;
            if value.number().is_none() {
                return Err(super::ParseError::new(
                    place,
                    "series are compared to numbers",
                ));
            }
            return Ok(Some(SeriesStage::Filter(op, value)));
        }
        if !self.sign("|") {
            return Ok(None);
        }
        let make: fn(usize) -> SeriesStage = if self.word("topk") {
            SeriesStage::Top
        } else if self.word("bottomk") {
            SeriesStage::Bottom
        } else {
            return self.unexpected("topk or bottomk");
        };
        self.expect("(")?;
        let place = self.place();
        let count = match self.literal()?.0 {
            Value::Int(n) if n > 0 => n as usize,
            _ => {
                return Err(super::ParseError::new(
                    place,
                    "a number above 0 is expected",
                ));
            }
        };
        self.expect(")")?;
        Ok(Some(make(count)))
    }
}
