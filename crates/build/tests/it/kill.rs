//! `kill -9` in the middle of builds: the next start is clean and the result is the same.

use crate::harness::{Lab, LayoutImages, busybox, engine, request, shell_image};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use towpath_kit::traits::{Builder, Images};

const DIR: &str = "TOWPATH_TEST_BUILD_DIR";
const STEPS: &str = "COPY f /f\nRUN echo a > /a && dd if=/dev/zero of=/z bs=1M count=8\nRUN echo b > /b; exec /bin/busybox sleep 0.05\nCOPY f /g\nRUN rm /a\n";

fn context(dir: &Path, round: u32) -> PathBuf {
    let context = dir.join(format!("context-kill-{round}"));
    std::fs::create_dir_all(&context).unwrap();
    std::fs::write(context.join("f"), round.to_string()).unwrap();
    std::fs::write(context.join("Dockerfile"), format!("FROM box:1\n{STEPS}")).unwrap();
    context
}

async fn base(images: &LayoutImages, digest: &str) {
    let manifest = std::fs::read(images.blob(digest)).unwrap();
    images
        .put_manifest(
            "box",
            Some("1"),
            towpath_oci::manifest::IMAGE,
            manifest.into(),
        )
        .await
        .unwrap();
}

/// Not a test of its own: the process that is killed.
#[tokio::test(flavor = "multi_thread")]
async fn build_process() {
    let Ok(text) = std::env::var(DIR) else { return };
    let (dir, rest) = text.split_once('|').unwrap();
    let (round, digest) = rest.split_once('|').unwrap();
    let dir = Path::new(dir);
    let images = Arc::new(LayoutImages::new(&dir.join("images")));
    base(&images, digest).await;
    let engine = engine(dir, images, |_| {}).await;
    let asked = request(context(dir, round.parse().unwrap()), "demo/killed:1");
    engine.build(asked, &|_| {}).await.unwrap();
}

#[allow(clippy::disallowed_methods)] // a child that is killed on purpose
#[tokio::test(flavor = "multi_thread")]
async fn twenty_five_kills_leave_nothing_half() {
    if busybox().is_none() {
        return;
    }
    let (lab, reference) = (Lab::new().await, Lab::new().await);
    assert!(shell_image(&lab).await && shell_image(&reference).await);
    let base = lab.images.resolve("box:1").await.unwrap().digest;
    let dir = lab.dir.path();
    for round in 0..25u32 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::build_process"])
            .env(DIR, format!("{}|{round}|{base}", dir.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(40 + u64::from(round) * 23));
        child.kill().unwrap();
        child.wait().unwrap();
        let engine = engine(dir, lab.images.clone(), |_| {}).await;
        assert_eq!(
            std::fs::read_dir(dir.join("build/work")).unwrap().count(),
            0
        );
        let built = engine
            .build(request(context(dir, round), "demo/killed:1"), &|_| {})
            .await
            .unwrap();
        let clean = reference
            .build(request(
                context(reference.dir.path(), round),
                "demo/killed:1",
            ))
            .await
            .unwrap();
        assert_eq!(built.digest, clean.digest, "round {round}");
    }
    for _ in 0..100 {
        if std::fs::read_dir(dir.join("containers")).unwrap().count() == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let left: Vec<_> = std::fs::read_dir(dir.join("containers")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
