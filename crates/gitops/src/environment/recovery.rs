//! An environment takes a failed release back by itself, where its policy says so.
//!
//! The decision is made from what was written down, not at the moment of the failure, so that a
//! restart loses nothing; the promotion that goes back is named after the one that failed, so
//! that it is made once. From there it is a rollback like any other: a commit, and the bad
//! release on hold. One that fails itself is left to people.

use super::age;
use crate::promotion::trailer;
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use towpath_kit::kinds::{
    Deployment, Environment, Promotion, PromotionPhase, PromotionSpec, Release, labels,
};
use towpath_kit::traits::CommitInfo;

/// Who asks, where the API does not say it itself.
const BY: &str = "towpath";

/// The promotion that should take the environment back, if any: what its branch says was brought
/// there by one that failed, nothing newer is open, and something healthy ran before. Pure.
pub(crate) fn wanted(
    environment: &Environment,
    head: Option<&CommitInfo>,
    history: &[Deployment],
    promotions: &[Arc<Promotion>],
    releases: &[Arc<Release>],
) -> Option<Promotion> {
    if !environment.spec.promotion.auto_rollback {
        return None;
    }
    let head = head?;
    let cause = trailer(&head.message, "Towpath-Promotion")?;
    let failed = promotions.iter().find(|p| p.name_any() == cause)?;
    let status = failed.status.as_ref()?;
    let has_failed = status.phase == PromotionPhase::Failed && status.revision == head.sha;
    if !has_failed || failed.spec.goes_back() {
        return None;
    }
    let name = PromotionSpec::way_back(cause);
    let newer = promotions.iter().any(|p| {
        let ended = p.status.as_ref().is_some_and(|s| s.phase.is_final());
        p.name_any() == name || (!ended && age(p) > age(failed))
    });
    let usable = |name: &str| {
        let found = releases.iter().find(|r| r.name_any() == name);
        found.is_some_and(|r| r.spec.hold.is_none())
    };
    let mut healthy = history
        .iter()
        .filter(|d| d.outcome == "Succeeded" && d.release != status.release);
    let release = healthy.find(|d| usable(&d.release)).filter(|_| !newer)?;
    let spec = PromotionSpec {
        environment: environment.name_any(),
        release: release.release.clone(),
        kind: "auto-rollback".into(),
        by: BY.into(),
        reason: format!("{cause} failed: {}", status.message),
        ..PromotionSpec::default()
    };
    let mut promotion = Promotion::new(&name, spec);
    promotion.metadata.labels = Some(BTreeMap::from([
        (labels::ENVIRONMENT.to_string(), environment.name_any()),
        (labels::RELEASE.to_string(), release.release.clone()),
        (
            labels::REPOSITORY.to_string(),
            environment.spec.repository.clone(),
        ),
        (labels::COMMIT.to_string(), release.sha.clone()),
    ]));
    Some(promotion)
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_kit::kinds::{
        EnvironmentSpec, Hold, PromotionPolicy, PromotionStatus, ReleaseSpec,
    };

    fn environment(auto_rollback: bool) -> Environment {
        let promotion = PromotionPolicy {
            auto_rollback,
            ..PromotionPolicy::default()
        };
        let spec = EnvironmentSpec {
            promotion,
            ..EnvironmentSpec::default()
        };
        Environment::new("dev", spec)
    }

    fn history() -> Vec<Deployment> {
        let entries = [("c", "Failed"), ("b", "Succeeded"), ("a", "Succeeded")];
        let entry = |(release, outcome): (&str, &str)| Deployment {
            release: release.into(),
            outcome: outcome.into(),
            ..Deployment::default()
        };
        entries.map(entry).to_vec()
    }

    fn promotion(name: &str, kind: &str, phase: PromotionPhase) -> Arc<Promotion> {
        let spec = PromotionSpec {
            kind: kind.into(),
            ..PromotionSpec::default()
        };
        let mut promotion = Promotion::new(name, spec);
        promotion.status = Some(PromotionStatus {
            phase,
            release: "c".into(),
            revision: "e3".into(),
            message: "it is degraded".into(),
            ..PromotionStatus::default()
        });
        Arc::new(promotion)
    }

    fn releases(held: &[&str]) -> Vec<Arc<Release>> {
        let release = |name: &str| {
            let hold = held.contains(&name).then(Hold::default);
            let spec = ReleaseSpec {
                hold,
                ..ReleaseSpec::default()
            };
            Arc::new(Release::new(name, spec))
        };
        ["a", "b", "c"].map(release).to_vec()
    }

    fn head(promotion: &str) -> CommitInfo {
        CommitInfo {
            sha: "e3".into(),
            message: format!("deploy\n\nTowpath-Promotion: {promotion}\n"),
            ..CommitInfo::default()
        }
    }

    fn decided(
        environment: &Environment,
        promotions: &[Arc<Promotion>],
        held: &[&str],
    ) -> Option<(String, String)> {
        let made = wanted(
            environment,
            Some(&head("p3")),
            &history(),
            promotions,
            &releases(held),
        )?;
        assert_eq!(made.spec.kind, "auto-rollback");
        assert!(made.spec.reason.contains("p3 failed: it is degraded"));
        Some((made.name_any(), made.spec.release))
    }

    #[test]
    fn a_failed_release_goes_back_once_and_only_where_asked() {
        let failed = promotion("p3", "deploy", PromotionPhase::Failed);
        let all = [failed.clone()];
        let to = |release: &str| Some(("p3-back".to_string(), release.to_string()));
        assert_eq!(decided(&environment(true), &all, &[]), to("b"));
        assert_eq!(decided(&environment(true), &all, &["b"]), to("a"));
        assert_eq!(decided(&environment(true), &all, &["a", "b"]), None);
        assert_eq!(decided(&environment(false), &all, &[]), None);
        let back = promotion("p3-back", "auto-rollback", PromotionPhase::Failed);
        assert_eq!(
            decided(&environment(true), &[failed.clone(), back], &[]),
            None
        );
        let open = promotion("p4", "deploy", PromotionPhase::Waiting);
        assert_eq!(decided(&environment(true), &[failed, open], &[]), None);
    }

    #[test]
    fn what_runs_well_or_went_back_itself_stays() {
        let healthy = promotion("p3", "deploy", PromotionPhase::Succeeded);
        assert_eq!(decided(&environment(true), &[healthy], &[]), None);
        for kind in ["rollback", "auto-rollback"] {
            let back = promotion("p3", kind, PromotionPhase::Failed);
            assert_eq!(decided(&environment(true), &[back], &[]), None);
        }
        let other = promotion("p2", "deploy", PromotionPhase::Failed);
        assert_eq!(decided(&environment(true), &[other], &[]), None);
        assert!(wanted(&environment(true), None, &history(), &[], &[]).is_none());
    }
}
