//! Times of day, week and year at which messages wait, or only at which they go.

use std::ops::RangeInclusive;

use jiff::tz::TimeZone;
use serde::Deserialize;

/// As it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    times: Option<Vec<RawTimes>>,
    weekdays: Option<Vec<String>>,
    days_of_month: Option<Vec<String>>,
    months: Option<Vec<String>>,
    years: Option<Vec<String>>,
    location: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawTimes {
    start_time: String,
    end_time: String,
}

/// One interval: all that is given must hold.
#[derive(Clone, Debug)]
pub struct TimeInterval {
    /// Minutes of the day, the end not included.
    times: Option<Vec<std::ops::Range<i64>>>,
    weekdays: Option<Vec<RangeInclusive<i64>>>,
    days_of_month: Option<Vec<RangeInclusive<i64>>>,
    months: Option<Vec<RangeInclusive<i64>>>,
    years: Option<Vec<RangeInclusive<i64>>>,
    zone: TimeZone,
}

const WEEKDAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

fn number(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
}

fn weekday(text: &str) -> Result<i64, String> {
    let at = WEEKDAYS.iter().position(|name| *name == text);
    at.map(|at| at as i64)
        .ok_or_else(|| format!("{text} is not a valid weekday"))
}

fn month(text: &str) -> Result<i64, String> {
    if let Some(at) = MONTHS.iter().position(|name| *name == text) {
        return Ok(at as i64 + 1);
    }
    text.parse()
        .map_err(|_| format!("{text} is not a valid month"))
}

fn minutes(text: &str) -> Result<i64, String> {
    let bad = || format!("couldn't parse timestamp {text}, invalid format");
    let bytes = text.as_bytes();
    let shaped = bytes.len() == 5
        && bytes[2] == b':'
        && [0, 1, 3, 4].iter().all(|at| bytes[*at].is_ascii_digit());
    if !shaped {
        return Err(bad());
    }
    let (hour, minute) = (number(&text[..2])?, number(&text[3..])?);
    match (hour, minute) {
        (24, 0) | (0..=23, 0..=59) => Ok(hour * 60 + minute),
        _ => Err(bad()),
    }
}

type Member = fn(&str) -> Result<i64, String>;

fn ranges(texts: Option<Vec<String>>, member: Member) -> Result<Option<Vec<(i64, i64)>>, String> {
    let Some(texts) = texts else { return Ok(None) };
    let mut out = Vec::new();
    for text in texts {
        let text = text.to_lowercase();
        let parts: Vec<&str> = text.split(':').collect();
        out.push(match parts[..] {
            [one] => (member(one)?, member(one)?),
            [start, end] => (member(start)?, member(end)?),
            _ => return Err(format!("couldn't parse range {text}, invalid format")),
        });
    }
    Ok(Some(out))
}

fn ordered(
    found: Option<Vec<(i64, i64)>>,
    wrong: impl Fn(i64, i64) -> String,
) -> Result<Option<Vec<RangeInclusive<i64>>>, String> {
    let Some(found) = found else { return Ok(None) };
    let each = found.into_iter().map(|(start, end)| match start <= end {
        true => Ok(start..=end),
        false => Err(wrong(start, end)),
    });
    each.collect::<Result<Vec<_>, _>>().map(Some)
}

fn day_range((start, end): (i64, i64)) -> Result<RangeInclusive<i64>, String> {
    for day in [start, end] {
        if day == 0 || !(-31..=31).contains(&day) {
            return Err(format!(
                "{day} is not a valid day of the month: out of range"
            ));
        }
    }
    if start < 0 && end > 0 {
        return Err("end day must be negative if start day is negative".to_owned());
    }
    // The shortest month decides what can never hold.
    let from_start = |day: i64| if day < 0 { 28 + day } else { day };
    if from_start(start) > from_start(end) {
        return Err(format!("end day {end} is always before start day {start}"));
    }
    Ok(start..=end)
}

impl TimeInterval {
    pub(super) fn read(raw: Raw) -> Result<Self, String> {
        let mut times = None;
        if let Some(found) = raw.times {
            let mut out = Vec::new();
            for range in found {
                if range.start_time.is_empty() || range.end_time.is_empty() {
                    return Err("both start and end times must be provided".to_owned());
                }
                let (start, end) = (minutes(&range.start_time)?, minutes(&range.end_time)?);
                if start >= end {
                    return Err("start time cannot be equal or greater than end time".to_owned());
                }
                out.push(start..end);
            }
            times = Some(out);
        }
        let days = ranges(raw.days_of_month, number)?;
        let days = days.map(|d| d.into_iter().map(day_range).collect::<Result<Vec<_>, _>>());
        let name = |at: i64| MONTHS.get(at as usize - 1).copied().unwrap_or_default();
        Ok(Self {
            times,
            weekdays: ordered(ranges(raw.weekdays, weekday)?, |_, _| {
                "start day cannot be before end day".to_owned()
            })?,
            days_of_month: days.transpose()?,
            months: ordered(ranges(raw.months, month)?, |start, end| {
                format!(
                    "end month {} is before start month {}",
                    name(end),
                    name(start)
                )
            })?,
            years: ordered(ranges(raw.years, number)?, |start, end| {
                format!("end year {end} is before start year {start}")
            })?,
            zone: match raw.location.as_deref() {
                None | Some("" | "UTC") => TimeZone::UTC,
                Some("Local") => TimeZone::system(),
                Some(name) => {
                    TimeZone::get(name).map_err(|_| format!("unknown time zone {name}"))?
                }
            },
        })
    }

    /// Whether a time, in milliseconds since the epoch, lies within.
    pub fn contains(&self, at: i64) -> bool {
        let Ok(time) = jiff::Timestamp::from_millisecond(at) else {
            return false;
        };
        let time = time.to_zoned(self.zone.clone());
        let among = |ranges: &Option<Vec<RangeInclusive<i64>>>, value: i64| {
            ranges
                .as_ref()
                .is_none_or(|ranges| ranges.iter().any(|range| range.contains(&value)))
        };
        let minute = i64::from(time.hour()) * 60 + i64::from(time.minute());
        let days = i64::from(time.days_in_month());
        let day = i64::from(time.day());
        let counted = |day: i64| if day < 0 { days + day + 1 } else { day };
        self.times
            .as_ref()
            .is_none_or(|times| times.iter().any(|range| range.contains(&minute)))
            && self.days_of_month.as_ref().is_none_or(|ranges| {
                ranges.iter().any(|range| {
                    let (start, end) = (counted(*range.start()), counted(*range.end()));
                    start <= days && (start..=end.min(days)).contains(&day)
                })
            })
            && among(&self.months, i64::from(time.month()))
            && among(
                &self.weekdays,
                i64::from(time.weekday().to_sunday_zero_offset()),
            )
            && among(&self.years, i64::from(time.year()))
    }
}
