//! From a run to two environments, over a bad release and back.

use crate::world::{Cluster, World, git, project, until};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use towpath_kit::kinds::{
    Approval, Environment, EnvironmentStatus, Promotion, PromotionPhase, PromotionPolicy,
    PromotionSpec, Release,
};

fn request(environment: &str, release: &str, kind: &str, reason: &str) -> PromotionSpec {
    PromotionSpec {
        environment: environment.into(),
        release: release.into(),
        kind: kind.into(),
        by: "ada".into(),
        reason: reason.into(),
        ..PromotionSpec::default()
    }
}

pub(crate) async fn promote_fail_and_roll_back(cluster: &Cluster) {
    let mut world = World::start(cluster, &project()).await;
    world
        .environment(
            "dev",
            PromotionPolicy {
                auto: true,
                ..PromotionPolicy::default()
            },
        )
        .await;
    world
        .environment(
            "prd",
            PromotionPolicy {
                auto: false,
                after: "dev".into(),
                approvals: 1,
                ..PromotionPolicy::default()
            },
        )
        .await;

    // A succeeded run reaches dev by itself.
    let first = world.push(&project());
    let good = world.run_succeeded(&first, "sha256:aa").await;
    world
        .settle_deployment("dev", "demo/hello@sha256:aa", true)
        .await;
    world
        .promotion_is(&format!("hello-dev-{good}-1"), |s| {
            s.phase == PromotionPhase::Succeeded
        })
        .await;
    let text = git(
        &world.git,
        &["show", "env/dev:deploy/overlays/dev/kustomization.yaml"],
    );
    assert!(
        text.contains("digest: sha256:aa") && text.contains("# the overlay"),
        "{text}"
    );
    assert_eq!(
        git(
            &world.git,
            &["show", "-s", "--format=%an", "refs/heads/main"]
        ),
        "ada"
    );

    // prd waits for someone, also over a restart.
    world
        .promote("up", request("hello-prd", &good, "promote", ""))
        .await;
    world
        .promotion_is("up", |s| s.phase == PromotionPhase::WaitingForApproval)
        .await;
    world.restart().await;
    let approval = Approval {
        by: "grace".into(),
        at: "2026-01-01T00:00:00Z".into(),
        ..Approval::default()
    };
    let patch = Patch::Merge(json!({"spec": {"approvals": [approval]}}));
    world
        .api::<Promotion>()
        .patch("up", &PatchParams::default(), &patch)
        .await
        .expect("approve");
    world
        .settle_deployment("prd", "demo/hello@sha256:aa", true)
        .await;
    world
        .promotion_is("up", |s| s.phase == PromotionPhase::Succeeded)
        .await;

    // A bad one fails in dev with a reason, and may not go to prd.
    let second = world.push(&project());
    let bad = world.run_succeeded(&second, "sha256:bb").await;
    world
        .settle_deployment("dev", "demo/hello@sha256:bb", false)
        .await;
    let failed = world
        .promotion_is(&format!("hello-dev-{bad}-1"), |s| s.phase.is_final())
        .await;
    assert_eq!(failed.phase, PromotionPhase::Failed);
    assert!(
        failed.message.contains("progress deadline"),
        "{}",
        failed.message
    );
    assert!(
        failed
            .evidence
            .iter()
            .any(|e| e.contains("towpath rollback hello-dev")),
        "{:?}",
        failed.evidence
    );
    world
        .promote("up2", request("hello-prd", &bad, "promote", ""))
        .await;
    let waiting = world.promotion_is("up2", |s| !s.message.is_empty()).await;
    assert!(
        waiting.message.contains("failed in dev"),
        "{}",
        waiting.message
    );

    // Back, with a reason: the very tree that ran before, and the bad one on hold.
    world
        .promote(
            "back",
            request("hello-dev", "", "rollback", "crashes at start"),
        )
        .await;
    world
        .settle_deployment("dev", "demo/hello@sha256:aa", true)
        .await;
    let back = world
        .promotion_is("back", |s| s.phase == PromotionPhase::Succeeded)
        .await;
    assert_eq!(
        (back.release.as_str(), back.previous.as_str()),
        (good.as_str(), bad.as_str())
    );
    let tree = |revision: &str| git(&world.git, &["rev-parse", &format!("{revision}^{{tree}}")]);
    assert_eq!(tree("env/dev"), tree("env/dev~2"));
    let message = git(&world.git, &["show", "-s", "--format=%B", "env/dev"]);
    assert!(message.contains("crashes at start"), "{message}");
    let held: Release = world.api().get(&bad).await.expect("release");
    assert!(
        held.spec
            .hold
            .is_some_and(|h| h.reason.contains("crashes at start"))
    );
    let refused = world.promotion_is("up2", |s| s.phase.is_final()).await;
    assert_eq!(refused.phase, PromotionPhase::Refused);
    let kinds = |status: &EnvironmentStatus| {
        let history = status.history.iter();
        history
            .map(|d| format!("{} {}", d.kind, d.outcome))
            .collect::<Vec<_>>()
    };
    until("the environment's history", || async {
        let environment: Environment = world.api().get("hello-dev").await.expect("environment");
        let status = environment.status.expect("status");
        let mut told = kinds(&status);
        told.sort();
        status.release == good
            && told == ["deploy Failed", "deploy Succeeded", "rollback Succeeded"]
    })
    .await;
    world.stop().await;
}

