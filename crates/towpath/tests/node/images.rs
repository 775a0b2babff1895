//! Images from the registry: layers, configuration, policies.

use crate::cluster::{Cluster, first, kept, once, waits};
use serde_json::json;
use std::path::Path;
use towpath_kit::traits::Images;
use towpath_oci::layer::Encoder;

// A layer of a shell and what it needs of the host's libraries, and one on top that hides a file
// and adds another.
fn fill(dir: &Path) {
    let script = "set -e; mkdir -p $1/bin $1/etc $1/app; echo 'app:x:1234:5678::/app:/bin/sh' > $1/etc/passwd; echo low > $1/app/low; echo kept > $1/app/kept; \
        for p in sh cat id sleep; do cp -L /bin/$p $1/bin/; done; \
        for l in $(ldd /bin/sh /bin/cat /bin/id | grep -o '/[^ ]*' | grep '\\.so' | sort -u); do mkdir -p $1$(dirname $l); cp -L $l $1$l; done";
    run(&["sh", "-c", script, "fill", &dir.display().to_string()]);
}

#[allow(clippy::disallowed_methods)] // a test's own children
fn run(args: &[&str]) {
    let status = std::process::Command::new(args[0])
        .args(&args[1..])
        .status()
        .expect("run");
    assert!(status.success(), "{args:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn images_start_as_they_say() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let work = tempfile::tempdir().expect("directory");
    let (low, high) = (work.path().join("low"), work.path().join("high"));
    fill(&low);
    run(&[
        "sh",
        "-c",
        "mkdir -p $1/app && echo high > $1/app/high && touch $1/app/.wh.low",
        "fill",
        &high.display().to_string(),
    ]);
    let mut layers = Vec::new();
    let mut diff_ids = Vec::new();
    for (name, dir) in [("low", &low), ("high", &high)] {
        let tar = work.path().join(format!("{name}.tar"));
        run(&[
            "tar",
            "-C",
            &dir.display().to_string(),
            "-cf",
            &tar.display().to_string(),
            ".",
        ]);
        let plain = std::fs::read(&tar).expect("tar");
        diff_ids.push(digest(&plain));
        let mut packed =
            Encoder::new(Vec::new(), towpath_oci::layer::Compression::Gzip).expect("encoder");
        std::io::Write::write_all(&mut packed, &plain).expect("pack");
        let packed = packed.finish().expect("pack");
        layers.push(
            put(
                &cluster,
                work.path(),
                &packed,
                towpath_oci::manifest::LAYER_GZIP,
            )
            .await,
        );
    }
    let config = json!({
        "architecture": towpath_oci::manifest::architecture(), "os": "linux",
        "config": { "User": "app", "Env": ["GREETING=hello"], "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo $GREETING $(id -u):$(id -g); cat /app/*; pwd"], "WorkingDir": "/app" },
        "rootfs": { "type": "layers", "diff_ids": diff_ids }, "history": [],
    });
    let config = put(
        &cluster,
        work.path(),
        config.to_string().as_bytes(),
        towpath_oci::manifest::CONFIG,
    )
    .await;
    let media_type = towpath_oci::manifest::IMAGE;
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers });
    let digest = cluster
        .registry
        .put_manifest(
            "demo/hello",
            Some("1"),
            media_type,
            manifest.to_string().into(),
        )
        .await
        .expect("manifest");

    let container = json!({ "name": "main", "image": "demo/hello:1" });
    cluster.create("hello", once(container)).await;
    let pod = cluster.phase("hello", "Succeeded").await;
    assert_eq!(
        cluster.log(&pod, "main", |_| {}).await,
        "hello 1234:5678\nhigh\nkept\n/app\n"
    );
    let status = first(&pod);
    assert_eq!(status.image_id, format!("demo/hello@{digest}"));

    let container =
        json!({ "name": "main", "image": format!("demo/hello@{digest}"), "args": ["exit 9"] });
    cluster.create("pinned", once(container)).await;
    cluster.phase("pinned", "Failed").await;
    let container = json!({ "name": "main", "image": "demo/gone:1", "imagePullPolicy": "Always" });
    cluster.create("gone", kept(container)).await;
    cluster
        .until("gone", "back-off", |pod| waits(pod, "ImagePullBackOff"))
        .await;
    cluster.delete("gone").await;
    cluster.stop().await;
}

fn digest(bytes: &[u8]) -> String {
    towpath_oci::Digest::of(bytes).to_string()
}

async fn put(cluster: &Cluster, dir: &Path, bytes: &[u8], media_type: &str) -> serde_json::Value {
    let digest = digest(bytes);
    let file = dir.join("blob");
    std::fs::write(&file, bytes).expect("write");
    cluster
        .registry
        .put_blob(&digest, &file)
        .await
        .expect("blob");
    json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
}
