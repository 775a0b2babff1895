//! What templates of lines and labels may call.

use std::cell::RefCell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::logql::amount;
use crate::template::{Functions, Kind, Time, Value, url_query};

thread_local! {
    /// Functions are made once for each thread: they cannot be shared, and lines are many.
    static FUNCTIONS: Functions<'static> = functions();
    /// The time and the text of the line that is formatted.
    static LINE: RefCell<(i64, String)> = const { RefCell::new((0, String::new())) };
}

/// Calls `with` with the functions, which see a line and its time in nanoseconds.
pub(super) fn with<T>(at: i64, line: &str, with: impl FnOnce(&Functions<'static>) -> T) -> T {
    LINE.with_borrow_mut(|current| {
        current.0 = at;
        current.1.clear();
        current.1.push_str(line);
    });
    FUNCTIONS.with(with)
}

fn text(values: &[Value], at: usize) -> &str {
    values.get(at).and_then(Value::as_str).unwrap_or_default()
}

fn int(values: &[Value], at: usize) -> i64 {
    match values.get(at) {
        Some(Value::Int(value)) => *value,
        Some(Value::Float(value)) => *value as i64,
        Some(Value::String(text)) => text.trim().parse().unwrap_or(0),
        _ => 0,
    }
}

fn float(value: &Value) -> f64 {
    match value {
        Value::Int(value) => *value as f64,
        Value::Float(value) => *value,
        Value::String(text) => text.trim().parse().unwrap_or(0.0),
        Value::Bool(true) => 1.0,
        _ => 0.0,
    }
}

type TextOf = fn(&[Value]) -> String;
type IntsOf = fn(i64, i64) -> i64;
type FloatOf = fn(f64) -> f64;
type TextsTest = fn(&str, &str) -> bool;
type FloatsOf = fn(f64, f64) -> f64;

const TEXT: &[Kind] = &[Kind::Text];
const TEXTS: &[Kind] = &[Kind::Text, Kind::Text];
const THREE: &[Kind] = &[Kind::Text, Kind::Text, Kind::Text];
const INT_TEXT: &[Kind] = &[Kind::Int, Kind::Text];

/// Functions from texts and numbers to a text.
const TO_TEXT: &[(&str, &[Kind], TextOf)] = &[
    ("ToLower", TEXT, |v| text(v, 0).to_lowercase()),
    ("lower", TEXT, |v| text(v, 0).to_lowercase()),
    ("ToUpper", TEXT, |v| text(v, 0).to_uppercase()),
    ("upper", TEXT, |v| text(v, 0).to_uppercase()),
    ("title", TEXT, |v| title(text(v, 0))),
    ("TrimSpace", TEXT, |v| text(v, 0).trim().to_owned()),
    ("trim", TEXT, |v| text(v, 0).trim().to_owned()),
    ("Trim", TEXTS, |v| cut(text(v, 0), text(v, 1), true, true)),
    ("TrimLeft", TEXTS, |v| {
        cut(text(v, 0), text(v, 1), true, false)
    }),
    ("TrimRight", TEXTS, |v| {
        cut(text(v, 0), text(v, 1), false, true)
    }),
    ("trimAll", TEXTS, |v| {
        cut(text(v, 1), text(v, 0), true, true)
    }),
    ("TrimPrefix", TEXTS, |v| prefix(text(v, 0), text(v, 1))),
    ("trimPrefix", TEXTS, |v| prefix(text(v, 1), text(v, 0))),
    ("TrimSuffix", TEXTS, |v| suffix(text(v, 0), text(v, 1))),
    ("trimSuffix", TEXTS, |v| suffix(text(v, 1), text(v, 0))),
    ("replace", THREE, |v| {
        text(v, 2).replace(text(v, 0), text(v, 1))
    }),
    (
        "Replace",
        &[Kind::Text, Kind::Text, Kind::Text, Kind::Int],
        |v| match usize::try_from(int(v, 3)) {
            Ok(times) => text(v, 0).replacen(text(v, 1), text(v, 2), times),
            Err(_) => text(v, 0).replace(text(v, 1), text(v, 2)),
        },
    ),
    ("trunc", INT_TEXT, |v| truncated(int(v, 0), text(v, 1))),
    ("substr", &[Kind::Int, Kind::Int, Kind::Text], |v| {
        part(int(v, 0), int(v, 1), text(v, 2))
    }),
    ("alignLeft", INT_TEXT, |v| {
        aligned(int(v, 0), text(v, 1), false)
    }),
    ("alignRight", INT_TEXT, |v| {
        aligned(int(v, 0), text(v, 1), true)
    }),
    ("indent", INT_TEXT, |v| indented(int(v, 0), text(v, 1))),
    ("nindent", INT_TEXT, |v| {
        format!("\n{}", indented(int(v, 0), text(v, 1)))
    }),
    ("urlencode", TEXT, |v| url_query(text(v, 0))),
    ("b64enc", TEXT, |v| STANDARD.encode(text(v, 0))),
    ("unixEpoch", &[Kind::Any], |v| {
        (nanos(v) / 1_000_000_000).to_string()
    }),
    ("unixEpochMillis", &[Kind::Any], |v| {
        (nanos(v) / 1_000_000).to_string()
    }),
    ("unixEpochNanos", &[Kind::Any], |v| nanos(v).to_string()),
    ("date", &[Kind::Text, Kind::Any], |v| match v.get(1) {
        Some(Value::Time(time)) => time.format(text(v, 0)),
        _ => String::new(),
    }),
];

const INTS: &[(&str, IntsOf)] = &[
    ("sub", i64::wrapping_sub),
    ("div", |a, b| a.checked_div(b).unwrap_or(0)),
    ("mod", |a, b| a.checked_rem(b).unwrap_or(0)),
];

/// Functions of any number of whole numbers.
const MANY_INTS: &[(&str, IntsOf)] = &[
    ("add", i64::wrapping_add),
    ("mul", i64::wrapping_mul),
    ("max", i64::max),
    ("min", i64::min),
];

/// Functions of any number of numbers.
const MANY_FLOATS: &[(&str, FloatsOf)] = &[
    ("addf", |a, b| a + b),
    ("subf", |a, b| a - b),
    ("mulf", |a, b| a * b),
    ("divf", |a, b| a / b),
    ("maxf", f64::max),
    ("minf", f64::min),
];

fn functions() -> Functions<'static> {
    let mut all = Functions::new();
    for (name, takes, body) in TO_TEXT {
        all.add(name, takes, None, |_, values| Ok(Value::text(body(values))));
    }
    for (name, body) in INTS {
        all.add(name, &[Kind::Any, Kind::Any], None, |_, values| {
            Ok(Value::Int(body(int(values, 0), int(values, 1))))
        });
    }
    for (name, body) in MANY_INTS {
        all.add(name, &[], Some(Kind::Any), move |_, values| {
            let numbers = (0..values.len()).map(|at| int(values, at));
            Ok(Value::Int(numbers.reduce(body).unwrap_or(0)))
        });
    }
    for (name, body) in MANY_FLOATS {
        all.add(name, &[], Some(Kind::Any), move |_, values| {
            Ok(Value::Float(
                values.iter().map(float).reduce(body).unwrap_or(0.0),
            ))
        });
    }
    numbers(&mut all);
    conditions(&mut all);
    all.add("__line__", &[], None, |_, _| {
        Ok(LINE.with_borrow(|(_, line)| Value::text(line.as_str())))
    });
    all.add("__timestamp__", &[], None, |_, _| {
        let at = LINE.with_borrow(|(at, _)| *at);
        Ok(Value::Time(Time::utc(i128::from(at))))
    });
    all.add("b64dec", TEXT, None, |_, values| {
        let bytes = STANDARD
            .decode(text(values, 0))
            .map_err(|e| e.to_string())?;
        Ok(Value::text(String::from_utf8_lossy(&bytes).as_ref()))
    });
    all.add("urldecode", TEXT, None, |_, values| {
        Ok(Value::text(url_decoded(text(values, 0))))
    });
    all.add("repeat", INT_TEXT, None, |call, values| {
        let (times, of) = (
            usize::try_from(int(values, 0)).unwrap_or(0),
            text(values, 1),
        );
        if times.saturating_mul(of.len()) > call.limit() {
            return Err("the text is too long".to_owned());
        }
        Ok(Value::text(of.repeat(times)))
    });
    for name in ["regexReplaceAll", "regexReplaceAllLiteral"] {
        all.add(name, THREE, None, move |call, values| {
            call.charge(1000)?;
            let regex = super::regex(text(values, 0))?;
            let (of, with) = (text(values, 1), text(values, 2));
            let made = if name.ends_with("Literal") {
                regex.replace_all(of, regex::NoExpand(with))
            } else {
                regex.replace_all(of, with)
            };
            Ok(Value::text(made.as_ref()))
        });
    }
    all.add("count", TEXTS, None, |call, values| {
        call.charge(1000)?;
        let regex = super::regex(text(values, 0))?;
        Ok(Value::Int(regex.find_iter(text(values, 1)).count() as i64))
    });
    all.add("fromJson", TEXT, None, |_, values| {
        let value = serde_json::from_str(text(values, 0));
        value.map(json).map_err(|error| error.to_string())
    });
    all
}

