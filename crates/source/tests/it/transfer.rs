//! Clone, fetch and push; who may; what is refused and how it is said.

use crate::api::Api;
use crate::server::{Server, commit, fails, fsck, git, ok, work_tree};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn push_clone_and_the_rules_of_refs() {
    let root = tempfile::tempdir().unwrap();
    let api = Api::new(&root.path().join("api"));
    let rule = json!({"pattern": "refs/heads/main", "pushers": ["ann", "reader"]});
    api.put_repository(
        "hello",
        json!({"defaultBranch": "main", "protected": [rule, {"pattern": "refs/tags/*"}]}),
    );
    let server = Server::start(root.path(), &api).await;
    let tree = work_tree(root.path(), "tree");
    let url = server.url("ann", "demo/hello");
    ok(&tree, &["push", "-q", &url, "main"]);
    let two = commit(&tree, "two");
    ok(
        &tree,
        &["push", "-q", &url, "main", "main:refs/heads/topic"],
    );
    ok(&tree, &["tag", "-a", "v1", "-m", "one"]);
    ok(&tree, &["push", "-q", &url, "v1"]);

    for version in ["0", "1", "2"] {
        let name = format!("clone-{version}");
        let protocol = format!("protocol.version={version}");
        ok(
            root.path(),
            &[
                "-c",
                &protocol,
                "clone",
                "-q",
                &server.url("reader", "demo/hello"),
                &name,
            ],
        );
        assert_eq!(ok(&root.path().join(&name), &["rev-parse", "HEAD"]), two);
    }
    ok(root.path(), &["clone", "-q", "--depth=1", &url, "shallow"]);
    ok(
        root.path(),
        &["clone", "-q", "--filter=blob:none", &url, "partial"],
    );
    ok(&root.path().join("shallow"), &["fetch", "-q", &url, &two]);

    // Rewriting main is refused with the rule's name and the way on; the topic may be rewritten.
    ok(&tree, &["commit", "-q", "--amend", "-m", "rewritten"]);
    let words = fails(&tree, &["push", "--force", &url, "main"]);
    assert!(
        words.contains("rule refs/heads/main forbids rewriting history"),
        "{words}"
    );
    ok(
        &tree,
        &["push", "-q", "--force", &url, "main:refs/heads/topic"],
    );
    let words = fails(&tree, &["push", &url, ":main"]);
    assert!(
        words.contains("deletion of the current branch prohibited"),
        "{words}"
    );
    let words = fails(&tree, &["push", &url, ":v1"]);
    assert!(
        words.contains("rule refs/tags/* forbids deletion"),
        "{words}"
    );
    let words = fails(&tree, &["push", &url, "main:refs/heads/env/dev"]);
    assert!(words.contains("towpath promote"), "{words}");
    // One bad ref does not hold up the good one, unless asked for.
    let words = fails(
        &tree,
        &[
            "push",
            &url,
            "main:refs/heads/env/dev",
            "main:refs/heads/other",
        ],
    );
    assert!(
        words.contains("main -> other") && words.contains("[remote rejected]"),
        "{words}"
    );
    fails(
        &tree,
        &[
            "push",
            "--atomic",
            &url,
            "main:refs/heads/env/dev",
            "main:refs/heads/third",
        ],
    );
    let refs = ok(&tree, &["ls-remote", &url]);
    assert!(
        refs.contains("refs/heads/other") && !refs.contains("third") && !refs.contains("env/"),
        "{refs}"
    );
    ok(&tree, &["push", "-q", &url, ":other"]);

    // Not in the list of pushers.
    let ci = format!(
        "http://x:token-of-system:serviceaccount:demo:ci@{}/git/demo/hello.git",
        server.address
    );
    let words = fails(&tree, &["push", "--force", &ci, "main"]);
    assert!(words.contains("lets only ann, reader push"), "{words}");
    ok(&tree, &["push", "-q", &ci, "main:refs/heads/by-ci"]);
    let log = std::fs::read_to_string(root.path().join("git/demo/hello.git/logs/refs/heads/by-ci"))
        .unwrap();
    assert!(
        log.contains("<system:serviceaccount:demo:ci@user.towpath>"),
        "{log}"
    );

    // Readers do not write; strangers see nothing, whether it is there or not.
    assert!(
        fails(
            &tree,
            &["push", &server.url("reader", "demo/hello"), "main:x"]
        )
        .contains("not found")
    );
    for repository in ["demo/hello", "demo/nothing"] {
        assert!(
            fails(&tree, &["ls-remote", &server.url("stranger", repository)]).contains("not found")
        );
        let (status, head) = ask(
            &server,
            &format!("GET /git/{repository}.git/info/refs?service=git-upload-pack"),
            "",
        );
        assert_eq!(status, 401, "{head}");
        assert!(
            head.to_lowercase()
                .contains("www-authenticate: basic realm="),
            "{head}"
        );
    }
    let words = fails(
        &tree,
        &[
            "ls-remote",
            &format!("http://x:wrong@{}/git/demo/hello.git", server.address),
        ],
    );
    assert!(
        words.contains("Authentication failed") || words.contains("terminal prompts"),
        "{words}"
    );
    fsck(&root.path().join("git/demo/hello.git"));
    server.stop().await;
}

