//! Texts: the standard functions, the extension of strings, and how values are shown.

use super::eval::{Error, Result_, Run, fault};
use super::text::pattern;
use super::time;
use super::types::Type;
use super::value::{Key, Value};

pub(crate) fn call(run: &mut Run<'_>, function: &str, args: &[Value]) -> Option<Result_> {
    if function == "string" {
        return convert(args.first()?);
    }
    if let [Value::List(list), rest @ ..] = args
        && function == "join"
        && list.items.iter().all(|item| item.as_str().is_some())
    {
        return Some(join(run, &list.items, rest));
    }
    let Some(Value::String(text)) = args.first() else {
        return None;
    };
    let result = match (function, &args[1..]) {
        ("startsWith", [Value::String(b)]) => Ok(Value::Bool(text.starts_with(&**b))),
        ("endsWith", [Value::String(b)]) => Ok(Value::Bool(text.ends_with(&**b))),
        ("contains", [Value::String(b)]) => Ok(Value::Bool(text.contains(&**b))),
        ("matches", [Value::String(b)]) => {
            with(run, text, b, |regex| Ok(Value::Bool(regex.is_match(text))))
        }
        ("find", [Value::String(b)]) => with(run, text, b, |regex| {
            Ok(regex.find(text).map_or("", |found| found.as_str()).into())
        }),
        ("findAll", [Value::String(b)]) => find_all(run, text, b, -1),
        ("findAll", [Value::String(b), Value::Int(n)]) => find_all(run, text, b, *n),
        ("charAt", [Value::Int(at)]) => {
            let count = text.chars().count() as i64;
            match usize::try_from(*at).ok().filter(|_| *at <= count) {
                Some(at) => Ok(text
                    .chars()
                    .nth(at)
                    .map(String::from)
                    .unwrap_or_default()
                    .into()),
                None => fault(format!("index out of range: {at}")),
            }
        }
        ("indexOf", [Value::String(b)]) => index_of(run, text, b, 0),
        ("indexOf", [Value::String(b), Value::Int(at)]) => index_of(run, text, b, *at),
        ("lastIndexOf", [Value::String(b)]) => {
            let count = text.chars().count() as i64;
            if b.is_empty() {
                Ok(Value::Int(count))
            } else if text.len() < b.len() {
                Ok(Value::Int(-1))
            } else {
                last_index_of(run, text, b, count - 1)
            }
        }
        ("lastIndexOf", [Value::String(b), Value::Int(at)]) => last_index_of(run, text, b, *at),
        ("lowerAscii", []) => Ok(text.to_ascii_lowercase().into()),
        ("upperAscii", []) => Ok(text.to_ascii_uppercase().into()),
        ("trim", []) => Ok(text.trim().into()),
        ("replace", [Value::String(a), Value::String(b)]) => replace(run, text, a, b, -1),
        ("replace", [Value::String(a), Value::String(b), Value::Int(n)]) => {
            replace(run, text, a, b, *n)
        }
        ("split", [Value::String(b)]) => split(run, text, b, -1),
        ("split", [Value::String(b), Value::Int(n)]) => split(run, text, b, *n),
        ("substring", [Value::Int(start)]) => {
            let count = text.chars().count() as i64;
            substring(text, *start, count.max(*start))
        }
        ("substring", [Value::Int(start), Value::Int(end)]) => substring(text, *start, *end),
        ("format", [Value::List(list)]) => format(run, text, &list.items),
        ("strings.quote", []) => Ok(quote(text).into()),
        ("jsonpatch.escapeKey", []) => Ok(text.replace('~', "~0").replace('/', "~1").into()),
        _ => return None,
    };
    Some(result)
}

fn with(
    run: &mut Run<'_>,
    text: &str,
    source: &str,
    then: impl FnOnce(&regex::Regex) -> Result_,
) -> Result_ {
    run.work((text.len() as u64 / 8 + 1) * (source.len() as u64 / 64 + 1))?;
    match pattern(source) {
        Ok(regex) => then(&regex),
        Err(why) => fault(format!("error parsing regexp: {why}")),
    }
}

fn find_all(run: &mut Run<'_>, text: &str, source: &str, count: i64) -> Result_ {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    run.items(text.len().min(count))?;
    with(run, text, source, |regex| {
        let found = regex.find_iter(text).take(count);
        Ok(Value::list(found.map(|m| m.as_str().into()).collect()))
    })
}

