//! How much was told and how it went, under upstream's names.
//!
//! An attempt is a notification here: what fails is tried until it arrives, so that there is no
//! end of one at which to count it. Messages that only test a receiver are left out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::Alertmanager;
use super::sender::Attempt;
use crate::exporters::Sink;
use crate::family::{Family, Gather, GatherError, Kind};

/// Bounds of the latency of a message, in seconds.
const SECONDS: [f64; 5] = [1.0, 5.0, 10.0, 15.0, 20.0];
/// Why a message may fail. The last two end a message early, which nothing does here.
const REASONS: [&str; 5] = [
    "other",
    "clientError",
    "serverError",
    "contextCanceled",
    "contextDeadlineExceeded",
];

/// Messages of one kind of integration.
#[derive(Clone, Debug, Default)]
struct Sent {
    count: u64,
    failed: [u64; REASONS.len()],
    within: [u64; SECONDS.len()],
    seconds: f64,
}

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Meters {
    sent: Mutex<BTreeMap<&'static str, Sent>>,
    firing: AtomicU64,
    resolved: AtomicU64,
    invalid: AtomicU64,
}

impl Meters {
    pub(super) fn received(&self, firing: bool) {
        let count = if firing { &self.firing } else { &self.resolved };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn invalid(&self) {
        self.invalid.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, kind: &'static str, attempt: &Attempt, seconds: f64) {
        let mut all = self.sent.lock();
        let sent = all.entry(kind).or_default();
        sent.count += 1;
        sent.seconds += seconds;
        for (count, bound) in sent.within.iter_mut().zip(SECONDS) {
            *count += u64::from(seconds <= bound);
        }
        if attempt.result.is_err() {
            let reason = match attempt.status {
                Some(400..=499) => 1,
                Some(500..=599) => 2,
                _ => 0,
            };
            sent.failed[reason] += 1;
        }
    }
}

/// The Alertmanager as a target inside this process.
pub struct AlertmanagerTarget(pub Arc<Alertmanager>);

#[async_trait]
impl Gather for AlertmanagerTarget {
    async fn gather(&self) -> Result<Vec<Family>, GatherError> {
        let mut sink = Sink::default();
        self.0.measure(&mut sink);
        Ok(sink.finish())
    }
}

impl Alertmanager {
    fn measure(&self, sink: &mut Sink) {
        let help = "A metric with a constant '1' value labeled by the version.";
        sink.family("alertmanager_build_info", Kind::Gauge, help);
        sink.sample(&[("version", &self.settings.version)], 1.0);
        let (counts, kinds) = {
            let dispatcher = self.dispatcher.lock();
            let receivers = dispatcher.config().receivers.iter();
            let kinds = receivers.flat_map(|r| r.integrations.iter().map(|i| i.kind));
            (dispatcher.counts(self.now()), kinds.collect::<Vec<_>>())
        };
        let states = [
            ("active", counts.active),
            ("suppressed", counts.suppressed),
            ("unprocessed", counts.unprocessed),
        ];
        sink.family(
            "alertmanager_alerts",
            Kind::Gauge,
            "How many alerts by state.",
        );
        for (state, count) in states {
            sink.sample(&[("state", state)], count as f64);
        }
        let help = "How many silences by state.";
        sink.family("alertmanager_silences", Kind::Gauge, help);
        for (state, count) in ["active", "pending", "expired"].iter().zip(counts.silences) {
            sink.sample(&[("state", state)], count as f64);
        }
        let (good, at) = *self.loaded.lock();
        sink.single(
            "alertmanager_config_last_reload_successful",
            Kind::Gauge,
            "Whether the last configuration reload attempt was successful.",
            f64::from(u8::from(good)),
        );
        sink.single(
            "alertmanager_config_last_reload_success_timestamp_seconds",
            Kind::Gauge,
            "Timestamp of the last successful configuration reload.",
            at as f64 / 1000.0,
        );
        self.meters.show(&kinds, sink);
    }
}

impl Meters {
    /// Kinds that are configured are shown from the start, so that the first failure is a rise.
    fn show(&self, kinds: &[&'static str], sink: &mut Sink) {
        let help = "The total number of received alerts.";
        sink.family("alertmanager_alerts_received_total", Kind::Counter, help);
        for (status, count) in [("firing", &self.firing), ("resolved", &self.resolved)] {
            let count = count.load(Ordering::Relaxed) as f64;
            sink.sample(&[("status", status), ("version", "v2")], count);
        }
        let help = "The total number of received alerts that were invalid.";
        sink.family("alertmanager_alerts_invalid_total", Kind::Counter, help);
        let invalid = self.invalid.load(Ordering::Relaxed) as f64;
        sink.sample(&[("version", "v2")], invalid);
        let mut all = self.sent.lock().clone();
        for kind in kinds {
            all.entry(kind).or_default();
        }
        let failed = |sent: &Sent| sent.failed.iter().sum::<u64>() as f64;
        type Get<'a> = &'a dyn Fn(&Sent) -> f64;
        let totals: [(&'static str, &'static str, Get<'_>); 3] = [
            (
                "alertmanager_notifications_total",
                "The total number of attempted notifications.",
                &|sent| sent.count as f64,
            ),
            (
                "alertmanager_notification_requests_total",
                "The total number of attempted notification requests.",
                &|sent| sent.count as f64,
            ),
            (
                "alertmanager_notification_requests_failed_total",
                "The total number of failed notification requests.",
                &failed,
            ),
        ];
        for (name, help, get) in totals {
            sink.family(name, Kind::Counter, help);
            for (kind, sent) in &all {
                sink.sample(&[("integration", kind)], get(sent));
            }
        }
        let help = "The total number of failed notifications.";
        sink.family(
            "alertmanager_notifications_failed_total",
            Kind::Counter,
            help,
        );
        for (kind, sent) in &all {
            for (reason, count) in REASONS.iter().zip(sent.failed) {
                let labels = [("integration", *kind), ("reason", *reason)];
                sink.sample(&labels, count as f64);
            }
        }
        let help = "The latency of notifications in seconds.";
        sink.family(
            "alertmanager_notification_latency_seconds",
            Kind::Histogram,
            help,
        );
        for (kind, sent) in &all {
            let buckets = SECONDS.into_iter().zip(sent.within);
            sink.histogram(&[("integration", kind)], buckets, sent.seconds, sent.count);
        }
    }
}
