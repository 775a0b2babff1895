//! Quantities as whole numbers of nano-units, so that nothing is lost and nothing is a float.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// One unit in nano-units.
const NANO: i128 = 1_000_000_000;

/// A quantity in nano-units, rounded away from zero; `None` where it is malformed or does not
/// fit.
pub(crate) fn nano(quantity: &Quantity) -> Option<i128> {
    let text = quantity.0.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(digits.len());
    let (number, suffix) = digits.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 30 {
        return None;
    }
    let mantissa: i128 = format!("0{whole}{fraction}").parse().ok()?;
    let (multiply, divide) = scale(suffix)?;
    let shift = 10i128
        .checked_pow(u32::try_from(fraction.len()).ok()?)?
        .checked_mul(divide)?;
    let scaled = mantissa.checked_mul(multiply)?.checked_mul(NANO)?;
    let value = scaled / shift + i128::from(scaled % shift != 0);
    Some(if negative { -value } else { value })
}

fn scale(suffix: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1i128 << (10 * power), 1));
    let decimal = |power: u32| Some((10i128.pow(power), 1));
    match suffix {
        "" => Some((1, 1)),
        "n" => Some((1, NANO)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1_000)),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            match exponent {
                0..=18 => decimal(exponent.unsigned_abs()),
                -9..=-1 => Some((1, 10i128.pow(exponent.unsigned_abs()))),
                _ => None,
            }
        }
    }
}

/// A quantity in thousandths, rounded up; malformed counts as zero.
pub(crate) fn milli(quantity: &Quantity) -> i64 {
    let value = nano(quantity).unwrap_or(0);
    let up = value.div_euclid(1_000_000) + i128::from(value.rem_euclid(1_000_000) != 0);
    i64::try_from(up).unwrap_or(i64::MAX)
}

/// A quantity in whole units, rounded up; malformed counts as zero.
pub(crate) fn whole(quantity: &Quantity) -> i64 {
    let value = nano(quantity).unwrap_or(0);
    let up = value.div_euclid(NANO) + i128::from(value.rem_euclid(NANO) != 0);
    i64::try_from(up).unwrap_or(i64::MAX)
}

/// Thousandths as a canonical quantity: `1500m`, `2`.
pub(crate) fn from_milli(value: i64) -> Quantity {
    if value % 1000 == 0 {
        Quantity((value / 1000).to_string())
    } else {
        Quantity(format!("{value}m"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_forms() {
        for (text, expected) in [
            ("1", Some(1000)),
            ("100m", Some(100)),
            ("0.1", Some(100)),
            (".5", Some(500)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("128Mi", Some(134_217_728_000)),
            ("1e3", Some(1_000_000)),
            ("2E-3", Some(2)),
            ("1u", Some(1)),
            ("-2k", Some(-2_000_000)),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("5KiB", None),
            ("1e99", None),
        ] {
            let quantity = Quantity(text.into());
            assert_eq!(
                nano(&quantity).map(|_| milli(&quantity)),
                expected,
                "{text}"
            );
        }
        assert_eq!(from_milli(1500).0, "1500m");
        assert_eq!(from_milli(2000).0, "2");
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = nano(&Quantity(text));
        }

        #[test]
        fn thousandths_round_trip(value in -1_000_000_000i64..1_000_000_000) {
            prop_assert_eq!(milli(&from_milli(value)), value);
        }
    }
}
