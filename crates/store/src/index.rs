//! The published state: a persistent map per resource. A clone is a consistent view for as
//! long as it is held; dropping it is all the compaction there is.

use crate::rec::Rec;
use imbl::{HashMap, OrdMap};
use std::ops::Bound;
use std::sync::Arc;

/// Objects of one resource in key order.
pub type Table = OrdMap<Arc<str>, Arc<Rec>>;

/// All objects at one revision.
#[derive(Clone, Default)]
pub struct Snapshot {
    pub(crate) revision: u64,
    pub(crate) tables: HashMap<Arc<str>, Table>,
}

impl Snapshot {
    /// Revision of the last write it holds.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// One object.
    pub fn get(&self, resource: &str, key: &str) -> Option<&Arc<Rec>> {
        self.tables.get(resource)?.get(key)
    }

    /// Objects of a resource; a cheap clone, comparable with `ptr_eq` to see whether anything
    /// has changed.
    pub fn table(&self, resource: &str) -> Table {
        self.tables.get(resource).cloned().unwrap_or_default()
    }

    /// How many objects a resource has.
    pub fn count(&self, resource: &str) -> usize {
        self.tables.get(resource).map_or(0, OrdMap::len)
    }

    /// Resources that have objects.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<str>> {
        self.tables
            .iter()
            .filter(|(_, table)| !table.is_empty())
            .map(|(name, _)| name)
    }

    /// Objects of a namespace (of all where empty), in key order, after a key where given.
    pub fn range<'a>(
        &'a self,
        resource: &str,
        namespace: &str,
        after: Option<&str>,
    ) -> impl Iterator<Item = &'a Arc<Rec>> + use<'a> {
        let prefix = if namespace.is_empty() {
            String::new()
        } else {
            format!("{namespace}/")
        };
        let from: Bound<String> = match after {
            Some(after) if after >= prefix.as_str() => Bound::Excluded(after.to_string()),
            _ => Bound::Included(prefix.clone()),
        };
        let table = self.tables.get(resource);
        table
            .map(|table| {
                table.range::<_, str>((from.as_ref().map(String::as_str), Bound::Unbounded))
            })
            .into_iter()
            .flatten()
            .map(|(_, rec)| rec)
            .take_while(move |rec| rec.key.starts_with(&prefix))
    }

    pub(crate) fn put(&mut self, resource: &Arc<str>, rec: Arc<Rec>) {
        self.tables
            .entry(resource.clone())
            .or_default()
            .insert(rec.key.clone(), rec);
    }

    pub(crate) fn remove(&mut self, resource: &str, key: &str) {
        if let Some(table) = self.tables.get_mut(resource) {
            table.remove(key);
        }
    }
}
