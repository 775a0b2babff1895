//! How much of the past stays in the API: what is live, and the last of each. An environment's
//! history keeps its entries without the promotions behind them.

use crate::environment::age;
use kube::ResourceExt;
use std::collections::HashSet;
use std::sync::Arc;
use towpath_kit::kinds::{Environment, Promotion, Release};

const PROMOTIONS: usize = 30;
const RELEASES: usize = 50;

/// Names of an environment's promotions that may go. Pure.
pub(crate) fn old_promotions(
    environment: &str,
    promotions: &[Arc<Promotion>],
    releases: &[Arc<Release>],
) -> Vec<String> {
    let mut ended: Vec<&Arc<Promotion>> = promotions
        .iter()
        .filter(|p| p.spec.environment == environment)
        .filter(|p| p.status.as_ref().is_some_and(|s| s.phase.is_final()))
        .collect();
    ended.sort_by_key(|p| std::cmp::Reverse(age(p)));
    // While a release is there, its promotion says that it was tried.
    let there: HashSet<String> = releases.iter().map(|r| r.name_any()).collect();
    let surplus = ended.into_iter().skip(PROMOTIONS);
    surplus
        .filter(|p| !there.contains(&p.spec.release))
        .map(|p| p.name_any())
        .collect()
}

/// Names of a repository's releases that may go: neither recent, nor on hold, nor named by an
/// environment or an open promotion. Pure.
pub(crate) fn old_releases(
    repository: &str,
    releases: &[Arc<Release>],
    environments: &[Arc<Environment>],
    promotions: &[Arc<Promotion>],
) -> Vec<String> {
    let mut needed: HashSet<&str> = HashSet::new();
    for status in environments.iter().filter_map(|e| e.status.as_ref()) {
        needed.insert(&status.release);
        needed.extend(status.history.iter().map(|d| d.release.as_str()));
    }
    for promotion in promotions {
        let status = promotion.status.as_ref();
        if !status.is_some_and(|s| s.phase.is_final()) {
            needed.insert(&promotion.spec.release);
            needed.extend(status.map(|s| s.release.as_str()));
        }
    }
    let mut ours: Vec<&Arc<Release>> = releases
        .iter()
        .filter(|r| r.spec.repository == repository)
        .collect();
    let created = |r: &Release| {
        r.metadata
            .creation_timestamp
            .as_ref()
            .map_or(i64::MAX, |t| t.0.as_second())
    };
    ours.sort_by_key(|r| std::cmp::Reverse((created(r), r.name_any())));
    let surplus = ours.into_iter().skip(RELEASES);
    let surplus =
        surplus.filter(|r| r.spec.hold.is_none() && !needed.contains(r.name_any().as_str()));
    surplus.map(|r| r.name_any()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use towpath_kit::kinds::{
        EnvironmentSpec, EnvironmentStatus, Hold, PromotionPhase, PromotionSpec, PromotionStatus,
        ReleaseSpec,
    };

    fn at(second: i64) -> Option<Time> {
        let time = serde_json::json!(towpath_stdx::clock::rfc3339(1_700_000_000 + second as u64));
        serde_json::from_value(time).ok()
    }

    fn releases(count: usize) -> Vec<Arc<Release>> {
        (0..count)
            .map(|n| {
                let spec = ReleaseSpec {
                    repository: "hello".into(),
                    ..ReleaseSpec::default()
                };
                let mut release = Release::new(&format!("r{n:03}"), spec);
                release.metadata.creation_timestamp = at(n as i64);
                if n == 1 {
                    release.spec.hold = Some(Hold::default());
                }
                Arc::new(release)
            })
            .collect()
    }

    #[test]
    fn what_runs_or_is_held_stays() {
        let mut environment = Environment::new("dev", EnvironmentSpec::default());
        environment.status = Some(EnvironmentStatus {
            release: "r000".into(),
            ..EnvironmentStatus::default()
        });
        let old = old_releases(
            "hello",
            &releases(RELEASES + 4),
            &[Arc::new(environment)],
            &[],
        );
        assert_eq!(old, ["r003", "r002"]);
        assert!(old_releases("other", &releases(RELEASES + 4), &[], &[]).is_empty());
    }

    #[test]
    fn promotions_go_after_their_releases() {
        let promotions: Vec<Arc<Promotion>> = (0..PROMOTIONS + 3)
            .map(|n| {
                let spec = PromotionSpec {
                    environment: "dev".into(),
                    release: format!("r{n:03}"),
                    ..PromotionSpec::default()
                };
                let mut promotion = Promotion::new(&format!("p{n:03}"), spec);
                promotion.metadata.creation_timestamp = at(n as i64);
                let phase = if n == 2 {
                    PromotionPhase::Waiting
                } else {
                    PromotionPhase::Succeeded
                };
                promotion.status = Some(PromotionStatus {
                    phase,
                    ..PromotionStatus::default()
                });
                Arc::new(promotion)
            })
            .collect();
        let there = &releases(1)[..];
        assert_eq!(old_promotions("dev", &promotions, there), ["p001"]);
        assert!(old_promotions("prd", &promotions, there).is_empty());
    }
}
