//! Any object of any kind, through a `kube` client: found by discovery, applied by the server.

use crate::Error;
use kube::Client;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams,
    PropagationPolicy,
};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, pinned_kind};
use parking_lot::Mutex;
use serde_json::Value as Json;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use towpath_render::Id;

/// Field manager of everything that applications apply, the name Argo CD uses.
pub(crate) const MANAGER: &str = "argocd-controller";
const DEADLINE: Duration = Duration::from_secs(30);

/// How a kind is reached.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
}

/// Group, version and kind.
type KindKey = (String, String, String);

/// One cluster.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    kinds: Arc<Mutex<HashMap<KindKey, Kind>>>,
}

impl Cluster {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            kinds: Arc::default(),
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The kind, from memory or discovery; unknown kinds are asked for again each time.
    pub(crate) async fn kind(&self, id: &Id) -> Result<Kind, Error> {
        let key = (id.group.clone(), id.version.clone(), id.kind.clone());
        if let Some(kind) = self.kinds.lock().get(&key) {
            return Ok(kind.clone());
        }
        let gvk = GroupVersionKind::gvk(&id.group, &id.version, &id.kind);
        let what = format!("discover {} in {}", id.kind, id.api_version());
        let unknown = || Error::UnknownKind {
            api_version: id.api_version(),
            kind: id.kind.clone(),
        };
        let found = within(&what, pinned_kind(&self.client, &gvk)).await?;
        let (resource, capabilities) = found.map_err(|error| match &error {
            kube::Error::Discovery(_) => unknown(),
            kube::Error::Api(status) if status.code == 404 => unknown(),
            _ => Error::cluster(what)(error),
        })?;
        let kind = Kind {
            resource,
            namespaced: capabilities.scope == Scope::Namespaced,
        };
        self.kinds.lock().insert(key, kind.clone());
        Ok(kind)
    }

    fn api(&self, kind: &Kind, namespace: &str) -> Api<DynamicObject> {
        if kind.namespaced && !namespace.is_empty() {
            Api::namespaced_with(self.client.clone(), namespace, &kind.resource)
        } else {
            Api::all_with(self.client.clone(), &kind.resource)
        }
    }

    pub(crate) async fn get(&self, id: &Id) -> Result<Option<Json>, Error> {
        let kind = self.kind(id).await?;
        let what = format!("get {id}");
        let found = within(&what, self.api(&kind, &id.namespace).get_opt(&id.name)).await?;
        let found = found.map_err(Error::cluster(what))?;
        Ok(found.and_then(|object| serde_json::to_value(object).ok()))
    }

    /// Server-side apply in the name of [`MANAGER`]; fields of other managers are taken over.
    pub(crate) async fn apply(
        &self,
        id: &Id,
        manifest: &Json,
        dry_run: bool,
    ) -> Result<Json, Error> {
        let kind = self.kind(id).await?;
        let api = self.api(&kind, &id.namespace);
        let mut params = PatchParams::apply(MANAGER).force();
        params.dry_run = dry_run;
        let what = format!("apply {id}");
        let result = within(&what, api.patch(&id.name, &params, &Patch::Apply(manifest))).await?;
        let object = match result {
            Err(kube::Error::Api(status)) if status.code == 415 => {
                self.apply_plainly(&api, id, manifest, dry_run).await?
            }
            other => other.map_err(Error::cluster(what))?,
        };
        Ok(serde_json::to_value(object).unwrap_or(Json::Null))
    }

    // For servers without server-side apply: create, or merge over what is there.
    async fn apply_plainly(
        &self,
        api: &Api<DynamicObject>,
        id: &Id,
        manifest: &Json,
        dry_run: bool,
    ) -> Result<DynamicObject, Error> {
        let what = format!("write {id}");
        let there = within(&what, api.get_opt(&id.name))
            .await?
            .map_err(Error::cluster(what.clone()))?;
        if there.is_some() {
            let params = PatchParams {
                dry_run,
                field_manager: Some(MANAGER.into()),
                ..PatchParams::default()
            };
            return within(&what, api.patch(&id.name, &params, &Patch::Merge(manifest)))
                .await?
                .map_err(Error::cluster(what));
        }
        let params = PostParams {
            dry_run,
            field_manager: Some(MANAGER.into()),
        };
        let object: DynamicObject = serde_json::from_value(manifest.clone())
            .map_err(|error| Error::cluster(what.clone())(kube::Error::SerdeError(error)))?;
        within(&what, api.create(&params, &object))
            .await?
            .map_err(Error::cluster(what))
    }

    /// Deletes in the foreground; gone already is fine.
    pub(crate) async fn delete(&self, id: &Id, uid: Option<&str>) -> Result<(), Error> {
        let kind = self.kind(id).await?;
        let mut params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Foreground),
            ..DeleteParams::default()
        };
        if let Some(uid) = uid {
            params.preconditions = Some(kube::api::Preconditions {
                uid: Some(uid.into()),
                resource_version: None,
            });
        }
        let what = format!("delete {id}");
        match within(
            &what,
            self.api(&kind, &id.namespace).delete(&id.name, &params),
        )
        .await?
        {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            other => other.map(drop).map_err(Error::cluster(what)),
        }
    }

    /// Makes a namespace where it is missing.
    pub(crate) async fn ensure_namespace(&self, name: &str) -> Result<(), Error> {
        let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.client.clone());
        let what = format!("create namespace {name}");
        if within(&what, api.get_opt(name))
            .await?
            .map_err(Error::cluster(what.clone()))?
            .is_some()
        {
            return Ok(());
        }
        let mut namespace = k8s_openapi::api::core::v1::Namespace::default();
        namespace.metadata.name = Some(name.into());
        match within(&what, api.create(&PostParams::default(), &namespace)).await? {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            other => other.map(drop).map_err(Error::cluster(what)),
        }
    }
}

/// Every call to the cluster ends.
pub(crate) async fn within<T>(what: &str, call: impl Future<Output = T>) -> Result<T, Error> {
    let late = |_| Error::Deadline(what.to_string(), DEADLINE.as_secs());
    tokio::time::timeout(DEADLINE, call).await.map_err(late)
}