/// The delivery side stops at any moment and starts again; nothing is lost, nothing twice.
pub(crate) async fn stopped_at_any_moment(cluster: &Cluster) {
    let mut world = World::start(cluster, &project()).await;
    world
        .environment(
            "dev",
            PromotionPolicy {
                auto: true,
                ..PromotionPolicy::default()
            },
        )
        .await;
    for (round, pause_ms) in [0u64, 5, 15, 30, 60, 120].into_iter().enumerate() {
        let sha = world.push(&project());
        let digest = format!("sha256:{round:02}");
        let release = world.run_succeeded(&sha, &digest).await;
        tokio::time::sleep(std::time::Duration::from_millis(pause_ms)).await;
        world.restart().await;
        world
            .settle_deployment("dev", &format!("demo/hello@{digest}"), true)
            .await;
        world.restart().await;
        world
            .promotion_is(&format!("hello-dev-{release}-1"), |s| {
                s.phase == PromotionPhase::Succeeded
            })
            .await;
        let log = git(
            &world.git,
            &["log", "--first-parent", "--format=%B", "env/dev"],
        );
        let commits = log.matches(&format!("Towpath-Release: {release}")).count();
        assert_eq!(commits, 1, "{log}");
    }
    let promotions = world
        .api::<Promotion>()
        .list(&kube::api::ListParams::default())
        .await
        .expect("promotions");
    assert_eq!(promotions.items.len(), 6);
    world.stop().await;
}

/// A pod that crashes again and again decides before any deadline, and says why.
pub(crate) async fn a_crashing_pod_ends_a_deployment_early(cluster: &Cluster) {
    let world = World::start(cluster, &project()).await;
    let auto = PromotionPolicy {
        auto: true,
        ..PromotionPolicy::default()
    };
    world.environment("dev", auto).await;
    let sha = world.push(&project());
    let release = world.run_succeeded(&sha, "sha256:aa").await;
    let deployments = world.deployments("dev");
    until("the deployment", || async {
        deployments.get_opt("hello").await.expect("get").is_some()
    })
    .await;
    let target = world.target("dev");
    // Without its controller the account of every namespace is missing on the real API.
    let accounts = world.objects("v1", "ServiceAccount", "serviceaccounts", &target);
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    let account = serde_json::from_value(account).expect("account");
    let _ = accounts.create(&PostParams::default(), &account).await;
    let pods = world.objects("v1", "Pod", "pods", &target);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hello-x"},
        "spec": {"automountServiceAccountToken": false,
            "containers": [{"name": "hello", "image": "demo/hello@sha256:aa"}]}});
    let pod = serde_json::from_value(pod).expect("pod");
    pods.create(&PostParams::default(), &pod)
        .await
        .expect("create");
    let status = json!({"status": {"phase": "Running", "containerStatuses": [{
        "name": "hello", "image": "demo/hello", "imageID": "", "ready": false, "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
        "lastState": {"terminated": {"exitCode": 101, "reason": "Error"}}}]}});
    let patch = Patch::Merge(status);
    pods.patch_status("hello-x", &PatchParams::default(), &patch)
        .await
        .expect("status");
    let name = format!("hello-dev-{release}-1");
    let failed = world.promotion_is(&name, |s| s.phase.is_final()).await;
    assert_eq!(failed.phase, PromotionPhase::Failed);
    assert!(
        failed.message.contains("CrashLoopBackOff"),
        "{}",
        failed.message
    );
    let evidence = failed.evidence.join("; ");
    assert!(
        evidence.contains("pod hello-x") && evidence.contains("exit code 101"),
        "{evidence}"
    );
    world.stop().await;
}

/// Where the environment asks for it, a failed release is taken back without anyone.
pub(crate) async fn a_failed_release_goes_back_by_itself(cluster: &Cluster) {
    let mut world = World::start(cluster, &project()).await;
    let policy = PromotionPolicy {
        auto: true,
        auto_rollback: true,
        ..PromotionPolicy::default()
    };
    world.environment("dev", policy).await;
    let first = world.push(&project());
    let good = world.run_succeeded(&first, "sha256:aa").await;
    world
        .settle_deployment("dev", "demo/hello@sha256:aa", true)
        .await;
    world
        .promotion_is(&format!("hello-dev-{good}-1"), |s| {
            s.phase == PromotionPhase::Succeeded
        })
        .await;
    let second = world.push(&project());
    let bad = world.run_succeeded(&second, "sha256:bb").await;
    world
        .settle_deployment("dev", "demo/hello@sha256:bb", false)
        .await;
    let name = format!("hello-dev-{bad}-1");
    let failed = world.promotion_is(&name, |s| s.phase.is_final()).await;
    assert_eq!(failed.phase, PromotionPhase::Failed);
    // Whatever stops in between, it is decided again.
    world.restart().await;
    world
        .settle_deployment("dev", "demo/hello@sha256:aa", true)
        .await;
    let back = world
        .promotion_is(&format!("{name}-back"), |s| s.phase.is_final())
        .await;
    assert_eq!(back.phase, PromotionPhase::Succeeded, "{}", back.message);
    assert_eq!(back.release, good);
    let held: Release = world.api().get(&bad).await.expect("release");
    assert!(held.spec.hold.is_some_and(|h| h.reason.contains(&name)));
    until("the environment's history", || async {
        let environment: Environment = world.api().get("hello-dev").await.expect("environment");
        let status = environment.status.expect("status");
        let kinds = status.history.iter().map(|d| d.kind.as_str());
        status.release == good && kinds.collect::<Vec<_>>() == ["auto-rollback", "deploy", "deploy"]
    })
    .await;
    world.stop().await;
}
