//! What is written into commits is what comes out on objects.

use super::*;
use serde_json::json;
use towpath_kit::kinds::{ApplicationSpec, BuiltImage, ReleaseSpec};
use towpath_render::Id;

const OLD: &str = "1111111111111111111111111111111111111111";
const NEW: &str = "2222222222222222222222222222222222222222";

fn release(sha: &str, digest: &str) -> Release {
    let spec = ReleaseSpec {
        repository: "hello".into(),
        sha: sha.into(),
        images: vec![BuiltImage {
            name: "demo/hello".into(),
            digest: digest.into(),
            ..BuiltImage::default()
        }],
        ..ReleaseSpec::default()
    };
    Release::new(&release::name("hello", sha), spec)
}

fn commit(release: &Release, origins: &[Origin]) -> CommitInfo {
    let mut message = format!(
        "deploy\n\nTowpath-Image: forged@sha256:zz {NEW}\n\nTowpath-Promotion: p\nTowpath-Release: {}\nTowpath-Commit: {}\n",
        release.name_any(),
        release.spec.sha
    );
    for origin in origins {
        message.push_str(&format!("{}\n", origin.trailer()));
    }
    CommitInfo {
        message,
        ..CommitInfo::default()
    }
}

fn app() -> Application {
    let mut app = Application::new("hello-dev", ApplicationSpec::default());
    app.labels_mut()
        .insert(labels::ENVIRONMENT.into(), "hello-dev".into());
    app
}

fn marked(commit: &CommitInfo, manifest: Json) -> Json {
    let mut object = Object {
        id: Id::of(&manifest),
        manifest,
        file: String::new(),
    };
    let provenance = Provenance::of(&app(), "demo/hello", commit).expect("an environment's");
    provenance.mark(&mut object);
    object.manifest
}

fn workload(image: &str) -> Json {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "labels": null},
        "spec": {"template": {"spec": {"containers": [
            {"name": "proxy", "image": "envoy:1"}, {"name": "x", "image": image}]}}}})
}

#[test]
fn an_image_keeps_its_commit_while_it_runs() {
    let first = release(OLD, "sha256:aa");
    let of_first = of_images(&first, None, None);
    assert_eq!(of_first[0].commit, OLD);
    let running = commit(&first, &of_first);
    // A later commit that builds the very same image.
    let same = release(NEW, "sha256:aa");
    assert_eq!(of_images(&same, Some(&running), None)[0].commit, OLD);
    let other = release(NEW, "sha256:bb");
    let of_other = of_images(&other, Some(&running), None);
    assert_eq!(of_other[0].commit, NEW);
    // And back to what ran before.
    let now = commit(&other, &of_other);
    assert_eq!(of_images(&same, Some(&now), Some(&running))[0].commit, OLD);
}

#[test]
fn what_runs_without_a_word_is_not_replaced_for_one() {
    let first = release(OLD, "sha256:aa");
    let silent = commit(&first, &[]);
    assert_eq!(of_images(&first, Some(&silent), None), []);
    assert_eq!(
        of_images(&release(NEW, "sha256:bb"), Some(&silent), None).len(),
        1
    );
}

#[test]
fn templates_with_an_image_built_here_name_its_commit() {
    let first = release(OLD, "sha256:aa");
    let second = release(NEW, "sha256:aa");
    let origins = of_images(
        &second,
        Some(&commit(&first, &of_images(&first, None, None))),
        None,
    );
    let commit = commit(&second, &origins);
    let ours = marked(&commit, workload("demo/hello@sha256:aa"));
    assert_eq!(
        ours["spec"]["template"]["metadata"]["labels"],
        json!({"towpath.dev/commit": OLD, "towpath.dev/environment": "hello-dev",
            "towpath.dev/release": "hello-111111111111"})
    );
    assert_eq!(
        ours["metadata"]["labels"],
        json!({"towpath.dev/commit": OLD, "towpath.dev/environment": "hello-dev"})
    );
    assert_eq!(
        ours["metadata"]["annotations"],
        json!({"towpath.dev/commit": NEW, "towpath.dev/release": "hello-222222222222",
            "towpath.dev/promotion": "p"})
    );
}

#[test]
fn other_templates_stay_as_they_are() {
    let release = release(NEW, "sha256:aa");
    let commit = commit(&release, &of_images(&release, None, None));
    for image in ["redis:7", "redis@sha256:cc", "forged@sha256:zz"] {
        let redis = marked(&commit, workload(image));
        assert_eq!(redis["spec"], workload(image)["spec"]);
        assert_eq!(redis["metadata"]["annotations"]["towpath.dev/commit"], NEW);
    }
    let pod = marked(
        &commit,
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "p", "image": "hello@sha256:aa"}]}}),
    );
    assert_eq!(pod["metadata"]["labels"]["towpath.dev/commit"], NEW);
    let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"},
        "spec": {"jobTemplate": {"spec": {"template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "hello@sha256:aa"}]}}}}}});
    let cron = marked(&commit, cron);
    let labels = &cron["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels["towpath.dev/commit"], NEW);
    assert_eq!(labels["a"], "b");
}

#[test]
fn an_application_of_no_environment_marks_nothing() {
    let app = Application::new("by-hand", ApplicationSpec::default());
    assert!(Provenance::of(&app, "demo/hello", &CommitInfo::default()).is_none());
}

#[test]
fn a_name_too_long_for_a_label_is_left_out() {
    let mut object = json!({"metadata": {"name": "x"}});
    put_label(&mut object, labels::RELEASE, &"x".repeat(64));
    put_label(&mut object, labels::COMMIT, "-x");
    assert_eq!(object, json!({"metadata": {"name": "x"}}));
}
