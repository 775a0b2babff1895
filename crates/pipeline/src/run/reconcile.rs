//! Makes a run's plan true: pods, secrets, status.

use super::contexts::Facts;
use super::follow::{Follow, Followed, Follower, start as follow};
use super::graph::Graph;
use super::observed::{PodState, Progress};
use super::plan::{Action, CONCURRENCY, Earlier, Observed, Start, plan};
use super::{access, pod};
use crate::error::Error;
use crate::job::{FORMAT, JobFile};
use crate::logs::AttemptKey;
use crate::pipeline::Inner;
use crate::workflow::{self, Read, Workflow};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use towpath_kit::cache::Key;
use towpath_kit::controller::Next;
use towpath_kit::kinds::{Phase, Run, RunStatus, labels};
use towpath_kit::traits::SourceError;

/// Name of the Secret, and of the ConfigMap, that a project's jobs get as `secrets` and `vars`.
const PROJECT_VALUES: &str = "towpath-ci";

/// Brings one run a step further.
pub(crate) async fn reconcile(inner: Arc<Inner>, key: Key) -> Result<Next, Error> {
    let Some(cached) = inner.runs().get(&key) else {
        inner.forget(&key);
        return Ok(Next::Wait);
    };
    // A copy may be older than this reconciler's own last write. By what stood there before, a
    // job that has ended and whose pod is removed would be one whose pod was lost.
    let run = match is_settled(&cached) {
        true => cached,
        false => match current(&inner, &key).await? {
            Some(run) => Arc::new(run),
            None => return Ok(Next::Wait),
        },
    };
    let old = run.status.clone().unwrap_or_default();
    let settled = is_settled(&run);
    let pods = observe_pods(&inner, &run, &old).await?;
    if settled && pods.is_empty() {
        inner.stop_following(&key);
        inner.logs.touch(&key.namespace, &key.name);
        return retention(&inner, &run).await;
    }
    let (facts, read) = facts(&inner, &run).await?;
    let progress = observe_progress(&inner, &run, &old, &pods);
    let earlier = observe_earlier(&inner, &run);
    let held = observe_held(&inner, &run);
    let now = inner.clock.rfc3339();
    let observed = Observed {
        facts: &facts,
        read: &read,
        status: &old,
        progress: &progress,
        pods: &pods,
        earlier: &earlier,
        held: &held,
        images: &inner.config.runner_images,
        now: &now,
    };
    let mut plan = plan(&observed);
    // A job whose result is not written down yet must keep its pod: the log is the only copy.
    let (first, later): (Vec<Action>, Vec<Action>) = plan
        .actions
        .drain(..)
        .partition(|a| !matches!(a, Action::Remove { .. }));
    for action in &first {
        apply(&inner, &run, &facts, &read, &plan.status, action).await?;
    }
    if plan.status != old {
        write_status(&inner, &run, &plan.status).await?;
        inner.logs.touch(&key.namespace, &key.name);
    }
    for action in &later {
        apply(&inner, &run, &facts, &read, &plan.status, action).await?;
    }
    Ok(plan.again.map_or(Next::Wait, Next::After))
}

fn is_settled(run: &Run) -> bool {
    let status = run.status.as_ref();
    status.is_some_and(|s| s.phase.is_final() && s.attempt == run.spec.attempt)
}

async fn current(inner: &Inner, key: &Key) -> Result<Option<Run>, Error> {
    let api: Api<Run> = Api::namespaced(inner.client.clone(), &key.namespace);
    let what = format!("get run {}/{}", key.namespace, key.name);
    api.get_opt(&key.name).await.map_err(Error::api(what))
}

// Pods by row. The cache may be behind what was made a moment ago: a running job without a pod
// is looked up.
async fn observe_pods(
    inner: &Inner,
    run: &Run,
    status: &RunStatus,
) -> Result<BTreeMap<String, PodState>, Error> {
    let namespace = run.namespace().unwrap_or_default();
    let name = run.name_any();
    let of_run = |p: &Pod| {
        p.metadata.labels.as_ref().and_then(|l| l.get(labels::RUN)) == Some(&label_value(&name))
    };
    let cached: BTreeMap<String, PodState> = inner
        .pods()
        .in_namespace(&namespace)
        .iter()
        .filter(|p| of_run(p) && owned(p, run))
        .map(|p| (p.name_any(), PodState::of(p)))
        .collect();
    let api: Api<Pod> = Api::namespaced(inner.client.clone(), &namespace);
    let mut pods = BTreeMap::new();
    for job in status.jobs.iter().filter(|j| !j.pod.is_empty()) {
        if let Some(pod) = cached.get(&job.pod) {
            pods.insert(job.id.clone(), pod.clone());
        } else if job.phase == Phase::Running {
            let found = api
                .get_opt(&job.pod)
                .await
                .map_err(Error::api(format!("get pod {namespace}/{}", job.pod)))?;
            if let Some(pod) = found {
                pods.insert(job.id.clone(), PodState::of(&pod));
            }
        }
    }
    Ok(pods)
}

