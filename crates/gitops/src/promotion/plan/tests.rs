//! Verdicts of promotions, one case each.

use super::*;
use towpath_kit::kinds::{
    ApplicationCondition, ApplicationSpec, ApplicationStatus, Approval, Deployment,
    EnvironmentSpec, EnvironmentStatus, GateVerdict, HealthStatus, Hold, OperationState,
    PromotionPolicy, PromotionSpec, PromotionStatus, ReleaseSpec, ResourceStatus, SyncStatus,
};

fn environment(stage: &str, after: &str, approvals: u32) -> Arc<Environment> {
    let spec = EnvironmentSpec {
        repository: "hello".into(),
        stage: stage.into(),
        promotion: PromotionPolicy {
            auto: false,
            after: after.into(),
            approvals,
            ..PromotionPolicy::default()
        },
        ..EnvironmentSpec::default()
    };
    Arc::new(Environment::new(&format!("hello-{stage}"), spec))
}

fn release(name: &str) -> Arc<Release> {
    Arc::new(Release::new(
        name,
        ReleaseSpec {
            repository: "hello".into(),
            ..ReleaseSpec::default()
        },
    ))
}

fn promotion(name: &str, stage: &str, release: &str) -> Promotion {
    let spec = PromotionSpec {
        environment: format!("hello-{stage}"),
        release: release.into(),
        kind: "promote".into(),
        ..PromotionSpec::default()
    };
    Promotion::new(name, spec)
}

fn with_phase(mut promotion: Promotion, phase: PromotionPhase) -> Arc<Promotion> {
    let release = promotion.spec.release.clone();
    promotion.status = Some(PromotionStatus {
        phase,
        release,
        ..PromotionStatus::default()
    });
    Arc::new(promotion)
}

struct Case {
    promotion: Promotion,
    environments: Vec<Arc<Environment>>,
    releases: Vec<Arc<Release>>,
    promotions: Vec<Arc<Promotion>>,
}

impl Case {
    fn decide(&self) -> Verdict {
        let environment = self
            .environments
            .iter()
            .find(|e| e.name_any() == self.promotion.spec.environment);
        let siblings: Vec<Arc<Promotion>> = self
            .promotions
            .iter()
            .filter(|p| p.spec.environment == self.promotion.spec.environment)
            .cloned()
            .collect();
        decide(&Snapshot {
            promotion: &self.promotion,
            environment: environment.map(AsRef::as_ref),
            releases: &self.releases,
            siblings: &siblings,
            environments: &self.environments,
            promotions: &self.promotions,
        })
    }
}

fn case() -> Case {
    Case {
        promotion: promotion("p2", "prd", "hello-b"),
        environments: vec![environment("stg", "", 0), environment("prd", "stg", 1)],
        releases: vec![release("hello-a"), release("hello-b")],
        promotions: vec![with_phase(
            promotion("s1", "stg", "hello-b"),
            PromotionPhase::Succeeded,
        )],
    }
}

fn approved(mut case: Case) -> Case {
    case.promotion.spec.approvals.push(Approval {
        by: "ada".into(),
        ..Approval::default()
    });
    case
}

#[test]
fn the_way_through_every_gate() {
    let verdict = case().decide();
    assert_eq!(
        (verdict.answer, verdict.phase),
        (Answer::Stay, PromotionPhase::WaitingForApproval)
    );
    assert!(verdict.message.contains("0 of 1"), "{}", verdict.message);
    let verdict = approved(case()).decide();
    assert_eq!(
        (verdict.answer, verdict.phase),
        (Answer::Go, PromotionPhase::Deploying)
    );
    assert!(verdict.gates.iter().all(|g| g.answer == "pass"));
}

#[test]
fn who_asked_may_be_kept_from_approving() {
    let mut own = approved(case());
    own.promotion.spec.by = "ada".into();
    assert_eq!(own.decide().answer, Answer::Go);
    let mut strict = environment("prd", "stg", 1).as_ref().clone();
    strict.spec.promotion.prevent_self_approval = true;
    own.environments[1] = Arc::new(strict);
    let verdict = own.decide();
    assert_eq!(verdict.phase, PromotionPhase::WaitingForApproval);
    assert!(verdict.message.contains("0 of 1") && verdict.message.contains("ada"));
    own.promotion.spec.approvals.push(Approval {
        by: "grace".into(),
        ..Approval::default()
    });
    assert_eq!(own.decide().answer, Answer::Go);
}

