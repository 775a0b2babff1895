//! Garbage collection: dependents go when their owners are gone, over every kind the API
//! serves, custom ones included.
//!
//! One metadata watch per kind feeds a graph. Nothing is deleted on the graph's word alone: an
//! owner that seems gone is asked for at the API, and deletes carry UID and version. Background,
//! foreground and orphan deletion follow the finalizers that the API sets.

mod graph;

use crate::context::{self, Context};
use crate::served_kinds::{Definitions, Served, definitions, discover, registrations};
use crate::{Error, time};
use futures::StreamExt;
use graph::{Graph, Item};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::discovery::ApiResource;
use kube::runtime::watcher::{self, Event};
use parking_lot::{Mutex, RwLock};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use towpath_kit::cache::Key;
use towpath_kit::controller::Next;
use towpath_kit::queue::Queue;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// What is served lags behind a definition that came or went; then it is read again.
const SETTLING: Duration = Duration::from_secs(1);
/// An owner that exists but was not seen yet is asked for again after this.
const UNSEEN: Duration = Duration::from_secs(20);

struct Collector {
    context: Arc<Context>,
    definitions: Definitions,
    graph: Mutex<Graph>,
    served: RwLock<Arc<Vec<Served>>>,
    watches: Mutex<BTreeMap<String, CancellationToken>>,
    /// Watches whose first listing is not complete.
    unready: watch::Sender<usize>,
    queue: Queue<Key>,
    /// Woken when an object leaves a namespace that is ending.
    namespaces: Queue<Key>,
    /// Woken when an object leaves any.
    left: Queue<Key>,
    cancel: CancellationToken,
}

/// Runs until `cancel`; wakes `left` with its namespace whenever an object leaves one, and
/// `namespaces` where that is ending.
pub(crate) async fn run(
    context: Arc<Context>,
    namespaces: Queue<Key>,
    left: Queue<Key>,
    cancel: CancellationToken,
) {
    let definitions: Definitions = definitions(&context.client, cancel.clone());
    let collector = Arc::new(Collector {
        definitions: definitions.clone(),
        graph: Mutex::default(),
        served: RwLock::default(),
        watches: Mutex::default(),
        unready: watch::Sender::new(1),
        queue: Queue::default(),
        namespaces,
        left,
        cancel: cancel.clone(),
        context: context.clone(),
    });
    let kinds: Queue<Key> = Queue::default();
    kinds.add(Key::default());
    let q = kinds.clone();
    definitions.on_change(move |_| {
        q.add(Key::default());
        q.add_after(Key::default(), SETTLING);
    });
    // Kinds of other servers come and go with their registrations, and as these answer.
    let registrations = registrations(&context.client, cancel.clone());
    let q = kinds.clone();
    registrations.on_change(move |_| q.add_after(Key::default(), SETTLING));
    let watching = context::run(
        "garbage kinds",
        kinds,
        1,
        collector.clone(),
        cancel.clone(),
        |c, _| async move { c.rewatch().await },
    );
    let collecting = async {
        let mut unready = collector.unready.subscribe();
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = unready.wait_for(|n| *n == 0) => {}
        }
        let queue = collector.queue.clone();
        context::run(
            "garbage",
            queue,
            2,
            collector.clone(),
            cancel.clone(),
            |c, key| async move { c.collect(&key.name).await },
        )
        .await;
    };
    tokio::join!(watching, collecting);
}

fn id(resource: &ApiResource) -> String {
    format!("{}/{}", resource.api_version, resource.plural)
}

fn key(uid: String) -> Key {
    Key::new("", uid)
}

