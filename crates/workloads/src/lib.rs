//! Built-in controllers and the scheduler of the embedded cluster.
//!
//! Each controller looks at shared copies, decides by a pure `plan`, and writes what the plan
//! says; writes are idempotent, so a pass may be repeated at any time. Everything is woken by
//! changes; the only clocks are those of deadlines that objects themselves carry, and the
//! autoscaler's, because usage has no event.
//!
//! * workloads: [`deployment`], [`replica_set`], [`stateful_set`], [`daemon_set`],
//!   [`job`], [`cron_job`],
//!   [`autoscaler`];
//! * services: [`endpoints`];
//! * storage: [`volumes`];
//! * life and death: [`namespaces`], [`namespace_defaults`], [`garbage`], [`nodes`];
//! * bounds: [`quota`], [`disruption`];
//! * placement: [`scheduler`].
//!
//! Not here: pre-emption.

mod autoscaler;
mod caches;
mod context;
mod cron_job;
mod daemon_set;
mod deployment;
mod disruption;
mod endpoints;
mod error;
mod expectations;
mod garbage;
mod job;
mod namespace_defaults;
mod namespaces;
mod nodes;
mod objects;
mod ownership;
mod pods;
mod quantity;
mod quota;
mod replica_set;
mod revisions;
mod scheduler;
mod selector;
mod served_kinds;
mod stateful_set;
mod template_hash;
mod time;
mod volumes;
mod waking;

pub use error::Error;

use caches::Caches;
use context::Context;
use kube::Client;
use std::path::PathBuf;
use std::sync::Arc;
use towpath_daemon::{Service, ServiceContext};
use towpath_kit::copies::Copies;
use towpath_kit::queue::Queue;
use towpath_kit::traits::ResourceFigures;
use towpath_stdx::{Clock, Random, SystemClock, SystemRandom};

/// Name of the service that runs all controllers.
pub const SERVICE: &str = "workloads";

/// What the controllers must be told.
#[derive(Clone, Debug)]
pub struct WorkloadsConfig {
    /// Directory below which each volume of class `local` gets its own.
    pub local_volumes_root: PathBuf,
    /// Certificate of the cluster's authority, PEM, published to every namespace.
    pub root_ca_pem: String,
    /// Name of the embedded node: where volumes go whose class waits for no pod.
    pub node_name: String,
    /// Services that must be ready first, e.g. the API server's.
    pub after: Vec<&'static str>,
}

/// All that this crate runs: one service, ready when every copy is complete. Without `figures`
/// there is no autoscaling.
pub fn services(
    config: WorkloadsConfig,
    client: Client,
    copies: Copies,
    figures: Option<Arc<dyn ResourceFigures>>,
) -> Vec<Service> {
    let after = config.after.clone();
    vec![Service::new(SERVICE, &after, move |service| async move {
        run(config, client, copies, figures, service).await;
        Ok(())
    })]
}

async fn run(
    config: WorkloadsConfig,
    client: Client,
    copies: Copies,
    figures: Option<Arc<dyn ResourceFigures>>,
    mut service: ServiceContext,
) {
    let cancel = service.cancel.clone();
    let caches = Caches::start(&client, copies, &cancel);
    tokio::select! {
        () = cancel.cancelled() => return,
        () = caches.ready() => {}
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let context = Arc::new(Context {
        client,
        caches,
        clock,
        random,
        config,
    });
    let (namespaces, left) = (Queue::default(), Queue::default());
    let autoscaler = {
        let (context, cancel) = (context.clone(), cancel.clone());
        async move {
            if let Some(figures) = figures {
                autoscaler::run(context, figures, cancel).await;
            }
        }
    };
    service.ready();
    let (c, stop) = (&context, &cancel);
    tokio::join!(
        deployment::run(c.clone(), stop.clone()),
        replica_set::run(c.clone(), stop.clone()),
        stateful_set::run(c.clone(), stop.clone()),
        daemon_set::run(c.clone(), stop.clone()),
        job::run(c.clone(), stop.clone()),
        cron_job::run(c.clone(), stop.clone()),
        endpoints::run(c.clone(), stop.clone()),
        volumes::run(c.clone(), stop.clone()),
        namespaces::run(c.clone(), namespaces.clone(), stop.clone()),
        namespace_defaults::run(c.clone(), stop.clone()),
        garbage::run(c.clone(), namespaces, left.clone(), stop.clone()),
        quota::run(c.clone(), left, stop.clone()),
        disruption::run(c.clone(), stop.clone()),
        nodes::run(c.clone(), stop.clone()),
        scheduler::run(c.clone(), stop.clone()),
        autoscaler,
    );
}
