//! Texts, numbers and durations as the language writes and reads them.

/// A text in double quotes, escaped as Go's `%q` does.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        escape_into(&mut out, c, '"');
    }
    out.push('"');
    out
}

/// A character in single quotes, escaped as Go's `%q` does.
pub(crate) fn quote_char(c: char) -> String {
    let mut out = String::from("'");
    escape_into(&mut out, c, '\'');
    out.push('\'');
    out
}

fn escape_into(out: &mut String, c: char, delimiter: char) {
    use std::fmt::Write;
    match c {
        '\\' => out.push_str("\\\\"),
        c if c == delimiter => {
            out.push('\\');
            out.push(c);
        }
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        c if FOREIGN.contains(&c) => {
            let _ = write!(out, "\\x{:02x}", c as u32 - FOREIGN_BASE);
        }
        c if (c as u32) < 0x20 || c as u32 == 0x7f => {
            let _ = write!(out, "\\x{:02x}", c as u32);
        }
        c if c.is_control() || (c.is_whitespace() && c != ' ') => {
            let _ = write!(out, "\\u{:04x}", c as u32);
        }
        c => out.push(c),
    }
}

/// The text that a quoted literal stands for; the quotes are part of `literal`.
pub(crate) fn unquote(literal: &str) -> Option<String> {
    let quote = literal.chars().next()?;
    let inner = literal.strip_prefix(quote)?.strip_suffix(quote)?;
    if quote == '`' || !inner.contains('\\') {
        return Some(inner.to_owned());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let simple = match chars.next()? {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' => b'\\',
            c if c == quote => c as u8,
            'x' => u8::try_from(digits(&mut chars, 2, 16)?).ok()?,
            'u' => {
                push_code(&mut out, digits(&mut chars, 4, 16)?)?;
                continue;
            }
            'U' => {
                push_code(&mut out, digits(&mut chars, 8, 16)?)?;
                continue;
            }
            c => {
                let high = c.to_digit(8)?;
                u8::try_from(high * 64 + digits(&mut chars, 2, 8)?).ok()?
            }
        };
        out.push(simple);
    }
    Some(String::from_utf8(out).unwrap_or_else(|e| with_foreign(e.as_bytes())))
}

/// Escapes can name bytes that are no text. Each becomes a character of its own out of a range
/// for private use, so that such texts are still told apart, printed and refused as names.
const FOREIGN: std::ops::RangeInclusive<char> = '\u{f0080}'..='\u{f00ff}';
const FOREIGN_BASE: u32 = 0xf_0000;

fn with_foreign(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        let foreign = chunk.invalid().iter();
        out.extend(foreign.filter_map(|byte| char::from_u32(FOREIGN_BASE + u32::from(*byte))));
    }
    out
}

/// Whether a text can be the name of a label.
pub(crate) fn is_label_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c| FOREIGN.contains(&c))
}

fn digits(chars: &mut std::str::Chars<'_>, count: usize, base: u32) -> Option<u32> {
    let mut value = 0u32;
    for _ in 0..count {
        value = value
            .checked_mul(base)?
            .checked_add(chars.next()?.to_digit(base)?)?;
    }
    Some(value)
}