fn label_value(name: &str) -> String {
    let value: String = name.chars().take(63).collect();
    value.trim_matches(['_', '-', '.']).to_string()
}

fn owned(pod: &Pod, run: &Run) -> bool {
    let uid = run.uid().unwrap_or_default();
    pod.metadata
        .owner_references
        .iter()
        .flatten()
        .any(|o| o.uid == uid)
}

fn attempt_key(run: &Run) -> AttemptKey {
    AttemptKey {
        namespace: run.namespace().unwrap_or_default(),
        run: run.name_any(),
        attempt: run.spec.attempt,
    }
}

// Followers of running jobs whose container has started, and what they know.
fn observe_progress(
    inner: &Inner,
    run: &Run,
    status: &RunStatus,
    pods: &BTreeMap<String, PodState>,
) -> BTreeMap<String, Progress> {
    let mut followers = inner.followers.lock();
    let attempt = attempt_key(run);
    let mut out = BTreeMap::new();
    if status.attempt != run.spec.attempt {
        return out;
    }
    for job in status.jobs.iter().filter(|j| j.phase == Phase::Running) {
        let followed = Followed {
            attempt: attempt.clone(),
            row: job.id.clone(),
        };
        if let Some(Follower { progress, .. }) = followers.get(&followed) {
            out.insert(job.id.clone(), progress.lock().clone());
        } else if pods.get(&job.id).is_some_and(|p| p.started) {
            let work = Follow {
                api: Api::namespaced(inner.client.clone(), &attempt.namespace),
                pod: job.pod.clone(),
                followed: followed.clone(),
                logs: inner.logs.clone(),
                queue: inner.queue.clone(),
                steps: job.steps.clone(),
            };
            followers.insert(followed, follow(work, &inner.cancel));
        }
    }
    out
}

fn created(run: &Run) -> (i64, String) {
    let at = run
        .meta()
        .creation_timestamp
        .as_ref()
        .map_or(0, |t| t.0.as_second());
    (at, run.name_any())
}

// Runs of the same repository that were made before this one and have not ended.
fn observe_earlier(inner: &Inner, run: &Run) -> Vec<Earlier> {
    let own = created(run);
    let mut found: Vec<Arc<Run>> = inner
        .runs()
        .in_namespace(&run.namespace().unwrap_or_default())
        .into_iter()
        .filter(|r| r.spec.repository == run.spec.repository && created(r) < own)
        .filter(|r| {
            let status = r.status.clone().unwrap_or_default();
            !status.phase.is_final() || status.attempt != r.spec.attempt
        })
        .collect();
    found.sort_by_key(|r| created(r));
    let now = inner.clock.since_epoch().as_secs() as i64;
    found
        .iter()
        .filter_map(|r| {
            let status = r.status.clone().unwrap_or_default();
            let condition = status.conditions.iter().find(|c| c.type_ == CONCURRENCY);
            let planned = status.attempt == r.spec.attempt;
            // A run that cannot be planned at all does not stand in the way for ever.
            if !planned && now - created(r).0 > 60 {
                return None;
            }
            Some(Earlier {
                name: r.name_any(),
                group: match (planned, condition) {
                    (true, Some(c)) => Some(c.message.clone()),
                    (true, None) => Some(String::new()),
                    (false, _) => None,
                },
                waiting: condition.is_some_and(|c| c.reason == "Waiting"),
                since: status.started_at.clone().unwrap_or_default(),
            })
        })
        .collect()
}

// Job concurrency groups held by pods of this project.
fn observe_held(inner: &Inner, run: &Run) -> BTreeMap<String, String> {
    inner
        .pods()
        .in_namespace(&run.namespace().unwrap_or_default())
        .iter()
        .filter(|p| !PodState::of(p).ended)
        .filter_map(|p| {
            let group = p.metadata.labels.as_ref()?.get(pod::GROUP_LABEL)?.clone();
            Some((group, p.name_any()))
        })
        .collect()
}