#[test]
fn the_predecessor_must_have_run_it_healthily() {
    let mut waiting = approved(case());
    waiting.promotions.clear();
    assert_eq!(waiting.decide().phase, PromotionPhase::Waiting);
    waiting.promotions = vec![with_phase(
        promotion("s1", "stg", "hello-b"),
        PromotionPhase::Failed,
    )];
    let verdict = waiting.decide();
    assert!(
        verdict.message.contains("failed in stg"),
        "{}",
        verdict.message
    );
}

#[test]
fn holds_and_failed_gates_refuse() {
    let mut held = approved(case());
    let mut bad = release("hello-b").as_ref().clone();
    bad.spec.hold = Some(Hold {
        reason: "leaks".into(),
        ..Hold::default()
    });
    held.releases = vec![Arc::new(bad)];
    let verdict = held.decide();
    assert_eq!(verdict.phase, PromotionPhase::Refused);
    assert!(verdict.message.contains("leaks"));
    let mut gated = approved(case());
    let mut bad = release("hello-b").as_ref().clone();
    bad.spec.gates.push(GateVerdict {
        gate: "coverage".into(),
        ..GateVerdict::default()
    });
    gated.releases = vec![Arc::new(bad)];
    assert_eq!(gated.decide().phase, PromotionPhase::Refused);
}

#[test]
fn newer_supersedes_waiting_and_never_running() {
    let mut older = approved(case());
    older.promotions.push(with_phase(
        promotion("p3", "prd", "hello-a"),
        PromotionPhase::Waiting,
    ));
    assert_eq!(older.decide().phase, PromotionPhase::Superseded);
    let mut behind = approved(case());
    behind.promotions.push(with_phase(
        promotion("p1", "prd", "hello-a"),
        PromotionPhase::Deploying,
    ));
    let verdict = behind.decide();
    assert_eq!(
        (verdict.answer, verdict.phase),
        (Answer::Stay, PromotionPhase::Waiting)
    );
    assert!(verdict.message.contains("p1"));
}

#[test]
fn a_rollback_finds_the_last_healthy_release_and_asks_nobody() {
    let mut back = case();
    back.promotion.spec.kind = "rollback".into();
    back.promotion.spec.release = String::new();
    assert_eq!(back.decide().phase, PromotionPhase::Refused, "no reason");
    back.promotion.spec.reason = "errors".into();
    assert_eq!(back.decide().phase, PromotionPhase::Refused, "no history");
    let entry = |release: &str, outcome: &str| Deployment {
        release: release.into(),
        outcome: outcome.into(),
        ..Deployment::default()
    };
    let mut prd = back.environments[1].as_ref().clone();
    prd.status = Some(EnvironmentStatus {
        release: "hello-b".into(),
        history: vec![
            entry("hello-b", "Failed"),
            entry("hello-x", "Failed"),
            entry("hello-a", "Succeeded"),
        ],
        ..EnvironmentStatus::default()
    });
    back.environments[1] = Arc::new(prd);
    let verdict = back.decide();
    assert_eq!(
        (verdict.answer, verdict.release.as_str()),
        (Answer::Go, "hello-a")
    );
}

#[test]
fn a_withdrawn_one_is_cancelled() {
    let mut withdrawn = approved(case());
    withdrawn.promotion.spec.cancel = true;
    assert_eq!(withdrawn.decide().phase, PromotionPhase::Cancelled);
}

fn app(sync: &str, health: &str, operation: &str, revision: &str) -> Application {
    let mut app = Application::new("a", ApplicationSpec::default());
    app.status = Some(ApplicationStatus {
        sync: SyncStatus {
            status: sync.into(),
            revision: revision.into(),
        },
        health: HealthStatus {
            status: health.into(),
            message: "why".into(),
        },
        operation_state: Some(OperationState {
            phase: operation.into(),
            revision: revision.into(),
            ..OperationState::default()
        }),
        ..ApplicationStatus::default()
    });
    app
}

