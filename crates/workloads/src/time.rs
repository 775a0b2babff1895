//! Times of objects against the clock.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use std::time::Duration;
use towpath_stdx::Clock;

/// The clock's time as the API writes it.
pub(crate) fn now(clock: &dyn Clock) -> Timestamp {
    let micros = i64::try_from(clock.since_epoch().as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Time since `from`; zero where that lies ahead.
pub(crate) fn since(from: &Time, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(from.0)).unwrap_or_default()
}

/// Time left until `from + period`; `None` where it is over.
pub(crate) fn left(from: &Time, period: Duration, now: Timestamp) -> Option<Duration> {
    let passed = since(from, now);
    (passed < period).then(|| period - passed)
}

/// Seconds as a field holds them; negative counts as zero.
pub(crate) fn seconds(value: i64) -> Duration {
    Duration::from_secs(u64::try_from(value).unwrap_or(0))
}

/// The earlier of two optional delays.
pub(crate) fn earlier(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
