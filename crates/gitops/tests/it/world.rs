//! One project with a repository, a cluster and the delivery side at work.

use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{GroupVersionKind, NamespaceResourceScope};
use kube::discovery::ApiResource;
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value as Json, json};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use towpath_apiserver::{ApiServer, Config};
use towpath_daemon::Services;
use towpath_gitops::{GitOps, GitOpsConfig};
use towpath_kit::copies::{Copies, Spine};
use towpath_kit::kinds::{
    BuiltImage, Environment, EnvironmentSpec, Phase, Promotion, PromotionPolicy, PromotionSpec,
    PromotionStatus, Repository, RepositorySpec, Run, RunSpec, crds,
};
use towpath_kit::traits::{Principal, PushEvent, TreeFile, WorkflowMatch, Workflows};
use towpath_source::{Source, SourceConfig};

/// Where the objects live.
#[derive(Clone)]
pub(crate) enum Cluster {
    /// An API server in this process, one per world.
    Embedded,
    /// A cluster that all worlds share, one after the other.
    Real(Client),
}

/// No workflow ever starts: the tests write runs themselves.
struct NoWorkflows;

impl Workflows for NoWorkflows {
    fn matching(&self, _: &PushEvent, _: &[TreeFile]) -> Vec<WorkflowMatch> {
        Vec::new()
    }
}

pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) git: PathBuf,
    work: tempfile::TempDir,
    services: Option<Services>,
    source: Source,
    server: ApiServer,
    cluster: Cluster,
}

impl World {
    /// A started world whose repository `hello` has these files on `main`.
    pub(crate) async fn start(cluster: &Cluster, files: &[(&str, &str)]) -> Self {
        towpath_daemon::init_logging(
            towpath_daemon::LogFormat::Text,
            &std::env::var("TEST_LOG").unwrap_or("off".into()),
        );
        let work = tempfile::tempdir().expect("directory");
        let server = ApiServer::open(Config::new(work.path().join("data")))
            .await
            .expect("API server");
        let client = match cluster {
            Cluster::Real(client) => client.clone(),
            Cluster::Embedded => {
                let admin = Principal {
                    name: "admin".into(),
                    groups: vec!["system:masters".into()],
                    ..Principal::default()
                };
                towpath_kit::client::in_process(server.service(admin))
            }
        };
        install_crds(&client).await;
        let namespace = format!(
            "demo-{}",
            towpath_stdx::id::suffix(&towpath_stdx::SystemRandom, 6)
        );
        let mut project = k8s_openapi::api::core::v1::Namespace::default();
        project.metadata.name = Some(namespace.clone());
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
        namespaces
            .create(&PostParams::default(), &project)
            .await
            .expect("namespace");
        let config = SourceConfig {
            data_dir: work.path().join("git"),
            public_url: "http://127.0.0.1:1".into(),
        };
        let source = Source::new(
            config,
            client.clone(),
            server.authenticator(),
            server.authorizer(),
            Arc::new(NoWorkflows),
        )
        .expect("source");
        let git = work.path().join("git").join(&namespace).join("hello.git");
        let mut world = Self {
            client,
            namespace,
            git,
            work,
            services: None,
            source,
            server,
            cluster: cluster.clone(),
        };
        world.serve().await;
        let repository = Repository::new(
            "hello",
            RepositorySpec {
                default_branch: "main".into(),
                ..RepositorySpec::default()
            },
        );
        world
            .api::<Repository>()
            .create(&PostParams::default(), &repository)
            .await
            .expect("repository");
        let ready = || async {
            world
                .api::<Repository>()
                .get("hello")
                .await
                .is_ok_and(|r| r.status.is_some())
        };
        until("the repository", ready).await;
        world.push(files);
        world
    }

    async fn serve(&mut self) {
        let client = match &self.cluster {
            Cluster::Real(client) => client.clone(),
            Cluster::Embedded => {
                towpath_kit::client::in_process(self.server.service(Principal::component("gitops")))
            }
        };
        let (copies, spine) = (Copies::default(), Spine::default());
        let mut services = self.source.services();
        services.push(copies.service(client.clone(), &[]));
        services.push(spine.service(client.clone(), &[]));
        services.extend(
            GitOps::new(
                GitOpsConfig::default(),
                client.clone(),
                self.source.tree(),
                copies.clone(),
                spine.clone(),
            )
            .services(&["source"]),
        );
        self.services = Some(
            Services::start(services, Duration::from_secs(20))
                .await
                .expect("services"),
        );
    }