/// Facts and workflow of a run. What cannot be read because it is not there is a finding.
async fn facts(inner: &Inner, run: &Run) -> Result<(Facts, Arc<Read>), Error> {
    let namespace = run.namespace().unwrap_or_default();
    let repository = format!("{namespace}/{}", run.spec.repository);
    let fail = |source| Error::Source {
        repository: repository.clone(),
        sha: run.spec.sha.clone(),
        source,
    };
    let read = match inner
        .workflow(&repository, &run.spec.sha, &run.spec.workflow)
        .await
    {
        Ok(read) => read,
        Err(SourceError::NotFound(what)) => Arc::new(missing(&run.spec.workflow, &what)),
        Err(source) => return Err(fail(source)),
    };
    let commit = match inner.commit(&repository, &run.spec.sha).await {
        Ok(commit) => commit,
        Err(SourceError::NotFound(_)) => Default::default(),
        Err(source) => return Err(fail(source)),
    };
    let key = Key::new(&namespace, &run.spec.repository);
    let default_branch = inner
        .repositories()
        .get(&key)
        .map_or_else(|| "main".into(), |r| r.spec.default_branch.clone());
    let facts = Facts {
        name: run.name_any(),
        spec: run.spec.clone(),
        created: created(run).0.max(0) as u64,
        commit,
        default_branch,
        workflow_name: crate::matching::name(&read, &run.spec.workflow),
        server: inner.config.server_url_for_pods.clone(),
        vars: inner.variables(&namespace).await?,
        inputs: read
            .workflow
            .as_ref()
            .map(|w| inputs(w, run))
            .unwrap_or_default(),
        namespace,
    };
    Ok((facts, read))
}

fn missing(path: &str, what: &str) -> Read {
    let finding = towpath_kit::kinds::Finding {
        rule: "workflow/missing".into(),
        message: format!("{what} not found in the commit"),
        file: path.into(),
        ..Default::default()
    };
    Read {
        workflow: None,
        findings: vec![finding],
    }
}

// Inputs of a dispatch with their defaults and types.
fn inputs(workflow: &Workflow, run: &Run) -> Map<String, Json> {
    let mut out = Map::new();
    if run.spec.event != "workflow_dispatch" {
        return out;
    }
    let declared = workflow
        .triggers
        .iter()
        .filter(|t| t.event == "workflow_dispatch")
        .flat_map(|t| &t.inputs);
    for input in declared {
        let text = run
            .spec
            .inputs
            .get(&input.name)
            .or(input.default.as_ref())
            .cloned()
            .unwrap_or_default();
        let value = match input.kind.as_str() {
            "boolean" => Json::Bool(text.trim() == "true"),
            "number" => text.trim().parse::<f64>().map_or(Json::Null, Json::from),
            _ => Json::String(text),
        };
        out.insert(input.name.clone(), value);
    }
    out
}

async fn apply(
    inner: &Inner,
    run: &Run,
    facts: &Facts,
    read: &Read,
    status: &RunStatus,
    action: &Action,
) -> Result<(), Error> {
    let api: Api<Pod> = Api::namespaced(inner.client.clone(), &facts.namespace);
    match action {
        Action::Start(start) => match &read.workflow {
            Some(workflow) => start_job(inner, run, facts, workflow, status, start).await,
            None => Ok(()),
        },
        Action::Stop { pod } => {
            let parameters = DeleteParams::default();
            gone(api.delete(pod, &parameters).await.map(drop))
                .map_err(Error::api(format!("stop pod {}/{pod}", facts.namespace)))
        }
        Action::Remove { row } => {
            let Some(job) = status.jobs.iter().find(|j| j.id == *row) else {
                return Ok(());
            };
            inner.followers.lock().remove(&Followed {
                attempt: attempt_key(run),
                row: row.clone(),
            });
            let name = &job.pod;
            let at_once = DeleteParams {
                grace_period_seconds: Some(0),
                ..DeleteParams::default()
            };
            gone(api.delete(name, &at_once).await.map(drop))
                .map_err(Error::api(format!("delete pod {}/{name}", facts.namespace)))?;
            let secrets: Api<Secret> = Api::namespaced(inner.client.clone(), &facts.namespace);
            gone(secrets.delete(name, &at_once).await.map(drop)).map_err(Error::api(format!(
                "delete secret {}/{name}",
                facts.namespace
            )))
        }
        Action::CancelRun { name } => {
            let runs: Api<Run> = Api::namespaced(inner.client.clone(), &facts.namespace);
            let patch = Patch::Merge(json!({"spec": {"cancel": true}}));
            gone(
                runs.patch(name, &PatchParams::default(), &patch)
                    .await
                    .map(drop),
            )
            .map_err(Error::api(format!("cancel run {}/{name}", facts.namespace)))
        }
    }
}

