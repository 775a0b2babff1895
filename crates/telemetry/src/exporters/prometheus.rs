//! What a Prometheus says of itself, of what stands in its place here: the head, targets and rules.
//! Only what has the same meaning is shown; dashboards and alerts on it go on as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use towpath_signals::metrics::Store;

use super::Sink;
use crate::family::{Family, Gather, GatherError, Kind};
use crate::prometheus::{LEVEL, Rules, Targets};
use crate::rules::{Engine, Tally};

/// What stands in the place of a Prometheus, as a target inside this process.
pub struct PrometheusTarget {
    /// Samples.
    pub store: Arc<Store>,
    /// What is scraped.
    pub targets: Arc<dyn Targets>,
    /// What is evaluated.
    pub rules: Arc<Engine>,
}

#[async_trait]
impl Gather for PrometheusTarget {
    async fn gather(&self) -> Result<Vec<Family>, GatherError> {
        let mut sink = Sink::default();
        let help = "A metric with a constant '1' value labeled by the version.";
        sink.family("prometheus_build_info", Kind::Gauge, help);
        sink.sample(&[("version", LEVEL)], 1.0);
        self.store(&mut sink);
        self.targets(&mut sink);
        let managers = self.rules.alertmanagers().len();
        sink.single(
            "prometheus_notifications_alertmanagers_discovered",
            Kind::Gauge,
            "The number of alertmanagers discovered and active.",
            managers as f64,
        );
        rules(&self.rules.tallies(), &mut sink);
        Ok(sink.finish())
    }
}

impl PrometheusTarget {
    fn store(&self, sink: &mut Sink) {
        let stats = self.store.stats();
        for (name, help, value) in [
            (
                "prometheus_tsdb_head_series",
                "Total number of series in the head block.",
                stats.series,
            ),
            (
                "prometheus_tsdb_blocks_loaded",
                "Number of currently loaded data blocks",
                stats.segments,
            ),
            (
                "prometheus_tsdb_storage_blocks_bytes",
                "The number of bytes that are currently used for local storage by all blocks.",
                stats.segment_bytes,
            ),
        ] {
            sink.single(name, Kind::Gauge, help, value as f64);
        }
        if let Some(oldest) = stats.oldest {
            sink.single(
                "prometheus_tsdb_lowest_timestamp_seconds",
                Kind::Gauge,
                "Lowest timestamp value stored in the database.",
                oldest as f64 / 1000.0,
            );
        }
        sink.family(
            "prometheus_tsdb_head_samples_appended_total",
            Kind::Counter,
            "Total number of appended samples.",
        );
        // Histograms are not told from numbers.
        sink.sample(&[("type", "float")], stats.samples_taken as f64);
    }

    fn targets(&self, sink: &mut Sink) {
        let mut pools: BTreeMap<String, usize> = BTreeMap::new();
        for target in self.targets.active() {
            *pools.entry(target.pool).or_default() += 1;
        }
        let help = "Current number of targets in this scrape pool.";
        sink.family("prometheus_target_scrape_pool_targets", Kind::Gauge, help);
        for (pool, count) in &pools {
            sink.sample(&[("scrape_job", pool)], *count as f64);
        }
        for (pool, dropped) in self.targets.dropped_counts() {
            *pools.entry(pool).or_default() += dropped;
        }
        let help = "Current number of discovered targets.";
        sink.family("prometheus_sd_discovered_targets", Kind::Gauge, help);
        for (pool, count) in &pools {
            sink.sample(&[("config", pool), ("name", "scrape")], *count as f64);
        }
    }
}

type Get = fn(&Tally) -> f64;

const RULES: [(&str, Kind, &str, Get); 8] = [
    (
        "prometheus_rule_group_rules",
        Kind::Gauge,
        "The number of rules.",
        |t| t.rules as f64,
    ),
    (
        "prometheus_rule_group_interval_seconds",
        Kind::Gauge,
        "The interval of a rule group.",
        |t| t.interval,
    ),
    (
        "prometheus_rule_group_last_duration_seconds",
        Kind::Gauge,
        "The duration of the last rule group evaluation.",
        |t| t.last_seconds,
    ),
    (
        "prometheus_rule_group_last_evaluation_timestamp_seconds",
        Kind::Gauge,
        "The timestamp of the last rule group evaluation in seconds.",
        |t| t.last_at,
    ),
    (
        "prometheus_rule_group_iterations_total",
        Kind::Counter,
        "The total number of scheduled rule group evaluations, whether executed or missed.",
        |t| (t.evaluations + t.missed) as f64,
    ),
    (
        "prometheus_rule_group_iterations_missed_total",
        Kind::Counter,
        "The total number of rule group evaluations missed due to slow rule group evaluation.",
        |t| t.missed as f64,
    ),
    (
        "prometheus_rule_evaluations_total",
        Kind::Counter,
        "The total number of rule evaluations.",
        |t| t.rule_evaluations as f64,
    ),
    (
        "prometheus_rule_evaluation_failures_total",
        Kind::Counter,
        "The total number of rule evaluation failures.",
        |t| t.failures as f64,
    ),
];

fn rules(tallies: &[Tally], sink: &mut Sink) {
    for (name, kind, help, get) in RULES {
        sink.family(name, kind, help);
        for tally in tallies {
            sink.sample(&[("rule_group", &tally.group)], get(tally));
        }
    }
}