fn judge(app: &Application, elapsed: u64, trouble: Option<&str>) -> Outcome {
    outcome(&Progress {
        app: Some(app),
        revision: "r",
        elapsed,
        limit: 600,
        trouble: trouble.map(String::from),
    })
}

#[test]
fn only_this_commit_counts() {
    assert_eq!(
        judge(&app("Synced", "Healthy", "Succeeded", "r"), 1, None),
        Outcome::Succeeded
    );
    assert!(matches!(
        judge(&app("Synced", "Healthy", "Succeeded", "old"), 1, None),
        Outcome::Wait(_)
    ));
    assert!(matches!(
        judge(&app("OutOfSync", "Healthy", "Running", "r"), 1, None),
        Outcome::Wait(_)
    ));
    assert!(matches!(
        judge(&app("Synced", "Progressing", "Succeeded", "r"), 1, None),
        Outcome::Wait(_)
    ));
    assert!(matches!(
        judge(&app("Synced", "Progressing", "Succeeded", "r"), 600, None),
        Outcome::Failed(_)
    ));
    assert!(matches!(
        judge(&app("Synced", "Degraded", "Succeeded", "r"), 1, None),
        Outcome::Failed(_)
    ));
    assert!(matches!(
        judge(&app("OutOfSync", "Healthy", "Failed", "r"), 1, None),
        Outcome::Failed(_)
    ));
    assert!(
        matches!(judge(&app("Synced", "Progressing", "Succeeded", "r"), 1, Some("crash")), Outcome::Failed(w) if w == "crash")
    );
    // Trouble of a pod that the application got over is no failure.
    assert_eq!(
        judge(
            &app("Synced", "Healthy", "Succeeded", "r"),
            1,
            Some("crash")
        ),
        Outcome::Succeeded
    );
    // What it no longer has and is on its way out holds nothing up; what it has does.
    let mut leaving = app("OutOfSync", "Healthy", "Succeeded", "r");
    let left = |requires_pruning| ResourceStatus {
        status: "OutOfSync".into(),
        requires_pruning,
        ..ResourceStatus::default()
    };
    leaving.status.as_mut().unwrap().resources = vec![left(true)];
    assert_eq!(judge(&leaving, 1, None), Outcome::Succeeded);
    leaving.status.as_mut().unwrap().resources = vec![left(true), left(false)];
    assert!(matches!(judge(&leaving, 1, None), Outcome::Wait(_)));
    let mut broken = app("Unknown", "Healthy", "Succeeded", "r");
    if let Some(status) = &mut broken.status {
        status.conditions.push(ApplicationCondition {
            type_: "ComparisonError".into(),
            message: "m".into(),
            ..Default::default()
        });
    }
    assert!(matches!(judge(&broken, 1, None), Outcome::Failed(_)));
}

#[test]
fn a_later_commit_on_the_branch_overtakes() {
    let began = |name: &str, stage: &str, at: &str, revision: &str| {
        let mut promotion = promotion(name, stage, "r");
        promotion.status = Some(PromotionStatus {
            phase: PromotionPhase::Deploying,
            started_at: Some(at.into()),
            revision: revision.into(),
            ..Default::default()
        });
        promotion
    };
    let own = began("a", "dev", "2026-01-01T00:00:01Z", "one");
    let overtaken = |other: Promotion| overtaken_by(&own, &[Arc::new(other)]).is_some();
    assert!(overtaken(began("b", "dev", "2026-01-01T00:00:02Z", "two")));
    // Not yet written, elsewhere, or older.
    assert!(!overtaken(began("b", "dev", "2026-01-01T00:00:02Z", "")));
    assert!(!overtaken(began("b", "stg", "2026-01-01T00:00:02Z", "two")));
    assert!(!overtaken(began("b", "dev", "2026-01-01T00:00:00Z", "two")));
}
