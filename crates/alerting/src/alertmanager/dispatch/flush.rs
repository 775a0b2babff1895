//! What is to be sent at a time.

use std::collections::{BTreeMap, BTreeSet};

use super::throttle::{Bucket, Digest, Held};
use super::{Alert, Attempts, Cause, Dispatcher, Event, Group, Place, Send, Sending, What};
use crate::alertmanager::alert::fingerprint;
use crate::alertmanager::log::{Entry, needs_update};
use crate::alertmanager::message::Message;
use crate::alertmanager::payload::hash;
use crate::alertmanager::receivers::Integration;
use crate::alertmanager::route::Route;

/// How long an alert that is over waits to be told, in milliseconds.
const LATE_MS: i64 = 24 * 3_600_000;

/// What becomes of what a group has to say.
enum Step {
    /// There is nothing to say.
    Nothing,
    /// It goes.
    Go(Box<Send>, Sending),
    /// It waits for a digest.
    Held,
    /// It waits for a time.
    Wait(i64),
}

fn ids(alerts: &[(Alert, bool)], wanted: bool) -> BTreeSet<u64> {
    let some = alerts.iter().filter(|(_, firing)| *firing == wanted);
    some.map(|(alert, _)| fingerprint(&alert.labels)).collect()
}

impl Dispatcher {
    /// What is to be sent at a time.
    pub fn tick(&mut self, now: i64) -> Vec<Send> {
        self.forget(now);
        let firing = self.alerts.values().filter(|alert| !alert.resolved_at(now));
        self.silences.watch(firing.map(|alert| &alert.labels), now);
        let mut out = Vec::new();
        let keys: Vec<String> = self.groups.keys().cloned().collect();
        for key in keys {
            self.flush(&key, now, &mut out);
        }
        self.groups.retain(|_, group| !group.alerts.is_empty());
        self.flush_digests(now, &mut out);
        out
    }

    fn flush(&mut self, key: &str, now: i64, out: &mut Vec<Send>) {
        let config = self.config.clone();
        let Some(mut group) = self.groups.remove(key) else {
            return;
        };
        let Some(route) = config.route.find(&group.route) else {
            return;
        };
        let due = group.due <= now;
        if due {
            group.flushed = true;
            group.due = now + route.group_interval_ms;
        }
        let retried = |a: &Attempts| a.retry_at.is_some_and(|at| at <= now);
        if due || group.integrations.values().any(retried) {
            let told = self.told(key, &mut group, route, now);
            let integrations = config
                .receiver(&route.receiver)
                .map_or(&[][..], |r| &r.integrations[..]);
            for (at, of) in integrations.iter().enumerate() {
                let attempts = group.integrations.entry(at).or_default();
                // A retry waits for its time, even if the group is due.
                let wanted = match attempts.retry_at {
                    Some(at) => at <= now,
                    None => due,
                };
                if !wanted || attempts.sending.is_some() {
                    continue;
                }
                let step = self.step(key, &group, route, (at, of), &told, now);
                let attempts = group.integrations.entry(at).or_default();
                match step {
                    Step::Nothing => {
                        if attempts.held {
                            self.release(&(route.receiver.clone(), at), key);
                        }
                        *attempts = Attempts::default();
                    }
                    Step::Go(send, sending) => {
                        attempts.sending = Some((send.id, sending));
                        attempts.retry_at = None;
                        out.push(*send);
                    }
                    Step::Held => {
                        attempts.held = true;
                        attempts.retry_at = None;
                    }
                    Step::Wait(until) => attempts.retry_at = Some(until),
                }
            }
            self.settle(key, &mut group, route, now);
        }
        self.groups.insert(key.to_owned(), group);
    }

