//! RFC 3339 times and Go durations, without a clock.

use towpath_query::calendar::{days_from_civil, month_days};
pub use towpath_query::go_duration::parse as parse_go_duration;

/// Seconds since 1970 of an RFC 3339 time (fractions dropped); `None` where it is none.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let part = text.get(from..to)?;
        part.bytes()
            .all(|c| c.is_ascii_digit())
            .then(|| part.parse().ok())?
    };
    let mark = |at: usize, wanted: u8| bytes.get(at) == Some(&wanted);
    if !(mark(4, b'-')
        && mark(7, b'-')
        && (mark(10, b'T') || mark(10, b't'))
        && mark(13, b':')
        && mark(16, b':'))
    {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month)
        || day < 1
        || day > month_days(year, month)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let mut at = 19;
    if mark(at, b'.') {
        at += 1;
        let digits = bytes
            .get(at..)?
            .iter()
            .take_while(|c| c.is_ascii_digit())
            .count();
        if digits == 0 {
            return None;
        }
        at += digits;
    }
    let offset = match text.get(at..)? {
        "Z" | "z" => 0,
        zone if zone.len() == 6 && zone.is_ascii() && zone.as_bytes()[3] == b':' => {
            let sign = match zone.as_bytes()[0] {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            sign * (number(at + 1, at + 3)? * 3600 + number(at + 4, at + 6)? * 60)
        }
        _ => return None,
    };
    Some(days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

/// Whether `text` is an RFC 3339 time.
pub fn is_rfc3339(text: &str) -> bool {
    parse_rfc3339(text).is_some()
}

/// A span of seconds as `kubectl` shows ages (`5s`, `2m30s`, `3h`, `4d2h`, `2y10d`).
pub fn human(seconds: i64) -> String {
    if seconds < -1 {
        return "<invalid>".into();
    }
    let seconds = seconds.max(0);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    let two = |first: i64, unit: &str, second: i64, other: &str| {
        if second == 0 {
            format!("{first}{unit}")
        } else {
            format!("{first}{unit}{second}{other}")
        }
    };
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        two(minutes, "m", seconds % 60, "s")
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        two(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if days < 8 {
        two(days, "d", hours % 24, "h")
    } else if days < 365 * 2 {
        format!("{days}d")
    } else if days < 365 * 8 {
        two(days / 365, "y", days % 365, "d")
    } else {
        format!("{}y", days / 365)
    }
}

/// Seconds since 1970 as RFC 3339 in UTC; `None` outside the years 0 to 9999.
pub fn rfc3339(seconds: i64) -> Option<String> {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years 0 to 9999, so that nothing below can overflow.
    if !(-719_528..=2_932_896).contains(&days) {
        return None;
    }
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Some(format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    ))
}

/// Seconds since 1970 as HTTP headers have it (`Sun, 06 Nov 1994 08:49:37 GMT`).
pub fn http_date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let text = i64::try_from(seconds).ok().and_then(rfc3339);
    // Nobody needs a date after the year 9999.
    let text = text.unwrap_or_else(|| "9999-12-31T23:59:59Z".into());
    let month = text[5..7].parse::<usize>().unwrap_or(1);
    let day = DAYS[(seconds / 86_400 % 7) as usize];
    let (date, month) = (&text[8..10], MONTHS[(month + 11) % 12]);
    format!("{day}, {date} {month} {} {} GMT", &text[..4], &text[11..19])
}

/// Nanoseconds as Go writes a duration (`1h0m0s`, `1.5s`, `2ms`).
pub fn go_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let total = nanos.unsigned_abs();
    let (seconds, fraction) = (total / 1_000_000_000, total % 1_000_000_000);
    let decimal = |whole: u64, part: u64, digits: usize| {
        let mut text = format!("{whole}.{part:0digits$}");
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
        text
    };
    if seconds == 0 && fraction > 0 {
        let (unit, text) = match fraction {
            f if f >= 1_000_000 => ("ms", decimal(f / 1_000_000, f % 1_000_000, 6)),
            f if f >= 1000 => ("µs", decimal(f / 1000, f % 1000, 3)),
            f => ("ns", f.to_string()),
        };
        return format!("{sign}{text}{unit}");
    }
    let rest = match fraction {
        0 => (seconds % 60).to_string(),
        fraction => decimal(seconds % 60, fraction, 9),
    };
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{sign}{rest}s"),
        (0, minutes) => format!("{sign}{minutes}m{rest}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{rest}s"),
    }
}

/// Nanoseconds after the second of an RFC 3339 time that [`parse_rfc3339`] takes.
pub fn fraction_nanos(text: &str) -> i64 {
    let Some(digits) = text.get(19..).and_then(|rest| rest.strip_prefix('.')) else {
        return 0;
    };
    let digits = digits.bytes().take_while(u8::is_ascii_digit).take(9);
    let (sum, count) = digits.fold((0, 0u32), |(sum, count), digit| {
        (sum * 10 + i64::from(digit - b'0'), count + 1)
    });
    sum * 10i64.pow(9 - count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times() {
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_rfc3339("2026-11-21T13:55:59Z"), Some(1_795_269_359));
        assert_eq!(
            parse_rfc3339("2000-02-29T12:00:00.123456+02:00"),
            Some(951_818_400)
        );
        for bad in [
            "",
            "2026-13-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00+0é:0",
        ] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_and_durations_round_trip() {
        for seconds in [
            0,
            -1,
            1_795_269_359,
            -62_135_596_800,
            253_402_300_799,
            951_782_400,
        ] {
            let text = rfc3339(seconds).unwrap();
            assert_eq!(parse_rfc3339(&text), Some(seconds), "{text}");
        }
        assert_eq!((rfc3339(i64::MAX), rfc3339(i64::MIN)), (None, None));
        assert_eq!(rfc3339(-62_135_596_800).unwrap(), "0001-01-01T00:00:00Z");
        for (nanos, text) in [
            (0, "0s"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (2_000_000, "2ms"),
            (1_500_000, "1.5ms"),
            (1_500, "1.5µs"),
            (-7, "-7ns"),
            (i64::MAX, "2562047h47m16.854775807s"),
        ] {
            assert_eq!(go_duration(nanos), text);
            assert_eq!(parse_go_duration(text), Some(nanos), "{text}");
        }
        for bad in [
            "",
            "-",
            "1",
            "1x",
            ".s",
            "1.1.1s",
            "9223372036854775807h",
            "s",
            "1 s",
        ] {
            assert_eq!(parse_go_duration(bad), None, "{bad}");
        }
        assert_eq!(fraction_nanos("2000-01-01T00:00:00.000123Z"), 123_000);
        assert_eq!(fraction_nanos("2000-01-01T00:00:00Z"), 0);
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn shows_ages() {
        let cases = [
            (5, "5s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (700, "11m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 60, "3h1m"),
            (30 * 3600, "30h"),
            (50 * 3600, "2d2h"),
            (9 * 86_400, "9d"),
            (800 * 86_400, "2y70d"),
        ];
        for (seconds, text) in cases {
            assert_eq!(human(seconds), text);
        }
    }
}
