//! The disk of the data directory runs full: writes are refused with the reason, reads and
//! deletes go on, and once there is room everything works again, without a restart.

use crate::harness::{Server, able, busybox, until};
use crate::kills::{start_app, upload, visit};
use crate::repo::{Repo, ended, git, try_git};
use crate::web::Web;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::mount::{MountFlags, mount};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

const DISK: &std::ffi::CStr = c"size=192m,mode=755";
const MAPS: &str = "/k8s/api/v1/namespaces/default/configmaps";
const WORKFLOW: &str = "name: Push\non: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps: [{uses: actions/checkout@v4}, {run: cat a.txt}]\n";

fn small_disk(data: &Path) {
    mount("tmpfs", data, "tmpfs", MountFlags::empty(), Some(DISK)).expect("mount a small disk");
}

// Takes what is left of the disk, to the last block.
fn fill(data: &Path) {
    let mut options = std::fs::OpenOptions::new();
    let file = options.create(true).append(true).open(data.join("filler"));
    let file = file.expect("filler");
    let mut at = file.metadata().expect("filler").len();
    for step in [1u64 << 20, 64 << 10, 4096] {
        while fallocate(&file, FallocateFlags::empty(), at, step).is_ok() {
            at += step;
        }
    }
    assert!(at > 0);
}

// Gives this much of it back.
fn leave(data: &Path, bytes: u64) {
    let open = std::fs::OpenOptions::new()
        .write(true)
        .open(data.join("filler"));
    let file = open.expect("filler");
    let length = file.metadata().expect("filler").len();
    file.set_len(length - bytes).expect("give back");
}

fn map(name: &str) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}})
        .to_string()
}

async fn code(web: &Web, method: &str, path: &str, body: &str) -> (u16, String) {
    web.ask(method, path, body).await.expect("answer")
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else() {
    let Some(busybox) = busybox().filter(|_| able(None)) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let server = Server::start_with("", small_disk);
    let data = server.data();
    let repo = Repo::new(&server);
    let web = repo.web.clone();
    let ask =
        |method: &str, path: &str, body: &str| runtime.block_on(code(&web, method, path, body));
    let (address, _) = start_app(&server, &web, &runtime, &busybox);
    repo.push(WORKFLOW);
    let run = runtime.block_on(repo.until("Push", "the end", ended));
    assert_eq!(run["status"]["phase"], "Succeeded", "{:#}", run["status"]);
    for number in 0..20 {
        assert_eq!(ask("POST", MAPS, &map(&format!("m-{number}"))).0, 201);
    }
    let content = vec![7u8; 300_000];
    let (name, tag, digest) = runtime.block_on(upload(&web, 1, &content)).expect("upload");
    let head = git(&repo.dir, &["rev-parse", "HEAD"]);

    fill(&data);
    // Objects: writes are refused, reads and deletes go on.
    let (status, text) = ask("POST", MAPS, &map("late"));
    assert!(
        status == 507 && text.contains("no space left"),
        "{status} {text}"
    );
    let (status, text) = ask("PATCH", &format!("{MAPS}/m-1"), "{\"data\":{\"a\":\"c\"}}");
    assert!(
        status == 507 && text.contains("no space left"),
        "{status} {text}"
    );
    assert!(ask("GET", &format!("{MAPS}/m-1"), "").1.contains("\"b\""));
    for number in 10..20 {
        let (status, text) = ask("DELETE", &format!("{MAPS}/m-{number}"), "");
        assert_eq!(status, 200, "{text}");
        fill(&data);
    }
    // The command line says it in its own shape.
    let output = server.run(&["repo", "create", "demo/late"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && words.contains("no space left"),
        "{words}"
    );
    assert!(server.run(&["status"]).status.success());
    // git: a push is refused and changes nothing; a clone goes on.
    repo.write("a.txt", &"late\n".repeat(20_000));
    let late = repo.commit();
    let (done, words) = repo.try_push();
    assert!(
        !done && words.to_lowercase().contains("no space"),
        "{words}"
    );
    let listed = git(&repo.dir, &["ls-remote", &repo.url, "refs/heads/main"]);
    assert!(listed.starts_with(&head), "{listed}");
    let clone = server.dir().join("clone");
    git(
        server.dir(),
        &["clone", "-q", &repo.url, &clone.display().to_string()],
    );
    assert_eq!(git(&clone, &["rev-parse", "HEAD"]), head);
    // Registry: an upload is refused, a pull goes on.
    let words = runtime
        .block_on(upload(&web, 2, &vec![8u8; 3_000_000]))
        .expect_err("upload");
    assert!(
        words.contains("507") && words.contains("no space left"),
        "{words}"
    );
    let manifest = format!("/v2/{name}/manifests/{digest}");
    assert_eq!(ask("GET", &manifest, "").0, 200);
    assert_eq!(ask("GET", &format!("/v2/{name}/tags/list"), "").0, 200);
    // Builds.
    let context = server.dir().join("app").display().to_string();
    std::fs::write(server.dir().join("app/new"), vec![9u8; 2_000_000]).expect("write");
    let output = server.run(&["build", &context, "--tag", "demo/late:1"]);
    let words = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(
        !output.status.success() && words.contains("no space"),
        "{words}"
    );
    // Who runs, runs on.
    assert!(visit(&address).is_ok_and(|text| text.ends_with("hello\n")));

    // A crash now: the next start is clean, and still only writes are refused.
    let before = server.pid();
    server.kill();
    let output = server.run(&["up", "--quiet"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "started without any room");
    assert!(
        words.contains("no space left") && words.contains("free at least 2 MiB"),
        "{words}"
    );
    leave(&data, 4 << 20);
    server.ok(&["up", "--quiet"]);
    assert_ne!(server.pid(), before);
    assert!(ask("GET", &format!("{MAPS}/m-1"), "").1.contains("\"b\""));
    assert_eq!(ask("POST", MAPS, &map("late")).0, 507);
    assert_eq!(ask("DELETE", &format!("{MAPS}/m-9"), "").0, 200);
    assert!(visit(&address).is_ok_and(|text| text.ends_with("hello\n")));

    // Room again: everything works by itself.
    let pid = server.pid();
    std::fs::remove_file(data.join("filler")).expect("remove");
    until("writes", Duration::from_secs(10), || {
        ask("POST", MAPS, &map("late")).0 == 201
    });
    let (done, words) = repo.try_push();
    assert!(done, "{words}");
    let path = format!("/v2/{name}/manifests/u2");
    assert_eq!(ask("GET", &path, "").0, 404, "nothing half is left");
    runtime
        .block_on(upload(&web, 2, &vec![8u8; 3_000_000]))
        .expect("upload");
    assert_eq!(ask("GET", &path, "").0, 200);
    server.ok(&["build", &context, "--tag", "demo/late:1"]);
    let mut runs = Vec::new();
    until("both runs", Duration::from_secs(60), || {
        runs = runtime.block_on(repo.runs());
        runs.len() == 2 && runs.iter().all(ended)
    });
    let run = runs
        .iter()
        .find(|r| r["spec"]["sha"] == *late)
        .expect("run");
    assert_eq!(run["status"]["phase"], "Succeeded", "{:#}", run["status"]);
    assert_eq!(server.pid(), pid, "without a restart");
    assert!(
        try_git(&repo.dir, &["fetch", "-q", &repo.url])
            .status
            .success()
    );
    let bare = data.join("git/demo/hello.git").display().to_string();
    git(
        server.dir(),
        &["--git-dir", &bare, "fsck", "--full", "--strict"],
    );
    assert_eq!(tag, "u1");
}
