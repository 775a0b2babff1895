//! Streams by number and by label.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use towpath_query::promql::{Labels, MatchOp, Matcher};

use super::head::Open;

/// A stream and its lines that are not in a segment.
pub(super) struct Entry {
    pub(super) labels: Labels,
    pub(super) open: Mutex<Open>,
}

/// All streams. A number is never used again while the store is open.
#[derive(Default)]
pub(super) struct Registry {
    by_labels: HashMap<Labels, u32>,
    entries: Vec<Arc<Entry>>,
    postings: HashMap<Box<str>, BTreeMap<Box<str>, Vec<u32>>>,
}

impl Registry {
    pub(super) fn find(&self, labels: &Labels) -> Option<u32> {
        self.by_labels.get(labels).copied()
    }

    pub(super) fn entry(&self, id: u32) -> Option<&Arc<Entry>> {
        self.entries.get(id as usize)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (u32, &Arc<Entry>)> {
        (0..).zip(&self.entries)
    }

    /// The number of a stream, made if there is none.
    pub(super) fn intern(&mut self, labels: &Labels) -> u32 {
        if let Some(id) = self.find(labels) {
            return id;
        }
        let id = self.entries.len() as u32;
        self.entries.push(Arc::new(Entry {
            labels: labels.clone(),
            open: Mutex::default(),
        }));
        self.by_labels.insert(labels.clone(), id);
        for (name, value) in labels.iter() {
            let values = self.postings.entry(name.into()).or_default();
            values.entry(value.into()).or_default().push(id);
        }
        id
    }

    /// The streams that pass all matchers, in order.
    pub(super) fn select(&self, matchers: &[Matcher]) -> BTreeSet<u32> {
        let mut kept: Option<BTreeSet<u32>> = None;
        for matcher in matchers.iter().filter(|matcher| !matcher.matches("")) {
            let found: BTreeSet<u32> = match self.postings.get(matcher.name.as_str()) {
                None => BTreeSet::new(),
                Some(values) if matcher.op == MatchOp::Equal => {
                    let list = values.get(matcher.value.as_str());
                    list.into_iter().flatten().copied().collect()
                }
                Some(values) => {
                    let passing = values.iter().filter(|(value, _)| matcher.matches(value));
                    passing.flat_map(|(_, list)| list).copied().collect()
                }
            };
            kept = Some(match kept {
                None => found,
                Some(kept) => kept.intersection(&found).copied().collect(),
            });
        }
        let mut kept = kept.unwrap_or_else(|| (0..self.entries.len() as u32).collect());
        let lax: Vec<&Matcher> = matchers.iter().filter(|m| m.matches("")).collect();
        if !lax.is_empty() {
            kept.retain(|id| {
                let labels = &self.entries[*id as usize].labels;
                lax.iter()
                    .all(|matcher| matcher.matches(labels.get(&matcher.name)))
            });
        }
        kept
    }
}
