//! Applying, drift, pruning.

use crate::world::{Cluster, DEPLOYMENT, World, project, until};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};
use towpath_kit::kinds::{Application, PromotionPhase, PromotionPolicy};

fn auto() -> PromotionPolicy {
    PromotionPolicy {
        auto: true,
        ..PromotionPolicy::default()
    }
}

async fn deployed(world: &World, digest: &str) -> String {
    let sha = world.push(&project());
    let release = world.run_succeeded(&sha, digest).await;
    world
        .settle_deployment("dev", &format!("demo/hello@{digest}"), true)
        .await;
    let promotion = format!("hello-dev-{release}-1");
    world
        .promotion_is(&promotion, |s| s.phase == PromotionPhase::Succeeded)
        .await;
    release
}

pub(crate) async fn a_manual_change_is_undone_within_a_second(cluster: &Cluster) {
    let world = World::start(cluster, &project()).await;
    world.environment("dev", auto()).await;
    deployed(&world, "sha256:aa").await;
    let maps = world.config_maps("dev");

    // Changed.
    let patch = Patch::Merge(json!({"data": {"color": "red"}}));
    maps.patch("settings", &PatchParams::default(), &patch)
        .await
        .expect("patch");
    let color = |expected: &'static str| {
        let maps = maps.clone();
        move || {
            let maps = maps.clone();
            async move {
                let found = maps.get_opt("settings").await.expect("settings");
                found.is_some_and(|m| {
                    m.data.pointer("/data/color").and_then(Json::as_str) == Some(expected)
                })
            }
        }
    };
    let took = until("blue again", color("blue")).await;
    assert!(took < Duration::from_secs(1), "{took:?}");

    // Deleted.
    maps.delete("settings", &DeleteParams::default())
        .await
        .expect("delete");
    let took = until("there again", color("blue")).await;
    assert!(took < Duration::from_secs(1), "{took:?}");

    // Scaled by hand.
    let deployments = world.deployments("dev");
    deployments
        .patch(
            "hello",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"replicas": 7}})),
        )
        .await
        .expect("patch");
    let start = Instant::now();
    until("two replicas", || async {
        deployments
            .get("hello")
            .await
            .expect("deployment")
            .data
            .pointer("/spec/replicas")
            == Some(&json!(2))
    })
    .await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );

    // Fields that the source does not speak of stay.
    maps.patch(
        "settings",
        &PatchParams::default(),
        &Patch::Merge(json!({"metadata": {"labels": {"mine": "x"}}})),
    )
    .await
    .expect("patch");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let kept = maps.get("settings").await.expect("settings");
    assert_eq!(kept.labels().get("mine").map(String::as_str), Some("x"));
    world.stop().await;
}

pub(crate) async fn what_leaves_the_source_goes_and_nothing_else(cluster: &Cluster) {
    let world = World::start(cluster, &project()).await;
    world.environment("dev", auto()).await;
    deployed(&world, "sha256:aa").await;
    let maps = world.config_maps("dev");
    let foreign = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "foreign"}, "data": {"a": "b"}});
    let foreign = serde_json::from_value(foreign).expect("object");
    maps.create(&PostParams::default(), &foreign)
        .await
        .expect("create");

    let mut files = project();
    files.retain(|(path, _)| !path.ends_with("settings.yaml"));
    files[0].1 = "resources: [deployment.yaml]\n";
    let sha = world.push(&files);
    let release = world.run_succeeded(&sha, "sha256:bb").await;
    world
        .settle_deployment("dev", "demo/hello@sha256:bb", true)
        .await;
    world
        .promotion_is(&format!("hello-dev-{release}-1"), |s| {
            s.phase == PromotionPhase::Succeeded
        })
        .await;
    // The garbage collector's part: what is deleted in the foreground has no dependents here.
    until("the settings to go", || async {
        let found = maps.get_opt("settings").await.expect("settings");
        if found
            .as_ref()
            .is_some_and(|m| m.metadata.deletion_timestamp.is_some())
        {
            let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            let _ = maps
                .patch("settings", &PatchParams::default(), &patch)
                .await;
        }
        found.is_none()
    })
    .await;
    assert!(maps.get_opt("foreign").await.expect("foreign").is_some());
    until("one resource left", || async {
        let app: Application = world.api().get("hello-dev").await.expect("application");
        app.status
            .is_some_and(|s| s.resources.len() == 1 && s.sync.status == "Synced")
    })
    .await;
    world.stop().await;
}