    fn step(
        &mut self,
        key: &str,
        group: &Group,
        route: &Route,
        (at, of): (usize, &Integration),
        told: &[(Alert, bool)],
        now: i64,
    ) -> Step {
        if told.is_empty() {
            return Step::Nothing;
        }
        let sending = Sending {
            firing: ids(told, true),
            resolved: ids(told, false),
        };
        let name = format!("{}/{}", route.receiver, of.name());
        let place = (key.to_owned(), name.clone());
        let entry = self.log.get(&place);
        let owed = self.owed.get(&place);
        let late = |id: &u64| owed.is_some_and(|owed| owed.contains(id));
        let repeat = route.repeat_interval_ms;
        let (firing, resolved) = (&sending.firing, &sending.resolved);
        if !needs_update(entry, firing, resolved, of.send_resolved, repeat, now)
            && !resolved.iter().any(late)
        {
            return Step::Nothing;
        }
        let mut alerts = told.to_vec();
        if !of.send_resolved {
            // Who never heard that it began hears that it is over.
            alerts.retain(|(alert, firing)| *firing || late(&fingerprint(&alert.labels)));
            if alerts.is_empty() {
                // That all is over is noted, and nothing is sent.
                self.log.insert(place, entry_of(&sending, now));
                return Step::Nothing;
            }
        }
        let before = entry.map_or(0, |entry| entry.at);
        let facts = format!(
            "{key}\n{name}\n{:?}{:?}{before}",
            sending.firing, sending.resolved
        );
        self.owed.entry(place).or_default().extend(&sending.firing);
        if let Some(until) = self.pauses.get(&name).filter(|until| **until > now) {
            return Step::Wait(*until);
        }
        let failed = group.integrations.get(&at).map_or(0, |a| a.failed);
        // A message that had its token keeps it.
        if failed == 0 && !self.passes(&route.receiver, at, &name, &alerts, now) {
            self.hold(key, route, (at, &name), &alerts, sending, now);
            return Step::Held;
        }
        let to_digest = (route.receiver.clone(), at);
        self.release(&to_digest, key);
        let message = Message {
            receiver: route.receiver.clone(),
            group_key: key.to_owned(),
            group_labels: group.labels.clone(),
            alerts,
            external_url: self.external_url.clone(),
            now,
            id: hash(&facts),
        };
        Step::Go(Box::new(self.send(message, at, failed)), sending)
    }

    fn send(&mut self, message: Message, integration: usize, attempt: u32) -> Send {
        self.sent += 1;
        Send {
            id: self.sent,
            receiver: message.receiver.clone(),
            integration,
            idempotency_key: message.id.clone(),
            message,
            attempt,
        }
    }

    /// Whether the throttle of a receiver lets a message pass.
    fn passes(
        &mut self,
        receiver: &str,
        at: usize,
        name: &str,
        alerts: &[(Alert, bool)],
        now: i64,
    ) -> bool {
        let Some(throttle) = self.config.throttles.get(receiver) else {
            return true;
        };
        if throttle.lets_pass(alerts) {
            return true;
        }
        // What was held back comes first.
        let digest = self.digests.get(&(receiver.to_owned(), at));
        if digest.is_some_and(|digest| !digest.held.is_empty()) {
            return false;
        }
        let bucket = self
            .buckets
            .entry(name.to_owned())
            .or_insert_with(|| Bucket::full(throttle, now));
        bucket.take(throttle, now)
    }

    /// Keeps what a group says for a digest.
    fn hold(
        &mut self,
        key: &str,
        route: &Route,
        (at, name): (usize, &str),
        alerts: &[(Alert, bool)],
        said: Sending,
        now: i64,
    ) {
        let digest = self
            .digests
            .entry((route.receiver.clone(), at))
            .or_default();
        let known = digest.held.get(key);
        let since = known.map_or(now, |held| held.since);
        let news: Vec<&Alert> = alerts
            .iter()
            .filter(|(alert, firing)| {
                let id = fingerprint(&alert.labels);
                *firing && !known.is_some_and(|held| held.said.firing.contains(&id))
            })
            .map(|(alert, _)| alert)
            .collect();
        for alert in news {
            self.events.push(Event {
                at: now,
                fingerprint: fingerprint(&alert.labels),
                labels: alert.labels.clone(),
                what: What::Suppressed {
                    receiver: route.receiver.clone(),
                    group_key: key.to_owned(),
                    by: vec![Cause::Throttle(name.to_owned())],
                },
            });
        }
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for (alert, _) in alerts {
            let name = alert.labels.get("alertname").map_or("alert", |n| n);
            *names.entry(name.to_owned()).or_default() += 1;
        }
        let held = Held { said, names, since };
        digest.held.insert(key.to_owned(), held);
    }

    /// Takes what a group says out of a digest.
    pub(super) fn release(&mut self, to: &(String, usize), key: &str) {
        if let Some(digest) = self.digests.get_mut(to) {
            digest.held.remove(key);
        }
    }

