//! The same Dockerfiles with buildah: configuration and files must agree.

use crate::harness::{Lab, listing, request, shell_image};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use towpath_stdx::process;

async fn run(dir: &Path, program: &str, args: &[&str]) -> String {
    let mut command = process::command(program);
    command
        .args(args)
        .env("HOME", dir)
        .env("XDG_RUNTIME_DIR", dir)
        .env("TMPDIR", dir)
        .current_dir(dir);
    let output = process::run(command, Duration::from_secs(120), 1 << 20)
        .await
        .unwrap();
    assert_eq!(
        output.code,
        Some(0),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

// Last state of every path: what a container sees.
fn flatten(layers: &[Vec<String>]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for line in layers.concat() {
        let (path, facts) = line.split_once(' ').unwrap();
        let path = path
            .trim_start_matches("./")
            .trim_end_matches('/')
            .to_string();
        if let Some(hidden) = path.rsplit('/').next().unwrap().strip_prefix(".wh.") {
            let parent = path
                .rsplit_once('/')
                .map_or(String::new(), |(p, _)| format!("{p}/"));
            files.remove(&format!("{parent}{hidden}"));
        } else if !path.is_empty() {
            files.insert(path, facts.to_string());
        }
    }
    // Mount points that the peer leaves in the image.
    for stub in [
        "proc",
        "sys",
        "dev",
        "run",
        "etc/hosts",
        "etc/resolv.conf",
        "etc/hostname",
        "run/.containerenv",
        "etc/mtab",
    ] {
        files.remove(stub);
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_and_files_are_those_of_buildah() {
    if process::find("buildah").is_none() || process::find("skopeo").is_none() {
        towpath_testkit::skip("buildah or skopeo is not installed");
        return;
    }
    let lab = Lab::new().await;
    if !shell_image(&lab).await {
        return;
    }
    let dir = lab.dir.path();
    let (root, runroot) = (
        dir.join("storage").display().to_string(),
        dir.join("runroot").display().to_string(),
    );
    let storage = [
        "--root",
        &root,
        "--runroot",
        &runroot,
        "--storage-driver",
        "vfs",
    ];
    let base = format!("oci:{}:1", lab.images.dir.display());
    let storage_name = format!("containers-storage:[vfs@{root}+{runroot}]localhost/box:1");
    run(
        dir,
        "skopeo",
        &["--insecure-policy", "copy", &base, &storage_name],
    )
    .await;
    let cases = [
        "FROM box:1\nENV A=1 B=\"x y\" P=\"$PATH:/opt\"\nLABEL l=v\nEXPOSE 80 53/udp\nUSER app\nVOLUME /data\nSTOPSIGNAL SIGINT\nENTRYPOINT [\"/bin/sh\"]\nCMD [\"-c\", \"id\"]\n",
        "FROM box:1\nWORKDIR /a/b\nWORKDIR c\nCOPY d ./\nCOPY f /x/\nCMD echo $HOME\n",
        "FROM box:1\nARG V=1\nRUN mkdir -p /out && echo $V > /out/v && chmod 640 /out/v && chown 5:6 /out/v\nRUN rm /etc/group && ln -s v /out/l\nENTRYPOINT run me\n",
        "FROM box:1 AS one\nRUN echo 1 > /one\nFROM box:1\nCOPY --from=one /one /two\nCOPY --chmod=0700 f /bin/f\nCMD [\"a\"]\nENTRYPOINT [\"b\"]\n",
    ];
    for (index, text) in cases.iter().enumerate() {
        let files = [
            ("Dockerfile", *text),
            ("d/x", "x"),
            ("d/sub/y", "y"),
            ("f", "f"),
        ];
        let context = lab.context(&files);
        let tag = format!("demo/peer{index}:1");
        let built = lab.build(request(context.clone(), &tag)).await;
        assert!(built.is_ok(), "{built:?}\n{}", lab.log());
        let (own, own_layers) = lab.image(&tag).await;
        let path = context.display().to_string();
        let mut args: Vec<&str> = storage.to_vec();
        let from = text.replace("box:1", "localhost/box:1");
        std::fs::write(context.join("Dockerfile"), from).unwrap();
        args.extend([
            "build",
            "--isolation",
            "chroot",
            "--layers",
            "--pull-never",
            "-t",
            "localhost/peer:1",
            &path,
        ]);
        run(dir, "buildah", &args).await;
        let out = dir.join(format!("peer{index}"));
        let name = format!("containers-storage:[vfs@{root}+{runroot}]localhost/peer:1");
        run(
            dir,
            "skopeo",
            &[
                "--insecure-policy",
                "copy",
                &name,
                &format!("oci:{}:1", out.display()),
            ],
        )
        .await;
        let blob = |digest: &str| {
            out.join("blobs/sha256")
                .join(digest.trim_start_matches("sha256:"))
        };
        let index_json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(out.join("index.json")).unwrap()).unwrap();
        let manifest =
            std::fs::read(blob(index_json["manifests"][0]["digest"].as_str().unwrap())).unwrap();
        let manifest = towpath_oci::manifest::Manifest::parse(&manifest, "").unwrap();
        let config = std::fs::read(blob(&manifest.config.as_ref().unwrap().digest)).unwrap();
        let peer = towpath_oci::config::Image::parse(&config).unwrap();
        let peer_layers: Vec<Vec<String>> = manifest
            .layers
            .iter()
            .map(|l| listing(&blob(&l.digest)))
            .collect();
        let mut theirs = peer.config.clone();
        // The peer signs its images.
        if let Some(labels) = &mut theirs.labels {
            labels.remove("io.buildah.version");
        }
        theirs.labels = theirs.labels.filter(|labels| !labels.is_empty());
        // An empty working directory and `/` are the same.
        let mut ours = own.config.clone();
        for config in [&mut ours, &mut theirs] {
            if config.working_dir == "/" {
                config.working_dir.clear();
            }
        }
        assert_eq!(ours, theirs, "{text}");
        let (mut ours, mut theirs) = (flatten(&own_layers), flatten(&peer_layers));
        // Made by neither as content: parents whose only change is a time.
        ours.retain(|path, _| path != "etc");
        theirs.retain(|path, _| path != "etc");
        assert_eq!(ours, theirs, "{text}");
    }
}
