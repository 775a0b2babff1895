//! Numbers with a fraction or exponent, read and written as Go does.

/// Whether the text has the shape of a YAML float.
pub(crate) fn is_yaml(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let digits = |from: usize| {
        bytes[from..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    let whole = digits(at);
    at += whole;
    let mut fraction = 0;
    if bytes.get(at) == Some(&b'.') {
        fraction = digits(at + 1);
        at += 1 + fraction;
    }
    if whole == 0 && fraction == 0 {
        return false;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = bytes.get(at..).map_or(0, |_| digits(at));
        if exponent == 0 {
            return false;
        }
        at += exponent;
    }
    at == bytes.len()
}

/// Value of a YAML float.
pub(crate) fn parse(text: &str) -> Option<f64> {
    match text {
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Some(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        _ => {}
    }
    let plain = text.replace('_', "");
    if is_yaml(&plain) {
        plain.parse().ok()
    } else {
        None
    }
}

/// Text of a float after its way through JSON and back, as the common tools print it.
pub(crate) fn print(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 {
            ".inf".into()
        } else {
            "-.inf".into()
        };
    }
    if value.is_nan() {
        return ".nan".into();
    }
    let magnitude = value.abs();
    // JSON writes large and tiny numbers with an exponent, everything else plainly; a number
    // without fraction then reads back as a whole one.
    if value.fract() == 0.0 && magnitude < 1e21 {
        return if magnitude < 1.8e19 {
            format!("{value:.0}")
        } else {
            shortest(value)
        };
    }
    shortest(value)
}

// Go's shortest `%g`: exponent form below 1e-4 and from 1e6 on.
fn shortest(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_go_prints_them() {
        for (value, text) in [
            (0.5, "0.5"),
            (1000.0, "1000"),
            (1_234_567.5, "1.2345675e+06"),
            (1e20, "1e+20"),
            (0.000_01, "1e-05"),
            (-2.25, "-2.25"),
        ] {
            assert_eq!(print(value), text);
        }
    }
}
