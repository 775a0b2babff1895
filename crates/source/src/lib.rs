//! Git hosting: repositories over HTTP, the rules for their refs, and the runs of their pushes.
//!
//! * `leftover`: gits of a killed server are ended first.
//! * `names`: grammars of all that comes from outside.
//! * `git`: the one module that starts git. `bare`: repositories on disk.
//! * `pktline`, `protect`: what a push asks for, and whether it may.
//! * `pushes`, `record`: from the log that git keeps of every ref to exactly one run per
//!   movement and workflow.
//! * `tree`, `commit`: reading and writing commits for the rest of the house.
//! * `http`: the doors.
//!
//! Identity is the authenticated pusher's, never an author's or committer's. Git hooks of
//! repositories are never run.

mod bare;
mod commit;
mod error;
mod git;
mod http;
mod leftover;
mod names;
mod pktline;
mod protect;
mod pushes;
mod record;
mod room;
mod tree;

pub use error::Error;

use crate::git::Git;
use crate::http::Front;
use crate::names::RepoName;
use crate::record::Recorder;
use crate::tree::Trees;
use kube::Client;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;
use towpath_daemon::{Service, ServiceContext};
use towpath_kit::cache::{Cache, Key};
use towpath_kit::controller::{self, Next};
use towpath_kit::kinds::Repository;
use towpath_kit::queue::Queue;
use towpath_kit::traits::{Authenticator, Authorizer, SourceTree, Workflows};

const TRANSFERS: usize = 64;

/// Settings.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// Directory of this crate alone (`<data>/git`); `demo/hello` lies in `demo/hello.git`.
    pub data_dir: PathBuf,
    /// What clone URLs start with, e.g. `http://127.0.0.1:8080`.
    pub public_url: String,
}

/// Git hosting of one instance.
pub struct Source {
    front: Arc<Front>,
}

impl Source {
    /// Makes its directories. Does not look at any object yet.
    pub fn new(
        config: SourceConfig,
        client: Client,
        authenticator: Arc<dyn Authenticator>,
        authorizer: Arc<dyn Authorizer>,
        workflows: Arc<dyn Workflows>,
    ) -> Result<Self, Error> {
        let root = &config.data_dir;
        std::fs::create_dir_all(root).map_err(Error::file("make", root))?;
        let root = root.canonicalize().map_err(Error::file("make", root))?;
        leftover::end(&root.join(git::HOME));
        let git = Git::new(&root)?;
        let trees = Arc::new(Trees { git: git.clone() });
        let recorder = Recorder::new(git, client, config.public_url, trees.clone(), workflows);
        let front = Front {
            recorder: Arc::new(recorder),
            trees,
            authenticator,
            authorizer,
            queue: Queue::default(),
            transfers: Arc::new(Semaphore::new(TRANSFERS)),
        };
        Ok(Self {
            front: Arc::new(front),
        })
    }

    /// `/git/…` and `/api/v1/repos/…`.
    pub fn router(&self) -> axum::Router {
        http::router(self.front.clone())
    }

    /// Trees and commits for the rest of the house.
    pub fn tree(&self) -> Arc<dyn SourceTree> {
        self.front.trees.clone()
    }

    /// The reconciler of repositories.
    pub fn services(&self) -> Vec<Service> {
        let front = self.front.clone();
        vec![Service::new("source", &[], move |context| {
            run(front, context)
        })]
    }
}

async fn run(front: Arc<Front>, mut context: ServiceContext) -> Result<(), String> {
    let cancel = context.cancel.clone();
    let queue = front.queue.clone();
    let git = front.trees.git.clone();
    let known = bare::all(&git);
    for name in &known {
        bare::sweep(&name.dir(git.root()));
        queue.add(name.key());
    }
    let repositories: Cache<Repository> = Cache::start(&front.recorder.client, cancel.clone());
    let changed = queue.clone();
    repositories.on_change(move |change| {
        let (old, new) = (change.old, change.new);
        // Our own status writes are no news.
        let same = old.zip(new).is_some_and(|(old, new)| {
            old.spec == new.spec
                && old.metadata.deletion_timestamp == new.metadata.deletion_timestamp
        });
        if !same {
            changed.add(change.key.clone());
        }
    });
    tokio::select! {
        () = cancel.cancelled() => return Ok(()),
        () = repositories.ready() => {}
    }
    context.ready();
    let recorder = front.recorder.clone();
    controller::run(
        "source",
        queue,
        2,
        recorder,
        cancel,
        |recorder, key: Key| async move {
            match RepoName::new(&key.namespace, &key.name) {
                Some(name) => recorder
                    .reconcile(&name)
                    .await
                    .map(|()| Next::Wait)
                    .map_err(|e| e.chain()),
                None => Ok(recorder.refuse_name(&key).await),
            }
        },
    )
    .await;
    Ok(())
}