fn numbers(all: &mut Functions<'static>) {
    let rounding: [(&str, FloatOf); 2] = [("ceil", f64::ceil), ("floor", f64::floor)];
    for (name, body) in rounding {
        all.add(name, &[Kind::Any], None, move |_, values| {
            Ok(Value::Float(body(values.first().map_or(0.0, float))))
        });
    }
    all.add("round", &[Kind::Any], Some(Kind::Any), |_, values| {
        let digits = 10f64.powi(int(values, 1).clamp(0, 15) as i32);
        let value = values.first().map_or(0.0, float);
        Ok(Value::Float((value * digits).round() / digits))
    });
    all.add("int", &[Kind::Any], None, |_, values| {
        Ok(Value::Int(int(values, 0)))
    });
    all.add("float64", &[Kind::Any], None, |_, values| {
        Ok(Value::Float(values.first().map_or(0.0, float)))
    });
    all.add("bytes", TEXT, None, |_, values| {
        let bytes = amount::parse_bytes(text(values, 0));
        bytes
            .map(Value::Float)
            .ok_or_else(|| "no number of bytes".to_owned())
    });
    for name in ["duration", "duration_seconds"] {
        all.add(name, TEXT, None, |_, values| {
            let ns = amount::parse_duration(text(values, 0));
            let ns = ns.ok_or_else(|| "no duration".to_owned())?;
            Ok(Value::Float(ns as f64 / 1e9))
        });
    }
    all.add("unixToTime", TEXT, None, |_, values| {
        let digits = text(values, 0);
        let number: i128 = digits.parse().map_err(|_| "no time".to_owned())?;
        // Days, seconds, milliseconds, microseconds or nanoseconds, told by their length.
        let unit = match digits.len() {
            5 => 86_400_000_000_000,
            10 => 1_000_000_000,
            13 => 1_000_000,
            16 => 1_000,
            19 => 1,
            _ => return Err(format!("unable to parse time '{digits}'")),
        };
        Ok(Value::Time(Time::utc(number.saturating_mul(unit))))
    });
}

