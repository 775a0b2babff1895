//! Types of plain scalars, by the rules of the Go YAML libraries (version 3 for reading
//! manifests, version 2 for reading Kustomize's own files and for deciding what needs quotes).

use super::{Scalar, float};

/// Type of a plain scalar and the text to keep, as manifests are read.
pub fn resolve(text: &str) -> Scalar {
    resolve_with(text, false)
}

/// The same under the older rules, where `yes`, `on`, `n` and friends are truth values.
pub fn resolve_11(text: &str) -> Scalar {
    resolve_with(text, true)
}

fn resolve_with(text: &str, words: bool) -> Scalar {
    let Some(&first) = text.as_bytes().first() else {
        return Scalar::Null;
    };
    match first {
        b'+' | b'-' | b'.' | b'0'..=b'9' => {}
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => {
            return match text {
                "~" | "null" | "Null" | "NULL" => Scalar::Null,
                "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Scalar::Bool,
                "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "n" | "N" | "no"
                | "No" | "NO" | "off" | "Off" | "OFF"
                    if words =>
                {
                    Scalar::Bool
                }
                _ => Scalar::Str,
            };
        }
        _ => return Scalar::Str,
    }
    if matches!(
        text.trim_start_matches(['+', '-']),
        ".inf" | ".Inf" | ".INF"
    ) || matches!(text, ".nan" | ".NaN" | ".NAN")
    {
        return Scalar::Float;
    }
    if first == b'.' {
        return if float::parse(text).is_some() {
            Scalar::Float
        } else {
            Scalar::Str
        };
    }
    if integer(text).is_some() {
        return Scalar::Int;
    }
    if float::is_yaml(&text.replace('_', "")) {
        Scalar::Float
    } else {
        Scalar::Str
    }
}

/// Value of a whole number in any of YAML's notations, within 64 bits.
pub(crate) fn integer(text: &str) -> Option<i128> {
    let plain;
    let text = if text.contains('_') {
        plain = text.replace('_', "");
        plain.as_str()
    } else {
        text
    };
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let bytes = digits.as_bytes();
    let (radix, digits) = match bytes {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || digits.len() > 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    let value = if negative { -value } else { value };
    (value >= i128::from(i64::MIN) && value <= i128::from(u64::MAX)).then_some(value)
}

/// Whether a string needs quotes so that no reader takes it for another type.
pub(crate) fn ambiguous(text: &str) -> bool {
    resolve_11(text) != Scalar::Str || is_timestamp(text) || is_sexagesimal(text)
}

/// A date, or a date and time, in the forms that YAML 1.1 readers take for a timestamp.
pub(crate) fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return false;
    }
    let number = |text: &str, most: u32| {
        (1..=2).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_digit())
            && text.parse::<u32>().is_ok_and(|n| n <= most)
    };
    let split = text.find(['T', 't', ' ']);
    let date = &text[..split.unwrap_or(text.len())];
    let mut parts = date.splitn(3, '-');
    let (_, month, day) = (
        parts.next(),
        parts.next().unwrap_or(""),
        parts.next().unwrap_or(""),
    );
    if !number(month, 12) || !number(day, 31) {
        return false;
    }
    let Some(split) = split else { return true };
    let separator = text.as_bytes()[split];
    let rest = &text[split + 1..];
    let clock_end = match separator {
        b' ' => rest.len(),
        _ => match rest.find(['Z', '+', '-']) {
            Some(end) => end,
            None => return false,
        },
    };
    let (clock, zone) = rest.split_at(clock_end);
    let mut parts = clock.splitn(3, ':');
    let (hour, minute) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let second = parts.next().unwrap_or("");
    let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
    let zone_fits = zone.is_empty()
        || zone == "Z"
        || (zone.len() == 6
            && zone[1..]
                .split_once(':')
                .is_some_and(|(h, m)| number(h, 24) && number(m, 60)));
    number(hour, 23)
        && number(minute, 59)
        && number(second, 59)
        && fraction.bytes().all(|b| b.is_ascii_digit())
        && zone_fits
}

// `1:30` is ninety for a YAML 1.1 reader.
fn is_sexagesimal(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = text.split(':');
    let first = parts.next().unwrap_or("");
    if !first.as_bytes().first().is_some_and(u8::is_ascii_digit)
        || !first.bytes().all(|b| b.is_ascii_digit() || b == b'_')
    {
        return false;
    }
    let mut rest: Vec<&str> = parts.collect();
    let Some(last) = rest.pop() else { return false };
    let last = match last.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_') => {
            whole
        }
        Some(_) => return false,
        None => last,
    };
    rest.push(last);
    rest.iter().all(|part| match part.as_bytes() {
        [d] => d.is_ascii_digit(),
        [t, d] => (b'0'..=b'5').contains(t) && d.is_ascii_digit(),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_have_the_types_go_gives_them() {
        for (text, expected) in [
            ("", Scalar::Null),
            ("~", Scalar::Null),
            ("yes", Scalar::Str),
            ("True", Scalar::Bool),
            ("0777", Scalar::Int),
            ("0o17", Scalar::Int),
            ("0x1F", Scalar::Int),
            ("1_000", Scalar::Int),
            ("-5", Scalar::Int),
            ("1.10", Scalar::Float),
            ("1e3", Scalar::Float),
            ("089", Scalar::Float),
            ("1.2.3", Scalar::Str),
            ("-", Scalar::Str),
            ("18446744073709551616", Scalar::Float),
        ] {
            assert_eq!(resolve(text), expected, "{text}");
        }
        assert_eq!(integer("0777"), Some(511));
    }

    #[test]
    fn strings_that_look_like_other_types_are_ambiguous() {
        for text in [
            "yes",
            "n",
            "12",
            "1:30",
            "2020-01-02",
            "2020-01-02T03:04:05Z",
            "0.5",
            "null",
            "",
            ".5",
        ] {
            assert!(ambiguous(text), "{text}");
        }
        for text in ["hello", "1.2.3", "10.0.0.1", "2020-13-01", "a:b", "1:77x"] {
            assert!(!ambiguous(text), "{text}");
        }
    }
}
