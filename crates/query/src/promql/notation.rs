//! The short notation of series in test scripts and in unit tests of rules:
//! `name{label="value"} 1 2+3x4 _ stale {{sum:5 count:2 buckets:[1 1]}}x3`.

use std::sync::Arc;

use super::histogram::{Histogram, ResetHint};
use super::labels::Labels;
use super::matcher::MatchOp;
use super::parse::parse_selector;
use super::series::stale;

/// One place in a notated series.
#[derive(Clone, Debug)]
pub enum Notated {
    /// No sample.
    Gap,
    /// A plain sample.
    Float(f64),
    /// A histogram, and whether what is known about resets was written down.
    Histogram(Arc<Histogram>, bool),
}

/// The most samples one series may be notated to have.
const MAX_SAMPLES: usize = 1_000_000;

/// Reads a series: its labels, and its samples in the order of their places.
pub fn parse_series(text: &str) -> Result<(Labels, Vec<Notated>), String> {
    let text = text.trim();
    let end = metric_end(text);
    let metric = &text[..end];
    let matchers = parse_selector(metric).map_err(|error| error.to_string())?;
    let labels = matchers
        .into_iter()
        .map(|matcher| match matcher.op {
            MatchOp::Equal => Ok((matcher.name, matcher.value)),
            _ => Err(format!(
                "unexpected {} in label set, expected \"=\"",
                matcher.op.text()
            )),
        })
        .collect::<Result<Labels, String>>()?;
    let mut out = Vec::new();
    for item in items(&text[end..])? {
        notated(item, &mut out)?;
        if out.len() > MAX_SAMPLES {
            return Err(format!("more than {MAX_SAMPLES} samples"));
        }
    }
    Ok((labels, out))
}

/// Where the metric ends and the samples begin.
fn metric_end(text: &str) -> usize {
    let (mut quote, mut escaped, mut braces) = (None, false, false);
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"' | '\'') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if braces && matches!(c, '"' | '\'' | '`') => quote = Some(c),
            None if c == '{' => braces = true,
            None if braces && c == '}' => return at + 1,
            None if !braces && c.is_whitespace() => return at,
            None => {}
        }
    }
    text.len()
}

/// Cuts at spaces outside of histograms.
fn items(text: &str) -> Result<Vec<&str>, String> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let mut end = 0;
        while let Some(c) = rest[end..].chars().next() {
            if rest[end..].starts_with("{{") {
                let close = rest[end..].find("}}").ok_or("histogram is not closed")?;
                end += close + 2;
            } else if c.is_whitespace() {
                break;
            } else {
                end += c.len_utf8();
            }
        }
        out.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    Ok(out)
}

fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count <= MAX_SAMPLES);
    count.ok_or_else(|| format!("invalid repetition in series values: {text}"))
}

fn notated(item: &str, out: &mut Vec<Notated>) -> Result<(), String> {
    if let Some(rest) = item.strip_prefix('_') {
        let times = match rest.strip_prefix('x') {
            Some(times) => count(times)?,
            None if rest.is_empty() => 1,
            None => return Err(format!("unexpected {item} in series values")),
        };
        out.extend(std::iter::repeat_n(Notated::Gap, times));
        return Ok(());
    }
    if item.starts_with("{{") {
        return histograms(item, out);
    }
    let (values, times) = match item.rsplit_once('x') {
        Some((values, times)) => (values, Some(count(times)?)),
        None => (item, None),
    };
    let Some(times) = times else {
        out.push(Notated::Float(number(values)?));
        return Ok(());
    };
    // A sign that is neither the first nor part of an exponent begins the step.
    let step = values.char_indices().skip(1).find(|(at, c)| {
        matches!(c, '+' | '-') && !matches!(values.as_bytes()[at - 1], b'e' | b'E')
    });
    let (mut value, step) = match step {
        Some((at, _)) => (number(&values[..at])?, number(&values[at..])?),
        None => (number(values)?, 0.0),
    };
    for _ in 0..=times {
        out.push(Notated::Float(value));
        value += step;
    }
    Ok(())
}

fn number(text: &str) -> Result<f64, String> {
    if text == "stale" {
        return Ok(stale());
    }
    let (sign, bare) = match text.strip_prefix('-') {
        Some(bare) => (-1.0, bare),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let known = ["inf", "nan"].contains(&bare.to_ascii_lowercase().as_str());
    if !known && !bare.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(format!(
            "unexpected {text} in series values, expected number or \"stale\""
        ));
    }
    super::text::parse_number(bare)
        .or_else(|error| {
            super::text::parse_duration(bare)
                .map(|ms| ms as f64 / 1e3)
                .or(Err(error))
        })
        .map(|value| sign * value)
}