impl Collector {
    // Watches every kind that is served now and no other.
    async fn rewatch(self: &Arc<Self>) -> Result<Next, Error> {
        let served = discover(&self.context.client, false).await?;
        let ids: BTreeSet<String> = served.iter().map(|s| id(&s.resource)).collect();
        *self.served.write() = served.clone();
        let mut watches = self.watches.lock();
        watches.retain(|id, cancel| {
            let keep = ids.contains(id);
            if !keep {
                cancel.cancel();
            }
            keep
        });
        let first = *self.unready.borrow() > 0 && watches.is_empty();
        for kind in served.iter() {
            let id = id(&kind.resource);
            if watches.contains_key(&id) {
                continue;
            }
            let cancel = self.cancel.child_token();
            watches.insert(id.clone(), cancel.clone());
            if first {
                self.unready.send_modify(|n| *n += 1);
            }
            let (collector, resource) = (self.clone(), Arc::new(kind.resource.clone()));
            towpath_daemon::spawn(format!("garbage {id}"), async move {
                tokio::select! {
                    () = cancel.cancelled() => {}
                    () = collector.feed(&resource, first) => {}
                }
                let gone = collector.graph.lock().of_kind(&resource);
                gone.iter().for_each(|uid| collector.removed(uid));
            });
        }
        drop(watches);
        if first {
            // The one that stood for the first discovery itself.
            self.unready.send_modify(|n| *n -= 1);
        }
        // Owners of kinds that were not served before may be found now.
        self.graph
            .lock()
            .strays()
            .into_iter()
            .for_each(|uid| self.queue.add(key(uid)));
        if self.is_behind(&served) {
            return Ok(Next::After(SETTLING));
        }
        Ok(Next::Wait)
    }

    // Whether a definition of the last minute is not served yet.
    fn is_behind(&self, served: &[Served]) -> bool {
        let now = self.context.now();
        self.definitions.all().iter().any(|definition| {
            let meta = &definition.metadata;
            let young = meta
                .creation_timestamp
                .as_ref()
                .is_some_and(|t| time::left(t, Duration::from_secs(60), now).is_some());
            let name = meta.name.as_deref().unwrap_or_default();
            let is = |s: &Served| {
                name.strip_prefix(&s.resource.plural) == Some(&format!(".{}", s.resource.group))
            };
            young && meta.deletion_timestamp.is_none() && !served.iter().any(is)
        })
    }

