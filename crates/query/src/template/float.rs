//! Floats as Go's `strconv` writes them.

/// Digits and the power of ten behind the first of them, from `1.234e5`.
fn scientific(value: f64, precision: Option<usize>) -> (String, i32) {
    let text = match precision {
        Some(precision) => format!("{value:.precision$e}"),
        None => format!("{value:e}"),
    };
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (digits.to_owned(), exponent.parse().unwrap_or(0))
}

fn with_exponent(digits: &str, exponent: i32, letter: char) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}{letter}{sign}{:02}", exponent.abs())
}

/// A number without its sign under one of the verbs `e E f F g G x X b`; no precision means as
/// many digits as it takes to tell it from others.
pub(super) fn format(value: f64, verb: char, precision: Option<usize>) -> String {
    let value = value.abs();
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return "Inf".to_owned();
    }
    match verb {
        'e' | 'E' => {
            let (digits, exponent) = scientific(value, precision);
            with_exponent(&digits, exponent, verb)
        }
        'f' | 'F' => match precision {
            Some(precision) => format!("{value:.precision$}"),
            None => format!("{value}"),
        },
        'x' | 'X' => hexadecimal(value, precision, verb),
        'b' => {
            let bits = value.to_bits();
            let (mut exponent, mut mantissa) = ((bits >> 52) as i64, bits & ((1 << 52) - 1));
            match exponent {
                0 => exponent = 1,
                _ => mantissa |= 1 << 52,
            }
            let exponent = exponent - 1075;
            let sign = if exponent >= 0 { "+" } else { "" };
            format!("{mantissa}p{sign}{exponent}")
        }
        _ => general(value, verb, precision),
    }
}

fn general(value: f64, verb: char, precision: Option<usize>) -> String {
    let letter = if verb == 'G' { 'E' } else { 'e' };
    let wanted = precision.map(|p| p.max(1));
    let (digits, exponent) = match value {
        0.0 => ("0".to_owned(), 0),
        _ => scientific(value, wanted.map(|p| p - 1)),
    };
    let shown = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => &digits,
    };
    let count = (shown.len() - usize::from(shown.contains('.'))) as i32;
    // With an exponent if that is less than -4 or not less than the precision, which counts as 6
    // where as many digits are shown as it takes.
    let edge = match wanted.map(|p| p as i32) {
        None => 6,
        Some(p) if p > count && count > exponent => count,
        Some(p) => p,
    };
    if exponent < -4 || exponent >= edge {
        return with_exponent(shown, exponent, letter);
    }
    plain(shown, exponent)
}

/// Digits with the point moved to where the exponent says.
fn plain(digits: &str, exponent: i32) -> String {
    let bare = digits.replace('.', "");
    if exponent < 0 {
        return format!("0.{}{bare}", "0".repeat((-exponent - 1) as usize));
    }
    let whole = exponent as usize + 1;
    if bare.len() <= whole {
        return format!("{bare}{}", "0".repeat(whole - bare.len()));
    }
    format!("{}.{}", &bare[..whole], &bare[whole..])
}

/// `%x` of a float: a hexadecimal mantissa and a power of two.
fn hexadecimal(value: f64, precision: Option<usize>, verb: char) -> String {
    let bits = value.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i64;
    let mut mantissa = bits & ((1 << 52) - 1);
    if exponent == 0 {
        exponent = 1;
    } else {
        mantissa |= 1 << 52;
    }
    exponent -= 1023;
    if mantissa == 0 {
        exponent = 0;
    }
    // The leading one sits at bit 60.
    mantissa <<= 8;
    while mantissa != 0 && mantissa & (1 << 60) == 0 {
        mantissa <<= 1;
        exponent -= 1;
    }
    if let Some(precision) = precision
        && precision < 15
    {
        let shift = (precision * 4) as u32;
        let extra = (mantissa << shift) & ((1 << 60) - 1);
        mantissa >>= 60 - shift;
        if extra | (mantissa & 1) > 1 << 59 {
            mantissa += 1;
        }
        mantissa <<= 60 - shift;
        if mantissa & (1 << 61) != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let mut out = format!("0x{}", (mantissa >> 60) & 1);
    mantissa <<= 4;
    let digits = precision.unwrap_or(15);
    if precision != Some(0) && (mantissa != 0 || precision.is_some()) {
        out.push('.');
        for _ in 0..digits {
            if precision.is_none() && mantissa == 0 {
                break;
            }
            out.push_str(&format!("{:x}", mantissa >> 60));
            mantissa <<= 4;
        }
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    let out = format!("{out}p{sign}{:02}", exponent.abs());
    match verb {
        'X' => out.to_ascii_uppercase(),
        _ => out,
    }
}
