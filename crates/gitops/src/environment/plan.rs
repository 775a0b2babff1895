//! What an environment wants, takes next, and says of itself. Pure.

use crate::promotion::trailer;
use kube::ResourceExt;
use std::sync::Arc;
use towpath_kit::kinds::{
    Application, ApplicationDestination, ApplicationSource, ApplicationSpec, Automated, Deployment,
    Environment, EnvironmentStatus, Promotion, PromotionPhase, Release, SyncPolicy, labels,
};
use towpath_kit::traits::CommitInfo;

const HISTORY: usize = 20;

/// The application an environment wants.
pub(crate) fn application(namespace: &str, environment: &Environment) -> ApplicationSpec {
    let spec = &environment.spec;
    let server = if spec.server.is_empty() {
        "https://kubernetes.default.svc"
    } else {
        &spec.server
    };
    ApplicationSpec {
        source: ApplicationSource {
            repo_url: format!("towpath://{namespace}/{}", spec.repository),
            path: spec.path.clone(),
            target_revision: branch(environment),
        },
        destination: ApplicationDestination {
            server: server.into(),
            name: String::new(),
            namespace: spec.namespace.clone(),
        },
        project: "default".into(),
        sync_policy: Some(SyncPolicy {
            automated: Some(Automated {
                prune: true,
                self_heal: true,
                allow_empty: false,
            }),
            sync_options: vec!["CreateNamespace=true".into(), "ServerSideApply=true".into()],
        }),
        ignore_differences: Vec::new(),
    }
}

/// Short name of the branch that holds an environment's state.
pub(crate) fn branch(environment: &Environment) -> String {
    format!("env/{}", environment.spec.stage)
}

/// The release to promote by itself, if any: the newest of the branch that is not held, unless
/// it or a newer one was tried here already. Pure.
pub(crate) fn next_release(
    environment: &Environment,
    releases: &[Arc<Release>],
    promotions: &[Arc<Promotion>],
    recent: &[String],
) -> Option<Arc<Release>> {
    if !environment.spec.promotion.auto {
        return None;
    }
    // Position on the branch, newest first; what is not on it any more does not come by itself.
    let rank = |release: &Release| recent.iter().position(|sha| *sha == release.spec.sha);
    let ours = releases.iter().filter(|r| {
        r.spec.repository == environment.spec.repository && r.spec.branch == environment.spec.branch
    });
    let newest = ours
        .filter(|r| r.spec.hold.is_none())
        .filter_map(|r| Some((rank(r)?, r)))
        .min_by_key(|(rank, _)| *rank)?;
    let name = newest.1.name_any();
    let tried = promotions
        .iter()
        .filter(|p| p.spec.environment == environment.name_any());
    for promotion in tried {
        let release = match promotion.spec.release.as_str() {
            "" => promotion
                .status
                .as_ref()
                .map(|s| s.release.as_str())
                .unwrap_or_default(),
            release => release,
        };
        // A rollback names an older release on purpose; it says nothing about the newest.
        let newer = releases
            .iter()
            .find(|r| r.name_any() == release)
            .and_then(|r| rank(r))
            .is_some_and(|at| at < newest.0);
        if release == name || (newer && !promotion.spec.goes_back()) {
            return None;
        }
    }
    Some(newest.1.clone())
}

