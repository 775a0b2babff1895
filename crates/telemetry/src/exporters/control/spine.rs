//! Deliveries: runs, releases, promotions and environments by their state.

use super::super::{Sink, off_reactor};
use crate::family::{Family, Gather, GatherError, Kind};
use async_trait::async_trait;
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use towpath_kit::copies::Spine;
use towpath_kit::kinds::{Environment, Promotion, Release, Run};

/// Deliveries as a target inside this process.
pub struct SpineTarget(Spine);

impl SpineTarget {
    /// A target over copies that somebody feeds.
    pub fn new(spine: Spine) -> Self {
        Self(spine)
    }
}

type Counts = BTreeMap<[String; 3], f64>;

/// Writes the state of deliveries.
pub(super) fn write(
    runs: &[Arc<Run>],
    releases: &[Arc<Release>],
    promotions: &[Arc<Promotion>],
    environments: &[Arc<Environment>],
    sink: &mut Sink,
) {
    let mut counts = Counts::new();
    for run in runs {
        let phase = run
            .status
            .as_ref()
            .map(|status| status.phase)
            .unwrap_or_default();
        add(
            &mut counts,
            &run.namespace(),
            &run.spec.repository,
            format!("{phase:?}"),
        );
    }
    let help = "Runs that the API holds, by their phase.";
    show(
        sink,
        "towpath_runs",
        help,
        ["namespace", "repository", "phase"],
        counts,
    );
    let mut counts = Counts::new();
    for release in releases {
        let state = if release.spec.hold.is_some() {
            "held"
        } else {
            "free"
        };
        add(
            &mut counts,
            &release.namespace(),
            &release.spec.repository,
            state.into(),
        );
    }
    let help = "Releases that the API holds, held back or free.";
    show(
        sink,
        "towpath_releases",
        help,
        ["namespace", "repository", "state"],
        counts,
    );
    let mut counts = Counts::new();
    for promotion in promotions {
        let phase = promotion.status.as_ref().map(|status| status.phase);
        let phase = format!("{:?}", phase.unwrap_or_default());
        add(
            &mut counts,
            &promotion.namespace(),
            &promotion.spec.environment,
            phase,
        );
    }
    let help = "Promotions that the API holds, by their phase.";
    show(
        sink,
        "towpath_promotions",
        help,
        ["namespace", "environment", "phase"],
        counts,
    );
    sink.family(
        "towpath_environment_health",
        Kind::Gauge,
        "1 for the health that an environment has.",
    );
    for environment in environments {
        let health = environment
            .status
            .as_ref()
            .map_or("", |status| &status.health);
        let namespace = environment.namespace().unwrap_or_default();
        let name = environment.name_any();
        for one in [
            "Healthy",
            "Progressing",
            "Degraded",
            "Suspended",
            "Missing",
            "Unknown",
        ] {
            let has = one == health || (one == "Unknown" && health.is_empty());
            let labels = [
                ("namespace", &*namespace),
                ("environment", &name),
                ("health", one),
            ];
            sink.sample(&labels, f64::from(u8::from(has)));
        }
    }
    sink.family(
        "towpath_environment_info",
        Kind::Gauge,
        "Which release of which commit an environment runs.",
    );
    for environment in environments {
        let Some(status) = &environment.status else {
            continue;
        };
        let labels = [
            ("namespace", &*environment.namespace().unwrap_or_default()),
            ("environment", &environment.name_any()),
            ("target_namespace", &environment.spec.namespace),
            ("release", &status.release),
            ("commit", &status.sha),
        ];
        sink.sample(&labels, 1.0);
    }
}

fn add(counts: &mut Counts, namespace: &Option<String>, of: &str, state: String) {
    let key = [namespace.clone().unwrap_or_default(), of.to_string(), state];
    *counts.entry(key).or_default() += 1.0;
}

fn show(
    sink: &mut Sink,
    name: &'static str,
    help: &'static str,
    labels: [&'static str; 3],
    counts: Counts,
) {
    sink.family(name, Kind::Gauge, help);
    for (values, count) in counts {
        let [a, b, c] = &values;
        sink.sample(&[(labels[0], a), (labels[1], b), (labels[2], c)], count);
    }
}

#[async_trait]
impl Gather for SpineTarget {
    async fn gather(&self) -> Result<Vec<Family>, GatherError> {
        let caches = self.0.clone();
        off_reactor("deliveries", move |sink| {
            write(
                &caches.runs.all(),
                &caches.releases.all(),
                &caches.promotions.all(),
                &caches.environments.all(),
                sink,
            );
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_kit::kinds::{Phase, RunSpec, RunStatus};

    #[test]
    fn runs_are_counted_by_repository_and_phase() {
        let run = |phase| {
            let spec = RunSpec {
                repository: "hello".into(),
                ..RunSpec::default()
            };
            let mut run = Run::new("r", spec);
            run.metadata.namespace = Some("demo".into());
            run.status = Some(RunStatus {
                phase,
                ..RunStatus::default()
            });
            Arc::new(run)
        };
        let runs = [run(Phase::Failed), run(Phase::Failed), run(Phase::Queued)];
        let mut sink = Sink::default();
        write(&runs, &[], &[], &[], &mut sink);
        let page = crate::family::text(&sink.finish());
        let failed = "towpath_runs{namespace=\"demo\",repository=\"hello\",phase=\"Failed\"} 2\n";
        assert!(page.contains(failed), "{page}");
    }
}
