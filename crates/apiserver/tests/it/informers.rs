//! client-go informers (`tests/peers/informer`) over kills and restarts of the server and over
//! watches that fell behind: the events they hand on are of one history, and in the end their
//! caches are what a list returns.

use crate::peer::{self, Peer};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use towpath_apiserver::{ApiServer, Config};

const DIRECTORY: &str = "TOWPATH_INFORMER_DIR";
const ADDRESS: &str = "TOWPATH_INFORMER_ADDRESS";
/// Few, so that a watch can be made to miss some.
const EVENTS: usize = 150;
const RESTARTS: usize = 6;
const SHIPS: &str = "ships.informers.example.org";

/// Not a test of its own: the server that is killed.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let address: SocketAddr = std::env::var(ADDRESS)
        .expect("address")
        .parse()
        .expect("address");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("runtime");
    let server = runtime.block_on(async {
        let mut config = Config::new(Path::new(&dir));
        config.history_events = EVENTS;
        let api = ApiServer::open(config).await.expect("server");
        api.add_listener(address).await.expect("listener");
        let kubeconfig = api.kubeconfig(&format!("https://{address}"));
        std::fs::write(Path::new(&dir).join("kubeconfig"), kubeconfig).expect("kubeconfig");
        let token = api.admin_token();
        std::fs::write(Path::new(&dir).join("token"), token.reveal_secret()).expect("token");
        api
    });
    println!("\nready");
    // The end of the pipe is the wish for a clean end.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    runtime.block_on(server.stop());
}

#[allow(clippy::disallowed_methods)] // killed by this test, at moments of its choosing
fn program(path: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(path)
}

