//! API groups of others: an `APIService` says which server answers for a group and version. Ours
//! are registered too, so that one list tells everything that is served.
//!
//! [`register`] keeps our own objects, [`availability`] asks the servers of others whether they
//! answer, [`proxy`] passes requests on to them. What is proxied was authenticated and authorized
//! here; the other server believes us by the front proxy's certificate.

mod availability;
mod discovery;
mod front_proxy;
mod proxy;
mod register;
mod request;

use crate::core::Core;
use crate::record;
use arc_swap::ArcSwap;
pub(crate) use discovery::{aggregated, groups, openapi_paths};
pub(crate) use front_proxy::{FrontProxy, configuration};
pub(crate) use proxy::{openapi, serve};
pub(crate) use request::{Remote, route};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use towpath_api::status::Failure;
use towpath_daemon::CancellationToken;
use towpath_store::Table;

pub(crate) const TABLE: &str = "apiregistration.k8s.io/apiservices";

/// What the server remembers of other servers.
#[derive(Default)]
pub(crate) struct Shared {
    known: parking_lot::Mutex<Table>,
    remotes: ArcSwap<Remotes>,
    /// Resource lists as the servers told them last, by name of the object.
    told: parking_lot::Mutex<BTreeMap<String, Arc<Value>>>,
    pub(crate) front: FrontProxy,
    /// Something beside the stored objects has changed.
    pub(crate) changed: tokio::sync::Notify,
    /// Names that were registered since the start.
    registered: parking_lot::Mutex<std::collections::BTreeSet<String>>,
}

impl Shared {
    fn registered(&self, name: &str) -> bool {
        self.registered.lock().contains(name)
    }

    fn register(&self, name: &str) {
        self.registered.lock().insert(name.to_string());
    }
}

/// Groups and versions that other servers answer for.
pub(crate) type Remotes = BTreeMap<(String, String), Arc<Service>>;

/// One `APIService` that names a service.
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    pub(crate) service: String,
    pub(crate) port: u64,
    pub(crate) bundle: Value,
    pub(crate) unverified: bool,
    pub(crate) available: bool,
    pub(crate) group_priority: i64,
    pub(crate) version_priority: i64,
}

impl Service {
    fn read(object: &Value) -> Option<Self> {
        let spec = &object["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let service = spec.get("service").filter(|service| service.is_object())?;
        let conditions = object["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        Some(Self {
            name: text(&object["metadata"]["name"]),
            group: text(&spec["group"]),
            version: text(&spec["version"]),
            namespace: text(&service["namespace"]),
            service: text(&service["name"]),
            port: service["port"].as_u64().unwrap_or(443),
            bundle: spec["caBundle"].clone(),
            unverified: spec["insecureSkipTLSVerify"] == true,
            available: conditions.any(|c| c["type"] == "Available" && c["status"] == "True"),
            group_priority: spec["groupPriorityMinimum"].as_i64().unwrap_or(0),
            version_priority: spec["versionPriority"].as_i64().unwrap_or(0),
        })
    }
}

/// The servers of others, as the stored objects say now.
pub(crate) fn remotes(core: &Core) -> Arc<Remotes> {
    let shared = &core.aggregation;
    let now = core.store.snapshot().table(TABLE);
    let mut known = shared.known.lock();
    if !known.ptr_eq(&now) {
        let read = now.values().filter_map(|rec| {
            let service = Service::read(&record::decode(rec))?;
            let id = (service.group.clone(), service.version.clone());
            Some((id, Arc::new(service)))
        });
        shared.remotes.store(Arc::new(read.collect()));
        *known = now;
    }
    shared.remotes.load_full()
}

/// Registers what is served from the start.
pub(crate) async fn begin(core: &Core) -> Result<(), Failure> {
    register::settle(core, true).await
}

/// Keeps objects and their conditions until cancelled.
pub(crate) async fn run(core: Arc<Core>, cancel: CancellationToken) {
    tokio::join!(
        register::run(core.clone(), cancel.clone()),
        availability::run(core, cancel)
    );
}
