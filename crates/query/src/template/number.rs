//! Numbers and quoted texts of templates, read as Go's constants.

use super::ast::Number;
use crate::promql::{quote, unquote};

/// The number that a token says, under every type that can hold it.
pub(super) fn parse(text: &str) -> Result<Number, String> {
    let mut number = Number {
        text: text.to_owned(),
        ..Number::default()
    };
    let (negative, bare) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if let Some(magnitude) = magnitude(bare) {
        if bare.len() == text.len() {
            number.uint = Some(magnitude);
        }
        number.int = if negative {
            0i64.checked_sub_unsigned(magnitude)
        } else {
            i64::try_from(magnitude).ok()
        };
        if number.int == Some(0) {
            number.uint = Some(0);
        }
    }
    if let Some(int) = number.int {
        number.float = Some(int as f64);
    } else if let Some(uint) = number.uint {
        number.float = Some(uint as f64);
    } else if let Some(float) = float(text) {
        if !text.contains(['.', 'e', 'E', 'p', 'P']) {
            return Err(format!("integer overflow: {}", quote(text)));
        }
        number.float = Some(float);
        if float.fract() == 0.0 && float.abs() < 9.2e18 {
            number.int = Some(float as i64);
        }
        if float.fract() == 0.0 && (0.0..1.8e19).contains(&float) {
            number.uint = Some(float as u64);
        }
    }
    if number.float.is_none() {
        return Err(format!("illegal number syntax: {}", quote(text)));
    }
    Ok(number)
}

/// The code of a character constant, quotes included.
pub(super) fn parse_char(text: &str) -> Result<Number, String> {
    let inner = unquote(text).ok_or("invalid syntax")?;
    let mut chars = inner.chars();
    let (Some(c), None) = (chars.next(), chars.next()) else {
        return Err(match inner.is_empty() {
            true => "invalid syntax".to_owned(),
            false => format!("malformed character constant: {text}"),
        });
    };
    let code = i64::from(c as u32);
    Ok(Number {
        text: text.to_owned(),
        int: Some(code),
        uint: Some(code as u64),
        float: Some(code as f64),
    })
}

/// Digits with a base and underscores where Go has them, without a sign.
fn magnitude(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let (digits, base, prefixed) = match bytes {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16, true),
        [b'0', b'o' | b'O', ..] => (&text[2..], 8, true),
        [b'0', b'b' | b'B', ..] => (&text[2..], 2, true),
        [b'0', _, ..] => (&text[1..], 8, true),
        _ => (text, 10, false),
    };
    let underscores = digits.contains('_');
    if underscores && !underscores_fit(digits, prefixed) {
        return None;
    }
    let digits = digits.replace('_', "");
    if digits.is_empty() || digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(&digits, base).ok()
}

/// Underscores stand between digits, or behind the base.
fn underscores_fit(digits: &str, prefixed: bool) -> bool {
    let bytes = digits.as_bytes();
    bytes.iter().enumerate().all(|(at, b)| {
        *b != b'_'
            || ((prefixed || at > 0)
                && (at == 0 || bytes[at - 1] != b'_')
                && bytes.get(at + 1).is_some_and(|next| *next != b'_'))
    })
}

fn float(text: &str) -> Option<f64> {
    let bare = text.trim_start_matches(['+', '-']);
    if bare.starts_with("0x") || bare.starts_with("0X") {
        let value = hex_float(&bare[2..])?;
        return Some(if text.starts_with('-') { -value } else { value });
    }
    // Underscores are only allowed with a base.
    if text.contains('_') {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    value.is_finite().then_some(value)
}

/// `1.8p3` of a hexadecimal number.
fn hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}").replace('_', "");
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let value = u64::from_str_radix(&digits, 16).ok()? as f64;
    let value = value * 2f64.powi(exponent.checked_sub(4 * fraction.len() as i32)?);
    value.is_finite().then_some(value)
}
