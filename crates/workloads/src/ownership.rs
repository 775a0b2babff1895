//! Who controls what: owner references, adoption of orphans and release of strays.

use crate::objects::{self, Namespaced};
use crate::{Error, selector};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::{Client, Resource};
use serde_json::json;
use std::sync::Arc;

/// The reference that marks the managing controller.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references
        .iter()
        .flatten()
        .find(|r| r.controller == Some(true))
}

/// Whether the object is managed by the one with this UID.
pub(crate) fn is_controlled_by(meta: &ObjectMeta, owner_uid: &str) -> bool {
    controller_of(meta).is_some_and(|r| r.uid == owner_uid)
}

/// Name of the managing controller where it is of this kind.
pub(crate) fn controller_name<'a>(meta: &'a ObjectMeta, kind: &str) -> Option<&'a str> {
    controller_of(meta)
        .filter(|r| r.kind == kind)
        .map(|r| r.name.as_str())
}

/// Reference that makes `owner` the managing controller.
pub(crate) fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    let meta = owner.meta();
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: objects::name(meta).to_string(),
        uid: objects::uid(meta).to_string(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What a controller should do about the objects of its namespace.
#[derive(Debug)]
pub(crate) struct Claim<K> {
    /// Its own.
    pub(crate) owned: Vec<Arc<K>>,
    /// Orphans that its selector matches.
    pub(crate) adopt: Vec<Arc<K>>,
    /// Its own, but the selector no longer matches.
    pub(crate) release: Vec<Arc<K>>,
}

/// Sorts objects into owned, to adopt and to release. An owner that is being deleted neither
/// adopts nor releases; objects being deleted are never adopted.
pub(crate) fn claim<K: Resource>(
    objects: &[Arc<K>],
    owner: &ObjectMeta,
    selector: &LabelSelector,
) -> Claim<K> {
    let mut claim = Claim {
        owned: Vec::new(),
        adopt: Vec::new(),
        release: Vec::new(),
    };
    let ending = owner.deletion_timestamp.is_some();
    for object in objects {
        let meta = object.meta();
        let matches = selector::matches(selector, meta.labels.as_ref());
        match controller_of(meta) {
            Some(reference) if reference.uid == objects::uid(owner) => {
                if matches || ending {
                    claim.owned.push(object.clone());
                } else {
                    claim.release.push(object.clone());
                }
            }
            Some(_) => {}
            None if matches && !ending && meta.deletion_timestamp.is_none() => {
                claim.adopt.push(object.clone())
            }
            None => {}
        }
    }
    claim
}

impl<K: Namespaced> Claim<K> {
    /// Adopts and releases; answers all that is owned then. The patches carry the version that
    /// was looked at, so a stale copy cannot take what has found another owner.
    pub(crate) async fn settle<O: Namespaced>(
        self,
        client: &Client,
        owner: &O,
    ) -> Result<Vec<Arc<K>>, Error> {
        let mut owned = self.owned;
        if !self.adopt.is_empty() && still_there(client, owner).await? {
            for object in self.adopt {
                let mut references = object.meta().owner_references.clone().unwrap_or_default();
                references.push(controller_reference(owner));
                owned.push(Arc::new(
                    write_references(client, object.as_ref(), references).await?,
                ));
            }
        }
        for object in self.release {
            let mut references = object.meta().owner_references.clone().unwrap_or_default();
            references.retain(|r| r.uid != objects::uid(owner.meta()));
            match write_references(client, object.as_ref(), references).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(owned)
    }
}

/// Asks the API itself once more: a cached owner may be gone already.
pub(crate) async fn still_there<O: Namespaced>(client: &Client, owner: &O) -> Result<bool, Error> {
    let meta = owner.meta();
    let fresh = objects::api::<O>(client, meta)
        .get_metadata_opt(objects::name(meta))
        .await
        .map_err(objects::failed::<O>("get", meta))?;
    Ok(
        fresh
            .is_some_and(|f| f.metadata.uid == meta.uid && f.metadata.deletion_timestamp.is_none()),
    )
}

async fn write_references<K: Namespaced>(
    client: &Client,
    object: &K,
    references: Vec<OwnerReference>,
) -> Result<K, Error> {
    let meta = object.meta();
    let patch = json!({"metadata": {
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
        "ownerReferences": references,
    }});
    objects::merge(client, meta, patch).await
}