    /// Stops the delivery side and starts it again, as after a crash.
    pub(crate) async fn restart(&mut self) {
        self.stop_services().await;
        self.serve().await;
    }

    async fn stop_services(&mut self) {
        if let Some(services) = self.services.take() {
            services.stop(Duration::from_secs(5)).await;
        }
    }

    /// Ends everything and takes away what a shared cluster would keep.
    pub(crate) async fn stop(mut self) {
        self.stop_services().await;
        if let Cluster::Real(_) = &self.cluster {
            let namespaces: Api<k8s_openapi::api::core::v1::Namespace> =
                Api::all(self.client.clone());
            for namespace in namespaces
                .list(&ListParams::default())
                .await
                .expect("namespaces")
            {
                if namespace.name_any().starts_with(&self.namespace) {
                    let _ = namespaces
                        .delete(&namespace.name_any(), &DeleteParams::default())
                        .await;
                }
            }
        }
        self.server.stop().await;
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Namespace that a stage deploys to.
    pub(crate) fn target(&self, stage: &str) -> String {
        format!("{}-{stage}", self.namespace)
    }

    /// Commits these files (and nothing else) to `main`; returns the commit.
    pub(crate) fn push(&self, files: &[(&str, &str)]) -> String {
        let checkout = self.work.path().join("checkout");
        if !checkout.exists() {
            git(
                self.work.path(),
                &["clone", "-q", self.git.to_str().expect("path"), "checkout"],
            );
            git(&checkout, &["checkout", "-q", "-B", "main"]);
        }
        for entry in std::fs::read_dir(&checkout)
            .expect("checkout")
            .map(|e| e.expect("entry").path())
        {
            if !entry.ends_with(".git") {
                if entry.is_dir() {
                    std::fs::remove_dir_all(&entry)
                } else {
                    std::fs::remove_file(&entry)
                }
                .expect("remove");
            }
        }
        for (path, text) in files {
            let file = checkout.join(path);
            std::fs::create_dir_all(file.parent().expect("parent")).expect("directory");
            std::fs::write(file, text).expect("write");
        }
        git(&checkout, &["add", "-A"]);
        git(
            &checkout,
            &["commit", "-q", "--allow-empty", "-m", "change"],
        );
        git(
            &checkout,
            &[
                "-c",
                "receive.denyCurrentBranch=ignore",
                "push",
                "-q",
                "origin",
                "main",
            ],
        );
        git(&checkout, &["rev-parse", "HEAD"])
    }

    pub(crate) async fn environment(&self, stage: &str, policy: PromotionPolicy) {
        let spec = EnvironmentSpec {
            repository: "hello".into(),
            stage: stage.into(),
            branch: "main".into(),
            path: format!("deploy/overlays/{stage}"),
            namespace: self.target(stage),
            promotion: policy,
            ..EnvironmentSpec::default()
        };
        let environment = Environment::new(&format!("hello-{stage}"), spec);
        self.api()
            .create(&PostParams::default(), &environment)
            .await
            .expect("environment");
    }

    /// What the pipeline would leave behind for a pushed commit.
    pub(crate) async fn run_succeeded(&self, sha: &str, digest: &str) -> String {
        let name = format!("hello-{}", &sha[..8]);
        let spec = RunSpec {
            repository: "hello".into(),
            ref_: "refs/heads/main".into(),
            sha: sha.into(),
            event: "push".into(),
            workflow: ".github/workflows/ci.yml".into(),
            actor: "ada".into(),
            attempt: 1,
            ..RunSpec::default()
        };
        self.api::<Run>()
            .create(&PostParams::default(), &Run::new(&name, spec))
            .await
            .expect("run");
        let image = BuiltImage {
            name: "demo/hello".into(),
            digest: digest.into(),
            ..BuiltImage::default()
        };
        let status = json!({"status": {"phase": Phase::Succeeded, "images": [image]}});
        self.api::<Run>()
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
            .await
            .expect("status");
        format!("hello-{}", &sha[..12])
    }

    pub(crate) async fn promote(&self, name: &str, spec: PromotionSpec) {
        self.api()
            .create(&PostParams::default(), &Promotion::new(name, spec))
            .await
            .expect("promotion");
    }

    pub(crate) async fn promotion(&self, name: &str) -> PromotionStatus {
        self.api::<Promotion>()
            .get_opt(name)
            .await
            .expect("promotion")
            .and_then(|p| p.status)
            .unwrap_or_default()
    }

    /// Waits until a promotion's status passes a test.
    pub(crate) async fn promotion_is(
        &self,
        name: &str,
        test: impl Fn(&PromotionStatus) -> bool,
    ) -> PromotionStatus {
        let start = Instant::now();
        loop {
            let status = self.promotion(name).await;
            if test(&status) {
                return status;
            }
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "promotion {name} is {status:?}; {}",
                self.describe().await
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn describe(&self) -> String {
        let apps: Api<towpath_kit::kinds::Application> = self.api();
        let apps = apps
            .list(&ListParams::default())
            .await
            .expect("applications");
        apps.items
            .iter()
            .map(|a| format!("{}: {:?}", a.name_any(), a.status))
            .collect::<Vec<_>>()
            .join("\n")
    }

    pub(crate) fn objects(
        &self,
        api_version: &str,
        kind: &str,
        plural: &str,
        namespace: &str,
    ) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    pub(crate) fn config_maps(&self, stage: &str) -> Api<DynamicObject> {
        self.objects("v1", "ConfigMap", "configmaps", &self.target(stage))
    }

    pub(crate) fn deployments(&self, stage: &str) -> Api<DynamicObject> {
        self.objects("apps/v1", "Deployment", "deployments", &self.target(stage))
    }

    /// Plays the deployment controller: everything is as wanted, or nothing is and never will be.
    pub(crate) async fn settle_deployment(&self, stage: &str, image: &str, healthy: bool) {
        let api = self.deployments(stage);
        let has_image = || async {
            let found = api.get_opt("hello").await.expect("deployment");
            let at = "/spec/template/spec/containers/0/image";
            found.is_some_and(|d| d.data.pointer(at).and_then(Json::as_str) == Some(image))
        };
        until(&format!("image {image}"), has_image).await;
        let deployment = api.get("hello").await.expect("deployment");
        let (generation, replicas) = (
            deployment.metadata.generation,
            deployment.data.pointer("/spec/replicas").cloned(),
        );
        let count = if healthy { replicas } else { Some(json!(0)) };
        let mut status = json!({"observedGeneration": generation, "replicas": count, "updatedReplicas": count,
            "readyReplicas": count, "availableReplicas": count});
        if !healthy {
            status["conditions"] = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
                "message": "no progress", "lastUpdateTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        } else {
            status["conditions"] = Json::Null;
        }
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status("hello", &PatchParams::default(), &patch)
            .await
            .expect("status");
    }
}

#[allow(clippy::disallowed_methods)]
pub(crate) fn git(dir: &Path, arguments: &[&str]) -> String {
    let identity = [
        "-c",
        "user.name=ada",
        "-c",
        "user.email=ada@example.org",
        "-c",
        "init.defaultBranch=main",
    ];
    let output = Command::new("git")
        .current_dir(dir)
        .args(identity)
        .args(arguments)
        .output()
        .expect("git");
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

async fn install_crds(client: &Client) {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition as Definition;
    let api: Api<Definition> = Api::all(client.clone());
    for crd in crds() {
        let name = crd.name_any();
        let params = PatchParams::apply("test").force();
        api.patch(&name, &params, &Patch::Apply(&crd))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let established = || async {
            let status = api.get(&name).await.expect("definition").status;
            let conditions = status.and_then(|s| s.conditions).unwrap_or_default();
            conditions
                .iter()
                .any(|c| c.type_ == "Established" && c.status == "True")
        };
        until(&name, established).await;
    }
}

/// Waits for what must come within 30 seconds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, test: impl Fn() -> F) -> Duration {
    let start = Instant::now();
    while !test().await {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "{what} did not come"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}

pub(crate) const BASE: &str = "resources: [deployment.yaml, settings.yaml]\n";
pub(crate) const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  replicas: 2
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      containers:
      - name: hello
        image: demo/hello
        resources: {limits: {cpu: 1000m}}
        ports: [{containerPort: 8080}]
";
pub(crate) const SETTINGS: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {color: blue}\n";
pub(crate) const OVERLAY: &str =
    "# the overlay\nresources: [../../base]\nimages:\n- name: demo/hello\n  newTag: latest\n";

/// Base with a deployment and settings, overlays dev and prd.
pub(crate) fn project() -> Vec<(&'static str, &'static str)> {
    vec![
        ("deploy/base/kustomization.yaml", BASE),
        ("deploy/base/deployment.yaml", DEPLOYMENT),
        ("deploy/base/settings.yaml", SETTINGS),
        ("deploy/overlays/dev/kustomization.yaml", OVERLAY),
        ("deploy/overlays/prd/kustomization.yaml", OVERLAY),
    ]
}
