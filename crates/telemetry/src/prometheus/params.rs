//! Times, durations, limits and selectors as parameters give them.

use towpath_query::promql::{Matcher, parse_duration, parse_selector, quote};

use super::fault::Fault;
use super::form::Form;

/// A moment in nanoseconds since the epoch; wide, as the largest times upstream knows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(i128);

const NANOS: i128 = 1_000_000_000;
/// Seconds from year 1 to the epoch and one more: what upstream's bounds are short of.
const MARGIN: i64 = 62_135_596_801;

impl Moment {
    /// Upstream's default for the start of an interval.
    pub(super) const MIN: Self = Self((i64::MIN / 1000 + MARGIN) as i128 * NANOS);
    /// Upstream's default for its end.
    pub(super) const MAX: Self = Self((i64::MAX / 1000 - MARGIN) as i128 * NANOS + NANOS - 1);

    pub(super) fn from_ms(ms: i64) -> Self {
        Self(i128::from(ms) * 1_000_000)
    }

    /// Milliseconds since the epoch, rounded down.
    pub(super) fn ms(self) -> i64 {
        let ms = self.0.div_euclid(1_000_000);
        ms.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    /// Nanoseconds since another moment, as far as 64 bits go.
    pub(super) fn since(self, other: Self) -> i64 {
        (self.0 - other.0).clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    fn parse(text: &str) -> Result<Self, String> {
        if let Some(seconds) = float(text) {
            let (whole, rest) = (seconds.trunc(), seconds.fract());
            // Go's conversion of what does not fit gives the smallest number.
            let whole = if whole.is_nan() || whole.abs() >= 9.3e18 {
                i64::MIN
            } else {
                whole as i64
            };
            let rest = (rest * 1000.0).round() / 1000.0;
            let nanos = if rest.is_nan() {
                0
            } else {
                (rest * 1e9) as i64
            };
            return Ok(Self(i128::from(whole) * NANOS + i128::from(nanos)));
        }
        if let Some(moment) = rfc3339(text) {
            return Ok(moment);
        }
        match text {
            "-292273086-05-16T16:47:06Z" => Ok(Self::MIN),
            "292277025-08-18T07:12:54.999999999Z" => Ok(Self::MAX),
            _ => Err(format!("cannot parse {} to a valid timestamp", quote(text))),
        }
    }
}

/// A number as Go's `ParseFloat` takes it, out of range counting as none.
fn float(text: &str) -> Option<f64> {
    let value = text.parse::<f64>().ok()?;
    let digits = text.bytes().any(|byte| byte.is_ascii_digit());
    (!(digits && value.is_infinite())).then_some(value)
}

fn rfc3339(text: &str) -> Option<Moment> {
    let bytes = text.as_bytes();
    if !text.is_ascii() || bytes.len() < 20 {
        return None;
    }
    let shape = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if shape.iter().any(|(at, sign)| bytes[*at] != *sign) {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        let part = text.get(from..to)?;
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse().ok())?
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=longest).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut at = 19;
    let mut nanos = 0;
    if matches!(bytes[at], b'.' | b',') {
        let digits = bytes[at + 1..].iter().take_while(|b| b.is_ascii_digit());
        let end = at + 1 + digits.count();
        if end == at + 1 {
            return None;
        }
        let shown = &text[at + 1..end.min(at + 10)];
        nanos = shown.parse::<i128>().ok()? * 10_i128.pow(9 - shown.len() as u32);
        at = end;
    }
    let offset = match text.get(at..)? {
        "Z" => 0,
        zone => {
            let sign = match zone.as_bytes() {
                [b'+', _, _, b':', _, _] => 1,
                [b'-', _, _, b':', _, _] => -1,
                _ => return None,
            };
            let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            sign * (hours * 3600 + minutes * 60)
        }
    };
    let days = days_from_civil(year, month, day);
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset;
    Some(Moment(i128::from(seconds) * NANOS + nanos))
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Nanoseconds of a duration: seconds as a number, or `1h30m`.
pub(super) fn duration(text: &str) -> Result<i64, String> {
    let cannot = format!("cannot parse {} to a valid duration", quote(text));
    if let Some(seconds) = float(text) {
        let nanos = seconds * 1e9;
        if nanos > i64::MAX as f64 || nanos < i64::MIN as f64 {
            return Err(cannot + ". It overflows int64");
        }
        return Ok(nanos as i64);
    }
    match parse_duration(text) {
        Ok(ms) => ms.checked_mul(1_000_000).ok_or(cannot),
        Err(_) => Err(cannot),
    }
}

/// A whole number as Go's `Atoi` reads it.
pub(super) fn whole(text: &str) -> Result<i64, String> {
    let bare = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit());
    let what = if digits {
        match text.parse() {
            Ok(number) => return Ok(number),
            Err(_) => "value out of range",
        }
    } else {
        "invalid syntax"
    };
    Err(format!("strconv.Atoi: parsing {}: {what}", quote(text)))
}

impl Form {
    /// A moment that must be given.
    pub(super) fn moment(&self, name: &str) -> Result<Moment, Fault> {
        Moment::parse(self.get(name)).map_err(|why| Fault::parameter(name, &why))
    }

