//! The tree of routes: which alerts go where, and how they are gathered.

use std::collections::{BTreeMap, BTreeSet};

use towpath_query::promql::Matcher;

use super::matcher::write_matchers;

/// A route with what it inherits. Times are in milliseconds.
#[derive(Clone, Debug)]
pub struct Route {
    /// What an alert must be.
    pub matchers: Vec<Matcher>,
    /// Whether routes beside this one are looked at too.
    pub go_on: bool,
    /// Who is told.
    pub receiver: String,
    /// Labels that alerts of a group share.
    pub group_by: BTreeSet<String>,
    /// Whether all labels are, so that every alert is on its own.
    pub group_by_all: bool,
    /// How long a new group waits for more alerts.
    pub group_wait_ms: i64,
    /// How long a group waits before it tells of changes.
    pub group_interval_ms: i64,
    /// How long it waits before it tells the same again.
    pub repeat_interval_ms: i64,
    /// Intervals at which nothing is sent.
    pub mute_time_intervals: Vec<String>,
    /// The only intervals at which something is sent, where there are any.
    pub active_time_intervals: Vec<String>,
    /// Routes below.
    pub routes: Vec<Route>,
    /// What names it and those above.
    pub key: String,
    /// Its place in the tree.
    pub id: String,
}

pub(super) fn pass(matchers: &[Matcher], labels: &BTreeMap<String, String>) -> bool {
    matchers
        .iter()
        .all(|m| m.matches(labels.get(&m.name).map_or("", String::as_str)))
}

impl Route {
    /// The routes an alert takes; none where this one is not for it.
    pub fn matching(&self, labels: &BTreeMap<String, String>) -> Vec<&Self> {
        if !pass(&self.matchers, labels) {
            return Vec::new();
        }
        let mut found = Vec::new();
        for route in &self.routes {
            let below = route.matching(labels);
            let end = !below.is_empty() && !route.go_on;
            found.extend(below);
            if end {
                break;
            }
        }
        if found.is_empty() {
            found.push(self);
        }
        found
    }

    /// The labels of an alert that its group has in common.
    pub fn group_labels(&self, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        labels
            .iter()
            .filter(|(name, _)| self.group_by_all || self.group_by.contains(*name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Gives it and those below their keys and places.
    pub(super) fn name(&mut self, above: Option<(&str, &str, usize)>) {
        let own = write_matchers(&self.matchers);
        (self.key, self.id) = match above {
            None => (own.clone(), own),
            Some((key, id, at)) => (format!("{key}/{own}"), format!("{id}/{own}/{at}")),
        };
        let (key, id) = (self.key.clone(), self.id.clone());
        for (at, route) in self.routes.iter_mut().enumerate() {
            route.name(Some((&key, &id, at)));
        }
    }

    /// This route and all below.
    pub fn walk(&self, visit: &mut dyn FnMut(&Self)) {
        visit(self);
        for route in &self.routes {
            route.walk(visit);
        }
    }

    /// The one at a place.
    pub(super) fn find(&self, id: &str) -> Option<&Self> {
        match self.id == id {
            true => Some(self),
            false => self.routes.iter().find_map(|route| route.find(id)),
        }
    }
}
