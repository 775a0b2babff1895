//! Why an alert is not told, and groups as they are shown.

use super::{Alert, Cause, Dispatcher, Event, Group, Labels, What};
use crate::alertmanager::alert::fingerprint;
use crate::alertmanager::route::Route;
use crate::alertmanager::silence::{Silence, SilenceError};

/// Why an alert is not told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Muted {
    /// Ids of silences.
    pub silenced_by: Vec<String>,
    /// Fingerprints of alerts that make it superfluous.
    pub inhibited_by: Vec<String>,
    /// Names of time intervals.
    pub muted_by: Vec<String>,
}

/// A group as it is shown.
#[derive(Clone, Debug)]
pub struct GroupView {
    /// Labels its alerts share by its route.
    pub labels: Labels,
    /// Who is told.
    pub receiver: String,
    /// Its alerts.
    pub alerts: Vec<Alert>,
    /// Intervals that keep it quiet.
    pub muted_by: Vec<String>,
}

impl Dispatcher {
    /// Makes a silence, or changes the one with its id; the id it has then.
    ///
    /// # Errors
    /// It contradicts itself, or there is none with its id.
    pub fn silence(
        &mut self,
        silence: Silence,
        fresh_id: String,
        now: i64,
    ) -> Result<String, SilenceError> {
        self.silences.put(silence, fresh_id, now)
    }

    /// Ends a silence.
    ///
    /// # Errors
    /// There is none with this id, or it is over.
    pub fn expire(&mut self, id: &str, now: i64) -> Result<(), SilenceError> {
        self.silences.expire(id, now)
    }

    /// All silences.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.all()
    }

    /// All alerts that are held.
    pub fn all(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values()
    }

    /// Receivers an alert goes to.
    pub fn receivers(&self, labels: &Labels) -> Vec<String> {
        let routes = self.config.route.matching(labels).into_iter();
        let mut names: Vec<String> = routes.map(|route| route.receiver.clone()).collect();
        names.dedup();
        names
    }

    /// Whether a silence counts for an alert at a time.
    pub fn silenced(&self, labels: &Labels, now: i64) -> bool {
        self.silences.any(labels, now)
    }

    /// Why an alert is not told at a time.
    pub fn muted(&self, labels: &Labels, now: i64) -> Muted {
        let firing = || {
            let firing = self.alerts.values().filter(|alert| !alert.resolved_at(now));
            firing.map(|alert| &alert.labels)
        };
        let rules = self.config.inhibit_rules.iter();
        let source = rules
            .filter_map(|rule| rule.source_of(labels, firing()))
            .next();
        Muted {
            silenced_by: self.silences.of(labels, now),
            inhibited_by: source
                .map(|labels| format!("{:016x}", fingerprint(labels)))
                .into_iter()
                .collect(),
            muted_by: Vec::new(),
        }
    }

    /// Intervals that keep a route quiet at a time.
    pub(super) fn quiet(&self, route: &Route, now: i64) -> Vec<String> {
        let within = |name: &&String| {
            let intervals = self.config.time_intervals.get(*name);
            intervals.is_some_and(|all| all.iter().any(|one| one.contains(now)))
        };
        let active = &route.active_time_intervals;
        if !active.is_empty() && !active.iter().any(|name| within(&name)) {
            return active.clone();
        }
        let muting = route.mute_time_intervals.iter().filter(within);
        muting.cloned().collect()
    }

    /// All groups, as they are shown.
    pub fn groups(&self, now: i64) -> Vec<GroupView> {
        let groups = self.groups.values().filter(|g| !g.alerts.is_empty());
        groups
            .filter_map(|group| {
                let route = self.config.route.find(&group.route)?;
                Some(GroupView {
                    labels: group.labels.clone(),
                    receiver: route.receiver.clone(),
                    alerts: group.alerts.values().cloned().collect(),
                    muted_by: self.quiet(route, now),
                })
            })
            .collect()
    }

    /// Alerts of a group that are to be told, and whether each fires. Why others are not is noted
    /// where it is not as it was.
    pub(super) fn told(
        &mut self,
        key: &str,
        group: &mut Group,
        route: &Route,
        now: i64,
    ) -> Vec<(Alert, bool)> {
        let quiet = self.quiet(route, now);
        let mut told = Vec::new();
        for (id, alert) in &group.alerts {
            let firing = !alert.resolved_at(now);
            let muted = self.muted(&alert.labels, now);
            let quiet = quiet.iter().cloned().map(Cause::Interval);
            let causes: Vec<Cause> = quiet
                .chain(muted.silenced_by.into_iter().map(Cause::Silence))
                .chain(muted.inhibited_by.into_iter().map(Cause::Inhibition))
                .collect();
            if causes.is_empty() {
                told.push((alert.clone(), firing));
            }
            let before = group.suppressed.get(id).map_or(&[][..], Vec::as_slice);
            if firing && before != causes {
                self.events.push(Event {
                    at: now,
                    fingerprint: *id,
                    labels: alert.labels.clone(),
                    what: What::Suppressed {
                        receiver: route.receiver.clone(),
                        group_key: key.to_owned(),
                        by: causes.clone(),
                    },
                });
            }
            match causes.is_empty() {
                true => drop(group.suppressed.remove(id)),
                false => drop(group.suppressed.insert(*id, causes)),
            }
        }
        let alerts = &group.alerts;
        group.suppressed.retain(|id, _| alerts.contains_key(id));
        told.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.labels.cmp(&b.labels)));
        told
    }
}
