//! Numbers for people, as the templates of Prometheus write them.

use towpath_query::template::{Time, Value};

/// A value as a number.
pub(super) fn number(value: &Value) -> Result<f64, String> {
    match value {
        Value::Float(number) => Ok(*number),
        Value::Int(number) => Ok(*number as f64),
        Value::Duration(nanos) => Ok(*nanos as f64 / 1e9),
        Value::String(text) => parse(text).ok_or_else(|| {
            let quoted = towpath_query::promql::quote(text);
            format!("strconv.ParseFloat: parsing {quoted}: invalid syntax")
        }),
        Value::Nil | Value::Missing => Err("can't convert <nil> to float".to_owned()),
        value => Err(format!("can't convert {} to float", value.type_name())),
    }
}

fn parse(text: &str) -> Option<f64> {
    // Rust reads everything Go does but underscores and hexadecimal fractions.
    text.parse().ok()
}

/// `%.4g`
fn four(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let text = format!("{value:.3e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    if (-4..4).contains(&exponent) {
        let rounded: f64 = text.parse().unwrap_or(value);
        return format!("{rounded}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const BINARY: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

fn divided(mut value: f64, by: f64, prefixes: [&str; 8]) -> String {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < by {
            break;
        }
        prefix = next;
        value /= by;
    }
    format!("{}{prefix}", four(value))
}

fn multiplied(mut value: f64, unit: &str) -> String {
    let mut prefix = "";
    for next in SMALL {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = next;
        value *= 1000.0;
    }
    format!("{}{prefix}{unit}", four(value))
}

pub(super) fn plain(value: f64) -> String {
    match value {
        v if v == 0.0 || !v.is_finite() => four(v),
        v if v.abs() >= 1.0 => divided(v, 1000.0, LARGE),
        v => multiplied(v, ""),
    }
}

pub(super) fn binary(value: f64) -> String {
    match value {
        v if v.abs() <= 1.0 || !v.is_finite() => four(v),
        v => divided(v, 1024.0, BINARY),
    }
}

pub(super) fn percentage(value: f64) -> String {
    format!("{}%", four(value * 100.0))
}

pub(super) fn duration(value: f64) -> String {
    if !value.is_finite() {
        return four(value);
    }
    if value == 0.0 {
        return format!("{}s", four(value));
    }
    if value.abs() < 1.0 {
        return multiplied(value, "s");
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let value = value.abs();
    let whole = value as i64;
    let (s, m, h, d) = (
        whole % 60,
        whole / 60 % 60,
        whole / 3600 % 24,
        whole / 86_400,
    );
    match (d, h, m) {
        (0, 0, 0) => format!("{sign}{}s", four(value)),
        (0, 0, _) => format!("{sign}{m}m {s}s"),
        (0, _, _) => format!("{sign}{h}h {m}m {s}s"),
        _ => format!("{sign}{d}d {h}h {m}m {s}s"),
    }
}

/// Seconds since the epoch as a time; milliseconds count.
pub(super) fn time(seconds: f64) -> Result<Time, String> {
    if !seconds.is_finite() {
        return Err("value is NaN or Inf".to_owned());
    }
    let nanos = seconds * 1e9;
    if nanos.abs() > i64::MAX as f64 {
        let shown = towpath_query::promql::format_general(seconds);
        return Err(format!(
            "{shown} cannot be represented as a nanoseconds timestamp since it overflows int64"
        ));
    }
    Ok(Time::from_millis((nanos as i64) / 1_000_000))
}

pub(super) fn timestamp(value: f64) -> Result<String, String> {
    match value.is_finite() {
        true => Ok(time(value)?.to_string()),
        false => Ok(four(value)),
    }
}
