//! One shared copy of every object of a kind, fed by a watch.
//!
//! All controllers that look at a kind share its [`Cache`]. Interested parties register a
//! handler that maps a change to queue keys; handlers run in the cache's own task, must not
//! block, and see each change after the cache holds it.
//!
//! Who owns which field is not kept: nobody here reads it, and it is larger than the object. What
//! else a cache leaves out ([`Cache::slim`]) must never be written back from a copy.

use futures::StreamExt;
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use kube::{Client, Resource, ResourceExt};
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Namespace (empty for cluster scope) and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Empty for cluster scope.
    pub namespace: String,
    /// Object name.
    pub name: String,
}

impl Key {
    /// Key of an object.
    pub fn of<K: Resource>(object: &K) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }
    }

    /// Key from its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}", self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// One change: `old` is absent on creation, `new` on deletion.
pub struct Change<'a, K> {
    /// Key of the object.
    pub key: &'a Key,
    /// Before.
    pub old: Option<&'a Arc<K>>,
    /// After.
    pub new: Option<&'a Arc<K>>,
}

type Handler<K> = Box<dyn Fn(&Change<'_, K>) + Send + Sync>;

struct Inner<K> {
    objects: RwLock<BTreeMap<Key, Arc<K>>>,
    handlers: RwLock<Vec<Handler<K>>>,
    ready: watch::Sender<bool>,
    slim: fn(&mut K),
}

/// Shared, watch-fed copy of one kind. Cheap to clone.
pub struct Cache<K>(Arc<Inner<K>>);

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self::holding(|_| {})
    }
}

impl<K> Cache<K> {
    fn holding(slim: fn(&mut K)) -> Self {
        Self(Arc::new(Inner {
            objects: RwLock::default(),
            handlers: RwLock::default(),
            ready: watch::Sender::new(false),
            slim,
        }))
    }
}

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// Starts a cache over all namespaces; it ends with `cancel`.
    pub fn start(client: &Client, cancel: CancellationToken) -> Self {
        Self::start_filtered(client, watcher::Config::default(), cancel)
    }

    /// Starts a cache over what a selector matches.
    pub fn start_filtered(
        client: &Client,
        config: watcher::Config,
        cancel: CancellationToken,
    ) -> Self {
        let cache = Self::default();
        cache.start_feeding(client, config, cancel);
        cache
    }

    /// An empty cache that keeps of each object what `slim` leaves.
    pub fn slim(slim: fn(&mut K)) -> Self {
        Self::holding(slim)
    }

    /// Feeds a cache that is empty yet, over all namespaces; it ends with `cancel`.
    pub fn feed_from(&self, client: &Client, cancel: CancellationToken) {
        self.start_feeding(client, watcher::Config::default(), cancel);
    }

    fn start_feeding(&self, client: &Client, config: watcher::Config, cancel: CancellationToken) {
        let feeding = self.clone();
        let api: Api<K> = Api::all(client.clone());
        let name = format!("cache {}", K::kind(&()));
        towpath_daemon::spawn(name, async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = feeding.feed(api, config.streaming_lists()) => {}
            }
        });
    }

    async fn feed(&self, api: Api<K>, config: watcher::Config) {
        let mut stream = Box::pin(watcher::watcher(api, config));
        let mut seen: Option<BTreeSet<Key>> = None;
        let mut failures = 0u32;
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) => {
                    failures = 0;
                    self.take(event, &mut seen);
                }
                Err(error) => {
                    failures += 1;
                    let wait = crate::queue::backoff(failures);
                    tracing::warn!(kind = %K::kind(&()), %error, ?wait, "watch interrupted");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    fn take(&self, event: Event<K>, seen: &mut Option<BTreeSet<Key>>) {
        match event {
            Event::Init => *seen = Some(BTreeSet::new()),
            Event::InitApply(object) => {
                if let Some(seen) = seen {
                    seen.insert(Key::of(&object));
                }
                self.put(object);
            }
            Event::InitDone => {
                let seen = seen.take().unwrap_or_default();
                let gone: Vec<Key> = self
                    .0
                    .objects
                    .read()
                    .keys()
                    .filter(|k| !seen.contains(*k))
                    .cloned()
                    .collect();
                gone.iter().for_each(|key| self.remove(key));
                self.0.ready.send_replace(true);
            }
            Event::Apply(object) => self.put(object),
            Event::Delete(object) => self.remove(&Key::of(&object)),
        }
    }

    fn put(&self, mut object: K) {
        let key = Key::of(&object);
        object.meta_mut().managed_fields = None;
        (self.0.slim)(&mut object);
        let new = Arc::new(object);
        let old = self.0.objects.write().insert(key.clone(), new.clone());
        self.tell(&Change {
            key: &key,
            old: old.as_ref(),
            new: Some(&new),
        });
    }

    fn remove(&self, key: &Key) {
        let old = self.0.objects.write().remove(key);
        if let Some(old) = &old {
            self.tell(&Change {
                key,
                old: Some(old),
                new: None,
            });
        }
    }

    fn tell(&self, change: &Change<'_, K>) {
        self.0
            .handlers
            .read()
            .iter()
            .for_each(|handler| handler(change));
    }

    /// Registers a handler; it is first called for every object already held.
    pub fn on_change(&self, handler: impl Fn(&Change<'_, K>) + Send + Sync + 'static) {
        let mut handlers = self.0.handlers.write();
        for (key, object) in self.0.objects.read().iter() {
            handler(&Change {
                key,
                old: None,
                new: Some(object),
            });
        }
        handlers.push(Box::new(handler));
    }

    /// The object, if there.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.0.objects.read().get(key).cloned()
    }

    /// All objects, in key order.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.0.objects.read().values().cloned().collect()
    }

    /// All objects of one namespace, in name order.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let from = Key::new(namespace, "");
        let objects = self.0.objects.read();
        objects
            .range(from..)
            .take_while(|(k, _)| k.namespace == namespace)
            .map(|(_, v)| v.clone())
            .collect()
    }

    /// Objects that a test accepts.
    pub fn filter(&self, test: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        self.0
            .objects
            .read()
            .values()
            .filter(|o| test(o))
            .cloned()
            .collect()
    }

    /// Waits until the first listing is complete.
    pub async fn ready(&self) {
        let mut ready = self.0.ready.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        let _ = ready.wait_for(|ready| *ready).await;
    }
}
