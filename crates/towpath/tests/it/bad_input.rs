//! Bad input through every front door: a finding with its place, nothing changed, nothing lost.

use crate::harness::{Server, able, until};
use crate::repo::{Repo, git, try_git};
use crate::web::Web;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use towpath_oci::Digest;

const MAPS: &str = "/k8s/api/v1/namespaces/default/configmaps";

// Sends a body of a kind; status and text.
async fn send(web: &Web, method: &str, path: &str, kind: &str, body: Vec<u8>) -> (u16, String) {
    let request = web.request(method, path).header("content-type", kind);
    let response = request.body(body).send().await.expect("answer");
    (
        response.status().as_u16(),
        response.text().await.expect("text"),
    )
}

// A request that no client library would send.
fn raw(server: &Server, head: &str, body: &[u8]) -> (u16, String) {
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("connect");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("limit");
    let text = format!(
        "{head} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        server.token,
        body.len()
    );
    stream.write_all(text.as_bytes()).expect("send");
    // The answer may come before all of the body is taken.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let code = answer.split(' ').nth(1).and_then(|c| c.parse().ok());
    (code.unwrap_or(0), answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn objects_that_are_none_are_refused_with_their_place() {
    if !able(None) {
        return;
    }
    let server = Server::start();
    let web = Web::new(&server);
    let before = web.object("/api/v1/namespaces/default/configmaps").await;
    let deep = format!("{{\"metadata\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g]\n";
    let cases: [(&str, &[u8], u16, &str); 10] = [
        ("application/json", b"{\"kind\":\n\"ConfigMap\",\n  oops}", 400, "line 3"),
        ("application/json", b"", 400, ""),
        ("application/json", b"[]", 400, ""),
        ("application/json", b"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"\xff\xfe\"}}", 422, "metadata.name"),
        ("application/json", deep.as_bytes(), 400, ""),
        ("application/yaml", b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: [x\n", 400, "line"),
        ("application/yaml", bomb.as_bytes(), 400, ""),
        ("application/json", b"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"../../x\"}}", 422, "metadata.name"),
        ("application/json", b"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\"},\"data\":{\"a\":1}}", 400, "data"),
        ("application/vnd.kubernetes.protobuf", b"k8s\0garbage\xff\xff\xff\xff\xff", 400, ""),
    ];
    for (kind, body, code, words) in cases {
        let (got, text) = send(&web, "POST", MAPS, kind, body.to_vec()).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        assert!(got == code && text.contains(words), "{shown}: {got} {text}");
        let status: Value = serde_json::from_str(&text).expect("a Status");
        assert_eq!(status["kind"], "Status", "{shown}");
    }
    let huge = vec![b' '; 12 << 20];
    assert_eq!(
        send(&web, "POST", MAPS, "application/json", huge).await.0,
        413
    );
    let after = web.object("/api/v1/namespaces/default/configmaps").await;
    assert_eq!(before["items"], after["items"]);

    // The same on the command line: with file, line and column, and all or nothing.
    let good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fine}\n";
    let file = server.file(
        "bad.yaml",
        &format!("{good}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: [bad\n"),
    );
    let output = server.run(&["apply", "-f", &file]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        words.contains("bad.yaml") && words.contains("line"),
        "{words}"
    );
    let (code, _) = web.get(&format!("{MAPS}/fine")).await;
    assert_eq!(code, 404, "nothing of a file that is no YAML is applied");
    let file = server.file("odd.yaml", &format!("{good}---\njust: text\n"));
    let output = server.run(&["apply", "-f", &file]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && words.contains("odd.yaml"),
        "{words}"
    );
    assert_eq!(web.get(&format!("{MAPS}/fine")).await.0, 404, "{words}");
}

// A push as bytes: commands, then whatever stands for a pack.
fn receive(server: &Server, commands: &[(&str, &str, &str)], pack: &[u8]) -> (u16, String) {
    let mut body = Vec::new();
    for (index, (old, new, name)) in commands.iter().enumerate() {
        let capabilities = if index == 0 { "\0report-status" } else { "" };
        let line = format!("{old} {new} {name}{capabilities}\n");
        body.extend(format!("{:04x}{line}", line.len() + 4).into_bytes());
    }
    body.extend(b"0000");
    body.extend(pack);
    raw(server, "POST /git/demo/hello.git/git-receive-pack", &body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pushes_of_garbage_change_nothing() {
    if !able(None) {
        return;
    }
    let server = Server::start();
    let repo = Repo::new(&server);
    let first = repo.push(
        "name: W\non: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps: [{run: 'true'}]\n",
    );
    git(
        &repo.dir,
        &["push", "-q", &repo.url, "main:refs/heads/kept"],
    );
    let before = git(&repo.dir, &["ls-remote", &repo.url]);
    let zero = "0".repeat(40);
    let absent = "a".repeat(40);
    // Packs that are none, or torn.
    let whole = {
        let list = format!("{first}\n");
        let output = pack(&repo, &list);
        assert!(output.starts_with(b"PACK"));
        output
    };
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x55;
    let torn = whole[..whole.len() - 30].to_vec();
    for (what, bytes) in [
        ("garbage", b"PACK garbage".to_vec()),
        ("nothing", Vec::new()),
        ("flipped", flipped),
        ("torn", torn),
        (
            "huge count",
            [b"PACK\0\0\0\x02\xff\xff\xff\xff".to_vec(), vec![0; 64]].concat(),
        ),
    ] {
        let (code, text) = receive(&server, &[(&zero, &absent, "refs/heads/evil")], &bytes);
        assert!(
            code >= 400 || !text.contains("unpack ok\n") || text.contains("ng refs/heads/evil"),
            "{what}: {code} {text}"
        );
        assert_eq!(git(&repo.dir, &["ls-remote", &repo.url]), before, "{what}");
    }
    // Names that lead elsewhere or belong to the server.
    for name in [
        "refs/heads/../../config",
        "refs/heads/../../../escape",
        "refs/heads/a..b",
        "refs/heads/x.lock",
        "refs/heads/-x",
        "refs/heads/.hidden",
        "refs/heads/with space",
        "refs/heads/\u{7f}",
        "refs/heads/@{1}",
        "HEAD",
        "config",
        "../../../etc/passwd",
        "refs/heads/env/dev",
        "/refs/heads/x",
        "refs//heads/x",
    ] {
        let (code, text) = receive(&server, &[(&zero, &first, name)], &whole);
        assert!(
            code >= 400 || text.contains("ng ") || !text.contains("ok refs"),
            "{name}: {code} {text}"
        );
        assert_eq!(git(&repo.dir, &["ls-remote", &repo.url]), before, "{name}");
    }
    for path in [
        "/git/demo/../../etc/passwd/info/refs?service=git-upload-pack",
        "/git/demo/%2e%2e%2f%2e%2e%2fx.git/info/refs?service=git-receive-pack",
        "/git/demo/hello.git/objects/info/packs",
        "/git/demo/hello.git/config",
        "/git/demo/hello.git/../../../server.json",
    ] {
        let (code, text) = raw(&server, &format!("GET {path}"), b"");
        assert!((400..500).contains(&code), "{path}: {text}");
    }
    for name in [
        "../x",
        "demo/../x",
        "demo/.git",
        "demo/UPPER",
        "demo/a b",
        "-demo/x",
        "demo/x.git",
    ] {
        let output = server.run(&["repo", "create", "--", name]);
        assert!(!output.status.success(), "{name}");
    }
    assert!(!server.dir().join("escape").exists());
    // And everybody else goes on.
    repo.write("a.txt", "fine");
    repo.commit();
    assert!(repo.try_push().0);
    let bare = server
        .data()
        .join("git/demo/hello.git")
        .display()
        .to_string();
    git(
        server.dir(),
        &["--git-dir", &bare, "fsck", "--full", "--strict"],
    );
    assert!(
        try_git(&repo.dir, &["fetch", "-q", &repo.url])
            .status
            .success()
    );
}

// All objects of a commit as a pack.
#[allow(clippy::disallowed_methods)] // a test's own children
fn pack(repo: &Repo, list: &str) -> Vec<u8> {
    let mut child = std::process::Command::new("git")
        .args(["pack-objects", "--revs", "--stdout", "-q"])
        .current_dir(&repo.dir)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("git");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(list.as_bytes()).expect("list");
    drop(stdin);
    child.wait_with_output().expect("pack").stdout
}

/// A tar as an attacker writes it: names are not looked at.
struct Evil(Vec<u8>);

impl Evil {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn member(mut self, name: &str, kind: tar::EntryType, link: &str, content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        let fields = header.as_old_mut();
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(content);
        self.0.extend(vec![0; (512 - content.len() % 512) % 512]);
        self
    }

    fn file(self, name: &str, content: &[u8]) -> Self {
        self.member(name, tar::EntryType::Regular, "", content)
    }

    fn done(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

// Archives whose members lead out of the place they are unpacked at.
fn escapes(victim: &str) -> Vec<(&'static str, Vec<u8>)> {
    use tar::EntryType::{Link, Symlink};
    let up = format!("{}{victim}", "../".repeat(12));
    let inside = |name: &str| format!("{name}/owned");
    vec![
        (
            "dots",
            Evil::new().file(&format!("{up}/owned"), b"x").done(),
        ),
        (
            "absolute",
            Evil::new().file(&format!("/{victim}/owned"), b"x").done(),
        ),
        (
            "symlink",
            Evil::new()
                .member("l", Symlink, &format!("/{victim}"), b"")
                .file(&inside("l"), b"x")
                .done(),
        ),
        (
            "relative symlink",
            Evil::new()
                .member("l", Symlink, &up, b"")
                .file(&inside("l"), b"x")
                .done(),
        ),
        (
            "hard link",
            Evil::new()
                .member("h", Link, &format!("{up}/kept"), b"")
                .file("h", b"owned")
                .done(),
        ),
        (
            "whiteout",
            Evil::new()
                .member("l", Symlink, &up, b"")
                .file("l/.wh.kept", b"")
                .done(),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn contexts_layers_and_digests_stay_in_their_place() {
    if !able(None) {
        return;
    }
    let server = Server::start();
    let web = Web::new(&server);
    server.ok(&["repo", "create", "demo/hello"]);
    let victim = server.dir().join("victim");
    std::fs::create_dir(&victim).expect("directory");
    std::fs::write(victim.join("kept"), "kept").expect("write");
    let place = victim.display().to_string();
    let place = place.trim_start_matches('/');
    let untouched = || {
        assert!(!victim.join("owned").exists());
        assert_eq!(std::fs::read(victim.join("kept")).expect("kept"), b"kept");
        assert_eq!(std::fs::read_dir(&victim).expect("victim").count(), 1);
    };
    // Build contexts.
    let query = "/api/v1/builds?repository=demo/hello&tag=demo/hello:1";
    for (what, archive) in escapes(place) {
        let mut archive = archive;
        archive.truncate(archive.len() - 1024);
        archive.extend(
            Evil::new()
                .file("Dockerfile", b"FROM scratch\nCOPY . /\n")
                .done(),
        );
        let (code, text) = send(&web, "POST", query, "application/x-tar", archive).await;
        assert!(code < 500, "{what}: {code} {text}");
        untouched();
    }
    // A Dockerfile's mistake has its place, and no image comes of it.
    let archive = Evil::new()
        .file("Dockerfile", b"FROM scratch\nCOPY --frm=x a b\n")
        .done();
    let (_, text) = send(&web, "POST", query, "application/x-tar", archive).await;
    let end: Value = serde_json::from_str(text.lines().last().expect("line")).expect("JSON");
    let finding = &end["findings"][0];
    assert_eq!(
        (&finding["file"], &finding["line"], &finding["column"]),
        (&json!("Dockerfile"), &json!(2), &json!(6)),
        "{text}"
    );
    let dir = server.dir().join("context");
    std::fs::create_dir(&dir).expect("directory");
    std::fs::write(dir.join("Dockerfile"), "FROM scratch\n\nRUNN x\n").expect("write");
    let output = server.run(&["build", &dir.display().to_string(), "--tag", "demo/hello:1"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1) && words.contains("Dockerfile:3:1:"),
        "{words}"
    );
    // Layers: pushed as they are, refused when a pod is made of them.
    for (number, (what, layer)) in escapes(place).into_iter().enumerate() {
        push_image(&web, &format!("evil{number}"), &layer).await;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("evil{number}"), "namespace": "demo"},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": format!("demo/evil:evil{number}"), "command": ["/h"]}]},
        });
        web.create("/api/v1/namespaces/demo/pods", &pod).await;
        let path = format!("/api/v1/namespaces/demo/pods/evil{number}");
        let mut words = String::new();
        for _ in 0..200 {
            let pod = web.object(&path).await;
            let state = &pod["status"]["containerStatuses"][0]["state"];
            words = state.to_string();
            if !state["waiting"]["message"].is_null() || !state["terminated"].is_null() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        eprintln!("{what}: {words}");
        assert!(!words.contains("ContainerCreating"), "{what}: {words}");
        untouched();
        web.ask("DELETE", &format!("/k8s{path}?gracePeriodSeconds=0"), "")
            .await
            .expect("answer");
    }
    // Manifests and digests.
    for (path, body, code) in [
        ("/v2/demo/hello/manifests/v1", "{", 400),
        (
            "/v2/demo/hello/manifests/v1",
            "{\"schemaVersion\":2,\"config\":{\"digest\":\"sha256:../../x\"}}",
            400,
        ),
        ("/v2/demo/hello/manifests/sha256:..%2f..%2fx", "{}", 400),
    ] {
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let (got, text) = send(&web, "PUT", path, kind, body.into()).await;
        assert!(
            got == code && text.contains("\"code\""),
            "{path}: {got} {text}"
        );
    }
    for path in [
        "GET /v2/demo/hello/blobs/sha256:../../../../etc/passwd",
        "GET /v2/../../etc/passwd",
        "GET /v2/demo/../../x/tags/list",
        "PUT /v2/demo/hello/blobs/uploads/../../../x?digest=sha256:00",
        "POST /v2/demo/hello/blobs/uploads/?digest=sha256:..",
        "POST /v2/..%2f..%2fx/y/blobs/uploads/",
        "GET /api/v1/runs/demo/..%2f..%2fx/jobs/a/steps/1/log",
        "GET /api/v1/runs/demo/x/jobs/..%2f..%2f..%2fserver.json/steps/1/log",
        "GET /api/v1/runs/..%2f../x/artifacts",
        "PUT /api/v1/runs/demo/x/artifacts/..%2f..%2fx",
        "GET /assets/..%2f..%2f..%2fetc%2fpasswd",
        "GET /../../../etc/passwd",
    ] {
        let (code, text) = raw(&server, path, b"x");
        assert!(
            (400..500).contains(&code) || !text.contains("root:"),
            "{path}: {code} {text}"
        );
        assert!(code < 500 && code > 0, "{path}: {code} {text}");
    }
    until("the server", Duration::from_secs(5), || {
        server.run(&["status"]).status.success()
    });
    untouched();
}

async fn push_image(web: &Web, tag: &str, layer: &[u8]) {
    let digest = Digest::of(layer);
    let config = json!({
        "architecture": towpath_oci::manifest::architecture(), "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest.to_string()]}, "history": [],
    })
    .to_string();
    let named = Digest::of(config.as_bytes());
    for (digest, body) in [
        (&digest, layer.to_vec()),
        (&named, config.clone().into_bytes()),
    ] {
        let path = format!("/v2/demo/evil/blobs/uploads/?digest={digest}");
        let (code, text) = send(web, "POST", &path, "application/octet-stream", body).await;
        assert_eq!(code, 201, "{text}");
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": named.to_string(), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest.to_string(), "size": layer.len()}],
    });
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let path = format!("/v2/demo/evil/manifests/{tag}");
    let (code, text) = send(web, "PUT", &path, kind, manifest.to_string().into()).await;
    assert_eq!(code, 201, "{text}");
}
