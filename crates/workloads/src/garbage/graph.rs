//! Who owns whom, over all kinds: metadata only.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::discovery::ApiResource;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// What is known of an object.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) resource: Arc<ApiResource>,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) version: String,
    pub(crate) owners: Vec<OwnerReference>,
    pub(crate) finalizers: Vec<String>,
    pub(crate) deleting: bool,
}

impl Item {
    /// From metadata as the API sent it; `None` without UID.
    pub(crate) fn of(resource: &Arc<ApiResource>, meta: ObjectMeta) -> Option<Self> {
        Some(Self {
            resource: resource.clone(),
            namespace: meta.namespace.unwrap_or_default(),
            name: meta.name.unwrap_or_default(),
            uid: meta.uid?,
            version: meta.resource_version.unwrap_or_default(),
            owners: meta.owner_references.unwrap_or_default(),
            finalizers: meta.finalizers.unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
        })
    }

    /// Being deleted, but only after its dependents.
    pub(crate) fn waits_for_dependents(&self) -> bool {
        self.deleting && self.finalizers.iter().any(|f| f == FOREGROUND)
    }

    /// Being deleted, and its dependents are to live on.
    pub(crate) fn lets_go(&self) -> bool {
        self.deleting && self.finalizers.iter().any(|f| f == ORPHAN)
    }

    fn blocks(&self, owner: &str) -> bool {
        self.owners
            .iter()
            .any(|r| r.uid == owner && r.block_owner_deletion == Some(true))
    }
}

/// All objects by UID.
#[derive(Default)]
pub(crate) struct Graph {
    items: HashMap<String, Item>,
    dependents: HashMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Takes an object in; answers the UIDs that need a look.
    pub(crate) fn put(&mut self, item: Item) -> Vec<String> {
        let uid = item.uid.clone();
        self.unlink(&uid);
        for owner in &item.owners {
            self.dependents
                .entry(owner.uid.clone())
                .or_default()
                .insert(uid.clone());
        }
        let owner_gone = item.owners.iter().any(|r| {
            self.items
                .get(&r.uid)
                .is_none_or(Item::waits_for_dependents)
        });
        let look = item.waits_for_dependents() || item.lets_go() || (owner_gone && !item.deleting);
        let mut wake = if look { vec![uid.clone()] } else { Vec::new() };
        if item.deleting || item.owners.is_empty() {
            wake.extend(self.waiting_owners(&item.owners));
        }
        let before = self.items.insert(uid.clone(), item);
        // A reference that was dropped may have been the last that blocked its owner.
        if let Some(before) = before {
            wake.extend(self.waiting_owners(&before.owners));
        }
        wake
    }

    /// Takes an object out; answers the UIDs that need a look: its dependents and owners that
    /// waited for it.
    pub(crate) fn remove(&mut self, uid: &str) -> (Option<Item>, Vec<String>) {
        self.unlink(uid);
        let Some(item) = self.items.remove(uid) else {
            return (None, Vec::new());
        };
        let mut wake = self.waiting_owners(&item.owners);
        wake.extend(self.dependents.get(uid).into_iter().flatten().cloned());
        (Some(item), wake)
    }