pub(crate) async fn a_set_with_one_bad_object_changes_nothing(cluster: &Cluster) {
    let world = World::start(cluster, &project()).await;
    world.environment("dev", auto()).await;
    deployed(&world, "sha256:aa").await;
    let mut files = project();
    files[2].1 =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {color: green}\n";
    files.push((
        "deploy/base/bad.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: 99999999}]}\n",
    ));
    files[0].1 = "resources: [deployment.yaml, settings.yaml, bad.yaml]\n";
    let sha = world.push(&files);
    let release = world.run_succeeded(&sha, "sha256:bb").await;
    let status = world
        .promotion_is(&format!("hello-dev-{release}-1"), |s| s.phase.is_final())
        .await;
    assert_eq!(status.phase, PromotionPhase::Failed, "{status:?}");
    assert!(status.message.contains("bad"), "{}", status.message);
    let kept = world
        .config_maps("dev")
        .get("settings")
        .await
        .expect("settings");
    assert_eq!(kept.data.pointer("/data/color"), Some(&json!("blue")));
    world.stop().await;
}

pub(crate) async fn what_cannot_be_rendered_says_where(cluster: &Cluster) {
    let world = World::start(cluster, &project()).await;
    world.environment("dev", auto()).await;
    deployed(&world, "sha256:aa").await;
    let mut files = project();
    files[1].1 = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: hello\n";
    let sha = world.push(&files);
    let release = world.run_succeeded(&sha, "sha256:bb").await;
    let status = world
        .promotion_is(&format!("hello-dev-{release}-1"), |s| s.phase.is_final())
        .await;
    assert_eq!(status.phase, PromotionPhase::Failed);
    assert!(
        status.message.contains("deploy/base/deployment.yaml:"),
        "{}",
        status.message
    );
    world.stop().await;
}

/// Replicas belong to the autoscaler, also while a new release is applied.
pub(crate) async fn an_autoscaler_keeps_its_replicas(cluster: &Cluster) {
    let world = World::start(cluster, &project()).await;
    world.environment("dev", auto()).await;
    let mut files = project();
    files.push((
        "deploy/base/hpa.yaml",
        "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: hello}\nspec:\n  maxReplicas: 5\n  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: hello}\n",
    ));
    files[0].1 = "resources: [deployment.yaml, settings.yaml, hpa.yaml]\n";
    let sha = world.push(&files);
    let release = world.run_succeeded(&sha, "sha256:aa").await;
    world
        .settle_deployment("dev", "demo/hello@sha256:aa", true)
        .await;
    let succeeded = |s: &towpath_kit::kinds::PromotionStatus| s.phase == PromotionPhase::Succeeded;
    world
        .promotion_is(&format!("hello-dev-{release}-1"), succeeded)
        .await;
    let deployments = world.deployments("dev");
    let patch = Patch::Merge(json!({"spec": {"replicas": 4}}));
    deployments
        .patch("hello", &PatchParams::default(), &patch)
        .await
        .expect("scale");
    let sha = world.push(&files);
    let release = world.run_succeeded(&sha, "sha256:bb").await;
    world
        .settle_deployment("dev", "demo/hello@sha256:bb", true)
        .await;
    world
        .promotion_is(&format!("hello-dev-{release}-1"), succeeded)
        .await;
    let live = deployments.get("hello").await.expect("deployment");
    assert_eq!(live.data.pointer("/spec/replicas"), Some(&json!(4)));
    world.stop().await;
}

const CLEANER: &str = "\
apiVersion: batch/v1
kind: CronJob
metadata: {name: cleaner}
spec:
  schedule: '0 3 * * *'
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: cleaner, image: 'redis:7'}]
";

