//! Resource amounts (`500m`, `1Gi`, `2e3`) as numbers.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Amount in thousandths, rounded up; `None` where it is malformed or too large.
pub(crate) fn milli(quantity: &Quantity) -> Option<i64> {
    let (number, factor) = split(&quantity.0)?;
    let value = number.parse::<f64>().ok()? * factor * 1000.0;
    (value.is_finite() && value.abs() < 9.0e18).then(|| (value - 1e-6).ceil() as i64)
}

/// Whole amount, rounded up.
pub(crate) fn whole(quantity: &Quantity) -> Option<i64> {
    let (number, factor) = split(&quantity.0)?;
    if let (Ok(number), true) = (number.parse::<i64>(), factor >= 1.0) {
        return number.checked_mul(factor as i64);
    }
    let value = number.parse::<f64>().ok()? * factor;
    (value.is_finite() && value.abs() < 9.0e18).then(|| (value - 1e-9).ceil() as i64)
}

// Number and factor of its suffix.
fn split(text: &str) -> Option<(&str, f64)> {
    let text = text.trim();
    let plain = |c: char| c.is_ascii_digit() || c == '.' || c == '-' || c == '+';
    let end = text.find(|c| !plain(c)).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    if number.is_empty() {
        return None;
    }
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
        "Ei" => 1_152_921_504_606_846_976.0,
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E'])?;
            10f64.powi(digits.parse().ok()?)
        }
    };
    Some((number, factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        let quantity = |text: &str| Quantity(text.into());
        for (text, expected) in [
            ("500m", Some(500)),
            ("2", Some(2000)),
            ("0.1", Some(100)),
            ("1e3", Some(1_000_000)),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(milli(&quantity(text)), expected, "{text}");
        }
        for (text, expected) in [
            ("1Gi", Some(1 << 30)),
            ("128Mi", Some(128 << 20)),
            ("1500m", Some(2)),
            ("64M", Some(64_000_000)),
            ("1.5Ki", Some(1536)),
        ] {
            assert_eq!(whole(&quantity(text)), expected, "{text}");
        }
    }
}