/// Status of an environment. What is deployed is what the head of its branch says. Pure.
pub(crate) fn status(
    old: &EnvironmentStatus,
    head: Option<&CommitInfo>,
    app: Option<&Application>,
    promotions: &[Arc<Promotion>],
    now: &str,
) -> EnvironmentStatus {
    let mut status = EnvironmentStatus {
        conditions: old.conditions.clone(),
        ..EnvironmentStatus::default()
    };
    if let Some(head) = head {
        status.revision.clone_from(&head.sha);
        status.release = trailer(&head.message, "Towpath-Release")
            .unwrap_or_default()
            .into();
        status.sha = trailer(&head.message, "Towpath-Commit")
            .unwrap_or_default()
            .into();
    }
    let mut by_age: Vec<&Arc<Promotion>> = promotions.iter().collect();
    by_age.sort_by_key(|p| std::cmp::Reverse(age(p)));
    let open = by_age
        .iter()
        .find(|p| phase(p) == PromotionPhase::Deploying);
    let latest = open
        .or_else(|| by_age.iter().find(|p| !phase(p).is_final()))
        .or_else(|| by_age.first());
    status.promotion = latest.map(|p| p.name_any()).unwrap_or_default();
    match app.and_then(|app| app.status.as_ref()) {
        Some(app) => {
            status.health.clone_from(&app.health.status);
            status.sync.clone_from(&app.sync.status);
            let condition = app.conditions.first().map(|c| c.message.clone());
            status.message = condition
                .filter(|_| app.health.message.is_empty())
                .unwrap_or_else(|| app.health.message.clone());
        }
        None => {
            status.health = if head.is_some() { "Unknown" } else { "Missing" }.into();
            status.sync = "Unknown".into();
        }
    }
    if head.is_none() {
        status.message = "nothing has been deployed yet".into();
    }
    status.history = history(&old.history, &by_age);
    let same = status.release == old.release && status.revision == old.revision;
    status.since = match (same, &old.since) {
        (true, Some(since)) => Some(since.clone()),
        _ => head.map(|_| now.to_string()),
    };
    status
}

fn phase(promotion: &Promotion) -> PromotionPhase {
    promotion
        .status
        .as_ref()
        .map(|s| s.phase)
        .unwrap_or_default()
}

/// Position in time: creation, then name.
pub(crate) fn age(promotion: &Promotion) -> (i64, String) {
    let created = promotion.metadata.creation_timestamp.as_ref();
    (
        created.map_or(i64::MAX, |t| t.0.as_second()),
        promotion.name_any(),
    )
}

// Times are whole seconds, and much can end within one: the last write of a promotion that ended
// is its end, and revisions of one kind are in the order of its writes.
fn ended(promotion: &Promotion) -> (&str, u64) {
    let at = promotion.status.as_ref();
    let at = at.and_then(|s| s.finished_at.as_deref());
    let revision = promotion.metadata.resource_version.as_deref();
    let revision = revision.and_then(|r| r.parse().ok());
    (at.unwrap_or_default(), revision.unwrap_or(0))
}

