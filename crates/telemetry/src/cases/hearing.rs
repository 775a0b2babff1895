//! The way from alerts to cases: those of rules, and those that others hand to the Alertmanager.

use super::book::{Heard, Known};
use super::case::CaseAlert;
use crate::rules::Settled;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;
use towpath_alerting::alertmanager::{Alert, fingerprint};
use towpath_alerting::rules::Notice;

/// Alerts that wait to be taken; more than these are told again soon.
const WAITING: usize = 4_096;

/// Hears alerts. Cheap to clone.
#[derive(Clone)]
pub struct Hearing {
    send: mpsc::Sender<Word>,
    waits: Arc<AtomicBool>,
}

/// What was heard and not yet taken.
pub struct Inbox {
    pub(super) words: mpsc::Receiver<Word>,
    /// Whether there are alerts of before the start that nobody has told again; until that is
    /// known there may be.
    waits: Arc<AtomicBool>,
}

/// What cases are told.
pub(super) enum Word {
    /// An alert.
    Alert(Box<Heard>),
    /// Which alerts rules have.
    Known(Vec<Known>),
}

/// Both ends of the way from alerts to cases.
pub fn hearing() -> (Hearing, Inbox) {
    let (send, words) = mpsc::channel(WAITING);
    let waits = Arc::new(AtomicBool::new(true));
    let hearing = Hearing {
        send,
        waits: waits.clone(),
    };
    (hearing, Inbox { words, waits })
}

impl Inbox {
    /// Says whether to wait for what rules know.
    pub(super) fn wait(&self, waits: bool) {
        self.waits.store(waits, Ordering::Relaxed);
    }
}

/// How an alert comes to be heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// Whether somebody silenced it.
    pub silenced: bool,
    /// Whether it was only held: nobody tells it now.
    pub held: bool,
}

impl Hearing {
    /// Takes what a rule tells. Never waits.
    pub fn rule(&self, notice: &Notice, how: Circumstances) {
        let labels = notice
            .labels
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let alert = CaseAlert {
            annotations: notice.annotations.clone(),
            starts_at: notice.starts_at,
            query: notice.expr.clone(),
            value: Some(notice.value).filter(|value| value.is_finite()),
            ..named(labels)
        };
        self.send(alert, notice.ends_at, how);
    }

    /// Takes an alert as an Alertmanager holds it. Never waits.
    pub fn alert(&self, alert: &Alert, how: Circumstances) {
        let heard = CaseAlert {
            annotations: alert.annotations.clone(),
            starts_at: alert.starts_at,
            query: query(&alert.generator_url),
            ..named(alert.labels.clone())
        };
        self.send(heard, alert.ends_at, how);
    }

    /// Whether there may be alerts of before the start that nobody has told again.
    pub fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Takes which alerts rules have. Never waits; false where it is to be told again.
    pub fn settled(&self, rules: Vec<Settled>) -> bool {
        let known = rules.into_iter().map(|rule| Known {
            active: rule
                .active
                .iter()
                .map(|labels| {
                    let pairs = labels.iter();
                    fingerprint(&pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).collect())
                })
                .collect(),
            name: rule.name,
            query: rule.expr,
            labels: rule.labels,
            at: rule.at,
        });
        self.send.try_send(Word::Known(known.collect())).is_ok()
    }

    fn send(&self, mut alert: CaseAlert, until: i64, how: Circumstances) {
        alert.silenced = how.silenced;
        let held = how.held;
        let heard = Box::new(Heard { alert, until, held });
        if self.send.try_send(Word::Alert(heard)).is_err() {
            tracing::debug!("an alert waits to be told again before it joins a case");
        }
    }
}

fn named(labels: BTreeMap<String, String>) -> CaseAlert {
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    CaseAlert {
        name: label("alertname"),
        severity: label("severity"),
        labels,
        ..CaseAlert::default()
    }
}

