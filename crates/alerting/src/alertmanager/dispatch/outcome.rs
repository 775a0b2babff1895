//! How sending went, and what follows.

use std::collections::BTreeMap;

use super::flush::entry_of;
use super::{Attempts, Dispatcher, Place, Sending};

/// The first wait after a failure, and the longest, in milliseconds.
const RETRY_MS: (i64, i64) = (10_000, 300_000);

/// How sending went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived.
    Delivered,
    /// It may arrive another time; not before so many milliseconds have passed, if they are given.
    Later(Option<i64>),
    /// It will never arrive as it is.
    Refused,
}

/// The wait after so many failures.
fn wait(failed: u32) -> i64 {
    (RETRY_MS.0 << failed.saturating_sub(1).min(10)).min(RETRY_MS.1)
}

impl Dispatcher {
    /// Takes in how sending went.
    pub fn done(&mut self, id: u64, outcome: &Outcome, now: i64) {
        let found = self.groups.iter().find_map(|(key, group)| {
            let mut all = group.integrations.iter();
            all.find_map(|(integration, attempts)| {
                let sending = attempts.sending.as_ref()?;
                (sending.0 == id).then(|| (key.clone(), *integration))
            })
        });
        match found {
            Some((key, integration)) => self.done_group(&key, integration, outcome, now),
            None => self.done_digest(id, outcome, now),
        }
    }

    fn done_group(&mut self, key: &str, integration: usize, outcome: &Outcome, now: i64) {
        let config = self.config.clone();
        let Some(mut group) = self.groups.remove(key) else {
            return;
        };
        let Some(route) = config.route.find(&group.route) else {
            return;
        };
        let name = self.name_of(&route.receiver, integration);
        if let Some(attempts) = group.integrations.get_mut(&integration)
            && let Some((_, sending)) = attempts.sending.take()
            && let Some(name) = name
        {
            let place = (key.to_owned(), name.clone());
            match outcome {
                Outcome::Delivered => {
                    *attempts = Attempts::default();
                    self.note(place, &sending, now);
                    self.settle(key, &mut group, route, now);
                }
                Outcome::Later(after) => {
                    attempts.failed += 1;
                    let wait = wait(attempts.failed).max(after.unwrap_or(0));
                    attempts.retry_at = Some(now + wait);
                    self.pause(name, *after, now);
                }
                // It is tried again when the group is due, as upstream does.
                Outcome::Refused => {
                    *attempts = Attempts::default();
                    self.owed.remove(&place);
                }
            }
        }
        self.groups.insert(key.to_owned(), group);
    }

    /// Who asks for time gets it from all groups.
    fn pause(&mut self, name: String, after: Option<i64>, now: i64) {
        if let Some(after) = after.filter(|after| *after > 0) {
            let until = self.pauses.entry(name).or_default();
            *until = (*until).max(now + after);
        }
    }

    /// Notes what was told.
    fn note(&mut self, place: Place, sending: &Sending, now: i64) {
        if let Some(owed) = self.owed.get_mut(&place) {
            owed.retain(|id| !sending.firing.contains(id) && !sending.resolved.contains(id));
            if owed.is_empty() {
                self.owed.remove(&place);
            }
        }
        self.log.insert(place, entry_of(sending, now));
    }

    fn done_digest(&mut self, id: u64, outcome: &Outcome, now: i64) {
        let mut all = self.digests.iter();
        let found = all.find_map(|(to, digest)| {
            let sending = digest.sending.as_ref()?;
            (sending.0 == id).then(|| to.clone())
        });
        let Some(to) = found else { return };
        let Some(name) = self.name_of(&to.0, to.1) else {
            return;
        };
        let Some(digest) = self.digests.get_mut(&to) else {
            return;
        };
        let Some((_, tells)) = digest.sending.take() else {
            return;
        };
        match outcome {
            Outcome::Delivered => {
                digest.failed = 0;
                digest.retry_at = None;
                self.told_by_digest(&to, &name, tells, now);
            }
            Outcome::Later(after) => {
                digest.failed += 1;
                let wait = wait(digest.failed).max(after.unwrap_or(0));
                digest.retry_at = Some(now + wait);
                self.pause(name, *after, now);
            }
            Outcome::Refused => {
                digest.failed = 0;
                digest.retry_at = Some(now + RETRY_MS.1);
            }
        }
    }

    fn told_by_digest(
        &mut self,
        to: &(String, usize),
        name: &str,
        tells: BTreeMap<String, Sending>,
        now: i64,
    ) {
        let config = self.config.clone();
        for (key, sending) in tells {
            self.note((key.clone(), name.to_owned()), &sending, now);
            let digest = self.digests.get_mut(to);
            let Some(digest) = digest else { continue };
            // What a group had to say in the meantime is still to be told.
            let same = digest.held.get(&key).is_some_and(|h| h.said == sending);
            if !same {
                continue;
            }
            digest.held.remove(&key);
            let Some(mut group) = self.groups.remove(&key) else {
                continue;
            };
            if let Some(attempts) = group.integrations.get_mut(&to.1) {
                attempts.held = false;
            }
            if let Some(route) = config.route.find(&group.route) {
                self.settle(&key, &mut group, route, now);
            }
            self.groups.insert(key, group);
        }
    }
}