fn push_code(out: &mut Vec<u8>, code: u32) -> Option<()> {
    out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

/// Reads a number literal: decimal, hexadecimal, octal, with underscores, `Inf`, `NaN`.
pub(crate) fn parse_number(text: &str) -> Result<f64, String> {
    if let Some(value) = parse_integer(text) {
        return Ok(value as f64);
    }
    let fault = |what: &str| {
        Err(format!(
            "error parsing number: strconv.ParseFloat: parsing {}: {what}",
            quote(text)
        ))
    };
    let plain = text.replace('_', "");
    let bare = plain.trim_start_matches(['+', '-']);
    if bare.starts_with("0x") || bare.starts_with("0X") {
        return fault("invalid syntax");
    }
    match plain.parse::<f64>() {
        Ok(value) if value.is_infinite() && bare.starts_with(|c: char| c.is_ascii_digit()) => {
            fault("value out of range")
        }
        Ok(value) => Ok(value),
        Err(_) => fault("invalid syntax"),
    }
}

fn parse_integer(text: &str) -> Option<i64> {
    let (digits, base) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', b'o' | b'O', ..] => (&text[2..], 8),
        [b'0', b'b' | b'B', ..] => (&text[2..], 2),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    i64::from_str_radix(&digits.replace('_', ""), base).ok()
}

const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3600 * 1000),
    ("w", 7 * 24 * 3600 * 1000),
    ("d", 24 * 3600 * 1000),
    ("h", 3600 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads a duration such as `1h30m` in milliseconds.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    const RANGE: &str = "duration out of range";
    let invalid = || format!("not a valid duration string: {}", quote(text));
    match text {
        "0" => return Ok(0),
        "" => return Err("empty duration string".to_owned()),
        _ => {}
    }
    let mut rest = text;
    let mut total = 0u64;
    let mut next_unit = 0;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let count: u64 = rest[..end].parse().map_err(|_| invalid())?;
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit = &rest[..end];
        if unit.is_empty() {
            return Err(invalid());
        }
        rest = &rest[end..];
        let Some(at) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(format!(
                "unknown unit {} in duration {}",
                quote(unit),
                quote(text)
            ));
        };
        if at < next_unit {
            return Err(invalid());
        }
        next_unit = at + 1;
        let add = count.checked_mul(UNITS[at].1).ok_or(RANGE)?;
        total = total.checked_add(add).ok_or(RANGE)?;
        if total > i64::MAX as u64 / 1_000_000 {
            return Err(RANGE.to_owned());
        }
    }
    Ok(total as i64)
}

/// Writes a duration of so many milliseconds, as `1h30m`.
pub fn format_duration(ms: i64) -> String {
    if ms <= 0 {
        return "0s".to_owned();
    }
    let mut rest = ms as u64;
    let mut out = String::new();
    for (name, unit) in UNITS {
        // Years and weeks only if nothing remains: 90d reads better than 12w6d.
        if matches!(name, "y" | "w") && !rest.is_multiple_of(unit) {
            continue;
        }
        if rest >= unit {
            out.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    out
}

/// A number in full decimal notation.
pub fn format_number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        format!("{value}")
    }
}

/// A number as Go's `%v` and `%g` write it: an exponent for the very small and the very large.
pub fn format_general(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() || value == 0.0 || (1e-4..1e6).contains(&magnitude) {
        return format_number(value);
    }
    exponent_form(value)
}

/// A number with an exponent of at least two digits, `1.5e-07`.
pub(super) fn exponent_form(value: f64) -> String {
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!(
        "{digits}e{}{:02}",
        if exponent < 0 { '-' } else { '+' },
        exponent.abs()
    )
}

/// Seconds since the epoch as a time in UTC, `2006-01-02T15:04:05Z`.
pub(crate) fn format_time(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = crate::calendar::civil_from_days(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("1y", 31_536_000_000),
            ("1h30m", 5_400_000),
            ("5ms", 5),
            ("90d", 7_776_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(ms));
            assert_eq!(format_duration(ms), text);
        }
        assert!(parse_duration("5m1h").is_err());
    }

    #[test]
    fn numbers() {
        for (text, value) in [
            ("0755", 493.0),
            ("08", 8.0),
            ("0x1F", 31.0),
            ("1_000", 1000.0),
        ] {
            assert_eq!(parse_number(text), Ok(value));
        }
        assert_eq!(format_general(1e21), "1e+21");
        assert_eq!(format_general(1_048_576.0), "1.048576e+06");
        assert_eq!(format_general(65_536.5), "65536.5");
        assert_eq!(format_general(0.00001), "1e-05");
    }
}
