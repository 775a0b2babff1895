//! An API server, a pod network and a node in a directory of their own.

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::api::{Api, DeleteParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use towpath_apiserver::{ApiServer, Config};
use towpath_daemon::Services;
use towpath_kit::traits::{
    ContainerRef, ExecRequest, LogRequest, PodNetwork, PodStreams, Principal,
};
use towpath_net::{Net, NetConfig};
use towpath_node::{Node, NodeConfig};
use towpath_registry::Registry;
use towpath_store::Blobs;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Image reference of the host's root file system.
pub(crate) const HOST: &str = towpath_node::HOST_ROOTFS;

/// Everything of one test.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) node: Node,
    pub(crate) config: NodeConfig,
    pub(crate) registry: Arc<Registry>,
    pub(crate) api: ApiServer,
    network: Arc<dyn PodNetwork>,
    net_config: NetConfig,
    services: Option<Services>,
    _net: Net,
    _dir: tempfile::TempDir,
}

fn able() -> bool {
    let able = rustix::process::geteuid().is_root();
    if !able {
        towpath_testkit::skip("not root");
    }
    able
}

// The server's own binary, or a program with the shim's entry alone.
fn shim() -> (PathBuf, Vec<String>) {
    match (
        std::env::var_os("TOWPATH_TEST_SHIM"),
        option_env!("CARGO_BIN_EXE_towpath"),
    ) {
        (Some(words), _) => {
            let words = words.into_string().expect("text");
            let mut words = words.split(' ').map(String::from);
            (words.next().unwrap_or_default().into(), words.collect())
        }
        (None, Some(path)) => (path.into(), vec!["shim".into()]),
        (None, None) => panic!("no program with the shim's entry"),
    }
}

impl Cluster {
    /// Starts one, or says why not.
    pub(crate) async fn start() -> Option<Self> {
        if !able() {
            return None;
        }
        if let Ok(filter) = std::env::var("TOWPATH_TEST_LOG") {
            towpath_daemon::init_logging(towpath_daemon::LogFormat::Text, &filter);
        }
        let (exe, args) = shim();
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let process = std::process::id();
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut api_config = Config::new(dir.path());
        api_config.listen = Vec::new();
        let api = ApiServer::open(api_config).await.expect("API server");
        let mut net_config = NetConfig::new(
            format!("node-test-{process}-{number}"),
            dir.path().join("net"),
        );
        net_config.ingress_addr = None;
        let block = 1 + (process as u64 * 7 + u64::from(number)) % 200;
        net_config.pod_cidr = format!("10.{}.{}.0/24", 50 + block % 100, block)
            .parse()
            .expect("block");
        net_config.service_cidr = format!("10.{}.{}.0/24", 150 + block % 100, block)
            .parse()
            .expect("block");
        let net = Net::new(net_config.clone()).await.expect("pod network");
        let blobs = Blobs::open(&dir.path().join("blobs")).expect("blobs");
        let registry = Arc::new(
            Registry::open(
                towpath_registry::Config::new(dir.path().join("registry")),
                blobs,
            )
            .expect("registry"),
        );
        let mut config = NodeConfig::new("one", dir.path().join("node"), exe, net.gateway());
        config.shim_args = args;
        config.cgroup_parent = format!("/towpath-node-test-{process}-{number}");
        let admin = Principal {
            name: "admin".into(),
            groups: vec!["system:masters".into()],
            ..Principal::default()
        };
        let client = towpath_kit::client::in_process(api.service(admin));
        let network = net.pod_network();
        let node = new_node(&api, &config, &registry, &network);
        let mut cluster = Self {
            client,
            node,
            config,
            registry,
            api,
            network,
            net_config,
            services: None,
            _net: net,
            _dir: dir,
        };
        cluster.run().await;
        Some(cluster)
    }

    async fn run(&mut self) {
        let services = vec![self.node.service(&[])];
        self.services = Some(
            Services::start(services, Duration::from_secs(60))
                .await
                .expect("node"),
        );
    }

    /// Stops the agent, as an end of the server would, and starts another on the same directory.
    pub(crate) async fn restart_node(&mut self) {
        self.stop_node().await;
        self.node = new_node(&self.api, &self.config, &self.registry, &self.network);
        self.run().await;
    }

    pub(crate) async fn stop_node(&mut self) {
        if let Some(services) = self.services.take() {
            services.stop(Duration::from_secs(10)).await;
        }
    }