/// Objects and pods say which commit; what did not change is not touched for it.
pub(crate) async fn what_is_deployed_names_its_commit(cluster: &Cluster) {
    let world = World::start(cluster, &project()).await;
    world.environment("dev", auto()).await;
    let mut files = project();
    // Written as the server keeps it, so that applying it again is nothing new.
    let deployment = DEPLOYMENT.replace("1000m", "'1'");
    files[1].1 = &deployment;
    files.push(("deploy/base/cleaner.yaml", CLEANER));
    files[0].1 = "resources: [deployment.yaml, settings.yaml, cleaner.yaml]\n";
    let deployments = world.deployments("dev");
    let crons = world.objects("batch/v1", "CronJob", "cronjobs", &world.target("dev"));
    let maps = world.config_maps("dev");
    let mut releases = Vec::new();
    for digest in ["sha256:aa", "sha256:bb", "sha256:bb"] {
        let sha = world.push(&files);
        let release = world.run_succeeded(&sha, digest).await;
        // Annotations alone, too, are a new generation of a Deployment.
        until("the release", || async {
            let live = deployments.get_opt("hello").await.expect("deployment");
            live.is_some_and(|d| d.annotations().get("towpath.dev/release") == Some(&release))
        })
        .await;
        world
            .settle_deployment("dev", &format!("demo/hello@{digest}"), true)
            .await;
        let name = format!("hello-dev-{release}-1");
        world
            .promotion_is(&name, |s| s.phase == PromotionPhase::Succeeded)
            .await;
        let settings = maps.get("settings").await.expect("settings");
        for (key, value) in [
            ("commit", &sha),
            ("release", &release),
            ("promotion", &name),
        ] {
            let key = format!("towpath.dev/{key}");
            assert_eq!(settings.annotations().get(&key), Some(value), "{key}");
        }
        assert_eq!(settings.labels()["towpath.dev/environment"], "hello-dev");
        let deployment = deployments.get("hello").await.expect("deployment");
        releases.push((sha, release, deployment));
    }
    let template =
        |at: usize| releases[at].2.data["spec"]["template"]["metadata"]["labels"].clone();
    for (at, built) in [(0, 0), (1, 1), (2, 1)] {
        let (sha, release, _) = &releases[built];
        let expected = json!({"app": "hello", "towpath.dev/commit": sha,
            "towpath.dev/release": release, "towpath.dev/environment": "hello-dev"});
        assert_eq!(template(at), expected, "release {at}");
        assert_eq!(&releases[at].2.labels()["towpath.dev/commit"], sha);
    }
    // The third release has the image of the second: nothing rolls.
    assert_eq!(releases[1].2.data["spec"], releases[2].2.data["spec"]);
    let cron = crons.get("cleaner").await.expect("cron job");
    assert_eq!(cron.metadata.generation, Some(1));
    assert_eq!(cron.annotations()["towpath.dev/commit"], releases[2].0);
    let pods = &cron.data["spec"]["jobTemplate"]["spec"]["template"];
    assert_eq!(pods.pointer("/metadata/labels"), None);

    // The same again writes nothing.
    let apps = world.api::<Application>();
    let again = Patch::Merge(json!({"metadata": {"annotations": {"towpath.dev/sync": "now"}}}));
    apps.patch("hello-dev", &PatchParams::default(), &again)
        .await
        .expect("patch");
    until("the second sync", || async {
        let app = apps.get("hello-dev").await.expect("application");
        let asked = app.annotations().contains_key("towpath.dev/sync");
        !asked && app.status.is_some_and(|s| s.sync.status == "Synced")
    })
    .await;
    let unchanged = deployments.get("hello").await.expect("deployment");
    assert_eq!(
        unchanged.metadata.resource_version,
        releases[2].2.metadata.resource_version
    );
    let same = crons.get("cleaner").await.expect("cron job");
    assert_eq!(
        same.metadata.resource_version,
        cron.metadata.resource_version
    );

    // A label that someone changes comes back.
    let patch = Patch::Merge(json!({"metadata": {"labels": {"towpath.dev/commit": "mine"}}}));
    deployments
        .patch("hello", &PatchParams::default(), &patch)
        .await
        .expect("patch");
    until("the commit to be named again", || async {
        let live = deployments.get("hello").await.expect("deployment");
        live.labels()["towpath.dev/commit"] == releases[1].0
    })
    .await;
    world.stop().await;
}
