//! What happened, for who keeps the history.

use std::collections::BTreeMap;

/// Why an alert is not told. The text is what is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A silence, by its id.
    Silence(String),
    /// Another alert, by its fingerprint.
    Inhibition(String),
    /// A time interval, by its name.
    Interval(String),
    /// The throttle of a receiver's integration; a digest tells of it.
    Throttle(String),
    /// It was over for so long that nobody need be told any more.
    Late(String),
}

impl Cause {
    /// What kind it is, and its name.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Silence(id) => ("silence", id),
            Self::Inhibition(id) => ("inhibition", id),
            Self::Interval(name) => ("interval", name),
            Self::Throttle(name) => ("throttle", name),
            Self::Late(name) => ("late", name),
        }
    }
}

/// Something that happened. Times are in milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When.
    pub at: i64,
    /// The alert.
    pub fingerprint: u64,
    /// What it is.
    pub labels: BTreeMap<String, String>,
    /// What it is about.
    pub what: What,
}

/// What happened to an alert.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// It begins.
    Fires {
        /// What is said about it.
        annotations: BTreeMap<String, String>,
        /// Since when.
        starts_at: i64,
        /// Where it comes from.
        generator_url: String,
    },
    /// It is over.
    Resolves {
        /// Since when it fired.
        starts_at: i64,
        /// When it ended.
        ends_at: i64,
    },
    /// A receiver is not told of it; with no causes it is told again.
    Suppressed {
        /// Who.
        receiver: String,
        /// Of which group it is.
        group_key: String,
        /// Why.
        by: Vec<Cause>,
    },
}

/// The most events that wait to be taken.
const MAX_EVENTS: usize = 50_000;

/// Events that wait to be taken.
#[derive(Debug, Default)]
pub(super) struct Events {
    waiting: Vec<Event>,
    lost: u64,
}

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        match self.waiting.len() < MAX_EVENTS {
            true => self.waiting.push(event),
            false => self.lost += 1,
        }
    }

    /// Those that waited, and how many there was no room for.
    pub(super) fn take(&mut self) -> (Vec<Event>, u64) {
        (
            std::mem::take(&mut self.waiting),
            std::mem::take(&mut self.lost),
        )
    }
}
