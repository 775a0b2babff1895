//! Times as services write them: `2026-01-02T03:04:05.678Z` and its kin.

use super::Texts;
use crate::bytes::Cursor;

/// How times are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::logs) struct Style {
    /// Between date and time.
    between: u8,
    /// Before the fraction of seconds; 0 for none.
    point: u8,
    /// Digits of the fraction.
    digits: u8,
    zulu: bool,
}

/// The first and the first beyond the last day that are times, since the epoch.
const DAYS: std::ops::Range<i64> = 0..100_000;

impl Style {
    /// Nanoseconds of the last digit.
    pub(super) fn unit(self) -> i64 {
        10i64.pow(9 - u32::from(self.digits))
    }

    pub(super) fn put(self, out: &mut Vec<u8>) {
        out.extend([self.between, self.point, self.digits, u8::from(self.zulu)]);
    }

    pub(super) fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        let style = Self {
            between: cursor.u8()?,
            point: cursor.u8()?,
            digits: cursor.u8()?,
            zulu: cursor.u8()? != 0,
        };
        let known = matches!(style.between, b'T' | b' ')
            && matches!((style.point, style.digits), (0, 0) | (b'.' | b',', 1..=9));
        known.then_some(style)
    }

    /// Adds a time to `out`.
    pub(super) fn write(self, value: i64, out: &mut Vec<u8>) -> Option<()> {
        let per_second = 1_000_000_000 / self.unit();
        let (seconds, fraction) = (value.div_euclid(per_second), value.rem_euclid(per_second));
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        if !DAYS.contains(&days) {
            return None;
        }
        let (year, month, day) = civil(days);
        let two = |number: i64| [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        out.extend(two(year / 100));
        out.extend(two(year % 100));
        for (mark, number) in [
            (b'-', month),
            (b'-', day),
            (self.between, second / 3600),
            (b':', second / 60 % 60),
            (b':', second % 60),
        ] {
            out.push(mark);
            out.extend(two(number));
        }
        if self.point != 0 {
            out.push(self.point);
            let mut scale = per_second / 10;
            while scale > 0 {
                out.push(b'0' + (fraction / scale % 10) as u8);
                scale /= 10;
            }
        }
        if self.zulu {
            out.push(b'Z');
        }
        Some(())
    }
}

/// Year, month and day of a number of days since the epoch.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn two(bytes: &[u8], at: usize) -> Option<i64> {
    let (tens, ones) = (bytes.get(at)?, bytes.get(at + 1)?);
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

/// Reads a time at the beginning of bytes: its style, its value in the unit of the style, its
/// length. What follows it is no letter and no digit.
pub(in crate::logs) fn stamp(bytes: &[u8]) -> Option<(Style, i64, usize)> {
    // Most words end here.
    if bytes.len() < 19 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    if bytes[13] != b':' || bytes[16] != b':' || !matches!(bytes[10], b'T' | b' ') {
        return None;
    }
    let (century, year) = (two(bytes, 0)?, two(bytes, 2)?);
    let (month, day) = (two(bytes, 5)?, two(bytes, 8)?);
    let (hour, minute, second) = (two(bytes, 11)?, two(bytes, 14)?, two(bytes, 17)?);
    let date = days(century * 100 + year, month, day);
    let real = DAYS.contains(&date) && civil(date) == (century * 100 + year, month, day);
    if !real || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut value = date * 86_400 + hour * 3600 + minute * 60 + second;
    let mut end = 19;
    let mut style = Style {
        between: bytes[10],
        point: 0,
        digits: 0,
        zulu: false,
    };
    if let Some(point @ (b'.' | b',')) = bytes.get(19) {
        let fraction = bytes[20..].iter().take_while(|byte| byte.is_ascii_digit());
        let digits = fraction.clone().count();
        if (1..=9).contains(&digits) {
            value = fraction.fold(value, |sum, digit| sum * 10 + i64::from(digit - b'0'));
            (style.point, style.digits, end) = (*point, digits as u8, 20 + digits);
        }
    }
    if bytes.get(end) == Some(&b'Z') {
        style.zulu = true;
        end += 1;
    }
    let ends = bytes
        .get(end)
        .is_none_or(|byte| !crate::logs::tokens::is_word(*byte));
    ends.then_some((style, value, end))
}

/// All texts as times of one style.
pub(super) fn parse_all(texts: &Texts) -> Option<(Style, Vec<i64>)> {
    let (style, ..) = stamp(texts.iter().next()?)?;
    let parse = |text: &[u8]| {
        let (own, value, length) = stamp(text)?;
        (own == style && length == text.len()).then_some(value)
    };
    let values = texts.iter().map(parse).collect::<Option<_>>()?;
    Some((style, values))
}