fn index_of(run: &mut Run<'_>, text: &str, part: &str, at: i64) -> Result_ {
    run.work(text.len() as u64)?;
    if part.is_empty() {
        return Ok(Value::Int(at));
    }
    let Ok(from) = usize::try_from(at) else {
        return fault(format!("index out of range: {at}"));
    };
    let Some((begin, _)) = text.char_indices().nth(from) else {
        return Ok(Value::Int(-1));
    };
    Ok(Value::Int(match text[begin..].find(part) {
        Some(found) => at + text[begin..begin + found].chars().count() as i64,
        None => -1,
    }))
}

fn last_index_of(run: &mut Run<'_>, text: &str, part: &str, at: i64) -> Result_ {
    run.work(text.len() as u64)?;
    if part.is_empty() {
        return Ok(Value::Int(at));
    }
    let Ok(from) = usize::try_from(at) else {
        return fault(format!("index out of range: {at}"));
    };
    let Some((begin, _)) = text.char_indices().nth(from) else {
        return Ok(Value::Int(-1));
    };
    let end = (begin + part.len()).min(text.len());
    let end = (end..=text.len())
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(text.len());
    let found = text[..end].rfind(part).filter(|found| *found <= begin);
    Ok(Value::Int(match found {
        Some(found) => text[..found].chars().count() as i64,
        None => -1,
    }))
}

fn replace(run: &mut Run<'_>, text: &str, old: &str, new: &str, count: i64) -> Result_ {
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let found = match old.is_empty() {
        true => text.chars().count() + 1,
        false => text.matches(old).count(),
    };
    run.text(text.len() + found.min(most).saturating_mul(new.len()))?;
    Ok(match count < 0 {
        true => text.replace(old, new),
        false => text.replacen(old, new, most),
    }
    .into())
}

fn split(run: &mut Run<'_>, text: &str, separator: &str, count: i64) -> Result_ {
    run.items(text.len())?;
    if count == 0 {
        return Ok(Value::list(Vec::new()));
    }
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    if !separator.is_empty() {
        let parts = text.splitn(most, separator);
        return Ok(Value::list(parts.map(Value::from).collect()));
    }
    // Go splits into characters; the last part takes what is left.
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if parts.len() + 1 == most {
            parts.push(rest.into());
            break;
        }
        parts.push(rest[..c.len_utf8()].into());
        rest = &rest[c.len_utf8()..];
    }
    Ok(Value::list(parts))
}

fn substring(text: &str, start: i64, end: i64) -> Result_ {
    if start > end {
        return fault(format!(
            "invalid substring range. start: {start}, end: {end}"
        ));
    }
    let count = text.chars().count() as i64;
    for at in [start, end] {
        if !(0..=count).contains(&at) {
            return fault(format!("index out of range: {at}"));
        }
    }
    let part = text.chars().skip(start as usize);
    Ok(part.take((end - start) as usize).collect::<String>().into())
}

fn join(run: &mut Run<'_>, items: &[Value], rest: &[Value]) -> Result_ {
    let separator = match rest {
        [] => "",
        [Value::String(separator)] => separator,
        _ => return super::eval::no_overload(),
    };
    let mut out = String::new();
    for (at, item) in items.iter().enumerate() {
        let Value::String(text) = item else {
            return fault(format!("join: invalid input: {}", show(item)));
        };
        run.text(text.len() + separator.len())?;
        if at > 0 {
            out.push_str(separator);
        }
        out.push_str(text);
        run.text(out.len() / 64)?;
        if out.len() > (8 << 20) {
            return Err(Error::Limit);
        }
    }
    Ok(out.into())
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// As Go's `%q`.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '\u{7}' | '\u{8}' | '\u{c}' | '\n' | '\r' | '\t' | '\u{b}' | '\\' | '"' => {
                let part = quote(c.encode_utf8(&mut [0; 4]));
                out.push_str(&part[1..part.len() - 1]);
            }
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn convert(value: &Value) -> Option<Result_> {
    Some(Ok(match value {
        Value::String(_) => value.clone(),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => return Some(fault("invalid UTF-8 in bytes, cannot convert to string")),
        },
        Value::Double(n) => double(*n, 6).into(),
        Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Duration(_)
        | Value::Timestamp(..) => show(value).into(),
        Value::Ip(ip) => ip.to_string().into(),
        Value::Cidr(cidr) => cidr.to_string().into(),
        _ => return None,
    }))
}

/// A number as Go's `%g` with the fewest digits.
pub(crate) fn double(n: f64, most: i32) -> String {
    if n.is_nan() {
        return "NaN".into();
    }
    if n.is_infinite() {
        return if n > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let scientific = format!("{n:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..most).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{n}")
}

/// A value in a message, and as `string()` converts it.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Uint(n) => n.to_string(),
        Value::Double(n) => double(*n, 21),
        Value::String(text) => text.to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Duration(nanos) => time::show_duration(*nanos),
        Value::Timestamp(seconds, nanos) => time::show_timestamp(*seconds, *nanos),
        Value::Type(name) => name.to_string(),
        other => other.type_name().to_string(),
    }
}

