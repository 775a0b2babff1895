//! Amounts such as `100m`, `1.5Gi` or `2e3`: parse, compare, canonical text.
//!
//! Kept in thousand-millionths, as upstream does: finer fractions are rounded up. Values are
//! capped at 2^63-1 like upstream's.

use std::cmp::Ordering;
use std::fmt;

const NANOS: i128 = 1_000_000_000;
const MAX: i128 = (i64::MAX as i128) * NANOS;

/// Which suffixes the canonical text uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `n u m k M G T P E`.
    Decimal,
    /// `Ki Mi Gi Ti Pi Ei`.
    Binary,
    /// `e3`.
    Exponent,
}

/// An amount.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Why a text is no amount.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum Error {
    /// Not number and suffix.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Shape,
    /// No such suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Quantity {
    /// Reads an amount.
    pub fn parse(text: &str) -> Result<Quantity, Error> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let digits = unsigned
            .bytes()
            .take_while(|c| c.is_ascii_digit() || *c == b'.')
            .count();
        let (number, suffix) = unsigned.split_at(digits);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(Error::Shape);
        }
        if !suffix
            .bytes()
            .all(|c| c.is_ascii_digit() || b"eEinumkKMGTP+-".contains(&c))
        {
            return Err(Error::Shape);
        }
        let (format, multiplier) = scale(suffix)?;
        let nanos = match multiplier {
            Scale::Ten(power) => decimal(whole, fraction, power),
            Scale::Two(power) => binary(whole, fraction, power),
        };
        let nanos = if text.starts_with('-') { -nanos } else { nanos };
        Ok(Quantity { nanos, format })
    }

    /// An amount in whole units.
    pub fn from_units(units: i64) -> Quantity {
        Quantity {
            nanos: i128::from(units) * NANOS,
            format: Format::Decimal,
        }
    }

    /// An amount in thousandths.
    pub fn from_milli(milli: i64) -> Quantity {
        Quantity {
            nanos: i128::from(milli) * (NANOS / 1000),
            format: Format::Decimal,
        }
    }

    /// An amount in bytes, shown with binary suffixes.
    pub fn from_bytes(bytes: i64) -> Quantity {
        Quantity {
            nanos: i128::from(bytes) * NANOS,
            format: Format::Binary,
        }
    }

    /// Thousandths, rounded up.
    pub fn milli(&self) -> i64 {
        clamp(div_up(self.nanos, NANOS / 1000))
    }

    /// Whole units, rounded up.
    pub fn units(&self) -> i64 {
        clamp(div_up(self.nanos, NANOS))
    }

    /// Below, at or above zero.
    pub fn sign(&self) -> i32 {
        self.nanos.signum() as i32
    }

    /// The nearest floating-point number.
    pub fn approximate(&self) -> f64 {
        self.nanos as f64 / NANOS as f64
    }

    /// The amount in whole units, where it is whole and not beyond what is kept.
    pub fn exact(&self) -> Option<i64> {
        (self.is_whole() && self.nanos.abs() < MAX).then(|| self.units())
    }

    /// Whether the amount is a whole number.
    pub fn is_whole(&self) -> bool {
        self.nanos % NANOS == 0
    }

    // Zero has no unit of its own.
    fn format_with(self, other: Quantity) -> Format {
        match self.nanos {
            0 => other.format,
            _ => self.format,
        }
    }

    /// Sum, in the first one's format unless that is zero; capped.
    pub fn plus(self, other: Quantity) -> Quantity {
        Quantity {
            nanos: (self.nanos + other.nanos).clamp(-MAX, MAX),
            format: self.format_with(other),
        }
    }

    /// Difference, in the first one's format unless that is zero; capped.
    pub fn minus(self, other: Quantity) -> Quantity {
        Quantity {
            nanos: (self.nanos - other.nanos).clamp(-MAX, MAX),
            format: self.format_with(other),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        // What is no whole number of bytes shows as a decimal fraction.
        if self.format == Format::Binary && self.is_whole() && self.nanos.abs() >= 1024 * NANOS {
            let mut units = self.nanos / NANOS;
            let mut power = 0;
            while units % 1024 == 0 && power < 6 {
                units /= 1024;
                power += 1;
            }
            return write!(
                f,
                "{units}{}",
                ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power]
            );
        }
        let mut number = self.nanos;
        let mut step = 0;
        while number % 1000 == 0 && step < 9 {
            number /= 1000;
            step += 1;
        }
        if self.format == Format::Exponent {
            let power = step as i32 * 3 - 9;
            return if power == 0 {
                write!(f, "{number}")
            } else {
                write!(f, "{number}e{power}")
            };
        }
        write!(
            f,
            "{number}{}",
            ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][step]
        )
    }
}