    /// Takes everything down and checks that nothing is left.
    pub(crate) async fn stop(mut self) {
        self.stop_node().await;
        towpath_node::cleanup(&self.config).await.expect("clean up");
        assert!(
            !towpath_container::cgroup::exists(&self.config.cgroup_parent),
            "control groups are gone"
        );
        towpath_net::cleanup(&self.net_config)
            .await
            .expect("clean up the network");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let dir = self.config.data_dir.display().to_string();
        assert!(!mounts.contains(&dir), "no mount is left: {mounts}");
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Creates a pod on the node.
    pub(crate) async fn create(&self, name: &str, mut spec: Value) -> Pod {
        spec["nodeName"] = json!("one");
        if spec.get("terminationGracePeriodSeconds").is_none() {
            spec["terminationGracePeriodSeconds"] = json!(2);
        }
        let pod = json!({ "metadata": { "name": name, "labels": { "app": name } }, "spec": spec });
        let pod: Pod = serde_json::from_value(pod).expect("pod");
        self.pods()
            .create(&PostParams::default(), &pod)
            .await
            .expect("create pod")
    }

    /// Waits until a pod fulfils a condition.
    pub(crate) async fn until(&self, name: &str, what: &str, test: impl Fn(&Pod) -> bool) -> Pod {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let pod = self.pods().get_opt(name).await.expect("get pod");
            if let Some(pod) = &pod
                && test(pod)
            {
                return pod.clone();
            }
            if Instant::now() > end {
                panic!(
                    "{name}: {what}: {}\n{:?}",
                    serde_json::to_string_pretty(&pod.and_then(|p| p.status)).unwrap_or_default(),
                    self.events(name).await
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn phase(&self, name: &str, phase: &str) -> Pod {
        self.until(name, phase, |pod| {
            pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some(phase)
        })
        .await
    }

    pub(crate) async fn ready(&self, name: &str) -> Pod {
        self.until(name, "ready", |pod| condition(pod, "Ready"))
            .await
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.pods()
            .delete(name, &DeleteParams::default())
            .await
            .expect("delete");
        let end = Instant::now() + Duration::from_secs(30);
        while self.pods().get_opt(name).await.expect("get").is_some() {
            assert!(Instant::now() < end, "{name} is not gone");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn of(&self, pod: &Pod, container: &str) -> ContainerRef {
        ContainerRef {
            namespace: "default".into(),
            pod: pod.name_any(),
            uid: pod.uid().expect("uid"),
            container: container.into(),
        }
    }

    pub(crate) fn streams(&self) -> Arc<dyn PodStreams> {
        self.node.pod_streams()
    }

    pub(crate) async fn log(
        &self,
        pod: &Pod,
        container: &str,
        change: impl FnOnce(&mut LogRequest),
    ) -> String {
        let mut request = LogRequest {
            of: self.of(pod, container),
            ..LogRequest::default()
        };
        change(&mut request);
        let mut stream = self.streams().log(request).await.expect("log");
        let mut text = Vec::new();
        while let Some(part) = stream.next().await {
            text.extend_from_slice(&part.expect("part"));
        }
        String::from_utf8(text).expect("text")
    }

    /// Runs a shell script in a container: exit code and output.
    pub(crate) async fn sh(&self, pod: &Pod, container: &str, script: &str) -> (i32, String) {
        let command = ["sh", "-c", script].map(String::from).to_vec();
        let request = ExecRequest {
            of: self.of(pod, container),
            command,
            stdout: true,
            stderr: true,
            ..ExecRequest::default()
        };
        let mut streams = self.streams().exec(request).await.expect("exec");
        let (mut out, mut err) = (String::new(), String::new());
        let (mut stdout, mut stderr) = (
            streams.stdout.take().expect("stdout"),
            streams.stderr.take().expect("stderr"),
        );
        let (a, b) = tokio::join!(
            stdout.read_to_string(&mut out),
            stderr.read_to_string(&mut err)
        );
        a.and(b).expect("read");
        (streams.exit.await.expect("exit"), out + &err)
    }

    pub(crate) async fn events(&self, pod: &str) -> Vec<String> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let list = api.list(&Default::default()).await.expect("events");
        let of_pod = list
            .items
            .iter()
            .filter(|event| event.involved_object.name.as_deref() == Some(pod));
        of_pod
            .map(|event| {
                format!(
                    "{}: {}",
                    event.reason.clone().unwrap_or_default(),
                    event.message.clone().unwrap_or_default()
                )
            })
            .collect()
    }
}

// A test that fails must not leave its network and control groups on the machine.
impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let (node, net) = (self.config.clone(), self.net_config.clone());
        let clean = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("runtime");
            runtime.block_on(async {
                let _ = towpath_node::cleanup(&node).await;
                let _ = towpath_net::cleanup(&net).await;
            });
        };
        let _ = std::thread::spawn(clean).join();
    }
}

fn new_node(
    api: &ApiServer,
    config: &NodeConfig,
    registry: &Arc<Registry>,
    network: &Arc<dyn PodNetwork>,
) -> Node {
    let client = towpath_kit::client::in_process(api.service(Principal::component("node")));
    Node::new(config.clone(), client, registry.clone(), network.clone()).expect("node")
}

pub(crate) fn condition(pod: &Pod, name: &str) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|c| c.type_ == name && c.status == "True")
}

/// A container on the host's root file system that runs a shell script.
pub(crate) fn shell(name: &str, script: &str) -> Value {
    json!({ "name": name, "image": HOST, "command": ["sh", "-c", script] })
}

pub(crate) fn forever(name: &str) -> Value {
    shell(name, "trap 'exit 0' TERM; while true; do sleep 0.1; done")
}

/// A pod of this container, which is started again when it ends.
pub(crate) fn kept(container: Value) -> Value {
    json!({ "containers": [container] })
}

/// A pod of this container, which runs once.
pub(crate) fn once(container: Value) -> Value {
    json!({ "containers": [container], "restartPolicy": "Never" })
}

/// What is said of a pod's containers.
pub(crate) fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|s| s.container_statuses.iter().flatten())
}

/// The first of them.
pub(crate) fn first(pod: &Pod) -> ContainerStatus {
    statuses(pod).next().expect("a container").clone()
}

/// Whether a container waits for this reason.
pub(crate) fn waits(pod: &Pod, reason: &str) -> bool {
    statuses(pod).any(|s| {
        let waiting = s.state.as_ref().and_then(|s| s.waiting.as_ref());
        waiting.and_then(|w| w.reason.as_deref()) == Some(reason)
    })
}
