//! Unmodified kubectl and Helm against our server and against the real kube-apiserver, command by
//! command: exit codes, outputs and the resulting objects must be the same. Both sides have the
//! real controllers beside them, so that what differs is the API server.
//!
//! Scripts are `tests/corpus/journeys/<tool>/*.txt`:
//! ```text
//! --- file.yaml            # a file, up to the next line that begins with "--- ", "$ ", "% " or "until "
//! $ kubectl apply -f …     # a shell command: its output and exit code are compared
//! % kubectl …              # only its exit code is compared
//! until kubectl …          # repeated until it succeeds; nothing else is compared
//! known why                # the next command is known to be answered differently
//! ```
//! Each runs in a namespace of its own (`$NS`, the default one of its kubeconfig) with a directory
//! of its own, which holds `tests/corpus/charts` as `charts`.

use crate::harness::Server;
use crate::peer::{self, Peer};
use crate::transcript;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const COMMAND: Duration = Duration::from_secs(90);
const UNTIL: Duration = Duration::from_secs(60);
const OUTPUT_BYTES: u64 = 4 << 20;
/// Every controller that no pod needs to run for.
const CONTROLLERS: &str = "serviceaccount-controller,root-ca-certificate-publisher-controller,\
    namespace-controller,deployment-controller,replicaset-controller,statefulset-controller,\
    daemonset-controller,job-controller,cronjob-controller,garbage-collector-controller,\
    disruption-controller,clusterrole-aggregation-controller";

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// All scripts, or those whose path contains `SCRIPT`.
fn scripts() -> Vec<PathBuf> {
    let only = std::env::var("SCRIPT").unwrap_or_default();
    let mut found: Vec<PathBuf> = Vec::new();
    for tool in std::fs::read_dir(corpus().join("journeys")).expect("journeys") {
        let files = std::fs::read_dir(tool.expect("tool").path()).expect("scripts");
        found.extend(files.map(|file| file.expect("script").path()));
    }
    found.retain(|path| path.to_string_lossy().contains(&only));
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_told_the_same() {
    let scripts = scripts();
    if scripts.is_empty() || !peer::there(&["kubectl", "helm"]) {
        return;
    }
    let Some(theirs) = Peer::with_controllers(CONTROLLERS).await else {
        return;
    };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = Server::start().await;
    let address = server.api.add_listener(([127, 0, 0, 1], 0).into()).await;
    let url = format!("https://{}", address.expect("listener"));
    let kubeconfig = server.dir.path().join("kubeconfig");
    std::fs::write(&kubeconfig, server.api.kubeconfig(&url)).expect("kubeconfig");
    std::fs::write(server.dir.path().join("ca.crt"), server.api.ca_pem()).expect("certificate");
    let _manager = Manager::start(server.dir.path());
    let sides = [
        Side::new(kubeconfig, url),
        Side::new(theirs.kubeconfig(), theirs.url.clone()),
    ];
    let mut wrong = Vec::new();
    for script in &scripts {
        let name = script.file_stem().expect("name").to_string_lossy();
        let text = std::fs::read_to_string(script).expect("script");
        let begin = Instant::now();
        let (ours, theirs) = tokio::join!(sides[0].play(&name, &text), sides[1].play(&name, &text));
        eprintln!("{name}: {:?}", begin.elapsed());
        wrong.extend(differences(&name, &ours, &theirs));
    }
    server.api.stop().await;
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// One command and what came of it.
struct Said {
    command: String,
    code: i32,
    text: String,
    known: bool,
}

fn differences(name: &str, ours: &[Said], theirs: &[Said]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (ours, theirs) in ours.iter().zip(theirs) {
        if std::env::var_os("TRANSCRIPT").is_some() {
            eprintln!("$ {}\n{}=> {}", theirs.command, theirs.text, theirs.code);
        }
        match (
            ours.code == theirs.code && ours.text == theirs.text,
            ours.known,
        ) {
            (true, true) => {
                wrong.push(format!("{name}: $ {} is no longer different", ours.command));
                continue;
            }
            (true, false) | (false, true) => continue,
            (false, false) => {}
        }
        let (left, right): (Vec<&str>, Vec<&str>) =
            (ours.text.lines().collect(), theirs.text.lines().collect());
        let mut lines = vec![format!("{name}: $ {}", ours.command)];
        if ours.code != theirs.code {
            lines.push(format!("  ours ends {}, theirs {}", ours.code, theirs.code));
        }
        lines.extend(transcript::difference(&left, &right));
        lines.truncate(40);
        wrong.push(lines.join("\n"));
    }
    wrong
}

/// A server, and how programs get to it.
struct Side {
    kubeconfig: PathBuf,
    url: String,
}

impl Side {
    fn new(kubeconfig: PathBuf, url: String) -> Self {
        Self { kubeconfig, url }
    }

    async fn play(&self, name: &str, text: &str) -> Vec<Said> {
        let directory = tempfile::tempdir().expect("directory");
        let dir = directory.path();
        copy(&corpus().join("charts"), &dir.join("charts"));
        std::fs::copy(&self.kubeconfig, dir.join("kubeconfig")).expect("kubeconfig");
        let namespace = format!("j-{name}");
        let first = format!(
            "kubectl create namespace {namespace} && kubectl config set-context --current --namespace={namespace}"
        );
        let (code, said) = self.run(dir, &namespace, &first).await;
        assert_eq!(code, 0, "{said}");
        let account = "kubectl get serviceaccount default";
        self.until(dir, &namespace, account).await;
        let mut told = Vec::new();
        let mut lines = text.lines().peekable();
        let mut known = false;
        while let Some(line) = lines.next() {
            let mut more = || -> String {
                let mut text = String::new();
                while let Some(next) = lines.next_if(|next| !begins(next)) {
                    text.push_str(next);
                    text.push('\n');
                }
                text
            };
            if let Some(file) = line.strip_prefix("--- ") {
                let path = dir.join(file.trim());
                std::fs::create_dir_all(path.parent().expect("parent")).expect("directory");
                std::fs::write(path, more()).expect("file");
            } else if line.starts_with("known ") {
                known = true;
            } else if let Some(command) = line.strip_prefix("until ") {
                let (code, text) = self.until(dir, &namespace, command).await;
                // What did not happen on one side is a difference.
                told.push(Said {
                    command: line.into(),
                    code,
                    text: if code == 0 { String::new() } else { text },
                    known: std::mem::take(&mut known),
                });
            } else if let Some(command) = line.strip_prefix("% ") {
                let (code, _) = self.run(dir, &namespace, command).await;
                told.push(Said {
                    command: command.into(),
                    code,
                    text: String::new(),
                    known: std::mem::take(&mut known),
                });
            } else if let Some(command) = line.strip_prefix("$ ") {
                let (code, text) = self.run(dir, &namespace, command).await;
                let text = text.replace(&dir.display().to_string(), "DIR");
                let text = transcript::normal(&text.replace(&self.url, "SERVER"));
                told.push(Said {
                    command: command.into(),
                    code,
                    text,
                    known: std::mem::take(&mut known),
                });
            } else {
                assert!(line.is_empty() || line.starts_with('#'), "{name}: {line}");
            }
        }
        let _ = self
            .run(
                dir,
                &namespace,
                &format!("kubectl delete namespace {namespace} --wait=false"),
            )
            .await;
        told
    }

    async fn until(&self, dir: &Path, namespace: &str, command: &str) -> (i32, String) {
        let begin = Instant::now();
        loop {
            let (code, text) = self.run(dir, namespace, command).await;
            if code == 0 || begin.elapsed() > UNTIL {
                return (code, text);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Exit code, and both outputs one after the other.
    async fn run(&self, dir: &Path, namespace: &str, command: &str) -> (i32, String) {
        let mut shell = towpath_stdx::process::command("sh");
        shell.args(["-c", command]).current_dir(dir);
        let path = format!(
            "{}:{}",
            peer::programs().display(),
            std::env::var("PATH").unwrap_or_default()
        );
        shell
            .env("PATH", path)
            .env("HOME", dir)
            .env("KUBECONFIG", dir.join("kubeconfig"))
            .env("NS", namespace)
            .env("TZ", "UTC")
            .env("LANG", "C.UTF-8");
        let output = towpath_stdx::process::run(shell, COMMAND, OUTPUT_BYTES).await;
        match output {
            Ok(output) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let code = output.code.unwrap_or(-1);
                (code, text(&output.stdout) + &text(&output.stderr))
            }
            Err(error) => (-1, format!("{command}: {error}\n")),
        }
    }
}

fn begins(line: &str) -> bool {
    ["--- ", "$ ", "% ", "until ", "known "]
        .iter()
        .any(|word| line.starts_with(word))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("directory");
    for entry in std::fs::read_dir(from).expect("directory") {
        let path = entry.expect("entry").path();
        let target = to.join(path.file_name().expect("name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, target).expect("copy");
        }
    }
}

/// The real controller manager against our server; it ends with the pipe that it waits on.
struct Manager {
    shell: Child,
}

impl Manager {
    #[allow(clippy::disallowed_methods)] // ends with the pipe, whatever becomes of the runtime
    fn start(dir: &Path) -> Self {
        let script = r#"
trap '' INT TERM HUP
"$PEERS/kube-controller-manager" --kubeconfig=kubeconfig --leader-elect=false --secure-port=0 \
  --controllers="$CONTROLLERS" --root-ca-file=ca.crt --kube-api-qps=500 --kube-api-burst=500 \
  >kube-controller-manager.log 2>&1 &
manager=$!
read -r _
kill -9 $manager
"#;
        let shell = std::process::Command::new("sh")
            .args(["-c", script])
            .current_dir(dir)
            .env("PEERS", peer::programs())
            .env("CONTROLLERS", CONTROLLERS)
            .stdin(Stdio::piped())
            .spawn()
            .expect("shell");
        Self { shell }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