fn history(old: &[Deployment], by_age: &[&Arc<Promotion>]) -> Vec<Deployment> {
    let mut by_end = by_age.to_vec();
    by_end.sort_by(|l, r| ended(r).cmp(&ended(l)));
    let mut entries: Vec<Deployment> = by_end
        .iter()
        .filter(|p| matches!(phase(p), PromotionPhase::Succeeded | PromotionPhase::Failed))
        .filter_map(|p| {
            let status = p.status.as_ref()?;
            // What never reached the branch is no deployment.
            if status.revision.is_empty() {
                return None;
            }
            let kind = if !p.spec.goes_back() && status.previous == status.release {
                "redeploy"
            } else {
                &p.spec.kind
            };
            Some(Deployment {
                kind: kind.into(),
                release: status.release.clone(),
                // A release is named after its commit; who asks by hand sets no label.
                sha: p.labels().get(labels::COMMIT).cloned().unwrap_or_else(|| {
                    status.release.rsplit('-').next().unwrap_or_default().into()
                }),
                revision: status.revision.clone(),
                promotion: p.name_any(),
                by: p.spec.by.clone(),
                reason: p.spec.reason.clone(),
                at: status.finished_at.clone().unwrap_or_default(),
                outcome: if phase(p) == PromotionPhase::Succeeded {
                    "Succeeded"
                } else {
                    "Failed"
                }
                .into(),
            })
        })
        .collect();
    // Promotions that were cleaned away keep their entry.
    let gone = old
        .iter()
        .filter(|o| !entries.iter().any(|e| e.promotion == o.promotion))
        .cloned()
        .collect::<Vec<_>>();
    entries.extend(gone);
    entries.sort_by(|l, r| r.at.cmp(&l.at));
    entries.truncate(HISTORY);
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_kit::kinds::{
        EnvironmentSpec, Hold, PromotionPolicy, PromotionSpec, PromotionStatus, ReleaseSpec,
    };

    fn environment() -> Environment {
        let spec = EnvironmentSpec {
            repository: "hello".into(),
            stage: "dev".into(),
            branch: "main".into(),
            promotion: PromotionPolicy {
                auto: true,
                ..PromotionPolicy::default()
            },
            ..EnvironmentSpec::default()
        };
        Environment::new("hello-dev", spec)
    }

    fn release(sha: &str) -> Arc<Release> {
        let spec = ReleaseSpec {
            repository: "hello".into(),
            sha: sha.into(),
            branch: "main".into(),
            ..ReleaseSpec::default()
        };
        Arc::new(Release::new(&format!("hello-{sha}"), spec))
    }

    fn promotion(release: &str, kind: &str) -> Arc<Promotion> {
        let spec = PromotionSpec {
            environment: "hello-dev".into(),
            release: release.into(),
            kind: kind.into(),
            ..PromotionSpec::default()
        };
        Arc::new(Promotion::new(&format!("p-{release}-{kind}"), spec))
    }

    #[test]
    fn the_newest_release_of_the_branch_goes_out_once() {
        let recent: Vec<String> = ["c", "b", "a"].map(String::from).to_vec();
        let releases = [release("a"), release("b")];
        let next = |releases: &[Arc<Release>], promotions: &[Arc<Promotion>]| {
            next_release(&environment(), releases, promotions, &recent).map(|r| r.name_any())
        };
        assert_eq!(next(&releases, &[]).as_deref(), Some("hello-b"));
        assert_eq!(next(&releases, &[promotion("hello-b", "deploy")]), None);
        // A run of an older commit that ends later does not overtake.
        assert_eq!(
            next(&[release("a")], &[promotion("hello-b", "deploy")]).as_deref(),
            Some("hello-a")
        );
        assert_eq!(
            next(
                &[release("a"), release("b")],
                &[promotion("hello-b", "promote")]
            ),
            None
        );
        let mut held = release("b").as_ref().clone();
        held.spec.hold = Some(Hold::default());
        assert_eq!(
            next(
                &[release("a"), Arc::new(held)],
                &[
                    promotion("hello-b", "deploy"),
                    promotion("hello-a", "deploy")
                ]
            ),
            None
        );
    }

    #[test]
    fn status_says_what_the_branch_says() {
        let head = CommitInfo {
            sha: "e1".into(),
            message: "deploy\n\nTowpath-Release: hello-b\nTowpath-Commit: b\n".into(),
            ..CommitInfo::default()
        };
        let mut done = promotion("hello-b", "deploy").as_ref().clone();
        done.status = Some(PromotionStatus {
            phase: PromotionPhase::Succeeded,
            release: "hello-b".into(),
            revision: "e1".into(),
            finished_at: Some("2026-01-01T00:00:00Z".into()),
            ..PromotionStatus::default()
        });
        let made = status(
            &EnvironmentStatus::default(),
            Some(&head),
            None,
            &[Arc::new(done)],
            "2026-01-01T00:00:01Z",
        );
        assert_eq!(
            (
                made.release.as_str(),
                made.sha.as_str(),
                made.revision.as_str()
            ),
            ("hello-b", "b", "e1")
        );
        assert_eq!(made.history.len(), 1);
        assert_eq!(made.history[0].outcome, "Succeeded");
    }

    #[test]
    fn what_ended_within_one_second_stays_in_its_order() {
        // Names, which come from commits, are in another order than the ends.
        let ended = |release: &str, kind: &str, version: &str| {
            let mut promotion = promotion(release, kind).as_ref().clone();
            promotion.metadata.resource_version = Some(version.into());
            promotion.status = Some(PromotionStatus {
                phase: PromotionPhase::Succeeded,
                release: release.into(),
                revision: "e".into(),
                finished_at: Some("2026-01-01T00:00:00Z".into()),
                ..PromotionStatus::default()
            });
            Arc::new(promotion)
        };
        let all = [
            ended("hello-a", "auto-rollback", "1000"),
            ended("hello-b", "deploy", "999"),
            ended("hello-c", "deploy", "98"),
        ];
        let old = EnvironmentStatus::default();
        let made = status(&old, None, None, &all, "now");
        let releases: Vec<&str> = made.history.iter().map(|d| d.release.as_str()).collect();
        assert_eq!(releases, ["hello-a", "hello-b", "hello-c"]);
    }
}
