//! The times of a schedule that were missed.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use towpath_api::cron::Schedule;

/// More missed times than this are told to the user.
pub(super) const MANY: usize = 100;

/// The last time in `(earliest, now]`, and whether more than [`MANY`] were missed.
pub(super) fn latest(
    schedule: &Schedule,
    earliest: Timestamp,
    now: Timestamp,
    zone: &TimeZone,
) -> Option<(Timestamp, bool)> {
    let mut found = schedule.next(earliest, zone).filter(|t| *t <= now)?;
    if let Schedule::Every(seconds) = schedule {
        let steps = (now.as_second() - found.as_second()) / seconds;
        let last = Timestamp::from_second(found.as_second() + steps * seconds).ok()?;
        return Some((last, usize::try_from(steps).is_ok_and(|n| n >= MANY)));
    }
    let after = |t| schedule.next(t, zone).filter(|t| *t <= now);
    for _ in 0..MANY {
        match after(found) {
            Some(later) => found = later,
            None => return Some((found, false)),
        }
    }
    // Very many: from ever further back, so that a year of minutes is not walked through.
    let mut back = SignedDuration::from_mins(2);
    loop {
        let from = now.checked_sub(back).unwrap_or(found).max(found);
        if let Some(mut last) = after(from) {
            while let Some(later) = after(last) {
                last = later;
            }
            return Some((last, true));
        }
        if from == found {
            return Some((found, true));
        }
        back = back.checked_mul(2)?;
    }
}

/// Time until `then`, a moment later so that the clock has passed it.
pub(super) fn until(then: Timestamp, now: Timestamp) -> Duration {
    let left = Duration::try_from(then.duration_since(now)).unwrap_or_default();
    left + Duration::from_millis(100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_api::cron::parse;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("time")
    }

    #[test]
    fn the_last_missed_time() {
        let utc = TimeZone::UTC;
        let last = |schedule: &str, earliest, now| {
            let schedule = parse(schedule).expect("schedule");
            latest(&schedule, time(earliest), time(now), &utc)
                .map(|(t, many)| (t.to_string(), many))
        };
        assert_eq!(
            last("0 * * * *", "2026-01-01T00:10:00Z", "2026-01-01T00:50:00Z"),
            None
        );
        let some = |text: &str, many| Some((text.to_string(), many));
        assert_eq!(
            last("0 * * * *", "2026-01-01T00:10:00Z", "2026-01-01T05:50:00Z"),
            some("2026-01-01T05:00:00Z", false)
        );
        assert_eq!(
            last("* * * * *", "2020-01-01T00:10:00Z", "2026-01-01T05:50:30Z"),
            some("2026-01-01T05:50:00Z", true)
        );
        assert_eq!(
            last("0 0 1 1 *", "1800-01-01T00:10:00Z", "2026-01-01T05:50:30Z"),
            some("2026-01-01T00:00:00Z", true)
        );
        assert_eq!(
            last("@every 10s", "2026-01-01T00:00:00Z", "2026-01-01T00:00:35Z"),
            some("2026-01-01T00:00:30Z", false)
        );
    }
}
