//! What a controller has written but not yet seen in its copies, so that it never makes or
//! deletes twice.

use crate::objects::uid;
use crate::{pods, waking};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use towpath_kit::cache::{Change, Key};

/// After this long a write that was not seen counts as lost.
const FORGET: Duration = Duration::from_secs(300);

#[derive(Default)]
struct Pending {
    created: BTreeSet<String>,
    deleted: BTreeSet<String>,
    since: Option<Instant>,
}

/// Per owner: names of objects created and UIDs of objects deleted that the cache lags behind.
#[derive(Default)]
pub(crate) struct Expectations(Mutex<BTreeMap<Key, Pending>>);

impl Expectations {
    /// About to create an object of this name.
    pub(crate) fn will_create(&self, owner: &Key, name: &str, now: Instant) {
        let mut all = self.0.lock();
        let pending = all.entry(owner.clone()).or_default();
        pending.created.insert(name.to_string());
        pending.since = Some(now);
    }

    /// About to delete the object with this UID.
    pub(crate) fn will_delete(&self, owner: &Key, uid: &str, now: Instant) {
        let mut all = self.0.lock();
        let pending = all.entry(owner.clone()).or_default();
        pending.deleted.insert(uid.to_string());
        pending.since = Some(now);
    }

    /// The object was seen, or was not created after all.
    pub(crate) fn saw_created(&self, owner: &Key, name: &str) {
        self.settle(owner, |pending| pending.created.remove(name));
    }

    /// The object is gone or going, or was not deleted after all.
    pub(crate) fn saw_deleted(&self, owner: &Key, uid: &str) {
        self.settle(owner, |pending| pending.deleted.remove(uid));
    }

    /// A pod changed: what was written of it has come back. Answers the controllers of `kind` that
    /// it had and has.
    pub(crate) fn saw(&self, change: &Change<'_, Pod>, kind: &str) -> Vec<Key> {
        let going = change.new.is_none_or(|pod| pods::is_deleting(pod));
        let owners: Vec<Key> = waking::owners(change, kind).collect();
        for owner in &owners {
            self.saw_created(owner, &change.key.name);
            let states = [change.old, change.new].into_iter().flatten();
            for pod in states.filter(|_| going) {
                self.saw_deleted(owner, uid(&pod.metadata));
            }
        }
        owners
    }

    fn settle(&self, owner: &Key, change: impl FnOnce(&mut Pending) -> bool) {
        let mut all = self.0.lock();
        if let Some(pending) = all.get_mut(owner) {
            change(pending);
            if pending.created.is_empty() && pending.deleted.is_empty() {
                all.remove(owner);
            }
        }
    }

    /// The owner is gone.
    pub(crate) fn forget(&self, owner: &Key) {
        self.0.lock().remove(owner);
    }

    /// Whether everything written was seen, or was so long ago that it no longer counts.
    pub(crate) fn met(&self, owner: &Key, now: Instant) -> bool {
        let mut all = self.0.lock();
        match all.get(owner) {
            None => true,
            Some(pending)
                if pending
                    .since
                    .is_some_and(|since| now.duration_since(since) < FORGET) =>
            {
                false
            }
            Some(_) => {
                all.remove(owner);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_must_be_seen_or_time_must_pass() {
        let expectations = Expectations::default();
        let (owner, start) = (Key::new("n", "o"), Instant::now());
        expectations.will_create(&owner, "a", start);
        expectations.will_delete(&owner, "u", start);
        assert!(!expectations.met(&owner, start));
        expectations.saw_created(&owner, "a");
        assert!(!expectations.met(&owner, start));
        expectations.saw_deleted(&owner, "u");
        assert!(expectations.met(&owner, start));
        expectations.will_create(&owner, "b", start);
        assert!(expectations.met(&owner, start + FORGET));
    }
}
