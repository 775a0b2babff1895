//! Live copies of everything that applications manage, by one shared watch per kind.
//!
//! Only objects that carry a tracking annotation for themselves are kept, without the parts no
//! one reads. Every change names the application it matters to.

use crate::Error;
use crate::cluster::{Cluster, Kind};
use futures::StreamExt;
use kube::api::{Api, DynamicObject};
use kube::runtime::watcher::{self, Event};
use parking_lot::{Mutex, RwLock};
use serde_json::Value as Json;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Key;
use towpath_kit::queue::{Queue, backoff};
use towpath_render::Id;

/// Annotation that says which application an object belongs to.
pub(crate) const TRACKING: &str = "argocd.argoproj.io/tracking-id";

/// Value of the annotation: `<namespace>_<application>:<group>/<kind>:<namespace>/<name>`.
pub(crate) fn tracking_id(app: &Key, id: &Id) -> String {
    format!(
        "{}_{}:{}/{}:{}/{}",
        app.namespace, app.name, id.group, id.kind, id.namespace, id.name
    )
}

/// The application an object belongs to; `None` where the annotation is missing or was copied
/// from another object.
pub(crate) fn owner(object: &Json) -> Option<Key> {
    let value = object
        .get("metadata")?
        .get("annotations")?
        .get(TRACKING)?
        .as_str()?;
    let (app, _) = value.split_once(':')?;
    let (namespace, name) = app.split_once('_')?;
    let key = Key::new(namespace, name);
    (tracking_id(&key, &Id::of(object)) == value).then_some(key)
}

/// How long a first listing may take.
const LISTING: Duration = Duration::from_secs(10);

type KindKey = (String, String);
type ObjectKey = (String, String);

#[derive(Default)]
struct Store {
    // By group and kind, then by namespace and name.
    objects: HashMap<KindKey, HashMap<ObjectKey, Arc<Json>>>,
}

/// The copies.
#[derive(Clone)]
pub(crate) struct Live {
    store: Arc<RwLock<Store>>,
    watched: Arc<Mutex<HashMap<KindKey, watch::Receiver<bool>>>>,
    queue: Queue<Key>,
    cancel: CancellationToken,
}

impl Live {
    pub(crate) fn new(queue: Queue<Key>, cancel: CancellationToken) -> Self {
        Self {
            store: Arc::default(),
            watched: Arc::default(),
            queue,
            cancel,
        }
    }

    /// Watches a kind from now on; waits until what exists is known. Without that nothing may be
    /// concluded: what is surplus would be missed, and called in sync.
    ///
    /// # Errors
    /// The cluster does not say in time; it must not hold the reconciler for ever.
    pub(crate) async fn watch(&self, cluster: &Cluster, kind: &Kind) -> Result<(), Error> {
        let key = (kind.resource.group.clone(), kind.resource.kind.clone());
        let mut ready = {
            let mut watched = self.watched.lock();
            match watched.get(&key) {
                Some(ready) => ready.clone(),
                None => {
                    let (sender, receiver) = watch::channel(false);
                    watched.insert(key.clone(), receiver.clone());
                    self.start(cluster, kind, key, sender);
                    receiver
                }
            }
        };
        let listed = tokio::time::timeout(LISTING, ready.wait_for(|ready| *ready)).await;
        match listed {
            Ok(Ok(_)) => Ok(()),
            _ => {
                let what = format!("list {} of the cluster", kind.resource.plural);
                Err(Error::Deadline(what, LISTING.as_secs()))
            }
        }
    }

    fn start(&self, cluster: &Cluster, kind: &Kind, key: KindKey, ready: watch::Sender<bool>) {
        let api: Api<DynamicObject> = Api::all_with(cluster.client().clone(), &kind.resource);
        let live = self.clone();
        towpath_daemon::spawn(format!("gitops watch {}", key.1), async move {
            let cancel = live.cancel.clone();
            tokio::select! {
                () = cancel.cancelled() => {}
                () = live.feed(api, key, ready) => {}
            }
        });
    }

