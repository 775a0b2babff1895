//! The kinds that the API serves, read again whenever a definition of custom kinds changes.

use crate::Error;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Client;
use kube::core::PartialObjectMeta;
use kube::discovery::{ApiResource, Discovery, Scope, verbs};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Cache;

/// Definitions of custom kinds, metadata only.
pub(crate) type Definitions = Cache<PartialObjectMeta<CustomResourceDefinition>>;

/// Registrations of groups, those of other servers among them; metadata only.
pub(crate) type Registrations = Cache<PartialObjectMeta<APIService>>;

/// Starts watching them.
pub(crate) fn registrations(client: &Client, cancel: CancellationToken) -> Registrations {
    Cache::start(client, cancel)
}

/// Starts watching them.
pub(crate) fn definitions(client: &Client, cancel: CancellationToken) -> Definitions {
    Cache::start(client, cancel)
}

/// One served kind that can be listed, watched and deleted.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
    pub(crate) deletable_as_collection: bool,
}

/// All of them, one version each. Events are left out where `with_events` is false: they own
/// and are owned by nothing.
pub(crate) async fn discover(
    client: &Client,
    with_events: bool,
) -> Result<Arc<Vec<Served>>, Error> {
    let failed = |error| Error::Discovery(Box::new(error));
    let found = match Discovery::new(client.clone()).run_aggregated().await {
        Ok(found) => found,
        Err(_) => Discovery::new(client.clone()).run().await.map_err(failed)?,
    };
    let mut all = Vec::new();
    for group in found.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            let can = |verb| capabilities.supports_operation(verb);
            if !(can(verbs::LIST) && can(verbs::WATCH) && can(verbs::DELETE)) {
                continue;
            }
            if resource.plural == "events" && (!with_events || !resource.group.is_empty()) {
                continue;
            }
            all.push(Served {
                namespaced: capabilities.scope == Scope::Namespaced,
                deletable_as_collection: can(verbs::DELETE_COLLECTION),
                resource,
            });
        }
    }
    Ok(Arc::new(all))
}
