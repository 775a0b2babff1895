//! A repository with its work tree, and its runs.

use crate::harness::Server;
use crate::web::Web;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

/// Repository `demo/hello` of a server.
pub(crate) struct Repo<'a> {
    server: &'a Server,
    pub(crate) dir: PathBuf,
    pub(crate) url: String,
    pub(crate) web: Web,
}

#[allow(clippy::disallowed_methods)] // a test's own children
pub(crate) fn try_git(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = std::process::Command::new("git");
    command
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args(arguments)
        .env("GIT_TERMINAL_PROMPT", "0")
        .current_dir(dir);
    command.output().expect("git starts")
}

/// git that must succeed; its output without the last line's end.
pub(crate) fn git(dir: &Path, arguments: &[&str]) -> String {
    let output = try_git(dir, arguments);
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

impl<'a> Repo<'a> {
    pub(crate) fn new(server: &'a Server) -> Self {
        server.ok(&["repo", "create", "demo/hello"]);
        let url = server.ok(&["repo", "url", "demo/hello"]).trim().to_string();
        let dir = server.dir().join("work");
        std::fs::create_dir_all(dir.join(".github/workflows")).expect("directory");
        git(&dir, &["init", "-q", "-b", "main"]);
        std::fs::write(dir.join("a.txt"), "a").expect("write");
        Self {
            server,
            dir,
            url,
            web: Web::new(server),
        }
    }

    /// Writes a file of the work tree.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let file = self.dir.join(path);
        std::fs::create_dir_all(file.parent().expect("parent")).expect("directory");
        std::fs::write(file, text).expect("write");
    }

    /// Commits everything; returns the commit.
    pub(crate) fn commit(&self) -> String {
        git(&self.dir, &["add", "-A"]);
        git(
            &self.dir,
            &["commit", "-q", "--allow-empty", "-m", "change"],
        );
        git(&self.dir, &["rev-parse", "HEAD"])
    }

    /// Pushes `main`; whether that was acknowledged, and git's words.
    pub(crate) fn try_push(&self) -> (bool, String) {
        let output = try_git(&self.dir, &["push", "-q", &self.url, "main"]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), words)
    }

    /// Commits and pushes a workflow.
    pub(crate) fn push(&self, workflow: &str) -> String {
        self.write(".github/workflows/w.yml", workflow);
        let sha = self.commit();
        let (done, words) = self.try_push();
        assert!(done, "git push: {words}");
        sha
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.web.get(path).await
    }

    pub(crate) async fn patch(&self, name: &str, spec: Value) {
        let path = format!("/k8s/apis/towpath.dev/v1alpha1/namespaces/demo/runs/{name}");
        let body = json!({"spec": spec}).to_string();
        let (code, text) = self.web.ask("PATCH", &path, &body).await.expect("answer");
        assert_eq!(code, 200, "{text}");
    }

    /// All runs.
    pub(crate) async fn runs(&self) -> Vec<Value> {
        self.web
            .items("/apis/towpath.dev/v1alpha1/namespaces/demo/runs")
            .await
    }

    /// The run of the workflow with a name, once a test holds.
    pub(crate) async fn until(
        &self,
        workflow: &str,
        what: &str,
        test: impl Fn(&Value) -> bool,
    ) -> Value {
        let end = Instant::now() + Duration::from_secs(90);
        loop {
            let runs = self.runs().await;
            let run = runs
                .into_iter()
                .find(|r| r["status"]["workflowName"] == workflow);
            if let Some(run) = run.as_ref().filter(|r| test(r)) {
                return run.clone();
            }
            assert!(
                Instant::now() < end,
                "{what} never came: {run:#?}\n{}",
                self.server.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn log(&self, run: &Value, job: &str, step: u32, query: &str) -> String {
        let name = run["metadata"]["name"].as_str().expect("name");
        self.get(&format!(
            "/api/v1/runs/demo/{name}/jobs/{job}/steps/{step}/log{query}"
        ))
        .await
        .1
    }
}

pub(crate) fn ended(run: &Value) -> bool {
    let attempts = (&run["status"]["attempt"], &run["spec"]["attempt"]);
    let phase = run["status"]["phase"].as_str().unwrap_or_default();
    !matches!(phase, "Queued" | "Running") && attempts.0 == attempts.1
}

pub(crate) fn job<'v>(run: &'v Value, id: &str) -> &'v Value {
    run["status"]["jobs"]
        .as_array()
        .and_then(|jobs| jobs.iter().find(|j| j["id"] == id))
        .unwrap_or(&Value::Null)
}