/// Name of the type that upstream's own messages use.
pub(crate) fn go_type(value: &Value) -> String {
    match value {
        Value::String(_) => "types.String".into(),
        Value::Int(_) => "types.Int".into(),
        Value::Null => "types.Null".into(),
        Value::Bool(_) => "types.Bool".into(),
        Value::Double(_) => "types.Double".into(),
        Value::Uint(_) => "types.Uint".into(),
        other => format!("types.{}", other.type_name()),
    }
}

/// Whether a format fits what it will be given; the place of the argument that it does not fit.
pub(crate) fn check_format(text: &str, args: &[Type]) -> Result<(), (Option<usize>, String)> {
    let mut next = 0;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' || rest.next_if_eq(&'%').is_some() {
            continue;
        }
        if rest.next_if_eq(&'.').is_some() {
            while rest.next_if(char::is_ascii_digit).is_some() {}
        }
        let Some(clause) = rest.next() else {
            return Err((None, "unexpected end of string".into()));
        };
        let only = match clause {
            's' => None,
            'd' => Some(("decimal", "integers", &["int", "uint"][..])),
            'f' => Some(("fixed-point", "doubles", &["double", "string"][..])),
            'e' => Some(("scientific", "doubles", &["double", "string"][..])),
            'b' => Some(("binary", "integers and bools", &["int", "uint", "bool"][..])),
            'o' => Some(("octal", "integers", &["int", "uint"][..])),
            'x' | 'X' => Some((
                "hex",
                "integers, byte buffers, and strings",
                &["int", "uint", "bytes", "string"][..],
            )),
            other => {
                return Err((
                    None,
                    format!(
                        "could not parse formatting clause: unrecognized formatting clause \"{other}\""
                    ),
                ));
            }
        };
        let Some(arg) = args.get(next) else {
            return Err((None, format!("index {next} out of range")));
        };
        let given = arg.to_string();
        if let Some((what, words, known)) = only
            && *arg != Type::Dyn
            && !matches!(arg, Type::Param(_))
            && !known.contains(&given.as_str())
        {
            return Err((
                Some(next),
                format!(
                    "error during formatting: {what} clause can only be used on {words}, was given {given}"
                ),
            ));
        }
        next += 1;
    }
    if next < args.len() {
        return Err((
            None,
            format!(
                "too many arguments supplied to string.format (expected {next}, got {})",
                args.len()
            ),
        ));
    }
    Ok(())
}

/// `string.format`.
fn format(run: &mut Run<'_>, text: &str, args: &[Value]) -> Result_ {
    let mut out = String::new();
    let mut next = 0;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if rest.peek() == Some(&'%') {
            rest.next();
            out.push('%');
            continue;
        }
        let mut precision = None;
        if rest.peek() == Some(&'.') {
            rest.next();
            let mut digits = String::new();
            while let Some(c) = rest.next_if(char::is_ascii_digit) {
                digits.push(c);
            }
            let Some(number) = digits.parse::<usize>().ok().filter(|n| *n <= 100) else {
                return fault("could not parse formatting clause: error while parsing precision");
            };
            precision = Some(number);
        }
        let Some(clause) = rest.next() else {
            return fault("could not parse formatting clause: unexpected end of string");
        };
        let Some(arg) = args.get(next) else {
            return fault(format!("index {next} out of range"));
        };
        next += 1;
        let part = match one(clause, precision, arg) {
            Ok(part) => part,
            Err(Error::Fault(why)) => return fault(why),
            Err(Error::Limit) => return Err(Error::Limit),
        };
        run.text(part.len())?;
        out.push_str(&part);
        if out.len() > (8 << 20) {
            return Err(Error::Limit);
        }
    }
    Ok(out.into())
}

