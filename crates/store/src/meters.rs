//! What the store counts of itself.

use std::sync::LazyLock;
use std::time::Duration;
use towpath_daemon::metrics::{self, Counter, Gauge, Histogram};

/// A commit is a write to a log and a sync: tenths of a millisecond to seconds.
const BOUNDS: &[f64] = &[
    0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 4.096,
];

static COMMIT: LazyLock<Histogram> = LazyLock::new(|| {
    metrics::histogram(
        "towpath_store_commit_duration_seconds",
        "How long a group of changes took to become durable.",
        BOUNDS,
        &[],
    )
});
static REVISION: LazyLock<Gauge> = LazyLock::new(|| {
    metrics::gauge(
        "towpath_store_revision",
        "Revision of the last change that was kept.",
        &[],
    )
});
static CHANGES: LazyLock<Counter> = LazyLock::new(|| {
    metrics::counter(
        "towpath_store_changes_total",
        "Changes that were kept.",
        &[],
    )
});

/// A group of changes was kept.
pub(crate) fn committed(revision: u64, changes: usize, took: Duration) {
    COMMIT.observe(took);
    CHANGES.add(changes as u64);
    REVISION.set(i64::try_from(revision).unwrap_or(i64::MAX));
}