fn gone(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    }
}

fn there_already<K>(result: Result<K, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => other.map(drop),
    }
}

async fn start_job(
    inner: &Inner,
    run: &Run,
    facts: &Facts,
    workflow: &Workflow,
    status: &RunStatus,
    start: &Start,
) -> Result<(), Error> {
    inner.ensure_access(&facts.namespace).await?;
    let file = job_file(inner, facts, workflow, status, start).await?;
    let name = super::plan::pod_name(&facts.name, facts.spec.attempt, &start.row);
    let uid = run.uid().unwrap_or_default();
    let encode = |what| move |source| Error::Encode { what, source };
    let secret = pod::secret(facts, start, &name, &uid, &file).map_err(encode("job secret"))?;
    let pod = pod::pod(&inner.config, facts, start, &name, &uid).map_err(encode("job pod"))?;
    let parameters = PostParams::default();
    let secrets: Api<Secret> = Api::namespaced(inner.client.clone(), &facts.namespace);
    there_already(secrets.create(&parameters, &secret).await).map_err(Error::api(format!(
        "create secret {}/{name}",
        facts.namespace
    )))?;
    let pods: Api<Pod> = Api::namespaced(inner.client.clone(), &facts.namespace);
    there_already(pods.create(&parameters, &pod).await)
        .map_err(Error::api(format!("create pod {}/{name}", facts.namespace)))?;
    tracing::info!(run = facts.name, job = start.row, pod = name, "job started");
    Ok(())
}

async fn job_file(
    inner: &Inner,
    facts: &Facts,
    workflow: &Workflow,
    status: &RunStatus,
    start: &Start,
) -> Result<JobFile, Error> {
    let graph = Graph {
        facts,
        workflow,
        rows: &status.jobs,
        cancelled: facts.spec.cancel,
    };
    let ttl =
        Duration::from_secs_f64((start.timeout_minutes + start.cancel_minutes) * 60.0 + 3600.0);
    let principal = access::principal(&facts.namespace, &facts.name, &start.row);
    let token = inner
        .authenticator
        .mint(&principal, ttl)
        .reveal_secret()
        .to_string();
    let mut secrets: Map<String, Json> = inner
        .secrets(&facts.namespace)
        .await?
        .into_iter()
        .map(|(k, v)| (k, json!(v)))
        .collect();
    secrets.insert("GITHUB_TOKEN".into(), json!(token));
    let mut file = JobFile {
        format: FORMAT,
        namespace: facts.namespace.clone(),
        repository: facts.spec.repository.clone(),
        run: facts.name.clone(),
        job: start.row.clone(),
        server: inner.config.server_url_for_pods.clone(),
        token,
        event: facts.event(),
        workflow_env: workflow.env.clone(),
        timeout_minutes: start.timeout_minutes,
        cancel_timeout_minutes: start.cancel_minutes,
        environment: pod::environment(&inner.config, &start.image),
        disk_bytes: quantity_bytes(&inner.config.limits.ephemeral_storage),
        processes: inner.config.limits.processes,
        commit_time: (facts.commit.authored_at > 0).then_some(facts.commit.authored_at),
        ..JobFile::default()
    };
    // The plan evaluated the same row a moment ago.
    if let Ok(placed) = graph.placed(&start.row) {
        let mut contexts = placed.contexts;
        contexts.insert("secrets".into(), Json::Object(secrets));
        file.contexts = Json::Object(contexts);
        file.env = placed.job.env.clone();
        file.steps = placed.job.steps.clone();
        file.outputs = placed.job.outputs.clone();
        file.defaults = workflow.defaults.clone();
        file.defaults.shell = placed.job.defaults.shell.clone().or(file.defaults.shell);
        file.defaults.working_directory = placed
            .job
            .defaults
            .working_directory
            .clone()
            .or(file.defaults.working_directory);
    }
    Ok(file)
}

// A Kubernetes quantity of bytes; 0 where it is none.
fn quantity_bytes(text: &str) -> u64 {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit {
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => 0,
    };
    number.parse::<u64>().unwrap_or(0).saturating_mul(factor)
}

