//! The service under test, and a git client that talks to it.

use crate::api::Api;
use async_trait::async_trait;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;
use towpath_daemon::Services;
use towpath_kit::traits::{
    Action, AuthError, Authenticator, Authorizer, Credential, Principal, PushEvent, TreeFile,
    WorkflowMatch, Workflows,
};
use towpath_source::{Source, SourceConfig};
use towpath_stdx::Secret;

struct Doors;

#[async_trait]
impl Authenticator for Doors {
    async fn authenticate(&self, credential: &Credential) -> Result<Principal, AuthError> {
        let (Credential::Bearer(token)
        | Credential::Basic {
            password: token, ..
        }) = credential;
        match token.reveal_secret().strip_prefix("token-of-") {
            Some(name) => Ok(Principal {
                name: name.into(),
                ..Principal::default()
            }),
            None => Err(AuthError::Rejected),
        }
    }

    fn mint(&self, _: &Principal, _: Duration) -> Secret {
        Secret::from(String::new())
    }
}

impl Authorizer for Doors {
    fn allowed(&self, principal: &Principal, action: &Action) -> bool {
        assert_eq!(
            (&*action.group, &*action.resource, &*action.subresource),
            ("towpath.dev", "repositories", "git")
        );
        match principal.name.as_str() {
            "ann" | "system:serviceaccount:demo:ci" => true,
            "reader" => action.verb == "get",
            _ => false,
        }
    }
}

/// Starts a run for every workflow file.
struct Every;

impl Workflows for Every {
    fn matching(&self, _: &PushEvent, files: &[TreeFile]) -> Vec<WorkflowMatch> {
        let answer = |file: &TreeFile| WorkflowMatch {
            path: file.path.clone(),
            name: file.path.clone(),
            starts: true,
            findings: Vec::new(),
        };
        files.iter().map(answer).collect()
    }
}

pub fn source(root: &Path, api: &Api) -> Source {
    let config = SourceConfig {
        data_dir: root.join("git"),
        public_url: "http://towpath.test".into(),
    };
    let doors = Arc::new(Doors);
    Source::new(config, api.client(), doors.clone(), doors, Arc::new(Every)).unwrap()
}

/// Service and socket; ends with the value.
pub struct Server {
    pub address: std::net::SocketAddr,
    services: Option<Services>,
    serving: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start(root: &Path, api: &Api) -> Self {
        let source = source(root, api);
        let services = Services::start(source.services(), Duration::from_secs(10))
            .await
            .unwrap();
        let mut server = Self::doors_only(&source).await;
        server.services = Some(services);
        server
    }

    /// Without the reconciler.
    pub async fn doors_only(source: &Source) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = source.router();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            services: None,
            serving,
        }
    }

    pub async fn stop(mut self) {
        self.serving.abort();
        if let Some(services) = self.services.take() {
            services.stop(Duration::from_secs(5)).await;
        }
    }

    pub fn url(&self, user: &str, repository: &str) -> String {
        format!(
            "http://{user}:token-of-{user}@{}/git/{repository}.git",
            self.address
        )
    }
}

/// git as a user would run it, in a directory.
pub fn git(dir: &Path, args: &[&str]) -> Output {
    Command::new("git")
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .envs([
            ("GIT_AUTHOR_NAME", "Spoof"),
            ("GIT_AUTHOR_EMAIL", "admin@user.towpath"),
        ])
        .envs([
            ("GIT_COMMITTER_NAME", "Spoof"),
            ("GIT_COMMITTER_EMAIL", "admin@user.towpath"),
        ])
        .env_remove("http_proxy")
        .env_remove("HTTP_PROXY")
        .output()
        .unwrap()
}

pub fn ok(dir: &Path, args: &[&str]) -> String {
    let output = git(dir, args);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "git {args:?}: {words}");
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

/// Standard error of a git that must fail.
pub fn fails(dir: &Path, args: &[&str]) -> String {
    let output = git(dir, args);
    assert!(!output.status.success(), "git {args:?} should have failed");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A work tree with a workflow and a first commit on main.
pub fn work_tree(root: &Path, name: &str) -> PathBuf {
    let dir = root.join(name);
    std::fs::create_dir_all(dir.join(".github/workflows")).unwrap();
    ok(&dir, &["init", "-q", "-b", "main"]);
    std::fs::write(dir.join(".github/workflows/ci.yml"), "on: push\n").unwrap();
    commit(&dir, "first");
    dir
}

pub fn commit(dir: &Path, text: &str) -> String {
    std::fs::write(dir.join("file"), text).unwrap();
    ok(dir, &["add", "-A"]);
    ok(dir, &["commit", "-q", "-m", text]);
    ok(dir, &["rev-parse", "HEAD"])
}

pub fn fsck(bare: &Path) {
    let output = git(bare, &["fsck", "--full", "--strict", "--no-dangling"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