    async fn feed(&self, resource: &Arc<ApiResource>, counts: bool) {
        let api: Api<PartialObjectMeta<DynamicObject>> =
            Api::all_with(self.context.client.clone(), resource.as_ref());
        let mut stream = Box::pin(watcher::watcher(
            api,
            watcher::Config::default().streaming_lists(),
        ));
        let mut seen: Option<BTreeSet<String>> = None;
        let (mut failures, mut counts) = (0u32, counts);
        while let Some(event) = stream.next().await {
            match event {
                Ok(Event::Init) => seen = Some(BTreeSet::new()),
                Ok(Event::InitApply(object)) => {
                    if let (Some(seen), Some(uid)) = (&mut seen, &object.metadata.uid) {
                        seen.insert(uid.clone());
                    }
                    self.put(resource, object);
                }
                Ok(Event::InitDone) => {
                    failures = 0;
                    let kept = seen.take().unwrap_or_default();
                    let gone = self.graph.lock().of_kind(resource);
                    gone.difference(&kept).for_each(|uid| self.removed(uid));
                    if std::mem::take(&mut counts) {
                        self.unready.send_modify(|n| *n = n.saturating_sub(1));
                    }
                }
                Ok(Event::Apply(object)) => self.put(resource, object),
                Ok(Event::Delete(object)) => {
                    if let Some(uid) = &object.metadata.uid {
                        self.removed(uid);
                    }
                }
                Err(error) => {
                    failures += 1;
                    // One kind that cannot be watched must not stop the others.
                    if failures == 3 && std::mem::take(&mut counts) {
                        self.unready.send_modify(|n| *n = n.saturating_sub(1));
                    }
                    let wait = towpath_kit::queue::backoff(failures);
                    tracing::debug!(kind = id(resource), %error, ?wait, "metadata watch interrupted");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    fn put(&self, resource: &Arc<ApiResource>, object: PartialObjectMeta<DynamicObject>) {
        if let Some(item) = Item::of(resource, object.metadata) {
            let wake = self.graph.lock().put(item);
            wake.into_iter().for_each(|uid| self.queue.add(key(uid)));
        }
    }

    fn removed(&self, uid: &str) {
        let (item, wake) = self.graph.lock().remove(uid);
        wake.into_iter().for_each(|uid| self.queue.add(key(uid)));
        if let Some(item) = item.filter(|i| !i.namespace.is_empty()) {
            let namespace = Key::new("", item.namespace);
            self.left.add(namespace.clone());
            if self
                .context
                .caches
                .namespaces
                .get(&namespace)
                .is_some_and(|n| n.metadata.deletion_timestamp.is_some())
            {
                self.namespaces.add(namespace);
            }
        }
    }

    async fn collect(&self, uid: &str) -> Result<Next, Error> {
        let Some(item) = self.graph.lock().get(uid).cloned() else {
            return Ok(Next::Wait);
        };
        if item.waits_for_dependents() {
            return self.after_dependents(&item).await;
        }
        if item.lets_go() {
            return self.orphan(&item).await;
        }
        if item.deleting || item.owners.is_empty() {
            return Ok(Next::Wait);
        }
        self.judge(&item).await
    }

    async fn after_dependents(&self, item: &Item) -> Result<Next, Error> {
        let (blocking, all) = {
            let graph = self.graph.lock();
            (graph.blocking(&item.uid), graph.dependents(&item.uid))
        };
        if blocking.is_empty() {
            self.drop_finalizer(item, FOREGROUND).await?;
        }
        all.into_iter()
            .filter(|d| !d.deleting)
            .for_each(|d| self.queue.add(key(d.uid)));
        Ok(Next::Wait)
    }

    async fn orphan(&self, item: &Item) -> Result<Next, Error> {
        let dependents = self.graph.lock().dependents(&item.uid);
        for dependent in dependents {
            let kept = dependent
                .owners
                .iter()
                .filter(|r| r.uid != item.uid)
                .cloned()
                .collect();
            self.set_owners(&dependent, kept).await?;
        }
        self.drop_finalizer(item, ORPHAN).await?;
        Ok(Next::Wait)
    }

    // Owners that live, that wait for this object to go, and that are gone decide together.
    async fn judge(&self, item: &Item) -> Result<Next, Error> {
        let (mut live, mut waiting) = (Vec::new(), Vec::new());
        let mut next = Next::Wait;
        for reference in &item.owners {
            let known = self.graph.lock().get(&reference.uid).cloned();
            match known.filter(|o| o.namespace.is_empty() || o.namespace == item.namespace) {
                Some(owner) if owner.waits_for_dependents() => waiting.push(reference.clone()),
                Some(_) => live.push(reference.clone()),
                None => match self.exists(item, reference).await? {
                    Some(true) => {
                        live.push(reference.clone());
                        // Its end would not be noticed before it was seen itself.
                        if self.is_watched(reference) {
                            next = Next::After(UNSEEN);
                        }
                    }
                    Some(false) => {}
                    // Cannot be known now; a change of the served kinds brings it back.
                    None => return Ok(Next::Wait),
                },
            }
        }
        if !live.is_empty() {
            if live.len() != item.owners.len() {
                self.set_owners(item, live).await?;
            }
            return Ok(next);
        }
        let (has_dependents, in_circle) = {
            let graph = self.graph.lock();
            let has_dependents = !graph.dependents(&item.uid).is_empty();
            (has_dependents, graph.is_waited_for_in_circle(&item.uid))
        };
        let blocks = |owner: &OwnerReference| owner.block_owner_deletion == Some(true);
        if !waiting.is_empty() && in_circle && item.owners.iter().any(blocks) {
            // It lets its owners go first; the change brings it back here.
            let mut owners = item.owners.clone();
            for owner in &mut owners {
                owner.block_owner_deletion = Some(false);
            }
            self.set_owners(item, owners).await?;
            return Ok(Next::Wait);
        }
        let params = if !waiting.is_empty() && has_dependents {
            DeleteParams::foreground()
        } else if item.finalizers.iter().any(|f| f == ORPHAN) {
            DeleteParams::orphan()
        } else if item.finalizers.iter().any(|f| f == FOREGROUND) {
            DeleteParams::foreground()
        } else {
            DeleteParams::background()
        };
        let preconditions = Preconditions {
            uid: Some(item.uid.clone()),
            resource_version: Some(item.version.clone()),
        };
        let result = self
            .api(item)
            .delete(&item.name, &params.preconditions(preconditions))
            .await;
        match result.map(drop).map_err(failed("delete", item)) {
            // A newer version is on its way here and will be looked at.
            Err(error) if error.is_not_found() => Ok(Next::Wait),
            Err(error) => Err(error),
            Ok(()) => Ok(Next::Wait),
        }
    }

    // Asks the API itself. `None` where the owner's kind is not served.
    async fn exists(&self, item: &Item, owner: &OwnerReference) -> Result<Option<bool>, Error> {
        let served = self.served.read().clone();
        let kind = served
            .iter()
            .find(|s| s.resource.api_version == owner.api_version && s.resource.kind == owner.kind);
        let (resource, namespaced) = match kind {
            Some(kind) => (kind.resource.clone(), kind.namespaced),
            None => {
                let Some(found) = self.other_version(&served, owner) else {
                    return Ok(None);
                };
                found
            }
        };
        if namespaced && item.namespace.is_empty() {
            // Not allowed; such a reference is kept and does nothing.
            return Ok(Some(true));
        }
        let api: Api<PartialObjectMeta<DynamicObject>> = if namespaced {
            Api::namespaced_with(self.context.client.clone(), &item.namespace, &resource)
        } else {
            Api::all_with(self.context.client.clone(), &resource)
        };
        let found = api
            .get_opt(&owner.name)
            .await
            .map_err(failed("get owner of", item))?;
        Ok(Some(found.is_some_and(|f| {
            f.metadata.uid.as_deref() == Some(owner.uid.as_str())
        })))
    }

    fn is_watched(&self, owner: &OwnerReference) -> bool {
        let served = self.served.read().clone();
        self.other_version(&served, owner).is_some()
    }

    // The same kind in the version that is watched.
    fn other_version(
        &self,
        served: &[Served],
        owner: &OwnerReference,
    ) -> Option<(ApiResource, bool)> {
        let group = owner
            .api_version
            .split_once('/')
            .map_or("", |(group, _)| group);
        let found = served
            .iter()
            .find(|s| s.resource.group == group && s.resource.kind == owner.kind)?;
        Some((found.resource.clone(), found.namespaced))
    }

    fn api(&self, item: &Item) -> Api<DynamicObject> {
        let client = self.context.client.clone();
        if item.namespace.is_empty() {
            Api::all_with(client, item.resource.as_ref())
        } else {
            Api::namespaced_with(client, &item.namespace, item.resource.as_ref())
        }
    }

    async fn set_owners(&self, item: &Item, owners: Vec<OwnerReference>) -> Result<(), Error> {
        self.patch(item, json!({"ownerReferences": owners})).await
    }

    async fn drop_finalizer(&self, item: &Item, finalizer: &str) -> Result<(), Error> {
        let kept: Vec<&String> = item.finalizers.iter().filter(|f| *f != finalizer).collect();
        self.patch(item, json!({"finalizers": kept})).await
    }

    async fn patch(&self, item: &Item, mut metadata: serde_json::Value) -> Result<(), Error> {
        metadata["uid"] = json!(item.uid);
        metadata["resourceVersion"] = json!(item.version);
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let result = self
            .api(item)
            .patch_metadata(&item.name, &PatchParams::default(), &patch)
            .await;
        match result.map(drop).map_err(failed("patch", item)) {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }
}

fn failed(verb: &'static str, item: &Item) -> impl FnOnce(kube::Error) -> Error + use<> {
    let (kind, name) = (
        item.resource.kind.clone(),
        format!("{}/{}", item.namespace, item.name),
    );
    move |source| Error::Request {
        verb,
        kind,
        name,
        source: Box::new(source),
    }
}
