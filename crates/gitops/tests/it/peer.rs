//! The real control plane, as far as this crate meets it: etcd, kube-apiserver, and of the
//! controllers the garbage collector and the one for namespaces.

use kube::Client;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use towpath_testkit::{free_port, peer, peer_directory};

const PROGRAMS: [&str; 3] = ["etcd", "kube-apiserver", "kube-controller-manager"];

pub(crate) struct Peer {
    dir: tempfile::TempDir,
    children: Vec<Child>,
}

impl Peer {
    /// Starts it in a directory and on ports of its own; `None` where the programs are missing.
    pub(crate) async fn start() -> Option<Self> {
        let programs = peer_directory();
        for program in PROGRAMS {
            peer(program)?;
        }
        let mut peer = Self {
            dir: tempfile::tempdir().expect("directory"),
            children: Vec::new(),
        };
        let (client, member, api) = (free_port(), free_port(), free_port());
        let etcd = format!("http://127.0.0.1:{client}");
        let member = format!("http://127.0.0.1:{member}");
        peer.run(
            &programs.join("etcd"),
            &[
                "--data-dir=etcd",
                &format!("--listen-client-urls={etcd}"),
                &format!("--advertise-client-urls={etcd}"),
                &format!("--listen-peer-urls={member}"),
                &format!("--initial-advertise-peer-urls={member}"),
                &format!("--initial-cluster=default={member}"),
            ],
        );
        let path = peer.dir.path();
        std::fs::write(path.join("tokens.csv"), "secret,admin,1,system:masters\n").expect("tokens");
        openssl_key(&path.join("sa.key"));
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: x\n\
             clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{api}', insecure-skip-tls-verify: true}}}}]\n\
             users: [{{name: u, user: {{token: secret}}}}]\n\
             contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n"
        );
        std::fs::write(path.join("kubeconfig"), kubeconfig).expect("kubeconfig");
        peer.run(
            &programs.join("kube-apiserver"),
            &[
                &format!("--etcd-servers={etcd}"),
                "--cert-dir=certs",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--service-account-signing-key-file=sa.key",
                "--service-account-key-file=sa.key",
                "--token-auth-file=tokens.csv",
                "--authorization-mode=RBAC",
                &format!("--secure-port={api}"),
                "--bind-address=127.0.0.1",
                "--service-cluster-ip-range=10.97.0.0/16",
            ],
        );
        peer.ready().await;
        peer.run(
            &programs.join("kube-controller-manager"),
            &[
                "--kubeconfig=kubeconfig",
                "--leader-elect=false",
                "--controllers=garbage-collector-controller,namespace-controller",
                "--secure-port=0",
            ],
        );
        Some(peer)
    }

    #[allow(clippy::disallowed_methods)]
    fn run(&mut self, program: &Path, arguments: &[&str]) {
        // A test that is killed leaves nothing behind for long.
        let mut command = Command::new("timeout");
        command
            .args(["-k", "5", "300"])
            .arg(program)
            .args(arguments)
            .current_dir(self.dir.path());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.children.push(command.spawn().expect("peer"));
    }

    pub(crate) async fn client(&self) -> Client {
        towpath_kit::client::from_kubeconfig(&self.dir.path().join("kubeconfig"))
            .await
            .expect("client")
    }

    async fn ready(&self) {
        let start = Instant::now();
        loop {
            let client = self.client().await;
            let request = http_get("/readyz");
            if client
                .request_text(request)
                .await
                .is_ok_and(|text| text == "ok")
            {
                return;
            }
            assert!(
                start.elapsed() < Duration::from_secs(90),
                "the real API server did not come up"
            );
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

impl Drop for Peer {
    #[allow(clippy::disallowed_methods)]
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            // `timeout` passes it on; killing it outright would orphan the program.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }
}

fn http_get(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path).body(Vec::new()).expect("request")
}

#[allow(clippy::disallowed_methods)]
fn openssl_key(file: &Path) {
    let mut command = Command::new("openssl");
    command
        .args(["genrsa", "-out"])
        .arg(file)
        .arg("2048")
        .stderr(Stdio::null());
    assert!(command.status().expect("openssl").success());
}