/// The query in the address of an alert of Prometheus, `…/graph?g0.expr=up%3D%3D0&g0.tab=1`.
fn query(address: &str) -> String {
    let parameters = address.split_once('?').map_or("", |(_, rest)| rest);
    let found = parameters
        .split('&')
        .find_map(|pair| pair.strip_prefix("g0.expr="));
    let mut bytes = Vec::new();
    let mut rest = found.unwrap_or_default().bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => match (digit(rest.next()), digit(rest.next())) {
                (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
                _ => return String::new(),
            },
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alertmanager::Alertmanager;
    use crate::rules::Told;
    use std::collections::BTreeSet;
    use towpath_kit::traits::Principal;
    use towpath_stdx::{Clock, SystemClock};

    #[test]
    fn the_query_of_a_foreign_alert_is_in_its_address() {
        let address = "http://prom:9090/graph?g0.expr=up%7Bjob%3D%22x%22%7D+%3D%3D+0&g0.tab=1";
        assert_eq!(query(address), "up{job=\"x\"} == 0");
        assert_eq!(query("http://prom:9090/graph?g0.expr=%zz"), "");
        assert_eq!(query("http://elsewhere/"), "");
    }

    fn labels(name: &str) -> BTreeMap<String, String> {
        [("alertname".to_owned(), name.to_owned())].into()
    }

    fn alert(name: &str, now: i64) -> Alert {
        Alert {
            labels: labels(name),
            annotations: BTreeMap::new(),
            starts_at: now,
            ends_at: now + 600_000,
            updated_at: now,
            generator_url: String::new(),
            timeout: false,
        }
    }

    #[test]
    fn what_is_posted_and_what_rules_tell_is_heard_with_its_silence() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = crate::alertmanager::Settings {
            directory: folder.path().to_owned(),
            config_file: None,
            external_url: "http://towpath.test".to_owned(),
            allow_local: true,
            version: "1".to_owned(),
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let manager = Alertmanager::open(settings.clone(), clock.clone()).expect("opens");
        let now = i64::try_from(clock.since_epoch().as_millis()).expect("a time");
        let (hearing, mut inbox) = hearing();
        manager.tell_cases(hearing);
        let by = Principal::component("test");
        let id = manager.quiet("Down", now, &by).expect("a silence");
        assert_eq!(
            manager.posted(vec![alert("Down", now), alert("Slow", now)]),
            0
        );
        manager.told(vec![Notice {
            labels: [("alertname", "Down"), ("pod", "a")].into_iter().collect(),
            annotations: BTreeMap::new(),
            starts_at: now,
            ends_at: now + 60_000,
            generator_url: String::new(),
            expr: "up == 0".into(),
            value: 0.0,
        }]);
        let mut heard = || {
            let mut all = Vec::new();
            while let Ok(Word::Alert(one)) = inbox.words.try_recv() {
                all.push((
                    one.alert.name,
                    one.alert.query,
                    one.alert.silenced,
                    one.held,
                ));
            }
            all
        };
        let told = |name: &str, query: &str, silenced, held| {
            (name.to_owned(), query.to_owned(), silenced, held)
        };
        let wanted = [
            told("Down", "", true, false),
            told("Slow", "", false, false),
            told("Down", "up == 0", true, false),
        ];
        assert_eq!(heard(), wanted);
        // The silence ends: what was told once is told again.
        manager.expire(&id, &by).expect("ended");
        let again = heard();
        assert_eq!(again.len(), 3);
        assert!(
            again
                .iter()
                .all(|(_, _, silenced, held)| !silenced && *held)
        );
        // So it is where one ends by its own time, and never without a reason.
        let mut silencing = BTreeSet::new();
        manager.silences_ended(&mut silencing);
        assert!(heard().is_empty());
        silencing.insert("of before".to_owned());
        manager.silences_ended(&mut silencing);
        assert_eq!((heard().len(), silencing.len()), (3, 0));
        // A server that starts again tells what it holds.
        drop(manager);
        let manager = Alertmanager::open(settings, clock).expect("opens");
        let (hearing, mut inbox) = super::hearing();
        manager.tell_cases(hearing);
        let Ok(Word::Alert(first)) = inbox.words.try_recv() else {
            panic!("nothing is told");
        };
        assert!(first.held && first.alert.labels.contains_key("alertname"));
    }
}