    /// When a digest may go.
    pub(super) fn digest_due(&self, (receiver, at): &(String, usize), digest: &Digest) -> i64 {
        let name = self.name_of(receiver, *at);
        let throttle = self.config.throttles.get(receiver);
        let bucket = name.as_ref().and_then(|name| self.buckets.get(name));
        let token = match (throttle, bucket) {
            // A retry has its token.
            (Some(throttle), Some(bucket)) if digest.failed == 0 => bucket.ready(throttle),
            _ => i64::MIN,
        };
        let pause = name.and_then(|name| self.pauses.get(&name).copied());
        let retry = digest.retry_at.unwrap_or(i64::MIN);
        token.max(pause.unwrap_or(i64::MIN)).max(retry)
    }

    pub(super) fn name_of(&self, receiver: &str, at: usize) -> Option<String> {
        let of = self.config.receiver(receiver)?.integrations.get(at)?;
        Some(format!("{receiver}/{}", of.name()))
    }

    fn flush_digests(&mut self, now: i64, out: &mut Vec<Send>) {
        let groups = &self.groups;
        for digest in self.digests.values_mut() {
            digest.held.retain(|key, _| groups.contains_key(key));
        }
        self.digests
            .retain(|_, digest| digest.sending.is_some() || !digest.held.is_empty());
        let due: Vec<(String, usize)> = self
            .digests
            .iter()
            .filter(|(to, digest)| {
                let ready = digest.sending.is_none() && !digest.held.is_empty();
                ready && self.digest_due(to, digest) <= now
            })
            .map(|(to, _)| to.clone())
            .collect();
        for to in due {
            let name = self.name_of(&to.0, to.1);
            let Some(digest) = self.digests.get_mut(&to) else {
                continue;
            };
            if digest.failed == 0
                && let Some(throttle) = self.config.throttles.get(&to.0)
                && let Some(bucket) = name.as_ref().and_then(|name| self.buckets.get_mut(name))
            {
                bucket.take(throttle, now);
            }
            let (alert, firing) = digest.alert(&to.0, &self.external_url, now);
            let tells: BTreeMap<String, Sending> = digest
                .held
                .iter()
                .map(|(key, held)| (key.clone(), held.said.clone()))
                .collect();
            let attempt = digest.failed;
            let group_labels = alert.labels.clone();
            let message = Message {
                receiver: to.0.clone(),
                group_key: format!("digest:{}", name.unwrap_or_default()),
                group_labels,
                alerts: vec![(alert, firing)],
                external_url: self.external_url.clone(),
                now,
                id: hash(&format!("{tells:?}")),
            };
            let send = self.send(message, to.1, attempt);
            if let Some(digest) = self.digests.get_mut(&to) {
                digest.sending = Some((send.id, tells));
                digest.retry_at = None;
            }
            out.push(send);
        }
    }

    /// Lets go of alerts that are over and of which everyone knows.
    pub(super) fn settle(&mut self, key: &str, group: &mut Group, route: &Route, now: i64) {
        let open = |a: &Attempts| a.sending.is_some() || a.retry_at.is_some() || a.held;
        let waits = group.integrations.values().any(open);
        let over = |alert: &Alert| match waits {
            true => alert.ends_at + LATE_MS <= now,
            false => alert.resolved_at(now),
        };
        if waits {
            for (id, alert) in group.alerts.iter().filter(|(_, alert)| over(alert)) {
                self.events.push(Event {
                    at: now,
                    fingerprint: *id,
                    labels: alert.labels.clone(),
                    what: What::Suppressed {
                        receiver: route.receiver.clone(),
                        group_key: key.to_owned(),
                        by: vec![Cause::Late(route.receiver.clone())],
                    },
                });
            }
        }
        group.alerts.retain(|_, alert| !over(alert));
        let names: Vec<Place> = (0..group.integrations.len())
            .filter_map(|at| Some((key.to_owned(), self.name_of(&route.receiver, at)?)))
            .collect();
        for place in names {
            if let Some(owed) = self.owed.get_mut(&place) {
                owed.retain(|id| group.alerts.contains_key(id));
                if owed.is_empty() {
                    self.owed.remove(&place);
                }
            }
        }
    }
}

pub(super) fn entry_of(sending: &Sending, now: i64) -> Entry {
    Entry {
        at: now,
        firing: sending.firing.clone(),
        resolved: sending.resolved.clone(),
    }
}
