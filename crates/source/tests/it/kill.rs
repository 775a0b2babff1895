//! The server is killed in the middle of pushes, 25 times.

use crate::api::Api;
use crate::server::{Server, commit, fsck, git, ok, work_tree};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROOT: &str = "TOWPATH_TEST_SOURCE_ROOT";

/// Not a test of its own: the server process of the test below.
#[test]
fn server_process() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let root = std::path::PathBuf::from(root);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let api = Api::new(&root.join("api"));
            let server = Server::start(&root, &api).await;
            let unfinished = root.join("address.new");
            std::fs::write(&unfinished, server.address.to_string()).unwrap();
            std::fs::rename(&unfinished, root.join("address")).unwrap();
            std::future::pending::<()>().await;
        });
}

struct Process(Child, String);

impl Process {
    fn start(root: &Path) -> Self {
        let _ = std::fs::remove_file(root.join("address"));
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["kill::server_process", "--exact", "--nocapture"])
            .env(ROOT, root)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut process = Self(child, String::new());
        let start = Instant::now();
        while process.1.is_empty() {
            if let Ok(address) = std::fs::read_to_string(root.join("address")) {
                process.1 = format!("http://ann:token-of-ann@{address}/git/demo/hello.git");
            }
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "the server did not start"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// The gits that serve the repository.
fn gits(bare: &Path) -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let within = |cwd: PathBuf| cwd.starts_with(bare);
    all.filter(|process| std::fs::read_link(process.path().join("cwd")).is_ok_and(within))
        .map(|process| process.file_name().to_string_lossy().into_owned())
        .collect()
}

// Kills them, as a power loss would.
fn kill_gits(bare: &Path) {
    for pid in gits(bare) {
        let _ = Command::new("kill").args(["-9", &pid]).status();
    }
}

// What a git writes while `git fsck` reads is missing in what that has read.
fn wait_for_gits(bare: &Path) {
    let start = Instant::now();
    while !gits(bare).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(20), "a git goes on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn kills_in_the_middle_of_pushes_lose_nothing() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let api = Api::new(&root.join("api"));
    api.put_repository("hello", json!({"defaultBranch": "main"}));
    let tree = work_tree(root, "tree");
    let bare = root.join("git/demo/hello.git");
    let (mut acknowledged, mut interrupted) = (0, 0);
    for round in 0..25u64 {
        let mut server = Process::start(root);
        let head = commit(&tree, &format!("round {round}"));
        let pushing = {
            let (tree, url) = (tree.clone(), server.1.clone());
            std::thread::spawn(move || git(&tree, &["push", "-q", &url, "main"]).status.success())
        };
        std::thread::sleep(Duration::from_millis(20 + round * 9 % 160));
        server.0.kill().unwrap();
        if round % 2 == 1 {
            kill_gits(&bare);
        }
        server.0.wait().unwrap();
        let done = pushing.join().unwrap();
        wait_for_gits(&bare);
        let on_disk = git(
            root,
            &["--git-dir", bare.to_str().unwrap(), "rev-parse", "main"],
        );
        let on_disk = String::from_utf8_lossy(&on_disk.stdout).trim().to_string();
        if done {
            acknowledged += 1;
            assert_eq!(on_disk, head, "an acknowledged push is there");
        } else {
            interrupted += 1;
        }
        if bare.exists() {
            fsck(&bare);
        }
        // The next push goes through whatever was left behind.
        let server = Process::start(root);
        ok(&tree, &["push", "-q", &server.1, "main"]);
        assert_eq!(
            ok(&tree, &["ls-remote", &server.1, "refs/heads/main"])
                .split('\t')
                .next()
                .unwrap(),
            head
        );
    }
    eprintln!("{acknowledged} acknowledged, {interrupted} interrupted");
    let _server = Process::start(root);
    let log = std::fs::read_to_string(bare.join("logs/refs/heads/main")).unwrap();
    let moves = log.lines().count() as u64;
    let start = Instant::now();
    while api.repository("hello")["status"]["refs"]["refs/heads/main"]["handled"] != moves {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(api.runs().len() as u64, moves, "one run per movement");
    fsck(&bare);
}