    /// A moment that may be given.
    pub(super) fn moment_or(&self, name: &str, default: Moment) -> Result<Moment, Fault> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(default);
        }
        Moment::parse(text).map_err(|why| {
            Fault::parameter(name, &format!("invalid time value for '{name}': {why}"))
        })
    }

    /// `start` and `end`, all of time by default.
    pub(super) fn interval(&self) -> Result<(Moment, Moment), Fault> {
        let start = self.moment_or("start", Moment::MIN)?;
        Ok((start, self.moment_or("end", Moment::MAX)?))
    }

    /// `limit`; 0 where there is none.
    pub(super) fn limit(&self) -> Result<usize, Fault> {
        let text = self.get("limit");
        if text.is_empty() {
            return Ok(0);
        }
        let limit = whole(text).map_err(|why| Fault::parameter("limit", &why))?;
        usize::try_from(limit).map_err(|_| Fault::parameter("limit", "limit must be non-negative"))
    }

    /// `match[]`: alternatives, each of which must be able to fail.
    pub(super) fn selectors(&self) -> Result<Vec<Vec<Matcher>>, String> {
        let sets = self
            .all("match[]")
            .map(|text| parse_selector(text).map_err(|error| error.to_string()))
            .collect::<Result<Vec<_>, String>>()?;
        let empty = |set: &Vec<Matcher>| set.iter().all(|matcher| matcher.matches(""));
        if sets.iter().any(empty) {
            return Err("match[] must contain at least one non-empty matcher".to_owned());
        }
        Ok(sets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, ms) in [
            ("0", 0),
            ("1435781451.781", 1_435_781_451_781),
            ("2015-07-01T20:10:51.781Z", 1_435_781_451_781),
            ("2015-07-01T22:10:51.781+02:00", 1_435_781_451_781),
            ("1969-12-31T23:59:59Z", -1000),
            ("-1.5", -1500),
        ] {
            assert_eq!(Moment::parse(text).map(Moment::ms), Ok(ms), "{text}");
        }
        for text in ["", "2015-02-29T00:00:00Z", "2015-07-01", "now"] {
            assert!(Moment::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            Moment::parse("292277025-08-18T07:12:54.999999999Z"),
            Ok(Moment::MAX)
        );
    }

    #[test]
    fn durations_and_numbers() {
        assert_eq!(duration("1.5"), Ok(1_500_000_000));
        assert_eq!(duration("5m"), Ok(300_000_000_000));
        assert!(duration("1e30").unwrap_err().contains("overflows"));
        assert!(duration("-5m").is_err());
        assert_eq!(
            whole("x").unwrap_err(),
            "strconv.Atoi: parsing \"x\": invalid syntax"
        );
        assert_eq!(whole("+7"), Ok(7));
    }
}