fn conditions(all: &mut Functions<'static>) {
    let tests: [(&str, TextsTest); 3] = [
        ("contains", |part, of| of.contains(part)),
        ("hasPrefix", |part, of| of.starts_with(part)),
        ("hasSuffix", |part, of| of.ends_with(part)),
    ];
    for (name, body) in tests {
        all.add(name, TEXTS, None, move |_, values| {
            Ok(Value::Bool(body(text(values, 0), text(values, 1))))
        });
    }
    all.add("default", &[Kind::Any, Kind::Any], None, |_, values| {
        let [fallback, value] = values else {
            return Ok(Value::Nil);
        };
        Ok(if value.truth() {
            value.clone()
        } else {
            fallback.clone()
        })
    });
}

fn nanos(values: &[Value]) -> i128 {
    match values.first() {
        Some(Value::Time(time)) => time.nanos,
        _ => 0,
    }
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .flat_map(|c| {
            let upper = start && c.is_alphabetic();
            start = !c.is_alphanumeric() && c != '_';
            let one: Vec<char> = if upper {
                c.to_uppercase().collect()
            } else {
                vec![c]
            };
            one
        })
        .collect()
}

fn cut(text: &str, set: &str, left: bool, right: bool) -> String {
    let mut out = text;
    if left {
        out = out.trim_start_matches(|c| set.contains(c));
    }
    if right {
        out = out.trim_end_matches(|c| set.contains(c));
    }
    out.to_owned()
}

fn prefix(text: &str, prefix: &str) -> String {
    text.strip_prefix(prefix).unwrap_or(text).to_owned()
}

fn suffix(text: &str, suffix: &str) -> String {
    text.strip_suffix(suffix).unwrap_or(text).to_owned()
}

/// The first characters, or the last ones where the count is negative.
fn truncated(count: i64, text: &str) -> String {
    let length = count.unsigned_abs() as usize;
    let all = text.chars().count();
    if count < 0 {
        text.chars().skip(all.saturating_sub(length)).collect()
    } else {
        text.chars().take(length).collect()
    }
}

fn part(start: i64, end: i64, text: &str) -> String {
    let start = usize::try_from(start).unwrap_or(0);
    let end = usize::try_from(end).unwrap_or(usize::MAX);
    text.chars().take(end).skip(start).collect()
}

fn aligned(width: i64, text: &str, right: bool) -> String {
    let width = usize::try_from(width).unwrap_or(0).min(4096);
    let length = text.chars().count();
    let space = " ".repeat(width.saturating_sub(length));
    if length > width {
        let skipped = if right { length - width } else { 0 };
        return text.chars().skip(skipped).take(width).collect();
    }
    if right {
        space + text
    } else {
        text.to_owned() + &space
    }
}

fn indented(spaces: i64, text: &str) -> String {
    let pad = " ".repeat(usize::try_from(spaces).unwrap_or(0).min(4096));
    format!("{pad}{}", text.replace('\n', &format!("\n{pad}")))
}

fn url_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let mut digit = || ahead.next().and_then(|b| char::from(b).to_digit(16));
        match byte {
            b'+' => out.push(b' '),
            b'%' => match (digit(), digit()) {
                (Some(high), Some(low)) => {
                    out.push((high * 16 + low) as u8);
                    bytes = ahead;
                }
                _ => out.push(byte),
            },
            byte => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn json(value: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::Nil,
        Json::Bool(truth) => Value::Bool(truth),
        Json::Number(number) => Value::Float(number.as_f64().unwrap_or(0.0)),
        Json::String(text) => Value::text(text),
        Json::Array(items) => Value::list(items.into_iter().map(json)),
        Json::Object(fields) => Value::map(fields.into_iter().map(|(k, v)| (k, json(v)))),
    }
}
