//! Who wrote last what, among the last few thousand writes that did not come from this process.
//!
//! A writer is noted when its request is understood, before anything is written: who hears of the
//! change by a watch finds its author. What a person changed by hand is theirs until it is deployed
//! again.

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
    /// Nobody, where a deployment came after.
    last: HashMap<Key, Option<Author>>,
    order: VecDeque<Key>,
}

impl Recent {
    /// Notes a write that names its object.
    pub(super) fn note(&self, who: &Principal, agent: &str, about: &About, at: Duration) {
        let writes = matches!(
            about.verb.as_str(),
            "create" | "update" | "patch" | "delete"
        );
        if !writes || about.name.is_empty() || about.resource.is_empty() {
            return;
        }
        let component = is_component(who);
        // Other components write what follows from the change that a person made.
        if component && !deploys(who) {
            return;
        }
        let key = (
            about.resource.clone(),
            about.namespace.clone(),
            about.name.clone(),
        );
        if component {
            if let Some(person) = self.0.lock().last.get_mut(&key) {
                *person = None;
            }
            return;
        }
        let author = Author {
            name: who.name.clone(),
            agent: agent.chars().take(100).collect(),
            at,
        };
        let mut writes = self.0.lock();
        if writes.last.insert(key.clone(), Some(author)).is_none() {
            writes.order.push_back(key);
        }
        if writes.order.len() > REMEMBERED
            && let Some(oldest) = writes.order.pop_front()
        {
            writes.last.remove(&oldest);
        }
    }
}

fn deploys(who: &Principal) -> bool {
    who.name == Principal::component("gitops").name
}

impl Authors for Recent {
    fn last(&self, resource: &str, namespace: &str, name: &str) -> Option<Author> {
        let key = (resource.into(), namespace.into(), name.into());
        self.0.lock().last.get(&key).cloned().flatten()
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
        // What follows from a change is still theirs, what is deployed over it is not.
        recent.note(
            &Principal::component("workloads"),
            "",
            &about("settings"),
            at,
        );
        assert!(recent.last("configmaps", "shop", "settings").is_some());
        recent.note(&Principal::component("gitops"), "", &about("settings"), at);
        assert_eq!(recent.last("configmaps", "shop", "settings"), None);
        recent.note(&ann, "kubectl/v1.36", &about("settings"), at);
        for number in 0..REMEMBERED {
            recent.note(&ann, "", &about(&number.to_string()), at);
        }
        assert_eq!(recent.last("configmaps", "shop", "settings"), None);
    }
}
