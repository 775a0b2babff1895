//! Copies of kinds that more than one component looks at, each fed once for all of them.
//!
//! A component takes the copy when it is made, and may register handlers at once; objects come
//! when the service feeds it.

use crate::cache::Cache;
use crate::slim;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use towpath_daemon::Service;

/// Name of the service.
pub const SERVICE: &str = "copies";

/// The copies. Cheap to clone.
#[derive(Clone)]
pub struct Copies {
    /// All pods, as [`slim::pod`] leaves them.
    pub pods: Cache<Pod>,
}

impl Default for Copies {
    fn default() -> Self {
        Self {
            pods: Cache::slim(slim::pod),
        }
    }
}

impl Copies {
    /// Feeds the copies once the services named in `after` are ready.
    pub fn service(&self, client: Client, after: &[&'static str]) -> Service {
        let copies = self.clone();
        Service::new(SERVICE, after, move |mut context| async move {
            copies.pods.feed_from(&client, context.cancel.clone());
            tokio::select! {
                () = copies.pods.ready() => context.ready(),
                () = context.cancel.cancelled() => {}
            }
            context.cancel.cancelled().await;
            Ok(())
        })
    }
}