fn histograms(item: &str, out: &mut Vec<Notated>) -> Result<(), String> {
    let close = item.find("}}").ok_or("histogram is not closed")?;
    let (first, first_hint) = histogram(&item[2..close])?;
    let rest = &item[close + 2..];
    let first = Arc::new(first);
    if rest.is_empty() {
        out.push(Notated::Histogram(first, first_hint));
        return Ok(());
    }
    if let Some(times) = rest.strip_prefix('x') {
        let one = Notated::Histogram(first, first_hint);
        out.extend(std::iter::repeat_n(one, count(times)? + 1));
        return Ok(());
    }
    let (minus, step) = match (rest.strip_prefix("+{{"), rest.strip_prefix("-{{")) {
        (Some(step), _) => (false, step),
        (_, Some(step)) => (true, step),
        _ => return Err(format!("unexpected {rest} in series values")),
    };
    let (step, times) = step
        .split_once("}}x")
        .ok_or("histogram series without repetition")?;
    let (step, hint) = histogram(step)?;
    let mut current = (*first).clone();
    out.push(Notated::Histogram(first, hint));
    for _ in 0..count(times)? {
        if current.schema > step.schema {
            return Err(format!(
                "error combining histograms: cannot merge from schema {} to {}",
                step.schema, current.schema
            ));
        }
        let merged = if minus {
            current.subtract(&step)
        } else {
            current.add(&step)
        };
        merged.map_err(|error| error.to_string())?;
        out.push(Notated::Histogram(Arc::new(current.clone()), hint));
    }
    Ok(())
}

/// A histogram, and whether its hint was given.
fn histogram(text: &str) -> Result<(Histogram, bool), String> {
    let mut out = Histogram::default();
    let mut hint = false;
    let (mut offset, mut negative_offset) = (0i32, 0i32);
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, value) = rest
            .split_once(':')
            .ok_or("missing `:` for histogram descriptor")?;
        let end = if value.starts_with('[') {
            value.find(']').ok_or("buckets are not closed")? + 1
        } else {
            value.find(char::is_whitespace).unwrap_or(value.len())
        };
        let (value, after) = value.split_at(end);
        rest = after.trim_start();
        let index = || {
            value
                .parse::<i32>()
                .map_err(|_| format!("error parsing {key} number"))
        };
        match key {
            "schema" => out.schema = index()?,
            "sum" => out.sum = number(value)?,
            "count" => out.count = number(value)?,
            "z_bucket" => out.zero_count = number(value)?,
            "z_bucket_w" => out.zero_threshold = number(value)?,
            "custom_values" => out.bounds = numbers(value)?.into(),
            "buckets" => positive = numbers(value)?,
            "offset" => offset = index()?,
            "n_buckets" => negative = numbers(value)?,
            "n_offset" => negative_offset = index()?,
            "counter_reset_hint" => {
                hint = true;
                out.hint = match value {
                    "unknown" => ResetHint::Unknown,
                    "reset" => ResetHint::Reset,
                    "not_reset" => ResetHint::NotReset,
                    "gauge" => ResetHint::Gauge,
                    other => return Err(format!("bad histogram descriptor found: {other:?}")),
                };
            }
            other => return Err(format!("bad histogram descriptor found: {other:?}")),
        }
    }
    out.positive = (offset..).zip(positive).collect();
    out.negative = (negative_offset..).zip(negative).collect();
    Ok((out, hint))
}

fn numbers(text: &str) -> Result<Vec<f64>, String> {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let inner = inner.ok_or_else(|| format!("unexpected {text} in histogram description"))?;
    inner.split_whitespace().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(text: &str) -> Vec<f64> {
        let (_, values) = parse_series(text).unwrap();
        let float = |value: &Notated| match value {
            Notated::Float(value) => *value,
            _ => -1.0,
        };
        values.iter().map(float).collect()
    }

    #[test]
    fn values() {
        assert_eq!(
            floats("a 1 2+3x2 _x2 4x1"),
            [1.0, 2.0, 5.0, 8.0, -1.0, -1.0, 4.0, 4.0]
        );
        assert_eq!(floats("a{b=\"} c\"} 1e-2-1e-1x1"), [0.01, 0.01 - 0.1]);
        assert!(parse_series("a{} 1 foo").is_err());
        assert!(parse_series("a 1x99999999").is_err());
    }

    #[test]
    fn histograms() {
        let (labels, values) =
            parse_series("{\"a b\"} {{schema:1 sum:3 count:2 offset:-1 buckets:[1 1]}}x1").unwrap();
        assert_eq!(labels.get("__name__"), "a b");
        let Notated::Histogram(histogram, false) = &values[1] else {
            panic!("{values:?}")
        };
        assert_eq!(histogram.positive, [(-1, 1.0), (0, 1.0)]);
    }
}
