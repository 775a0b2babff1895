//! Who wrote last what, among the last few thousand writes that did not come from this process.
//!
//! A writer is noted when its request is understood, before anything is written: who hears of the
//! change by a watch finds its author.

use super::policy::About;
use crate::components::is_component;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use towpath_kit::traits::{Author, Authors, Principal};

const REMEMBERED: usize = 4_096;

type Key = (String, String, String);

#[derive(Default)]
pub(crate) struct Recent(Mutex<Writes>);

#[derive(Default)]
struct Writes {
    last: HashMap<Key, Author>,
    order: VecDeque<Key>,
}

impl Recent {
    /// Notes a write that names its object.
    pub(super) fn note(&self, who: &Principal, agent: &str, about: &About, at: Duration) {
        let writes = matches!(
            about.verb.as_str(),
            "create" | "update" | "patch" | "delete"
        );
        if !writes || about.name.is_empty() || about.resource.is_empty() || is_component(who) {
            return;
        }
        let key = (
            about.resource.clone(),
            about.namespace.clone(),
            about.name.clone(),
        );
        let author = Author {
            name: who.name.clone(),
            agent: agent.chars().take(100).collect(),
            at,
        };
        let mut writes = self.0.lock();
        if writes.last.insert(key.clone(), author).is_none() {
            writes.order.push_back(key);
        }
        if writes.order.len() > REMEMBERED
            && let Some(oldest) = writes.order.pop_front()
        {
            writes.last.remove(&oldest);
        }
    }
}

impl Authors for Recent {
    fn last(&self, resource: &str, namespace: &str, name: &str) -> Option<Author> {
        let key = (resource.into(), namespace.into(), name.into());
        self.0.lock().last.get(&key).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_remembered_and_components_are_not() {
        let recent = Recent::default();
        let about = |name: &str| About {
            verb: "patch".into(),
            resource: "configmaps".into(),
            namespace: "shop".into(),
            name: name.into(),
            ..About::default()
        };
        let ann = Principal {
            name: "ann".into(),
            ..Principal::default()
        };
        let at = Duration::from_secs(7);
        recent.note(&ann, "kubectl/v1.36", &about("settings"), at);
        recent.note(&Principal::component("gitops"), "", &about("other"), at);
        let found = recent.last("configmaps", "shop", "settings");
        assert_eq!(found.map(|a| (a.name, a.at)), Some(("ann".into(), at)));
        assert_eq!(recent.last("configmaps", "shop", "other"), None);
        for number in 0..REMEMBERED {
            recent.note(&ann, "", &about(&number.to_string()), at);
        }
        assert_eq!(recent.last("configmaps", "shop", "settings"), None);
    }
}