fn start_server(dir: &Path, address: SocketAddr) -> Child {
    let mut child = program(std::env::current_exe().expect("own path"))
        .args([
            "--exact",
            "informers::child",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DIRECTORY, dir)
        .env(ADDRESS, address.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("server");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    lines
        .find(|line| line.as_ref().is_ok_and(|line| line == "ready"))
        .expect("the server got ready")
        .expect("line");
    child
}

/// The Go program; killed when dropped.
struct Informer {
    child: Child,
    stdin: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Informer {
    fn start(kubeconfig: &Path, namespace: &str) -> Self {
        let mut child = program(peer::programs().join("informer"))
            .arg("watch")
            .arg("-kubeconfig")
            .arg(kubeconfig)
            .args(["-namespace", namespace])
            .args(["-custom", "informers.example.org/v1/ships"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("informer");
        let stdin = child.stdin.take().expect("stdin");
        let lines = BufReader::new(child.stdout.take().expect("stdout"));
        let mut informer = Self {
            child,
            stdin,
            lines,
        };
        assert_eq!(informer.line(), "synced");
        informer
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("line");
        line.trim().to_string()
    }

    /// What each informer came to, once all agree with a list.
    fn settle(&mut self) -> Value {
        self.stdin.write_all(b"settle\n").expect("write");
        let line = self.line();
        let report: Value = serde_json::from_str(&line).expect("a report");
        for (name, outcome) in report.as_object().expect("report") {
            if name != "requests" {
                assert_eq!(outcome["Equal"], true, "{name}: {outcome}");
                assert!(outcome["Faults"].is_null(), "{name}: {outcome}");
            }
        }
        report
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let done = program("sh").args(["-c", &kill]).status().expect("sh");
        assert!(done.success());
    }
}

impl Drop for Informer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Creates, changes and deletes objects of four kinds.
struct Writer {
    client: reqwest::Client,
    url: String,
    namespace: String,
    seed: u64,
    /// Answered with success, by kind: creations, changes, deletions.
    done: [[usize; 3]; 4],
}

impl Writer {
    fn new(client: reqwest::Client, url: &str, namespace: &str) -> Self {
        Self {
            client,
            url: url.into(),
            namespace: namespace.into(),
            seed: 0x9e37_79b9_7f4a_7c15,
            done: [[0; 3]; 4],
        }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % sides
    }

    fn path(&self, kind: usize) -> String {
        let (group, plural) = [
            ("/api/v1", "configmaps"),
            ("/api/v1", "pods"),
            ("/api/v1", "secrets"),
            ("/apis/informers.example.org/v1", "ships"),
        ][kind];
        format!("{}{group}/namespaces/{}/{plural}", self.url, self.namespace)
    }

    async fn send(&self, method: reqwest::Method, url: String, body: &Value) -> Option<u16> {
        let kind = if method == reqwest::Method::PATCH {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let request = self.client.request(method, url).body(body.to_string());
        let answer = request.header("content-type", kind).send().await.ok()?;
        let code = answer.status().as_u16();
        answer.bytes().await.ok()?;
        Some(code)
    }

    async fn write(&mut self) -> bool {
        let (kind, roll, turn) = (
            self.roll(4) as usize,
            self.roll(10),
            self.roll(1 << 40).to_string(),
        );
        let name = format!("o{}", self.roll(20));
        let path = self.path(kind);
        let (act, code) = match roll {
            0..4 => {
                let mut object = json!({"metadata": {"name": name, "annotations": {"turn": turn}}});
                match kind {
                    1 => {
                        object["spec"] = json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "i"}]});
                    }
                    3 => {
                        object["apiVersion"] = "informers.example.org/v1".into();
                        object["kind"] = "Ship".into();
                        object["spec"] = json!({"length": 3});
                    }
                    _ => {}
                }
                (0, self.send(reqwest::Method::POST, path, &object).await)
            }
            4..8 => {
                let patch = json!({"metadata": {"annotations": {"turn": turn}}});
                let url = format!("{path}/{name}");
                (1, self.send(reqwest::Method::PATCH, url, &patch).await)
            }
            _ => {
                let url = format!("{path}/{name}");
                let options = json!({"gracePeriodSeconds": 0});
                (2, self.send(reqwest::Method::DELETE, url, &options).await)
            }
        };
        if code.is_some_and(|code| code < 300) {
            self.done[kind][act] += 1;
        }
        code.is_some()
    }

    async fn define(&self) {
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": SHIPS},
            "spec": {
                "group": "informers.example.org", "scope": "Namespaced",
                "names": {"plural": "ships", "singular": "ship", "kind": "Ship"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {"spec": {"type": "object", "properties": {"length": {"type": "integer"}}}},
                }}}],
            },
        });
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let made = self.send(
            reqwest::Method::POST,
            format!("{}{path}", self.url),
            &definition,
        );
        assert!(made.await.is_some_and(|code| code < 300));
        let namespace = json!({"metadata": {"name": self.namespace}});
        let url = format!("{}/api/v1/namespaces", self.url);
        let made = self.send(reqwest::Method::POST, url, &namespace).await;
        assert!(made.is_some_and(|code| code < 300));
        let begin = Instant::now();
        // A pod wants the namespace's account; kinds take a moment to be served.
        for url in [
            format!(
                "{}/api/v1/namespaces/{}/serviceaccounts",
                self.url, self.namespace
            ),
            self.path(3),
        ] {
            loop {
                let account = json!({"metadata": {"name": "default"}});
                let code = if url.ends_with("serviceaccounts") {
                    self.send(reqwest::Method::POST, url.clone(), &account)
                        .await
                } else {
                    self.send(reqwest::Method::GET, url.clone(), &Value::Null)
                        .await
                };
                if code.is_some_and(|code| code < 300 || code == 409) {
                    break;
                }
                assert!(begin.elapsed() < Duration::from_secs(20), "{url}: {code:?}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn client(token: &str) -> reqwest::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut headers = reqwest::header::HeaderMap::new();
    let value = format!("Bearer {token}").parse().expect("header");
    headers.insert("authorization", value);
    reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .no_proxy()
        .default_headers(headers)
        .timeout(Duration::from_secs(10))
        .build()
        .expect("client")
}

/// Without a restart every write is one event. Upstream marks a pod that goes at once before it
/// goes, which is another.
async fn every_write_is_told_once(
    writer: &mut Writer,
    kubeconfig: &Path,
    marked_first: bool,
) -> Informer {
    let mut informer = Informer::start(kubeconfig, &writer.namespace);
    let before = informer.settle();
    for _ in 0..600 {
        assert!(writer.write().await);
    }
    let report = informer.settle();
    for (kind, name) in ["configmaps", "pods", "metadata", "custom"]
        .iter()
        .enumerate()
    {
        let count = |what: &str| {
            let number = |report: &Value| report[name][what].as_u64().expect("count") as usize;
            number(&report) - number(&before)
        };
        let mut told = ["Adds", "Updates", "Deletes"].map(count);
        if marked_first && kind == 1 {
            told[1] -= told[2];
        }
        assert_eq!(told, writer.done[kind], "{name}: {report}");
    }
    // Each began with one streamed list and never had to list or to begin anew.
    assert_eq!(report["requests"], json!({"watchList": 4}), "{report}");
    informer
}

#[test]
fn caches_are_what_a_list_is_after_kills_and_gaps() {
    if !peer::there(&["informer"]) {
        return;
    }
    let directory = tempfile::tempdir().expect("directory");
    let dir = directory.path();
    let address = SocketAddr::from(([127, 0, 0, 1], towpath_testkit::free_port()));
    let mut server = start_server(dir, address);
    let token = std::fs::read_to_string(dir.join("token")).expect("token");
    let url = format!("https://{address}");
    let mut writer = Writer::new(client(token.trim()), &url, "informers");
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(writer.define());
    let kubeconfig = dir.join("kubeconfig");
    let mut informer = runtime.block_on(every_write_is_told_once(&mut writer, &kubeconfig, false));

    // Killed and stopped while objects change.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            runtime.block_on(async {
                let mut refused = 0;
                while !stop.load(Ordering::Relaxed) {
                    if !writer.write().await {
                        refused += 1;
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
                refused
            })
        });
        for round in 0..RESTARTS {
            std::thread::sleep(Duration::from_millis(150 + 211 * round as u64 % 500));
            if round % 2 == 0 {
                server.kill().expect("kill");
            } else {
                drop(server.stdin.take());
            }
            server.wait().expect("end");
            server = start_server(dir, address);
        }
        // Informers wait longer from failure to failure.
        std::thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        assert!(busy.join().expect("writer") > 0, "nobody noticed the kills");
    });
    let after_kills = informer.settle();

    // Stopped while more happens than the server remembers and than sockets hold.
    informer.signal("STOP");
    runtime.block_on(async {
        let large = "x".repeat(48 << 10);
        let name = json!({"metadata": {"name": "large"}});
        let path = writer.path(0);
        writer
            .send(reqwest::Method::POST, path.clone(), &name)
            .await;
        for turn in 0..EVENTS * 3 {
            let patch = json!({"data": {"large": large, "turn": turn.to_string()}});
            let url = format!("{path}/large");
            let code = writer.send(reqwest::Method::PATCH, url, &patch).await;
            assert_eq!(code, Some(200));
        }
    });
    informer.signal("CONT");
    let last = informer.settle();
    let begun = |report: &Value| report["requests"]["watchList"].as_u64().expect("count");
    assert!(
        begun(&last) > begun(&after_kills),
        "nobody fell behind: {last}"
    );
    eprintln!("{RESTARTS} restarts and a gap: {last}");

    // Leaders follow one another and never lead together.
    let output = program(peer::programs().join("informer"))
        .args(["lease", "-namespace", "informers", "-kubeconfig"])
        .arg(&kubeconfig)
        .output()
        .expect("informer");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let mut leaders: Vec<&str> = report["leaders"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    leaders.sort_unstable();
    assert_eq!(leaders, ["a", "b", "c"], "{report}");
    assert_eq!(report["together"], 0, "{report}");
    assert_eq!(report["holder"], "", "{report}");
    drop(informer);
    drop(server.stdin.take());
    server.wait().expect("end");
}

/// What is asked of our server holds for the real one.
#[tokio::test]
async fn the_real_server_tells_every_write_once() {
    if !peer::there(&["informer"]) {
        return;
    }
    let Some(theirs) = Peer::shared().await else {
        return;
    };
    let mut writer = Writer::new(theirs.client(), &theirs.url, "informers");
    writer.define().await;
    every_write_is_told_once(&mut writer, &theirs.kubeconfig(), true).await;
}