fn one(clause: char, precision: Option<usize>, arg: &Value) -> Result<String, Error> {
    let wrong = |what: &str, only: &str| {
        let type_name = arg.type_name();
        fault(format!(
            "error during formatting: {what} clause can only be used on {only}, was given {type_name}"
        ))
    };
    let float = match arg {
        Value::Double(n) => Some(*n),
        Value::String(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    };
    let special = |n: f64| {
        if n.is_nan() {
            Some("NaN".to_string())
        } else if n.is_infinite() {
            Some(if n > 0.0 { "∞" } else { "-∞" }.to_string())
        } else {
            None
        }
    };
    match clause {
        's' => plain(arg),
        'd' => match arg {
            Value::Int(n) => Ok(n.to_string()),
            Value::Uint(n) => Ok(n.to_string()),
            _ => wrong("decimal", "integers"),
        },
        'f' => match float {
            Some(n) => Ok(special(n).unwrap_or_else(|| grouped(n, precision.unwrap_or(6)))),
            None => wrong("fixed-point", "doubles"),
        },
        'e' => match float {
            Some(n) => Ok(special(n).unwrap_or_else(|| scientific(n))),
            None => wrong("scientific", "doubles"),
        },
        'b' => match arg {
            Value::Int(n) if *n < 0 => Ok(format!("-{:b}", n.unsigned_abs())),
            Value::Int(n) => Ok(format!("{n:b}")),
            Value::Uint(n) => Ok(format!("{n:b}")),
            Value::Bool(value) => Ok(if *value { "1" } else { "0" }.into()),
            _ => wrong("binary", "integers and bools"),
        },
        'o' => match arg {
            Value::Int(n) if *n < 0 => Ok(format!("-{:o}", n.unsigned_abs())),
            Value::Int(n) => Ok(format!("{n:o}")),
            Value::Uint(n) => Ok(format!("{n:o}")),
            _ => wrong("octal", "integers"),
        },
        'x' | 'X' => {
            let hex = match arg {
                Value::Int(n) if *n < 0 => format!("-{:x}", n.unsigned_abs()),
                Value::Int(n) => format!("{n:x}"),
                Value::Uint(n) => format!("{n:x}"),
                Value::String(text) => text.bytes().map(|b| format!("{b:02x}")).collect(),
                Value::Bytes(bytes) => bytes.iter().map(|b| format!("{b:02x}")).collect(),
                _ => return wrong("hex", "integers, byte buffers, and strings"),
            };
            Ok(if clause == 'X' {
                hex.to_uppercase()
            } else {
                hex
            })
        }
        other => fault(format!(
            "could not parse formatting clause: unrecognized formatting clause \"{other}\""
        )),
    }
}

// Upstream formats for the locale en_US: thousands are grouped.
fn grouped(n: f64, precision: usize) -> String {
    let plain = format!("{:.precision$}", n.abs());
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    if n.is_sign_negative() {
        out.insert(0, '-');
    }
    out
}

const SUPERSCRIPT: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];

// Upstream's printer does not look at the precision here.
fn scientific(n: f64) -> String {
    let text = format!("{n:.6e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { "⁻" } else { "" };
    let raised: String = format!("{:02}", exponent.abs())
        .chars()
        .map(|c| SUPERSCRIPT[c.to_digit(10).unwrap_or(0) as usize])
        .collect();
    format!("{digits}×10{sign}{raised}")
}

fn plain(arg: &Value) -> Result<String, Error> {
    match arg {
        Value::List(_) | Value::Map(_) => nested(arg),
        Value::Double(n) => Ok(double(*n, 6)),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::String(_)
        | Value::Bytes(_)
        | Value::Duration(_)
        | Value::Timestamp(..)
        | Value::Type(_) => Ok(show(arg)),
        other => fault(format!(
            "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given {}",
            other.type_name()
        )),
    }
}

fn nested(value: &Value) -> Result<String, Error> {
    Ok(match value {
        Value::String(text) => quoted(text),
        Value::Bytes(bytes) => format!("b{}", quoted(&String::from_utf8_lossy(bytes))),
        Value::Duration(_) => format!("duration({})", quoted(&show(value))),
        Value::Timestamp(..) => format!("timestamp({})", quoted(&show(value))),
        Value::Double(n) if n.is_finite() => format!("{n:.6}"),
        Value::Double(_) => quoted(&show(value)),
        Value::List(list) => {
            let parts: Result<Vec<String>, Error> = list.items.iter().map(nested).collect();
            format!("[{}]", parts?.join(", "))
        }
        Value::Map(map) => {
            let mut parts = Vec::new();
            for (key, value) in &map.entries {
                let key = match key {
                    Key::String(text) => quoted(text),
                    other => show(&other.value()),
                };
                parts.push((key, nested(value)?));
            }
            parts.sort();
            let parts: Vec<String> = parts.iter().map(|(k, v)| format!("{k}:{v}")).collect();
            format!("{{{}}}", parts.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Type(_) => {
            show(value)
        }
        other => {
            return fault(format!(
                "error during formatting: no formatting function for {}",
                other.type_name()
            ));
        }
    })
}
