//! The order of an instant vector. Over a range there is none: results are sorted by labels.

use std::cmp::Ordering;

use super::super::window::Steps;
use super::super::{Eval, EvalError, Stream, stream};
use super::labels::text;
use crate::promql::ast::Expr;
use crate::promql::series::Series;

pub(super) fn sort<'e>(
    eval: &'e Eval<'_>,
    name: &'static str,
    args: &'e [Expr],
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    let by_value = matches!(name, "sort" | "sort_desc");
    let descending = name.ends_with("_desc");
    let labels = args[1..]
        .iter()
        .map(text)
        .collect::<Result<Vec<&str>, _>>()?;
    let mut series = eval
        .collect(stream::stream(eval, &args[0], steps)?)?
        .into_inner();
    if by_value {
        for one in &mut series {
            one.histograms.clear();
        }
        series.retain(|one| !one.is_empty());
    }
    if steps.count() == 1 {
        if by_value {
            series.sort_by(|a, b| values(a, b, descending));
        } else {
            series.sort_by(|a, b| {
                let order = by_labels(a, b, &labels);
                if descending { order.reverse() } else { order }
            });
        }
    }
    Ok(Box::new(series.into_iter().map(Ok)))
}

/// By value; what is no number comes last either way.
fn values(a: &Series, b: &Series, descending: bool) -> Ordering {
    let value = |one: &Series| one.floats.values.first().copied().unwrap_or(f64::NAN);
    let (a, b) = (value(a), value(b));
    match a.partial_cmp(&b) {
        Some(order) if descending => order.reverse(),
        Some(order) => order,
        None => a.is_nan().cmp(&b.is_nan()),
    }
}

fn by_labels(a: &Series, b: &Series, labels: &[&str]) -> Ordering {
    for label in labels {
        let (x, y) = (a.labels.get(label), b.labels.get(label));
        if x != y {
            return if naturally_before(x, y) {
                Ordering::Less
            } else {
                Ordering::Greater
            };
        }
    }
    a.labels.cmp(&b.labels)
}

/// Runs of digits and runs of anything else.
fn runs(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let end = rest
            .find(|c: char| c.is_ascii_digit() != digits)
            .unwrap_or(rest.len());
        out.push(&rest[..end]);
        rest = &rest[end..];
    }
    out
}

/// Whether `a` comes before `b` where numbers inside of texts count as numbers.
fn naturally_before(a: &str, b: &str) -> bool {
    let (a, b) = (runs(a), runs(b));
    for (at, x) in a.iter().enumerate() {
        let Some(y) = b.get(at) else { return false };
        let order = match (x.parse::<i64>(), y.parse::<i64>()) {
            (Ok(x), Ok(y)) => x.cmp(&y),
            _ => x.cmp(y),
        };
        if order != Ordering::Equal {
            return order == Ordering::Less;
        }
        if at + 1 == a.len() {
            return true;
        }
        if at + 1 == b.len() {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::naturally_before;

    #[test]
    fn numbers_in_texts() {
        assert!(naturally_before("cpu2", "cpu10"));
        assert!(!naturally_before("cpu10", "cpu2"));
        assert!(naturally_before("a", "b"));
        assert!(naturally_before("1.9", "1.10"));
    }
}
