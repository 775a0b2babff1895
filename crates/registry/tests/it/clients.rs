//! skopeo, buildah and podman against the registry on loopback.

use crate::harness::{ADMIN, Server};
use std::path::Path;
use std::time::Duration;
use towpath_kit::traits::Images;
use towpath_stdx::process;

/// False, loudly, where a program is missing; a failure where tests must be complete.
fn present(program: &str) -> bool {
    if process::find(program).is_some() {
        return true;
    }
    towpath_testkit::skip(&format!("{program} is not installed"));
    false
}

async fn run(dir: &Path, program: &str, args: &[&str]) -> String {
    let auth = dir.join("auth.json");
    std::fs::write(&auth, "{}").unwrap();
    let mut command = process::command(program);
    command
        .args(args)
        .env("HOME", dir)
        .env("XDG_RUNTIME_DIR", dir)
        .env("TMPDIR", dir)
        .env("BUILDAH_ISOLATION", "chroot");
    command.env("REGISTRY_AUTH_FILE", auth);
    let output = process::run(command, Duration::from_secs(120), 1 << 20)
        .await
        .unwrap();
    let shown = format!(
        "{program} {args:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.code, Some(0), "{shown}");
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}

// An OCI layout with one image, made of our own parts.
fn layout(dir: &Path) -> String {
    use towpath_oci::layer::{Compression, diff};
    use towpath_oci::manifest::{CONFIG, Descriptor, IMAGE};
    let (tree, blobs) = (dir.join("tree"), dir.join("layout/blobs/sha256"));
    std::fs::create_dir_all(&tree).unwrap();
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(tree.join("hello"), "hello from a layer\n").unwrap();
    let mut layer = Vec::new();
    let diffed = diff::diff(
        &tree,
        &mut layer,
        &diff::Options {
            compression: Compression::Gzip,
            clamp_mtime: Some(0),
        },
    )
    .unwrap();
    let mut config = towpath_oci::config::Image::scratch();
    config.rootfs.diff_ids.push(diffed.diff_id.to_string());
    config.config.cmd = Some(vec!["/hello".into()]);
    let put = |bytes: &[u8]| {
        let digest = towpath_oci::Digest::of(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        digest
    };
    let layer_digest = put(&layer);
    let config = config.to_bytes();
    let config_digest = put(&config);
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": IMAGE,
        "config": Descriptor::new(CONFIG, &config_digest, config.len() as u64),
        "layers": [Descriptor::new(Compression::Gzip.media_type(), &layer_digest, layer.len() as u64)],
    })
    .to_string();
    let manifest_digest = put(manifest.as_bytes());
    let mut entry = serde_json::to_value(Descriptor::new(
        IMAGE,
        &manifest_digest,
        manifest.len() as u64,
    ))
    .unwrap();
    entry["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": "v1" });
    std::fs::write(
        dir.join("layout/oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    std::fs::write(
        dir.join("layout/index.json"),
        serde_json::json!({ "schemaVersion": 2, "manifests": [entry] }).to_string(),
    )
    .unwrap();
    manifest_digest.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_in_and_out() {
    if !present("skopeo") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let digest = layout(dir.path());
    let source = format!("oci:{}:v1", dir.path().join("layout").display());
    let remote = format!("docker://{}/demo/hello:v1", server.address);
    let creds = format!("any:{ADMIN}");
    run(
        dir.path(),
        "skopeo",
        &[
            "--insecure-policy",
            "copy",
            "--dest-tls-verify=false",
            "--dest-creds",
            &creds,
            &source,
            &remote,
        ],
    )
    .await;
    let out = format!("oci:{}:v1", dir.path().join("out").display());
    run(
        dir.path(),
        "skopeo",
        &[
            "--insecure-policy",
            "copy",
            "--src-tls-verify=false",
            "--src-creds",
            &creds,
            &remote,
            &out,
        ],
    )
    .await;
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("out/index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"][0]["digest"], digest.as_str());
    let v2s2 = format!("docker://{}/demo/docker:v1", server.address);
    run(
        dir.path(),
        "skopeo",
        &[
            "--insecure-policy",
            "copy",
            "--format",
            "v2s2",
            "--dest-tls-verify=false",
            "--dest-creds",
            &creds,
            &source,
            &v2s2,
        ],
    )
    .await;
    let raw = run(
        dir.path(),
        "skopeo",
        &[
            "inspect",
            "--raw",
            "--tls-verify=false",
            "--creds",
            &creds,
            &v2s2,
        ],
    )
    .await;
    assert!(raw.contains(towpath_oci::manifest::DOCKER_IMAGE), "{raw}");
    let tags = run(
        dir.path(),
        "skopeo",
        &[
            "list-tags",
            "--tls-verify=false",
            "--creds",
            &creds,
            &format!("docker://{}/demo/hello", server.address),
        ],
    )
    .await;
    assert!(tags.contains("\"v1\""), "{tags}");
    let local = server.registry.resolve("demo/hello:v1").await.unwrap();
    assert_eq!(local.digest, digest);
    run(
        dir.path(),
        "skopeo",
        &["delete", "--tls-verify=false", "--creds", &creds, &remote],
    )
    .await;
    assert!(server.registry.resolve("demo/hello:v1").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn buildah_and_podman_push_and_pull() {
    if !present("buildah") || !present("podman") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    layout(dir.path());
    let (root, runroot) = (
        dir.path().join("root").display().to_string(),
        dir.path().join("run").display().to_string(),
    );
    let storage = [
        "--root",
        &root,
        "--runroot",
        &runroot,
        "--storage-driver",
        "vfs",
    ];
    let creds = format!("any:{ADMIN}");
    let source = format!("oci:{}:v1", dir.path().join("layout").display());
    let remote = format!("docker://{}/demo/hello:v1", server.address);
    run(
        dir.path(),
        "skopeo",
        &[
            "--insecure-policy",
            "copy",
            "--dest-tls-verify=false",
            "--dest-creds",
            &creds,
            &source,
            &remote,
        ],
    )
    .await;
    let name = format!("{}/demo/hello:v1", server.address);
    for program in ["podman", "buildah"] {
        let with = |rest: &[&'static str]| -> Vec<String> {
            storage
                .iter()
                .map(|s| s.to_string())
                .chain(rest.iter().map(|s| s.to_string()))
                .collect()
        };
        let mut pull = with(&["pull", "--tls-verify=false", "--creds"]);
        pull.extend([creds.clone(), name.clone()]);
        run(
            dir.path(),
            program,
            &pull.iter().map(String::as_str).collect::<Vec<_>>(),
        )
        .await;
        let again = format!("docker://{}/demo/{program}:v2", server.address);
        let mut push = with(&["push", "--tls-verify=false", "--creds"]);
        push.extend([creds.clone(), name.clone(), again]);
        run(
            dir.path(),
            program,
            &push.iter().map(String::as_str).collect::<Vec<_>>(),
        )
        .await;
        let image = server
            .registry
            .resolve(&format!("demo/{program}:v2"))
            .await
            .unwrap();
        let config = towpath_oci::config::Image::parse(&image.config).unwrap();
        assert_eq!(
            config.config.cmd.as_deref(),
            Some(&["/hello".to_string()][..])
        );
    }
}
