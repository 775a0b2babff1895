//! Timestamps and durations.

use crate::calendar::{days_from_civil, month_days};

/// Seconds of 0001-01-01T00:00:00Z and of 9999-12-31T23:59:59Z.
const RANGE: (i64, i64) = (-62_135_596_800, 253_402_300_799);

/// Whether a point in time can be told.
pub(crate) fn in_range(seconds: i64) -> bool {
    (RANGE.0..=RANGE.1).contains(&seconds)
}

/// A span as `string()` shows it: seconds with what fraction there is.
pub(crate) fn show_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    // Go prints the shortest decimal of the span in floating-point seconds.
    if fraction == 0 {
        return format!("{sign}{seconds}s");
    }
    let value = seconds as f64 + fraction as f64 / 1e9;
    format!("{sign}{value}s")
}

/// Seconds and nanoseconds of an RFC 3339 time.
pub(crate) fn timestamp(text: &str) -> Option<(i64, u32)> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let part = bytes.get(from..to)?;
        part.iter()
            .all(u8::is_ascii_digit)
            .then(|| part.iter().fold(0, |n, c| n * 10 + i64::from(c - b'0')))
    };
    let mark = |at: usize, wanted: u8| bytes.get(at) == Some(&wanted);
    if !(mark(4, b'-') && mark(7, b'-') && mark(10, b'T') && mark(13, b':') && mark(16, b':')) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let valid = (1..=12).contains(&month)
        && (1..=month_days(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !valid {
        return None;
    }
    let (mut at, mut nanos) = (19, 0u32);
    if mark(at, b'.') || mark(at, b',') {
        let digits = bytes[at + 1..]
            .iter()
            .take_while(|c| c.is_ascii_digit())
            .count();
        if digits == 0 {
            return None;
        }
        for place in 0..9 {
            let digit = if place < digits {
                u32::from(bytes[at + 1 + place] - b'0')
            } else {
                0
            };
            nanos = nanos * 10 + digit;
        }
        at += 1 + digits;
    }
    let zone = &bytes[at..];
    let offset = match zone {
        b"Z" => 0,
        _ if zone.len() == 6 && zone[3] == b':' => {
            let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
            if hours > 24 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            match zone[0] {
                b'+' => seconds,
                b'-' => -seconds,
                _ => return None,
            }
        }
        _ => return None,
    };
    let seconds =
        days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    in_range(seconds).then_some((seconds, nanos))
}

/// A time as `string()` shows it.
pub(crate) fn show_timestamp(seconds: i64, nanos: u32) -> String {
    let at = Civil::of(seconds);
    let mut fraction = String::new();
    if nanos > 0 {
        fraction = format!(".{nanos:09}");
        fraction.truncate(fraction.trim_end_matches('0').len());
    }
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{fraction}Z",
        at.year,
        at.month,
        at.day,
        at.second_of_day / 3600,
        at.second_of_day / 60 % 60,
        at.second_of_day % 60
    )
}

/// A point of the calendar.
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// From 1.
    pub(crate) month: i64,
    /// From 1.
    pub(crate) day: i64,
    pub(crate) second_of_day: i64,
    /// From Sunday, 0.
    pub(crate) week_day: i64,
    /// From 0.
    pub(crate) year_day: i64,
}

impl Civil {
    /// In UTC.
    pub(crate) fn of(seconds: i64) -> Civil {
        let count = seconds.div_euclid(86_400);
        let shifted = count + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted - era * 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let part = (5 * day_of_year + 2) / 153;
        let month = if part < 10 { part + 3 } else { part - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Civil {
            year,
            month,
            day: day_of_year - (153 * part + 2) / 5 + 1,
            second_of_day: seconds.rem_euclid(86_400),
            week_day: (count + 4).rem_euclid(7),
            year_day: count - days_from_civil(year, 1, 1),
        }
    }
}

/// Seconds a zone is ahead of UTC: `+02:00`, `-03:30`, `UTC`. Names of places need a database
/// that this crate does not read.
pub(crate) fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "UTC" | "" | "Z") {
        return Some(0);
    }
    let (sign, rest) = match zone.as_bytes().first()? {
        b'-' => (-1, &zone[1..]),
        b'+' => (1, &zone[1..]),
        _ => (1, zone),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |text: &str| -> Option<i64> {
        (!text.is_empty() && text.len() <= 2)
            .then(|| text.parse().ok())
            .flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_points() {
        let (seconds, nanos) = timestamp("2000-02-29T12:00:00.5+02:00").expect("a time");
        assert_eq!(show_timestamp(seconds, nanos), "2000-02-29T10:00:00.5Z");
        let at = Civil::of(seconds);
        assert_eq!((at.week_day, at.year_day), (2, 59));
        assert_eq!(offset("-03:30"), Some(-12_600));
    }
}
