//! The few ways in which controllers write objects.
//!
//! Every write carries what makes it safe against stale copies: a resource version (replace,
//! patches of owner references) or a UID (delete).

use crate::error::Error;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;

/// Any typed kind.
pub(crate) trait Object:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static
{
}

impl<K> Object for K where
    K: Resource<DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

/// Any typed kind that lives in namespaces.
pub(crate) trait Namespaced: Object + Resource<Scope = NamespaceResourceScope> {}

impl<K> Namespaced for K where K: Object + Resource<Scope = NamespaceResourceScope> {}

/// Wraps a client error with its subject.
pub(crate) fn failed<K: Resource<DynamicType = ()>>(
    verb: &'static str,
    meta: &ObjectMeta,
) -> impl FnOnce(kube::Error) -> Error + use<K> {
    let name = path(meta);
    move |source| Error::Request {
        verb,
        kind: K::kind(&()).into_owned(),
        name,
        source: Box::new(source),
    }
}

/// `namespace/name` or `name`.
pub(crate) fn path(meta: &ObjectMeta) -> String {
    let name = meta
        .name
        .as_deref()
        .or(meta.generate_name.as_deref())
        .unwrap_or_default();
    match meta.namespace.as_deref() {
        Some(namespace) if !namespace.is_empty() => format!("{namespace}/{name}"),
        _ => name.to_string(),
    }
}

/// The API of an object's namespace.
pub(crate) fn api<K: Namespaced>(client: &Client, meta: &ObjectMeta) -> Api<K> {
    Api::namespaced(
        client.clone(),
        meta.namespace.as_deref().unwrap_or_default(),
    )
}

/// Name of an object that the API has seen.
pub(crate) fn name(meta: &ObjectMeta) -> &str {
    meta.name.as_deref().unwrap_or_default()
}

/// UID of an object that the API has seen.
pub(crate) fn uid(meta: &ObjectMeta) -> &str {
    meta.uid.as_deref().unwrap_or_default()
}

/// Makes an object.
pub(crate) async fn create<K: Namespaced>(client: &Client, object: &K) -> Result<K, Error> {
    let meta = object.meta();
    api::<K>(client, meta)
        .create(&PostParams::default(), object)
        .await
        .map_err(failed::<K>("create", meta))
}

/// Replaces an object as it was read and changed.
pub(crate) async fn replace<K: Namespaced>(client: &Client, object: &K) -> Result<K, Error> {
    let meta = object.meta();
    let api = api::<K>(client, meta);
    api.replace(name(meta), &PostParams::default(), object)
        .await
        .map_err(failed::<K>("update", meta))
}

/// Replaces the status of an object as it was read and changed.
pub(crate) async fn replace_status<K: Namespaced>(client: &Client, object: &K) -> Result<K, Error> {
    let meta = object.meta();
    let api = api::<K>(client, meta);
    api.replace_status(name(meta), &PostParams::default(), object)
        .await
        .map_err(failed::<K>("update status of", meta))
}

/// Applies a merge patch.
pub(crate) async fn merge<K: Namespaced>(
    client: &Client,
    meta: &ObjectMeta,
    patch: Value,
) -> Result<K, Error> {
    let api = api::<K>(client, meta);
    api.patch(name(meta), &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map_err(failed::<K>("patch", meta))
}

/// Parameters that delete exactly the object meant, not a later one of the same name.
pub(crate) fn exactly(meta: &ObjectMeta) -> DeleteParams {
    DeleteParams::default().preconditions(Preconditions {
        uid: meta.uid.clone(),
        resource_version: None,
    })
}

/// Deletes exactly this object; one that is gone already is well.
pub(crate) async fn delete<K: Namespaced>(
    client: &Client,
    meta: &ObjectMeta,
    params: DeleteParams,
) -> Result<(), Error> {
    let result = api::<K>(client, meta).delete(name(meta), &params).await;
    match result.map(drop).map_err(failed::<K>("delete", meta)) {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

/// Sets the whole list of finalizers of the object as it was read.
pub(crate) fn finalizers_patch(meta: &ObjectMeta, finalizers: Vec<String>) -> Value {
    json!({"metadata": {
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
        "finalizers": finalizers,
    }})
}

/// Reference for events about a typed object.
pub(crate) fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    object.object_ref(&())
}
