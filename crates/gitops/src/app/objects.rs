//! Rendered objects made ready: the destination's namespace, the tracking annotation, and where
//! they come from.

use super::{Apps, plan};
use crate::Error;
use crate::live::{TRACKING, tracking_id};
use crate::provenance::{self, Provenance};
use serde_json::Value as Json;
use towpath_kit::cache::Key;
use towpath_kit::kinds::Application;
use towpath_render::{Object, order};

impl Apps {
    /// The objects, and the indices of those whose kind is unknown to the cluster.
    pub(super) async fn prepare(
        &self,
        key: &Key,
        app: &Application,
        provenance: Option<&Provenance>,
        rendered: &[Object],
    ) -> Result<(Vec<Object>, Vec<usize>), Error> {
        let mut objects = Vec::with_capacity(rendered.len());
        let mut unknown = Vec::new();
        for object in rendered {
            let mut object = object.clone();
            let namespaced = match self.cluster.kind(&object.id).await {
                Ok(kind) => {
                    self.live.watch(&self.cluster, &kind).await?;
                    kind.namespaced
                }
                Err(Error::UnknownKind { .. }) => {
                    unknown.push(objects.len());
                    true
                }
                Err(error) => return Err(error),
            };
            put_namespace(&mut object, namespaced, &app.spec.destination.namespace);
            if let Some(provenance) = provenance {
                provenance.mark(&mut object);
            }
            let hook = object.annotation(order::HOOK).is_some();
            if !hook {
                let value = tracking_id(key, &object.id);
                provenance::put(&mut object.manifest, "annotations", TRACKING, &value);
            }
            objects.push(object);
        }
        self.keep_replicas(&mut objects);
        Ok((objects, unknown))
    }

    // A deployment must not undo what the autoscaler has decided.
    fn keep_replicas(&self, objects: &mut [Object]) {
        for at in 0..objects.len() {
            if !plan::is_scaled(&objects[at], objects) {
                continue;
            }
            let live = self.live.get(&objects[at].id);
            let replicas = live
                .as_ref()
                .and_then(|live| live.pointer("/spec/replicas"));
            if let (Some(replicas), Some(wanted)) =
                (replicas, objects[at].manifest.pointer_mut("/spec/replicas"))
            {
                *wanted = replicas.clone();
            }
        }
    }
}

fn put_namespace(object: &mut Object, namespaced: bool, default: &str) {
    let namespace = match (namespaced, object.id.namespace.as_str()) {
        (false, _) => String::new(),
        (true, "") => default.to_string(),
        (true, own) => own.to_string(),
    };
    object.id.namespace.clone_from(&namespace);
    if let Some(metadata) = object
        .manifest
        .get_mut("metadata")
        .and_then(Json::as_object_mut)
    {
        if namespace.is_empty() {
            metadata.remove("namespace");
        } else {
            metadata.insert("namespace".into(), namespace.into());
        }
    }
}
