//! Makes the runs of a repository's pushes: every movement of a ref, exactly one run per
//! workflow that it starts.

use crate::bare;
use crate::error::Error;
use crate::git::Git;
use crate::names::{RepoName, ZERO};
use crate::pushes::{self, Movement};
use crate::tree::Trees;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use towpath_kit::cache::Key;
use towpath_kit::controller::Next;
use towpath_kit::kinds::{Condition, Repository, RepositoryStatus, Run, RunSpec, labels};
use towpath_kit::traits::{PushEvent, SourceTree, Workflows};
use towpath_stdx::{Clock, SystemClock, bounded};

const LOG_BYTES: u64 = 64 << 20;
const CHANGED_PATHS: usize = 3000;

/// Turns logs into runs.
pub(crate) struct Recorder {
    pub(crate) git: Git,
    pub(crate) client: Client,
    pub(crate) public_url: String,
    pub(crate) trees: Arc<Trees>,
    pub(crate) workflows: Arc<dyn Workflows>,
    turns: Mutex<HashMap<RepoName, Arc<tokio::sync::Mutex<()>>>>,
    /// Size of each ref's log when it was handled last.
    handled_bytes: Mutex<HashMap<(RepoName, String), u64>>,
}

impl Recorder {
    pub(crate) fn new(
        git: Git,
        client: Client,
        public_url: String,
        trees: Arc<Trees>,
        workflows: Arc<dyn Workflows>,
    ) -> Self {
        Self {
            git,
            client,
            public_url,
            trees,
            workflows,
            turns: Mutex::default(),
            handled_bytes: Mutex::default(),
        }
    }

    /// Brings disk and runs in line with the object. One at a time per repository.
    pub(crate) async fn reconcile(&self, name: &RepoName) -> Result<(), Error> {
        let turn = self.turns.lock().entry(name.clone()).or_default().clone();
        let _guard = turn.lock().await;
        let api: Api<Repository> = Api::namespaced(self.client.clone(), name.owner());
        // Asked of the API, not of a copy: what was handled last must not be read too old.
        let object = api
            .get_opt(name.name())
            .await
            .map_err(Error::api("read repository", name))?;
        let Some(object) = object.filter(|object| object.meta().deletion_timestamp.is_none())
        else {
            return bare::discard(&self.git, name);
        };
        let dir = bare::ensure(&self.git, name, &object.spec.default_branch).await?;
        let before = object.status.clone().unwrap_or_default();
        let after = self.handle(name, &object, &dir, &before).await?;
        self.write_status(&api, name, &before, after).await?;
        bare::maintain(&self.git, &dir).await
    }