    fn unlink(&mut self, uid: &str) {
        let owners = self
            .items
            .get(uid)
            .map(|i| i.owners.clone())
            .unwrap_or_default();
        for owner in owners {
            if let Some(set) = self.dependents.get_mut(&owner.uid) {
                set.remove(uid);
                if set.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }

    fn waiting_owners(&self, owners: &[OwnerReference]) -> Vec<String> {
        let waits = |uid: &&String| self.items.get(*uid).is_some_and(Item::waits_for_dependents);
        owners
            .iter()
            .map(|r| &r.uid)
            .filter(waits)
            .cloned()
            .collect()
    }

    /// An object.
    pub(crate) fn get(&self, uid: &str) -> Option<&Item> {
        self.items.get(uid)
    }

    /// UIDs of all objects of a kind.
    pub(crate) fn of_kind(&self, resource: &ApiResource) -> BTreeSet<String> {
        self.items
            .values()
            .filter(|i| *i.resource == *resource)
            .map(|i| i.uid.clone())
            .collect()
    }

    /// All that refer to an object as owner.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<Item> {
        self.dependents
            .get(uid)
            .into_iter()
            .flatten()
            .filter_map(|d| self.items.get(d))
            .cloned()
            .collect()
    }

    /// Those dependents that keep their owner from going.
    pub(crate) fn blocking(&self, uid: &str) -> Vec<Item> {
        self.dependents(uid)
            .into_iter()
            .filter(|d| d.blocks(uid))
            .collect()
    }

    /// Whether an object waits for its dependents that itself depends on this one: each would
    /// wait for the other.
    pub(crate) fn is_waited_for_in_circle(&self, uid: &str) -> bool {
        self.dependents(uid).iter().any(Item::waits_for_dependents)
    }

    /// UIDs of objects with owners that are not known.
    pub(crate) fn strays(&self) -> Vec<String> {
        let stray = |i: &&Item| i.owners.iter().any(|r| !self.items.contains_key(&r.uid));
        self.items
            .values()
            .filter(stray)
            .map(|i| i.uid.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn item(uid: &str, owner: Option<(&str, bool)>, finalizer: Option<&str>) -> Item {
        let owners = owner.map(|(uid, block)| {
            json!([{"apiVersion": "v1", "kind": "X", "name": uid, "uid": uid, "blockOwnerDeletion": block}])
        });
        let meta = json!({
            "name": uid, "uid": uid, "ownerReferences": owners,
            "finalizers": finalizer.map(|f| vec![f]),
            "deletionTimestamp": finalizer.map(|_| "2026-01-01T00:00:00Z"),
        });
        let resource = ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&());
        Item::of(
            &Arc::new(resource),
            serde_json::from_value(meta).expect("meta"),
        )
        .expect("uid")
    }

    #[test]
    fn removing_an_owner_wakes_its_dependents() {
        let mut graph = Graph::default();
        assert!(graph.put(item("a", None, None)).is_empty());
        assert!(graph.put(item("b", Some(("a", false)), None)).is_empty());
        assert_eq!(graph.remove("a").1, ["b"]);
        assert_eq!(graph.strays(), ["b"]);
    }

    #[test]
    fn a_circle_of_owners_is_seen() {
        let mut graph = Graph::default();
        graph.put(item("a", Some(("c", true)), Some("foregroundDeletion")));
        graph.put(item("b", Some(("a", true)), None));
        graph.put(item("c", Some(("b", true)), None));
        assert!(graph.is_waited_for_in_circle("c"));
        assert!(!graph.is_waited_for_in_circle("b"));
    }

    #[test]
    fn an_object_that_names_an_unknown_owner_is_looked_at() {
        let mut graph = Graph::default();
        assert_eq!(graph.put(item("b", Some(("a", false)), None)), ["b"]);
        assert!(graph.put(item("a", None, None)).is_empty());
        assert!(graph.put(item("b", Some(("a", false)), None)).is_empty());
    }

    #[test]
    fn foreground_deletion_waits_for_blocking_dependents_only() {
        let mut graph = Graph::default();
        graph.put(item("a", None, None));
        graph.put(item("b", Some(("a", true)), None));
        graph.put(item("c", Some(("a", false)), None));
        assert_eq!(
            graph.put(item("a", None, Some("foregroundDeletion"))),
            ["a"]
        );
        assert_eq!(graph.blocking("a").len(), 1);
        assert_eq!(graph.dependents("a").len(), 2);
        assert_eq!(graph.remove("b").1, ["a"]);
        assert!(graph.blocking("a").is_empty());
        assert_eq!(
            graph.put(item("c", None, None)),
            ["a"],
            "a dropped reference wakes the owner"
        );
    }
}
