//! What should run where, and making it so.
//!
//! A succeeded run becomes a [`release`]; an [`environment`] says which releases come to it; a
//! [`promotion`] brings one there by writing a commit to the environment's branch; an
//! [`app`] (Argo CD's `Application`) follows that branch, applies what it renders and puts
//! right what someone changed by hand. Git is the truth: the branch's history is the
//! environment's history, and going back is a commit, too.
//!
//! Invariants:
//! * Decisions are pure functions (`*/plan.rs`) of objects, commits and the time; what they ask
//!   for is idempotent and named after its cause, so a crash between any two steps is healed by
//!   deciding again.
//! * The cluster is reached through `kube` clients alone; the embedded API and a real one are
//!   the same to this crate.
//! * Nothing is deleted that does not carry this application's tracking annotation.

mod app;
mod cluster;
mod config;
mod environment;
mod error;
mod heads;
mod live;
mod parts;
mod promotion;
mod provenance;
mod release;
mod render;
mod retention;

pub use config::GitOpsConfig;
pub use error::Error;

use kube::Client;
use parts::Parts;
use std::sync::Arc;
use towpath_daemon::Service;
use towpath_kit::copies::{Copies, Spine};
use towpath_kit::traits::SourceTree;

/// The delivery side of the server.
pub struct GitOps {
    config: GitOpsConfig,
    client: Client,
    tree: Arc<dyn SourceTree>,
    copies: Copies,
    spine: Spine,
}

impl GitOps {
    /// Works on the cluster behind `client` with the commits of `tree`.
    pub fn new(
        config: GitOpsConfig,
        client: Client,
        tree: Arc<dyn SourceTree>,
        copies: Copies,
        spine: Spine,
    ) -> Self {
        Self {
            config,
            client,
            tree,
            copies,
            spine,
        }
    }

    /// One service; it starts once those named in `after` are ready.
    pub fn services(self, after: &[&'static str]) -> Vec<Service> {
        vec![Service::new(
            "gitops",
            after,
            move |mut context| async move {
                let parts = Arc::new(Parts::start(
                    self.config,
                    self.client,
                    self.tree,
                    (self.copies, self.spine),
                    context.cancel.clone(),
                ));
                parts.ready().await;
                context.ready();
                parts.run(context.cancel).await;
                Ok(())
            },
        )]
    }
}
