//! The real control plane: etcd, kube-apiserver and of the controllers those whose work the API
//! server's own answers depend on. One for all tests of this binary, on ports of its own.
//!
//! A shell between us and the programs holds the other end of a pipe: however this process ends,
//! the pipe closes, and the shell ends the programs and removes their directory.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

const PROGRAMS: [&str; 3] = ["etcd", "kube-apiserver", "kube-controller-manager"];
const TOKEN: &str = "contract-admin";
const READY: Duration = Duration::from_secs(180);

/// Controllers for the controller manager wait for a line: the API server must be ready first.
const SHELL: &str = r#"
trap '' INT TERM HUP
cd "$DIR" || exit 1
"$PEERS/etcd" --data-dir=etcd --unsafe-no-fsync --log-level=error \
  --listen-client-urls="$ETCD" --advertise-client-urls="$ETCD" --listen-peer-urls="$MEMBER" \
  --initial-advertise-peer-urls="$MEMBER" --initial-cluster="default=$MEMBER" >etcd.log 2>&1 &
etcd=$!
"$PEERS/kube-apiserver" --etcd-servers="$ETCD" --cert-dir=certs --bind-address=127.0.0.1 \
  --secure-port="$PORT" --service-cluster-ip-range=10.96.0.0/16 --token-auth-file=tokens.csv \
  --authorization-mode=Node,RBAC --service-account-issuer=https://kubernetes.default.svc \
  --service-account-signing-key-file=sa.key --service-account-key-file=sa.key \
  --max-requests-inflight=0 --max-mutating-requests-inflight=0 --enable-priority-and-fairness=false \
  --enable-aggregator-routing=true --allow-privileged=true >kube-apiserver.log 2>&1 &
api=$!
manager=
if read -r _; then
  "$PEERS/kube-controller-manager" --kubeconfig=kubeconfig --leader-elect=false --secure-port=0 \
    --controllers="$CONTROLLERS" \
    --service-account-private-key-file=sa.key --root-ca-file=certs/apiserver.crt \
    --kube-api-qps=500 --kube-api-burst=500 >kube-controller-manager.log 2>&1 &
  manager=$!
  read -r _
fi
kill -9 $manager $api $etcd 2>/dev/null
wait
cd /; rm -rf "$DIR"
"#;

/// Controllers whose work the API server's own answers depend on.
const CONTROLLERS: &str = "serviceaccount-controller,root-ca-certificate-publisher-controller,namespace-controller,clusterrole-aggregation-controller";

pub(crate) use towpath_testkit::peer_directory as programs;

/// Whether these programs are there; that they are not is said loudly, and with
/// `TOWPATH_TEST_FULL` a failure.
pub(crate) fn there(names: &[&str]) -> bool {
    let programs = programs();
    let missing: Vec<_> = names
        .iter()
        .filter(|program| !programs.join(program).is_file())
        .collect();
    if missing.is_empty() {
        return true;
    }
    let why = format!(
        "no {missing:?} in {} (cargo xtask peers builds them)",
        programs.display()
    );
    towpath_testkit::skip(&format!(
        "nothing is compared with the real programs: {why}"
    ));
    false
}

pub(crate) struct Peer {
    /// `https://127.0.0.1:…`
    pub(crate) url: String,
    directory: PathBuf,
    // Its standard input is the pipe.
    shell: std::sync::Mutex<Child>,
}

static SHARED: OnceCell<Option<Peer>> = OnceCell::const_new();