    async fn feed(&self, api: Api<DynamicObject>, key: KindKey, ready: watch::Sender<bool>) {
        let mut stream = Box::pin(watcher::watcher(
            api,
            watcher::Config::default().streaming_lists(),
        ));
        let mut seen: Option<HashSet<ObjectKey>> = None;
        let mut failures = 0;
        while let Some(event) = stream.next().await {
            match event {
                Ok(Event::Init) => seen = Some(HashSet::new()),
                Ok(Event::InitApply(object)) => {
                    if let Some(seen) = &mut seen {
                        seen.insert(object_key(&object));
                    }
                    self.put(&key, object);
                }
                Ok(Event::InitDone) => {
                    let seen = seen.take().unwrap_or_default();
                    let held: Vec<ObjectKey> = {
                        let store = self.store.read();
                        store
                            .objects
                            .get(&key)
                            .map(|o| o.keys().cloned().collect())
                            .unwrap_or_default()
                    };
                    held.iter()
                        .filter(|k| !seen.contains(*k))
                        .for_each(|k| self.remove(&key, k));
                    ready.send_replace(true);
                    failures = 0;
                }
                Ok(Event::Apply(object)) => {
                    failures = 0;
                    self.put(&key, object);
                }
                Ok(Event::Delete(object)) => self.remove(&key, &object_key(&object)),
                Err(error) => {
                    failures += 1;
                    let wait = backoff(failures);
                    tracing::warn!(kind = key.1, %error, ?wait, "watch interrupted");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    fn put(&self, kind: &KindKey, object: DynamicObject) {
        let at = object_key(&object);
        let Ok(mut object) = serde_json::to_value(object) else {
            return;
        };
        if let Some(metadata) = object.get_mut("metadata").and_then(Json::as_object_mut) {
            metadata.remove("managedFields");
        }
        match owner(&object) {
            Some(app) => {
                let mut store = self.store.write();
                let objects = store.objects.entry(kind.clone()).or_default();
                let old = objects.insert(at, Arc::new(object));
                drop(store);
                if let Some(other) = old
                    .and_then(|old| owner(&old))
                    .filter(|other| *other != app)
                {
                    self.queue.add(other);
                }
                self.queue.add(app);
            }
            // The annotation is gone: for its application the object is, too.
            None => self.remove(kind, &at),
        }
    }

    fn remove(&self, kind: &KindKey, at: &ObjectKey) {
        let old = self
            .store
            .write()
            .objects
            .get_mut(kind)
            .and_then(|objects| objects.remove(at));
        if let Some(app) = old.and_then(|old| owner(&old)) {
            self.queue.add(app);
        }
    }

    /// Takes over the answer of a write before the watch brings it.
    pub(crate) fn note(&self, object: &Json) {
        if let Ok(object) = serde_json::from_value::<DynamicObject>(object.clone()) {
            let Some(types) = object.types.clone() else {
                return;
            };
            let group = types
                .api_version
                .split_once('/')
                .map_or("", |(group, _)| group)
                .to_string();
            let key = (group, types.kind);
            let at = object_key(&object);
            let newer = {
                let store = self.store.read();
                let held = store.objects.get(&key).and_then(|o| o.get(&at));
                let version = |text: Option<&str>| text.and_then(|t| t.parse::<u64>().ok());
                let held =
                    held.and_then(|o| version(o.pointer("/metadata/resourceVersion")?.as_str()));
                version(object.metadata.resource_version.as_deref()) >= held
            };
            if newer {
                self.put(&key, object);
            }
        }
    }

    /// The live object.
    pub(crate) fn get(&self, id: &Id) -> Option<Arc<Json>> {
        let store = self.store.read();
        let objects = store.objects.get(&(id.group.clone(), id.kind.clone()))?;
        let found = objects.get(&(id.namespace.clone(), id.name.clone()));
        found
            .or_else(|| objects.get(&(String::new(), id.name.clone())))
            .cloned()
    }

    /// Everything that belongs to an application.
    pub(crate) fn owned_by(&self, app: &Key) -> Vec<Arc<Json>> {
        let store = self.store.read();
        let all = store.objects.values().flat_map(HashMap::values);
        all.filter(|object| owner(object).as_ref() == Some(app))
            .cloned()
            .collect()
    }
}

fn object_key(object: &DynamicObject) -> ObjectKey {
    (
        object.metadata.namespace.clone().unwrap_or_default(),
        object.metadata.name.clone().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_copied_annotation_owns_nothing() {
        let app = Key::new("demo", "hello-dev");
        let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "hello", "namespace": "hello-dev", "annotations": {}}});
        let id = Id::of(&object);
        object["metadata"]["annotations"][TRACKING] = json!(tracking_id(&app, &id));
        assert_eq!(owner(&object), Some(app));
        object["kind"] = json!("ReplicaSet");
        object["metadata"]["name"] = json!("hello-7d9");
        assert_eq!(owner(&object), None);
    }
}
