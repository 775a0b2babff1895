//! Numbers as Go reads them, since that is what exporters were tested with.

/// The bits of an ordinary NaN, other than those of the marker of staleness.
pub(crate) const NORMAL_NAN: u64 = 0x7ff8_0000_0000_0001;

/// A number as text; the error is its reason.
pub(crate) fn parse(bytes: &[u8]) -> Result<f64, &'static str> {
    if let Some(value) = small(bytes).or_else(|| decimal(bytes)) {
        return Ok(value);
    }
    if bytes.iter().any(|b| matches!(b, b'p' | b'P' | b'_')) {
        return Err("unsupported character in float");
    }
    const SYNTAX: &str = "invalid syntax";
    let text = std::str::from_utf8(bytes).map_err(|_| SYNTAX)?;
    let value: f64 = text.parse().map_err(|_| SYNTAX)?;
    let signed = matches!(bytes.first(), Some(b'+' | b'-'));
    if value.is_nan() {
        return if signed {
            Err(SYNTAX)
        } else {
            Ok(f64::from_bits(NORMAL_NAN))
        };
    }
    let word = bytes
        .get(usize::from(signed))
        .is_some_and(u8::is_ascii_alphabetic);
    if value.is_infinite() && !word {
        return Err("value out of range");
    }
    Ok(value)
}

/// Whole numbers of up to 15 digits, exact in a float.
#[inline]
fn small(bytes: &[u8]) -> Option<f64> {
    if bytes.is_empty() || bytes.len() > 15 {
        return None;
    }
    let mut value = 0u64;
    for byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    Some(value as f64)
}

/// Powers of ten that are exact in a float.
const TENS: [f64; 16] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

/// Numbers of up to 15 digits with a point between them: both the digits and the power of ten are
/// exact, so one division rounds as it should.
#[inline]
fn decimal(bytes: &[u8]) -> Option<f64> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    if digits.len() > 16 {
        return None;
    }
    let (mut value, mut point) = (0u64, None);
    for (at, byte) in digits.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            value = value * 10 + u64::from(digit);
        } else if *byte == b'.' && point.is_none() {
            point = Some(at);
        } else {
            return None;
        }
    }
    let point = point?;
    let (whole, fraction) = (point, digits.len() - point - 1);
    if whole == 0 || fraction == 0 {
        return None;
    }
    let value = value as f64 / TENS.get(fraction)?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::parse;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn short_ways_lead_to_the_same(text in "-?[0-9]{1,16}(\\.[0-9]{0,16})?") {
            let slow: f64 = text.parse().unwrap();
            let fast = parse(text.as_bytes());
            prop_assert_eq!(fast.map(f64::to_bits), Ok(slow.to_bits()));
        }
    }

    #[test]
    fn what_go_takes() {
        for (text, value) in [
            ("1", 1.0),
            ("-1", -1.0),
            ("+.5e3", 500.0),
            ("1.", 1.0),
            ("Inf", f64::INFINITY),
            ("+inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("123456789012345678", 123456789012345678.0),
            ("1e-400", 0.0),
        ] {
            assert_eq!(parse(text.as_bytes()), Ok(value), "{text}");
        }
        assert!(parse(b"nan").is_ok_and(f64::is_nan));
        for text in [
            "", ".", "+nan", "1e400", "1_0", "0x1p4", "0x1", "1e", "e1", "1 ",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
