//! Arithmetic, conversions between types, times and amounts. Nothing wraps around: what does not
//! fit is an error.

use super::eval::{Result_, Run, fault};
use super::time::{self, Civil};
use super::value::Value;
use crate::go_duration;
use crate::quantity::Quantity;

const NANOS: i128 = 1_000_000_000;

pub(crate) fn call(run: &mut Run<'_>, function: &str, args: &[Value]) -> Option<Result_> {
    match function {
        "_+_" | "_-_" | "_*_" | "_/_" | "_%_" => binary(run, function, args),
        "-_" => match args {
            [Value::Int(n)] => Some(int(n.checked_neg())),
            [Value::Double(n)] => Some(Ok(Value::Double(-n))),
            _ => None,
        },
        "int" | "uint" | "double" | "bool" | "bytes" | "duration" | "timestamp" => {
            convert(function, args.first()?)
        }
        "getFullYear" | "getMonth" | "getDayOfYear" | "getDayOfMonth" | "getDate"
        | "getDayOfWeek" | "getHours" | "getMinutes" | "getSeconds" | "getMilliseconds" => {
            part(function, args)
        }
        _ => None,
    }
}

fn int(value: Option<i64>) -> Result_ {
    match value {
        Some(value) => Ok(Value::Int(value)),
        None => fault("integer overflow"),
    }
}

fn uint(value: Option<u64>) -> Result_ {
    match value {
        Some(value) => Ok(Value::Uint(value)),
        None => fault("unsigned integer overflow"),
    }
}