    /// Tells a repository whose name cannot be served what is wrong with it.
    pub(crate) async fn refuse_name(&self, key: &Key) -> Next {
        let api: Api<Repository> = Api::namespaced(self.client.clone(), &key.namespace);
        let condition = Condition {
            type_: "Ready".into(),
            status: "False".into(),
            reason: "InvalidName".into(),
            message: "the name must be at most 63 of a-z 0-9 - . and must not end in .git".into(),
            last_transition_time: Some(SystemClock.rfc3339()),
        };
        let patch = json!({ "status": { "conditions": [condition] } });
        if let Err(error) = api
            .patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            tracing::debug!(%error, %key, "status of a repository with a bad name");
        }
        Next::Wait
    }

    async fn handle(
        &self,
        name: &RepoName,
        object: &Repository,
        dir: &Path,
        before: &RepositoryStatus,
    ) -> Result<RepositoryStatus, Error> {
        let mut after = before.clone();
        after.clone_url = format!("{}/git/{name}.git", self.public_url.trim_end_matches('/'));
        let tips = self.tips(dir).await?;
        after.refs.retain(|ref_name, _| tips.contains_key(ref_name));
        for (ref_name, tip) in &tips {
            let seen = before.refs.get(ref_name);
            let path = dir.join("logs").join(ref_name);
            let size = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
            let place = (name.clone(), ref_name.clone());
            // The log has not grown since it was handled last: nothing to read.
            if seen.is_some_and(|seen| seen.sha == *tip)
                && self.handled_bytes.lock().get(&place) == Some(&size)
            {
                continue;
            }
            let log = match bounded::read_file(&path, LOG_BYTES) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
                log => log.map_err(Error::file("read", &path))?,
            };
            let log = pushes::parse(&String::from_utf8_lossy(&log));
            let (movements, status) = pushes::pending(&log, tip, seen);
            if !ref_name.starts_with("refs/heads/env/") {
                for movement in &movements {
                    self.start(name, object, ref_name, movement).await?;
                }
            }
            after.refs.insert(ref_name.clone(), status);
            self.handled_bytes.lock().insert(place, size);
        }
        Ok(after)
    }

    async fn tips(&self, dir: &Path) -> Result<BTreeMap<String, String>, Error> {
        let mut command = self.git.command(dir);
        command.args([
            "for-each-ref",
            "--format=%(objectname) %(refname)",
            "refs/heads",
            "refs/tags",
        ]);
        let listed = Git::run(command, 64 << 20)
            .await
            .and_then(|out| out.success("git for-each-ref"));
        let text = listed.map_err(Error::git("for-each-ref", dir))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let pair = |line: &str| {
            line.split_once(' ')
                .map(|(id, name)| (name.to_string(), id.to_string()))
        };
        Ok(text.lines().filter_map(pair).collect())
    }

    async fn start(
        &self,
        name: &RepoName,
        object: &Repository,
        ref_name: &str,
        movement: &Movement,
    ) -> Result<(), Error> {
        let repository = name.to_string();
        let failed = |source| Error::Commit {
            repository: name.to_string(),
            sha: movement.after.clone(),
            source,
        };
        // A tag may name a tag object, or no commit at all.
        let commit = match self.trees.resolve(&repository, &movement.after).await {
            Err(towpath_kit::traits::SourceError::NotFound(_)) => return Ok(()),
            commit => commit.map_err(failed)?,
        };
        let files = self
            .trees
            .files(&repository, &commit.sha, ".github/workflows")
            .await;
        let files = match files {
            Err(towpath_kit::traits::SourceError::NotFound(_)) => return Ok(()),
            files => files.map_err(failed)?,
        };
        if files.is_empty() {
            return Ok(());
        }
        let paths = if movement.before == ZERO {
            None
        } else {
            // A commit before that is gone counts as "everything changed".
            self.trees
                .changed(&repository, &movement.before, &commit.sha)
                .await
                .ok()
        };
        let event = PushEvent {
            ref_name: ref_name.into(),
            before: movement.before.clone(),
            after: commit.sha.clone(),
            paths: paths.filter(|paths| paths.len() <= CHANGED_PATHS),
            message: commit.message.clone(),
        };
        for answer in self
            .workflows
            .matching(&event, &files)
            .into_iter()
            .filter(|answer| answer.starts)
        {
            let run = run(name, object, ref_name, movement, &commit.sha, &answer.path);
            let api: Api<Run> = Api::namespaced(self.client.clone(), name.owner());
            match api.create(&PostParams::default(), &run).await {
                // Made before a crash: the cause is in the name, so it is the same one.
                Err(kube::Error::Api(status))
                    if status.code == 409 && status.reason == "AlreadyExists" => {}
                made => {
                    made.map_err(Error::api("make run", run.name_any()))?;
                }
            }
        }
        Ok(())
    }

    async fn write_status(
        &self,
        api: &Api<Repository>,
        name: &RepoName,
        before: &RepositoryStatus,
        mut after: RepositoryStatus,
    ) -> Result<(), Error> {
        let was = before.conditions.iter().find(|c| c.type_ == "Ready");
        if was.is_none_or(|c| c.status != "True") {
            after.conditions = vec![Condition {
                type_: "Ready".into(),
                status: "True".into(),
                reason: "Served".into(),
                message: format!("clone from {}", after.clone_url),
                last_transition_time: Some(SystemClock.rfc3339()),
            }];
        }
        if after == *before {
            return Ok(());
        }
        let mut refs: BTreeMap<&str, Value> = BTreeMap::new();
        for gone in before
            .refs
            .keys()
            .filter(|name| !after.refs.contains_key(*name))
        {
            refs.insert(gone, Value::Null);
        }
        for (ref_name, status) in &after.refs {
            if before.refs.get(ref_name) != Some(status) {
                refs.insert(ref_name, json!(status));
            }
        }
        let patch = json!({ "status": {
            "cloneUrl": after.clone_url,
            "refs": refs,
            "conditions": after.conditions,
        } });
        let patched = api
            .patch_status(name.name(), &PatchParams::default(), &Patch::Merge(patch))
            .await;
        match patched {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other
                .map(drop)
                .map_err(Error::api("write status of repository", name)),
        }
    }
}

fn run(
    name: &RepoName,
    object: &Repository,
    ref_name: &str,
    movement: &Movement,
    sha: &str,
    workflow: &str,
) -> Run {
    let spec = RunSpec {
        repository: name.name().into(),
        ref_: ref_name.into(),
        sha: sha.into(),
        before: movement.before.clone(),
        event: "push".into(),
        workflow: workflow.into(),
        actor: movement.actor.clone(),
        attempt: 1,
        ..RunSpec::default()
    };
    let mut run = Run::new(
        &pushes::run_name(name.name(), ref_name, movement, workflow),
        spec,
    );
    let metadata: &mut ObjectMeta = run.meta_mut();
    metadata.namespace = Some(name.owner().into());
    metadata.labels = Some(BTreeMap::from([
        (labels::REPOSITORY.into(), name.name().into()),
        (labels::COMMIT.into(), sha.into()),
    ]));
    metadata.owner_references = object.owner_ref(&()).map(|owner| vec![owner]);
    run
}