async fn write_status(inner: &Inner, run: &Run, status: &RunStatus) -> Result<(), Error> {
    let (namespace, name) = (run.namespace().unwrap_or_default(), run.name_any());
    let api: Api<Run> = Api::namespaced(inner.client.clone(), &namespace);
    // A merge patch cannot take lists apart, so the whole status replaces the old one; fields
    // that became absent are named.
    let mut new = serde_json::to_value(status).map_err(|source| Error::Encode {
        what: "run status",
        source,
    })?;
    if let Json::Object(fields) = &mut new {
        for optional in ["startedAt", "finishedAt"] {
            fields.entry(optional).or_insert(Json::Null);
        }
    }
    let patch = Patch::Merge(json!({"status": new}));
    gone(
        api.patch_status(&name, &PatchParams::default(), &patch)
            .await
            .map(drop),
    )
    .map_err(Error::api(format!(
        "write status of run {namespace}/{name}"
    )))
}

// Only the last finished runs of a workflow stay; their logs and artifacts go with them.
async fn retention(inner: &Inner, run: &Run) -> Result<Next, Error> {
    let namespace = run.namespace().unwrap_or_default();
    let mut finished: Vec<Arc<Run>> = inner
        .runs()
        .in_namespace(&namespace)
        .into_iter()
        .filter(|r| {
            r.spec.repository == run.spec.repository && r.spec.workflow == run.spec.workflow
        })
        .filter(|r| r.status.as_ref().is_some_and(|s| s.phase.is_final()))
        .collect();
    if finished.len() <= inner.config.keep_runs {
        return Ok(Next::Wait);
    }
    finished.sort_by_key(|r| created(r));
    let api: Api<Run> = Api::namespaced(inner.client.clone(), &namespace);
    for old in &finished[..finished.len() - inner.config.keep_runs] {
        let name = old.name_any();
        gone(api.delete(&name, &DeleteParams::default()).await.map(drop))
            .map_err(Error::api(format!("delete old run {namespace}/{name}")))?;
    }
    Ok(Next::Wait)
}

impl Inner {
    /// Workflow of a commit, read once.
    async fn workflow(
        &self,
        repository: &str,
        sha: &str,
        path: &str,
    ) -> Result<Arc<Read>, SourceError> {
        let key = (repository.to_string(), sha.to_string(), path.to_string());
        if let Some(read) = self.workflows.lock().get(&key) {
            return Ok(read.clone());
        }
        let files = self
            .tree
            .files(repository, sha, ".github/workflows")
            .await?;
        let file = files
            .iter()
            .find(|f| f.path == path)
            .ok_or_else(|| SourceError::NotFound(path.to_string()))?;
        let read = Arc::new(workflow::read(path, &file.content));
        let mut cache = self.workflows.lock();
        if cache.len() >= 256 {
            cache.clear();
        }
        cache.insert(key, read.clone());
        Ok(read)
    }

    async fn commit(
        &self,
        repository: &str,
        sha: &str,
    ) -> Result<towpath_kit::traits::CommitInfo, SourceError> {
        let key = (repository.to_string(), sha.to_string());
        if let Some(commit) = self.commits.lock().get(&key) {
            return Ok(commit.clone());
        }
        let commit = self.tree.resolve(repository, sha).await?;
        let mut cache = self.commits.lock();
        if cache.len() >= 256 {
            cache.clear();
        }
        cache.insert(key, commit.clone());
        Ok(commit)
    }

    async fn secrets(&self, namespace: &str) -> Result<Vec<(String, String)>, Error> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let found = api.get_opt(PROJECT_VALUES).await;
        let found = found.map_err(Error::api(format!(
            "get secret {namespace}/{PROJECT_VALUES}"
        )))?;
        let data = found.and_then(|s| s.data).unwrap_or_default();
        Ok(data
            .into_iter()
            .map(|(k, v)| (k, String::from_utf8_lossy(&v.0).into_owned()))
            .collect())
    }

    async fn variables(&self, namespace: &str) -> Result<Vec<(String, String)>, Error> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let found = api.get_opt(PROJECT_VALUES).await;
        let found = found.map_err(Error::api(format!(
            "get config map {namespace}/{PROJECT_VALUES}"
        )))?;
        Ok(found
            .and_then(|c| c.data)
            .unwrap_or_default()
            .into_iter()
            .collect())
    }

    async fn ensure_access(&self, namespace: &str) -> Result<(), Error> {
        if self.accessible.lock().contains(namespace) {
            return Ok(());
        }
        access::ensure(&self.client, namespace).await?;
        self.accessible.lock().insert(namespace.to_string());
        Ok(())
    }
}