/// The canonical text of an amount; `None` where it is none.
pub fn canonical(text: &str) -> Option<String> {
    Quantity::parse(text)
        .ok()
        .map(|quantity| quantity.to_string())
}

enum Scale {
    Ten(i32),
    Two(u32),
}

fn scale(suffix: &str) -> Result<(Format, Scale), Error> {
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if let Some(at) = binary.iter().position(|name| *name == suffix) {
        return Ok((Format::Binary, Scale::Two(10 * (at as u32 + 1))));
    }
    let power = match suffix {
        "n" => -9,
        "u" => -6,
        "m" => -3,
        "" => 0,
        "k" => 3,
        "M" => 6,
        "G" => 9,
        "T" => 12,
        "P" => 15,
        "E" => 18,
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E']).ok_or(Error::Suffix)?;
            let power: i32 = exponent.parse().map_err(|_| Error::Suffix)?;
            return Ok((Format::Exponent, Scale::Ten(power)));
        }
    };
    Ok((Format::Decimal, Scale::Ten(power)))
}

/// `whole.fraction * 10^power` in nanos, rounded up, capped.
fn decimal(whole: &str, fraction: &str, power: i32) -> i128 {
    let digits = whole
        .bytes()
        .chain(fraction.bytes())
        .skip_while(|c| *c == b'0');
    let shift = i64::from(power) + 9 - fraction.len() as i64;
    let digits: Vec<u8> = digits.collect();
    if digits.is_empty() {
        return 0;
    }
    let length = digits.len() as i64 + shift;
    if length > 30 {
        return MAX;
    }
    let kept = length.clamp(0, digits.len() as i64) as usize;
    let mut value = digits[..kept]
        .iter()
        .fold(0i128, |sum, c| sum * 10 + i128::from(c - b'0'));
    for _ in digits.len()..length.max(0) as usize {
        value *= 10;
    }
    if digits[kept..].iter().any(|c| *c != b'0') {
        value += 1;
    }
    value.min(MAX)
}

/// `whole.fraction * 2^power` in nanos, rounded up, capped.
fn binary(whole: &str, fraction: &str, power: u32) -> i128 {
    // A fraction beyond 18 digits is below a nano even in exbibytes of difference that matter.
    let fraction = &fraction[..fraction.len().min(18)];
    let whole = whole.trim_start_matches('0');
    if whole.len() > 19 {
        return MAX;
    }
    let whole: i128 = whole.parse().unwrap_or(0);
    let Some(units) = whole.checked_mul(1 << power) else {
        return MAX;
    };
    if units > i128::from(i64::MAX) {
        return MAX;
    }
    let part: i128 = fraction.parse().unwrap_or(0);
    let divisor = 10i128.pow(fraction.len() as u32);
    // part < 10^18 and 2^60 < 1.2 * 10^18: the product stays below 2^127 before nanos are counted.
    let scaled = part * (1i128 << power);
    let (quotient, rest) = (scaled / divisor, scaled % divisor);
    let nanos = quotient * NANOS + div_up(rest * NANOS, divisor);
    (units * NANOS + nanos).min(MAX)
}

fn div_up(value: i128, by: i128) -> i128 {
    let quotient = value / by;
    if value % by == 0 {
        quotient
    } else {
        quotient + value.signum()
    }
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_texts() {
        let cases = [
            ("0", "0"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("1000", "1k"),
            ("1500", "1500"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1e3", "1e3"),
            ("100e-2", "1"),
            ("0.0000000001", "1n"),
            ("-1", "-1"),
            ("+2k", "2k"),
            ("512", "512"),
            ("1023Ki", "1023Ki"),
            (".5", "500m"),
            ("1.", "1"),
            ("0.5Ki", "512"),
            ("9999999999999999999", "9223372036854775807"),
            ("1Ei", "1Ei"),
            ("5E", "5E"),
        ];
        for (text, wanted) in cases {
            assert_eq!(canonical(text).as_deref(), Some(wanted), "{text}");
        }
        for bad in ["", "x", "1x", "1.2.3", "Ki", "1KiB", "1e", "--1", "1 "] {
            assert!(Quantity::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn order_and_arithmetic() {
        let read = |text| Quantity::parse(text).unwrap();
        assert!(read("1Gi") > read("1G"));
        assert_eq!(read("1000m"), read("1"));
        assert_eq!(read("250m").plus(read("750m")).to_string(), "1");
        assert_eq!(read("1").minus(read("1500m")).to_string(), "-500m");
        assert_eq!((read("1.5").milli(), read("1.5").units()), (1500, 2));
    }
}
