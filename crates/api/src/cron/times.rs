//! The times of a schedule in a time zone.

use super::{Minutes, Schedule};
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};

/// Upstream's parser gives up here too; `30 2 29 2 *` needs eight years at most.
const YEARS_AHEAD: i16 = 8;

impl Schedule {
    /// The first time after `after`; `None` where there is none, e.g. on the 31st of February.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Every(seconds) => {
                let whole = Timestamp::from_second(after.as_second()).ok()?;
                whole.checked_add(SignedDuration::from_secs(*seconds)).ok()
            }
            Self::At(minutes) => next_minute(minutes, after, zone),
        }
    }
}

// Steps are instants, so an hour that the clock skips is skipped and one that it repeats is met
// twice, as upstream has it.
fn next_minute(minutes: &Minutes, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let whole = Timestamp::from_second(after.as_second().div_euclid(60) * 60 + 60).ok()?;
    let mut at = whole.to_zoned(zone.clone());
    let last_year = at.year().checked_add(YEARS_AHEAD)?;
    while at.year() <= last_year {
        let weekday = u8::try_from(at.weekday().to_sunday_zero_offset()).ok()?;
        let field = |value: i8| u8::try_from(value).unwrap_or(u8::MAX);
        at = if !minutes.has_month(field(at.month())) {
            midnight(
                at.date().first_of_month().checked_add(1.month()).ok()?,
                zone,
            )?
        } else if !minutes.has_day(field(at.day()), weekday) {
            midnight(at.date().tomorrow().ok()?, zone)?
        } else if !minutes.has_hour(field(at.hour())) {
            let left = 60 - i64::from(at.minute());
            at.checked_add(SignedDuration::from_mins(left)).ok()?
        } else if !minutes.has_minute(field(at.minute())) {
            at.checked_add(SignedDuration::from_mins(1)).ok()?
        } else {
            return Some(at.timestamp());
        };
    }
    None
}

fn midnight(date: Date, zone: &TimeZone) -> Option<Zoned> {
    zone.to_zoned(date.to_datetime(Time::midnight())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cron::parse;

    fn zone(rule: &str) -> TimeZone {
        TimeZone::posix(rule).expect("zone")
    }

    fn times(schedule: &str, from: &str, zone: &TimeZone, count: usize) -> Vec<String> {
        let schedule = parse(schedule).expect("schedule");
        let mut at: Timestamp = from.parse().expect("time");
        let step = |_| {
            at = schedule.next(at, zone)?;
            Some(at.to_string())
        };
        (0..count).map_while(step).collect()
    }

    #[test]
    fn minutes_of_the_calendar() {
        let utc = TimeZone::UTC;
        let check = |schedule, from, wanted: &[&str]| {
            assert_eq!(
                times(schedule, from, &utc, wanted.len()),
                wanted,
                "{schedule}"
            );
        };
        check(
            "*/15 * * * *",
            "2026-01-01T00:07:30Z",
            &["2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"],
        );
        check(
            "0 0 31 * *",
            "2026-01-31T00:00:00Z",
            &["2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"],
        );
        check(
            "0 12 29 2 *",
            "2026-01-01T00:00:00Z",
            &["2028-02-29T12:00:00Z"],
        );
        check(
            "0 0 13 * 5",
            "2026-11-01T00:00:00Z",
            &[
                "2026-11-06T00:00:00Z",
                "2026-11-13T00:00:00Z",
                "2026-11-20T00:00:00Z",
            ],
        );
        check(
            "@every 90s",
            "2026-01-01T00:00:00.5Z",
            &["2026-01-01T00:01:30Z", "2026-01-01T00:03:00Z"],
        );
        assert!(times("0 0 31 2 *", "2026-01-01T00:00:00Z", &utc, 1).is_empty());
    }

    #[test]
    fn a_skipped_hour_is_skipped_and_a_repeated_one_met_twice() {
        let berlin = zone("CET-1CEST,M3.5.0,M10.5.0/3");
        assert_eq!(
            times("30 2 * * *", "2026-03-28T12:00:00Z", &berlin, 1),
            ["2026-03-30T00:30:00Z"]
        );
        assert_eq!(
            times("30 2 * * *", "2026-10-24T12:00:00Z", &berlin, 3),
            [
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:30:00Z",
                "2026-10-26T01:30:00Z"
            ]
        );
    }
}
