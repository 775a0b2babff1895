//! Exactly one run per push and workflow.

use crate::api::Api;
use crate::server::{Server, commit, ok, source, work_tree};
use bytes::Bytes;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use towpath_kit::traits::CommitRequest;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_push_has_its_run_when_it_is_acknowledged() {
    let root = tempfile::tempdir().unwrap();
    let api = Api::new(&root.path().join("api"));
    api.put_repository("hello", json!({"defaultBranch": "main"}));
    let server = Server::start(root.path(), &api).await;
    let tree = work_tree(root.path(), "tree");
    let url = server.url("ann", "demo/hello");
    ok(&tree, &["push", "-q", &url, "main"]);
    assert_eq!(api.runs().len(), 1);
    let run = &api.runs()[0];
    assert_eq!(run["spec"]["actor"], "ann", "never the committer's name");
    assert_eq!(run["spec"]["ref"], "refs/heads/main");
    assert_eq!(run["spec"]["workflow"], ".github/workflows/ci.yml");
    assert_eq!(run["metadata"]["labels"]["towpath.dev/repository"], "hello");
    assert_eq!(run["metadata"]["ownerReferences"][0]["kind"], "Repository");

    // A ref that swings between two commits moves each time.
    let one = ok(&tree, &["rev-parse", "HEAD"]);
    let two = commit(&tree, "two");
    for target in [&two, &one, &two, &one] {
        ok(
            &tree,
            &[
                "push",
                "-q",
                "--force",
                &url,
                &format!("{target}:refs/heads/main"),
            ],
        );
    }
    assert_eq!(api.runs().len(), 5);
    // Nothing moved, nothing new.
    ok(
        &tree,
        &["push", "-q", &url, &format!("{one}:refs/heads/main")],
    );
    assert_eq!(api.runs().len(), 5);
    // Deleted and made again at the same commit, faster than the log's clock ticks: the
    // deletion is written down before it is acknowledged.
    ok(&tree, &["push", "-q", &url, "main:refs/heads/topic"]);
    ok(&tree, &["push", "-q", &url, ":topic"]);
    std::thread::sleep(Duration::from_millis(1100));
    ok(&tree, &["push", "-q", &url, "main:refs/heads/topic"]);
    assert_eq!(api.runs().len(), 7);
    // A tag object leads to its commit.
    ok(&tree, &["tag", "-a", "v1", "-m", "one"]);
    ok(&tree, &["push", "-q", &url, "v1"]);
    assert_eq!(api.runs().len(), 8);
    assert!(
        api.runs()
            .iter()
            .all(|run| [&one, &two].iter().any(|sha| run["spec"]["sha"] == **sha))
    );
    let status = api.repository("hello");
    assert_eq!(
        status["status"]["cloneUrl"],
        "http://towpath.test/git/demo/hello.git"
    );
    assert_eq!(status["status"]["refs"]["refs/heads/main"]["handled"], 5);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_push_and_record_ends_in_one_run() {
    let root = tempfile::tempdir().unwrap();
    let api = Api::new(&root.path().join("api"));
    api.put_repository("hello", json!({"defaultBranch": "main"}));
    let tree = work_tree(root.path(), "tree");
    // Runs are made, writing them down fails: as if killed in between, several times.
    let server = Server::start(root.path(), &api).await;
    let url = server.url("ann", "demo/hello");
    ok(&tree, &["ls-remote", &url]);
    api.lose_status.store(true, Ordering::SeqCst);
    ok(&tree, &["push", "-q", &url, "main"]);
    commit(&tree, "two");
    ok(&tree, &["push", "-q", &url, "main"]);
    server.stop().await;
    assert_eq!(api.runs().len(), 2);
    api.lose_status.store(false, Ordering::SeqCst);
    for _ in 0..2 {
        let server = Server::start(root.path(), &api).await;
        let start = Instant::now();
        while api.repository("hello")["status"]["refs"]["refs/heads/main"]["handled"] != 2 {
            assert!(start.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(api.runs().len(), 2);
        server.stop().await;
    }

    // Commits of the server start nothing.
    let server = Server::start(root.path(), &api).await;
    let hosted = source(root.path(), &api).tree();
    let head = ok(&tree, &["rev-parse", "HEAD"]);
    let request = CommitRequest {
        ref_name: "refs/heads/env/dev".into(),
        expected: None,
        base: head,
        changes: vec![("x".into(), Some(Bytes::from_static(b"y")))],
        message: "deploy".into(),
        on_behalf_of: "ann".into(),
    };
    hosted.commit("demo/hello", request).await.unwrap();
    commit(&tree, "three");
    ok(
        &tree,
        &["push", "-q", &server.url("ann", "demo/hello"), "main"],
    );
    assert_eq!(api.runs().len(), 3);

    // Deleting the object keeps the data in the trash.
    api.delete_repository("hello");
    server.stop().await;
    let server = Server::start(root.path(), &api).await;
    let start = Instant::now();
    while root.path().join("git/demo/hello.git").exists() {
        assert!(start.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        std::fs::read_dir(root.path().join("git/.trash"))
            .unwrap()
            .count(),
        1
    );
    server.stop().await;
}