// One plain request, with ann's token.
fn ask(server: &Server, line: &str, more: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream
        .write_all(
            format!("{line} HTTP/1.1\r\nhost: x\r\n{more}connection: close\r\n\r\n").as_bytes(),
        )
        .unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text).into_owned();
    (text.split(' ').nth(1).unwrap().parse().unwrap(), text)
}

const ANN: &str = "authorization: Bearer token-of-ann\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_cannot_leave_their_place() {
    let root = tempfile::tempdir().unwrap();
    let api = Api::new(&root.path().join("api"));
    api.put_repository("hello", json!({"defaultBranch": "main"}));
    let server = Server::start(root.path(), &api).await;
    let outside = root.path().join("outside.git");
    ok(
        root.path(),
        &["init", "-q", "--bare", outside.to_str().unwrap()],
    );
    for path in [
        "demo/../../outside.git",
        "demo/..%2f..%2foutside.git",
        "..%2foutside.git/x",
        "demo/%2e%2e.git",
        "demo/-x.git",
        "demo/hello.git%00",
        "demo/hello.git%0a",
        ".trash/x.git",
        ".hooks/guard.git",
        "demo/hello",
        "Demo/hello.git",
        "demo/hello.git.git",
        "demo//hello.git",
        "demo/@file.git",
        "%2e%2e/outside.git",
    ] {
        for rest in [
            "info/refs?service=git-upload-pack",
            "info/refs?service=git-receive-pack",
        ] {
            let (status, _) = ask(&server, &format!("GET /git/{path}/{rest}"), ANN);
            assert!(matches!(status, 400 | 404), "{path}: {status}");
        }
    }
    let (status, _) = ask(&server, "GET /git/demo/hello.git/info/refs", ANN);
    assert_eq!(status, 403, "dumb protocol");
    let (status, _) = ask(
        &server,
        "GET /git/demo/hello.git/info/refs?service=git-upload-archive",
        ANN,
    );
    assert_eq!(status, 403);
    let odd = format!("{ANN}git-protocol: version=2$(touch x)\r\n");
    assert_eq!(
        ask(
            &server,
            "GET /git/demo/hello.git/info/refs?service=git-upload-pack",
            &odd
        )
        .0,
        200
    );
    for sha in ["--output=x", "HEAD", "zz", "..", &"a".repeat(41)] {
        let (status, _) = ask(
            &server,
            &format!("GET /api/v1/repos/demo/hello/commits/{sha}"),
            ANN,
        );
        assert_eq!(status, 404, "{sha}");
    }
    let (status, text) = ask(&server, "GET /api/v1/repos/demo/hello/commits", ANN);
    assert!(
        status == 200 && text.contains("\"items\":[]"),
        "empty repository: {text}"
    );
    let tree = work_tree(root.path(), "tree");
    ok(
        &tree,
        &["push", "-q", &server.url("ann", "demo/hello"), "main"],
    );
    let (status, text) = ask(
        &server,
        "GET /api/v1/repos/demo/hello/commits?ref=main&limit=1",
        ANN,
    );
    assert!(
        status == 200 && text.contains("\"title\":\"first\""),
        "{text}"
    );
    let head = ok(&tree, &["rev-parse", "HEAD"]);
    let (status, text) = ask(
        &server,
        &format!("GET /api/v1/repos/demo/hello/commits/{head}"),
        ANN,
    );
    assert!(status == 200 && text.contains("+on: push"), "{text}");
    assert_eq!(
        ask(
            &server,
            "GET /api/v1/repos/demo/hello/commits?ref=--all",
            ANN
        )
        .0,
        404
    );
    assert_eq!(
        ask(&server, "GET /api/v1/repos/demo/hello/commits", "").0,
        401
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_clones_at_once_of_a_larger_repository() {
    let root = tempfile::tempdir().unwrap();
    let api = Api::new(&root.path().join("api"));
    api.put_repository("hello", json!({"defaultBranch": "main"}));
    let server = Server::start(root.path(), &api).await;
    let tree = work_tree(root.path(), "tree");
    // Bytes that do not compress, so that the pack is as large as it looks.
    let mut state = 1u64;
    let noise: Vec<u8> = (0..12 << 20)
        .map(|_| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 56) as u8
        })
        .collect();
    for (number, part) in noise.chunks(1 << 20).enumerate() {
        std::fs::write(tree.join(format!("noise-{number}")), part).unwrap();
    }
    commit(&tree, "noise");
    let url = server.url("ann", "demo/hello");
    ok(&tree, &["push", "-q", &url, "main"]);
    let clones: Vec<_> = (0..8)
        .map(|number| {
            let (dir, url) = (root.path().to_path_buf(), url.clone());
            std::thread::spawn(move || ok(&dir, &["clone", "-q", &url, &format!("clone-{number}")]))
        })
        .collect();
    for clone in clones {
        clone.join().unwrap();
    }
    for number in 0..8 {
        let same = std::fs::read(root.path().join(format!("clone-{number}/noise-11"))).unwrap();
        assert!(same == noise[11 << 20..]);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_pack_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let api = Api::new(&root.path().join("api"));
    api.put_repository("hello", json!({"defaultBranch": "main"}));
    let server = Server::start(root.path(), &api).await;
    let tree = work_tree(root.path(), "tree");
    let url = server.url("ann", "demo/hello");
    ok(&tree, &["push", "-q", &url, "main"]);
    let before = ok(&tree, &["ls-remote", &url]);
    let line = format!(
        "{} {} refs/heads/evil\0report-status\n",
        "0".repeat(40),
        "a".repeat(40)
    );
    let line = format!("{:04x}{line}0000PACK garbage", line.len() + 4);
    for body in [line.as_str(), "zzzz", "0010short", "00000000", ""] {
        let head = format!(
            "{ANN}content-type: application/x-git-receive-pack-request\r\ncontent-length: {}\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(server.address).unwrap();
        let text = format!(
            "POST /git/demo/hello.git/git-receive-pack HTTP/1.1\r\nhost: x\r\n{head}connection: close\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(!answer.is_empty());
    }
    // An object that fails the checks: a tree with an entry named `.git`.
    let blob = ok(&tree, &["hash-object", "-w", "file"]);
    let dir = tree.clone();
    let listing = format!("100644 blob {blob}\t.git\n");
    let mut child = std::process::Command::new("git")
        .args(["mktree"])
        .current_dir(&dir)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(listing.as_bytes())
        .unwrap();
    let out = child.wait_with_output().unwrap();
    let evil_tree = String::from_utf8(out.stdout).unwrap().trim().to_string();
    let evil = ok(&tree, &["commit-tree", &evil_tree, "-m", "evil"]);
    let words = fails(&tree, &["push", &url, &format!("{evil}:refs/heads/evil")]);
    assert!(
        words.contains("hasDotgit") || words.contains("fsck"),
        "{words}"
    );
    assert_eq!(ok(&tree, &["ls-remote", &url]), before);
    assert!(
        git(&tree, &["push", &url, "main:refs/heads/fine"])
            .status
            .success()
    );
    fsck(&root.path().join("git/demo/hello.git"));
    server.stop().await;
}