fn binary(run: &mut Run<'_>, function: &str, args: &[Value]) -> Option<Result_> {
    let [a, b] = args else {
        return None;
    };
    Some(match (function, a, b) {
        ("_+_", Value::Int(a), Value::Int(b)) => int(a.checked_add(*b)),
        ("_-_", Value::Int(a), Value::Int(b)) => int(a.checked_sub(*b)),
        ("_*_", Value::Int(a), Value::Int(b)) => int(a.checked_mul(*b)),
        ("_/_", Value::Int(_), Value::Int(0)) | ("_/_", Value::Uint(_), Value::Uint(0)) => {
            fault("division by zero")
        }
        ("_%_", Value::Int(_), Value::Int(0)) | ("_%_", Value::Uint(_), Value::Uint(0)) => {
            fault("modulus by zero")
        }
        ("_/_", Value::Int(a), Value::Int(b)) => int(a.checked_div(*b)),
        ("_%_", Value::Int(a), Value::Int(b)) => int(a.checked_rem(*b)),
        ("_+_", Value::Uint(a), Value::Uint(b)) => uint(a.checked_add(*b)),
        ("_-_", Value::Uint(a), Value::Uint(b)) => uint(a.checked_sub(*b)),
        ("_*_", Value::Uint(a), Value::Uint(b)) => uint(a.checked_mul(*b)),
        ("_/_", Value::Uint(a), Value::Uint(b)) => uint(a.checked_div(*b)),
        ("_%_", Value::Uint(a), Value::Uint(b)) => uint(a.checked_rem(*b)),
        ("_+_", Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        ("_-_", Value::Double(a), Value::Double(b)) => Ok(Value::Double(a - b)),
        ("_*_", Value::Double(a), Value::Double(b)) => Ok(Value::Double(a * b)),
        ("_/_", Value::Double(a), Value::Double(b)) => Ok(Value::Double(a / b)),
        ("_+_", Value::String(a), Value::String(b)) => {
            if let Err(error) = run.text(a.len() + b.len()) {
                return Some(Err(error));
            }
            Ok(format!("{a}{b}").into())
        }
        ("_+_", Value::Bytes(a), Value::Bytes(b)) => {
            if let Err(error) = run.text(a.len() + b.len()) {
                return Some(Err(error));
            }
            Ok(Value::Bytes([&**a, &**b].concat().into()))
        }
        ("_+_", Value::Duration(a), Value::Duration(b)) => span(a.checked_add(*b)),
        ("_-_", Value::Duration(a), Value::Duration(b)) => span(a.checked_sub(*b)),
        ("_+_", Value::Timestamp(s, n), Value::Duration(d))
        | ("_+_", Value::Duration(d), Value::Timestamp(s, n)) => point(*s, *n, i128::from(*d)),
        ("_-_", Value::Timestamp(s, n), Value::Duration(d)) => point(*s, *n, -i128::from(*d)),
        ("_-_", Value::Timestamp(s, n), Value::Timestamp(t, m)) => {
            let nanos = (i128::from(*s) - i128::from(*t)) * NANOS + i128::from(*n) - i128::from(*m);
            span(i64::try_from(nanos).ok())
        }
        _ => return None,
    })
}

fn span(nanos: Option<i64>) -> Result_ {
    match nanos {
        Some(nanos) => Ok(Value::Duration(nanos)),
        None => fault("duration overflow"),
    }
}

fn point(seconds: i64, nanos: u32, more: i128) -> Result_ {
    let total = i128::from(seconds) * NANOS + i128::from(nanos) + more;
    let seconds = i64::try_from(total.div_euclid(NANOS)).unwrap_or(i64::MAX);
    match time::in_range(seconds) {
        true => Ok(Value::Timestamp(seconds, total.rem_euclid(NANOS) as u32)),
        false => fault("timestamp overflow"),
    }
}

fn no_conversion(value: &Value, to: &str) -> Result_ {
    let to = match to {
        "duration" => "google.protobuf.Duration",
        "timestamp" => "google.protobuf.Timestamp",
        other => other,
    };
    fault(format!(
        "type conversion error from '{}' to '{to}'",
        value.type_name()
    ))
}

fn convert(to: &str, value: &Value) -> Option<Result_> {
    Some(match (to, value) {
        ("int", Value::Int(_))
        | ("uint", Value::Uint(_))
        | ("double", Value::Double(_))
        | ("bool", Value::Bool(_))
        | ("bytes", Value::Bytes(_))
        | ("duration", Value::Duration(_))
        | ("timestamp", Value::Timestamp(..)) => Ok(value.clone()),
        ("int", Value::Uint(n)) => int(i64::try_from(*n).ok()),
        ("int", Value::Double(n)) => {
            // Both ends are excluded, as upstream has it.
            let fits = *n > -9_223_372_036_854_775_808.0 && *n < 9_223_372_036_854_775_807.0;
            int(fits.then_some(*n as i64))
        }
        ("int", Value::String(text)) => match number(text) {
            Some(n) => Ok(Value::Int(n)),
            None => no_conversion(value, to),
        },
        ("int", Value::Timestamp(seconds, _)) => Ok(Value::Int(*seconds)),
        ("int", Value::Duration(nanos)) => Ok(Value::Int(*nanos)),
        ("uint", Value::Int(n)) => uint(u64::try_from(*n).ok()),
        ("uint", Value::Double(n)) => {
            let fits = *n >= 0.0 && *n < 18_446_744_073_709_551_616.0;
            uint(fits.then_some(*n as u64))
        }
        ("uint", Value::String(text)) => match unsigned(text) {
            Some(n) => Ok(Value::Uint(n)),
            None => no_conversion(value, to),
        },
        ("double", Value::Int(n)) => Ok(Value::Double(*n as f64)),
        ("double", Value::Uint(n)) => Ok(Value::Double(*n as f64)),
        ("double", Value::String(text)) => match float(text) {
            Some(n) => Ok(Value::Double(n)),
            None => no_conversion(value, to),
        },
        ("bool", Value::String(text)) => match &**text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Value::Bool(false)),
            _ => no_conversion(value, to),
        },
        ("bytes", Value::String(text)) => Ok(Value::Bytes(text.as_bytes().into())),
        ("duration", Value::Int(n)) => Ok(Value::Duration(*n)),
        ("duration", Value::String(text)) => match go_duration::parse(text) {
            Some(nanos) => Ok(Value::Duration(nanos)),
            None => no_conversion(value, to),
        },
        ("timestamp", Value::Int(seconds)) => match time::in_range(*seconds) {
            true => Ok(Value::Timestamp(*seconds, 0)),
            false => fault("timestamp overflow"),
        },
        ("timestamp", Value::String(text)) => match time::timestamp(text) {
            Some((seconds, nanos)) => Ok(Value::Timestamp(seconds, nanos)),
            None => no_conversion(value, to),
        },
        _ => return None,
    })
}