impl Peer {
    /// The peer of this test run. `None`, said loudly, where its programs are missing; with
    /// `TOWPATH_TEST_FULL` that is a failure.
    pub(crate) async fn shared() -> Option<&'static Self> {
        SHARED.get_or_init(Self::begin).await.as_ref()
    }

    async fn begin() -> Option<Self> {
        Self::with_controllers(CONTROLLERS).await
    }

    /// One of a test's own, with these controllers.
    pub(crate) async fn with_controllers(controllers: &str) -> Option<Self> {
        if !there(&PROGRAMS) {
            return None;
        }
        let programs = programs();
        // A free port may be taken by another before its program listens.
        let mut why = String::new();
        for _ in 0..3 {
            let peer = Self::launch(&programs, controllers);
            match peer.ready().await {
                Ok(()) => return Some(peer),
                Err(error) => why = format!("{error}\n{}", peer.last_words()),
            }
        }
        panic!("the real kube-apiserver did not get ready: {why}");
    }

    #[allow(clippy::disallowed_methods)] // outlives the runtime of the test that starts it
    fn launch(programs: &std::path::Path, controllers: &str) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("towpath-contract-")
            .tempdir()
            .expect("directory")
            .keep();
        let [client, member, api] = [(); 3].map(|()| towpath_testkit::free_port());
        let url = format!("https://127.0.0.1:{api}");
        let write = |name: &str, text: &str| {
            std::fs::write(directory.join(name), text).expect("file of the peer");
        };
        write("tokens.csv", &format!("{TOKEN},admin,1,system:masters\n"));
        write(
            "kubeconfig",
            &format!(
                "apiVersion: v1\nkind: Config\ncurrent-context: x\n\
                 clusters: [{{name: c, cluster: {{server: '{url}', insecure-skip-tls-verify: true}}}}]\n\
                 users: [{{name: u, user: {{token: {TOKEN}}}}}]\n\
                 contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n"
            ),
        );
        let made = Command::new("openssl")
            .args(["genrsa", "-out"])
            .arg(directory.join("sa.key"))
            .arg("2048")
            .stderr(Stdio::null())
            .status()
            .expect("openssl");
        assert!(made.success(), "openssl made no key");
        let shell = Command::new("sh")
            .args(["-c", SHELL])
            .env("DIR", &directory)
            .env("PEERS", programs)
            .env("CONTROLLERS", controllers)
            .env("ETCD", format!("http://127.0.0.1:{client}"))
            .env("MEMBER", format!("http://127.0.0.1:{member}"))
            .env("PORT", api.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("shell");
        Self {
            url,
            directory,
            shell: std::sync::Mutex::new(shell),
        }
    }

    /// Ready is more than `/readyz`: the objects that controllers make once are there too.
    async fn ready(&self) -> Result<(), String> {
        let client = self.client();
        let begin = Instant::now();
        self.until(&client, begin, "/readyz").await?;
        let line = self.shell.lock().expect("lock").stdin.as_mut().map(|pipe| {
            pipe.write_all(b"go\n")?;
            pipe.flush()
        });
        line.unwrap_or(Ok(())).map_err(|error| error.to_string())?;
        for path in [
            "/api/v1/namespaces/default/serviceaccounts/default",
            "/api/v1/namespaces/default/configmaps/kube-root-ca.crt",
            "/api/v1/namespaces/default/services/kubernetes",
            "/api/v1/namespaces/kube-system",
            "/api/v1/namespaces/kube-node-lease",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/cluster-admin",
            "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical",
        ] {
            self.until(&client, begin, path).await?;
        }
        eprintln!(
            "the real kube-apiserver was ready after {:?}",
            begin.elapsed()
        );
        Ok(())
    }

    async fn until(
        &self,
        client: &reqwest::Client,
        begin: Instant,
        path: &str,
    ) -> Result<(), String> {
        loop {
            let answer = client.get(format!("{}{path}", self.url)).send().await;
            let told = match answer {
                Ok(answer) if answer.status() == 200 => return Ok(()),
                Ok(answer) => answer.status().to_string(),
                Err(error) => error.to_string(),
            };
            if begin.elapsed() > READY {
                return Err(format!("{path}: {told}"));
            }
            if self
                .shell
                .lock()
                .expect("lock")
                .try_wait()
                .is_ok_and(|end| end.is_some())
            {
                return Err("its shell ended".into());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    fn last_words(&self) -> String {
        let mut words = String::new();
        for program in PROGRAMS {
            let log = self.directory.join(format!("{program}.log"));
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(5)..];
            words.push_str(&format!("{program}: {}\n", last.join("\n  ")));
        }
        words
    }

    /// A client of the administrator. One per test: its connections live in the test's runtime.
    pub(crate) fn client(&self) -> reqwest::Client {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert(
            "authorization",
            format!("Bearer {TOKEN}").parse().expect("header"),
        );
        reqwest::Client::builder()
            .tls_danger_accept_invalid_certs(true)
            .no_proxy()
            .default_headers(headers)
            .timeout(Duration::from_secs(60))
            .build()
            .expect("client")
    }
}