fn number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn unsigned(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn float(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    let bare = lower.strip_prefix(['+', '-']).unwrap_or(&lower);
    if !matches!(bare, "inf" | "infinity" | "nan")
        && !bare
            .bytes()
            .all(|c| c.is_ascii_digit() || matches!(c, b'.' | b'e' | b'+' | b'-'))
    {
        return None;
    }
    let number: f64 = lower.parse().ok()?;
    // What is too large for a number is none, unless it says so.
    (number.is_finite() || bare.starts_with(['i', 'n'])).then_some(number)
}

fn part(function: &str, args: &[Value]) -> Option<Result_> {
    if let [Value::Duration(nanos)] = args {
        let divisor = match function {
            "getHours" => 3_600_000_000_000,
            "getMinutes" => 60_000_000_000,
            "getSeconds" => 1_000_000_000,
            "getMilliseconds" => 1_000_000,
            _ => return None,
        };
        return Some(Ok(Value::Int(nanos / divisor)));
    }
    let (seconds, nanos, zone) = match args {
        [Value::Timestamp(seconds, nanos)] => (*seconds, *nanos, "UTC"),
        [Value::Timestamp(seconds, nanos), Value::String(zone)] => (*seconds, *nanos, &**zone),
        _ => return None,
    };
    let Some(offset) = time::offset(zone) else {
        return Some(fault(format!("unknown time zone {zone}")));
    };
    let at = Civil::of(seconds + offset);
    Some(Ok(Value::Int(match function {
        "getFullYear" => at.year,
        "getMonth" => at.month - 1,
        "getDayOfYear" => at.year_day,
        "getDayOfMonth" => at.day - 1,
        "getDate" => at.day,
        "getDayOfWeek" => at.week_day,
        "getHours" => at.second_of_day / 3600,
        "getMinutes" => at.second_of_day / 60 % 60,
        "getSeconds" => at.second_of_day % 60,
        _ => i64::from(nanos / 1_000_000),
    })))
}

/// Amounts.
pub(crate) fn quantities(_: &mut Run<'_>, function: &str, args: &[Value]) -> Option<Result_> {
    Some(match (function, args) {
        ("quantity", [Value::String(text)]) => match Quantity::parse(text) {
            Ok(amount) => Ok(Value::Quantity(amount)),
            Err(why) => fault(why.to_string()),
        },
        ("isQuantity", [Value::String(text)]) => Ok(Value::Bool(Quantity::parse(text).is_ok())),
        ("sign", [Value::Quantity(a)]) => Ok(Value::Int(i64::from(a.sign()))),
        ("isGreaterThan", [Value::Quantity(a), Value::Quantity(b)]) => Ok(Value::Bool(a > b)),
        ("isLessThan", [Value::Quantity(a), Value::Quantity(b)]) => Ok(Value::Bool(a < b)),
        ("compareTo", [Value::Quantity(a), Value::Quantity(b)]) => Ok(Value::Int(a.cmp(b) as i64)),
        ("asApproximateFloat", [Value::Quantity(a)]) => Ok(Value::Double(a.approximate())),
        ("asInteger", [Value::Quantity(a)]) => match a.exact() {
            Some(units) => Ok(Value::Int(units)),
            None => fault("cannot convert value to integer"),
        },
        ("isInteger", [Value::Quantity(a)]) => Ok(Value::Bool(a.exact().is_some())),
        ("add", [Value::Quantity(a), Value::Quantity(b)]) => Ok(Value::Quantity(a.plus(*b))),
        ("add", [Value::Quantity(a), Value::Int(b)]) => {
            Ok(Value::Quantity(a.plus(Quantity::from_units(*b))))
        }
        ("sub", [Value::Quantity(a), Value::Quantity(b)]) => Ok(Value::Quantity(a.minus(*b))),
        ("sub", [Value::Quantity(a), Value::Int(b)]) => {
            Ok(Value::Quantity(a.minus(Quantity::from_units(*b))))
        }
        _ => return None,
    })
}
