//! A case: what an alert becomes. This is what is kept and what `GET /api/v1/cases/{id}` answers.
//!
//! Names are camelCase; times are milliseconds since the epoch; what is empty may be absent.
//!
//! ```json
//! { "id": "c-3f9k2m0q7x1a", "title": "ErrorRateHigh: Deployment hello-prd/hello",
//!   "severity": "critical", "state": "open", "openedAt": 1732250000000, "closedAt": null,
//!   "updatedAt": 1732250042000,
//!   "subject": { "kind": "Deployment", "namespace": "hello-prd", "name": "hello",
//!                "environment": "hello-prd", "project": "demo" },
//!   "also": [ { "kind": "Deployment", "namespace": "hello-prd", "name": "front" } ],
//!   "summary": "Since 04:33:20 … most likely because of 4f2c91e06b1d by ada (82 %).",
//!   "alerts": [ { "name": "ErrorRateHigh", "severity": "critical", "labels": {}, "annotations": {},
//!                 "startsAt": 1732250000000, "endsAt": null, "query": "…", "value": 0.31,
//!                 "silenced": true } ],
//!   "moreAlerts": 0,
//!   "causes": [ { "kind": "change", "object": {}, "words": "image of main: a → b",
//!                 "change": { "id": "…", "at": 0, "kind": "deploy", "object": {}, "by": "ada",
//!                             "commit": "4f2c…", "release": "hello-4f2c91e06b1d",
//!                             "promotion": "demo/…", "words": "…" },
//!                 "score": 0.82,
//!                 "evidence": [ { "words": "…", "query": { "language": "promql", "text": "…" } } ],
//!                 "dissent": [ "2 other changes were made within a minute of it" ],
//!                 "verdict": "suspected" } ],
//!   "findings": [], "changes": [],
//!   "news": [ { "kind": "logTemplate", "text": "no such table <*>", "count": 41, "at": 0,
//!               "query": { "language": "logql", "text": "…" } } ],
//!   "looked": [ { "step": { "look": "logs", "pod": {}, "container": "main", "previous": true },
//!                 "title": "last lines of main in Pod hello-1", "output": "…" } ],
//!   "interventions": [ { "kind": "rollback", "at": 0, "by": "ada", "words": "…", "change": "…",
//!                        "outcome": "confirmed", "outcomeAt": 0, "object": {} } ],
//!   "actions": [ { "kind": "rollback", "words": "…", "command": "towpath rollback prd" } ],
//!   "similar": [ { "id": "c-…", "title": "…", "openedAt": 0, "closedAt": 0, "cause": "…",
//!                  "confirmed": true } ],
//!   "timeline": [ { "at": 0, "kind": "change", "words": "…", "object": {} } ],
//!   "unseen": [ "events: no answer within 5 s" ] }
//! ```
//!
//! What is new (`news`) is of kind `logTemplate`, `errorType` (named in lines or in exceptions of
//! spans) or `spanError` (an operation that fails, and what it says).
//!
//! Languages of queries are `promql`, `logql`, `traceql`, `kubectl` (what comes behind that word) and `changes`
//! (the parameters of `GET /api/v1/changes`). A cause of kind `trouble` has no `change` but a `finding`. `verdict` is `suspected`,
//! `confirmed` (its undoing made the symptom go) or `refuted` (it did not). `findings` and
//! `changes` (ranked, likeliest first, each `{ "change": {}, "score": 0.4 }`) are those of
//! `GET /api/v1/why`. Outcomes of interventions are `waiting`, `confirmed`, `refuted`. Entries of
//! the timeline are of kind `opened`, `reopened`, `closed`, `alertFired`, `alertResolved`,
//! `alertSilenced`, `alertHeard` (it is not silenced any more),
//! `change`, `finding`, `cause`, `intervention`, `outcome`; they are in order of time.
//!
//! `GET /api/v1/cases` answers `{ "cases": [ … ] }` with, of each: `id`, `title`, `severity`,
//! `state`, `openedAt`, `closedAt`, `updatedAt`, `subject`, `summary`, `firing` and `alerts`
//! (numbers), and `cause`: of the first one `words`, `score`, `verdict`, `by`, `commit`, `release`.

use super::finding::{Finding, Step};
pub use super::proof::{Evidence, Proof};
use crate::ledger::{Change, Object};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whether a case still needs somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Something fires, or did a moment ago.
    #[default]
    Open,
    /// All has been quiet for a while.
    Closed,
}

/// Who feels it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subject {
    /// Its kind, as in a manifest.
    pub kind: String,
    /// Empty for cluster scope.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The environment that deploys to its namespace, where there is one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub environment: String,
    /// The project of the environment.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub project: String,
}

impl Subject {
    /// The object alone.
    pub fn object(&self) -> Object {
        Object::new(&self.kind, &self.namespace, &self.name)
    }
}

/// An alert that belongs to a case.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CaseAlert {
    /// Its name.
    pub name: String,
    /// Label `severity`, or empty.
    pub severity: String,
    /// What it is.
    pub labels: BTreeMap<String, String>,
    /// What its rule says about it.
    pub annotations: BTreeMap<String, String>,
    /// Since when it fires.
    pub starts_at: i64,
    /// When it ended; `None` while it fires.
    pub ends_at: Option<i64>,
    /// The expression that proved it (PromQL).
    pub query: String,
    /// The value that proved it; `None` where it is no number.
    pub value: Option<f64>,
    /// Whether somebody silenced it; left out where nobody did.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub silenced: bool,
}

/// What became of a suspicion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Nobody has tried yet.
    #[default]
    Suspected,
    /// It was undone, and the symptom went.
    Confirmed,
    /// It was undone, and the symptom stayed.
    Refuted,
}

/// One explanation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaseCause {
    /// `change` or `trouble`.
    pub kind: String,
    /// What was changed, or where the trouble is.
    pub object: Object,
    /// In one sentence.
    pub words: String,
    /// The change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// The trouble that no change explains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<Finding>,
    /// 0 to 1.
    pub score: f64,
    /// What speaks for it.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    /// What speaks against it.
    #[serde(default)]
    pub dissent: Vec<String>,
    /// What became of it.
    #[serde(default)]
    pub verdict: Verdict,
}

/// A change of the time before, and how well it explains the symptom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ranked {
    /// The change.
    pub change: Change,
    /// 0 to 1.
    pub score: f64,
}

/// Something that was never seen before the last change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct News {
    /// `logTemplate`, `errorType` or `spanError`.
    pub kind: String,
    /// What it says.
    pub text: String,
    /// How often it was seen.
    pub count: u64,
    /// When it was first seen.
    pub at: i64,
    /// Shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<Proof>,
}

/// What was looked at by itself, and what it showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// What.
    pub step: Step,
    /// In words.
    pub title: String,
    /// What it showed, or why it could not be looked at.
    pub output: String,
}

/// What somebody did about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intervention {
    /// `rollback`, `scale`, `deploy` or `config`.
    pub kind: String,
    /// When.
    pub at: i64,
    /// Who.
    pub by: String,
    /// The change's name in the ledger.
    pub change: String,
    /// What it was done to.
    pub object: Object,
    /// In one sentence.
    pub words: String,
    /// What it led to: `waiting`, `confirmed` or `refuted`.
    pub outcome: String,
    /// When that was known.
    pub outcome_at: Option<i64>,
}

/// What one could do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// `rollback` or `look`.
    pub kind: String,
    /// What it would do, and what to expect.
    pub words: String,
    /// How, on a command line.
    pub command: String,
}

/// A case of before that looked alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alike {
    /// Its name.
    pub id: String,
    /// Its title.
    pub title: String,
    /// When it was opened.
    pub opened_at: i64,
    /// When it was closed.
    pub closed_at: Option<i64>,
    /// What was behind it.
    pub cause: String,
    /// Whether that was confirmed.
    pub confirmed: bool,
}

/// One line of what happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When.
    pub at: i64,
    /// What sort.
    pub kind: String,
    /// In one sentence.
    pub words: String,
    /// Of what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Object>,
}

/// A case.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Case {
    /// Its name; the same incident always has the same one.
    pub id: String,
    /// What fires, of whom.
    pub title: String,
    /// The gravest of its alerts': `critical`, `warning`, `info`, or whatever rules say.
    pub severity: String,
    /// Whether it still needs somebody.
    pub state: State,
    /// When the first alert began.
    pub opened_at: i64,
    /// When it was closed.
    pub closed_at: Option<i64>,
    /// When it was last changed.
    pub updated_at: i64,
    /// Who feels it.
    pub subject: Subject,
    /// Who else feels it.
    pub also: Vec<Object>,
    /// What is known, in one or two sentences.
    pub summary: String,
    /// Its alerts, first ones first.
    pub alerts: Vec<CaseAlert>,
    /// Alerts beyond those listed.
    pub more_alerts: u64,
    /// Explanations, best first.
    pub causes: Vec<CaseCause>,
    /// Everything that is wrong, gravest first.
    pub findings: Vec<Finding>,
    /// Changes of the time before, likeliest first.
    pub changes: Vec<Ranked>,
    /// What was never seen before the last change.
    pub news: Vec<News>,
    /// What was looked at by itself.
    pub looked: Vec<Seen>,
    /// What was done about it.
    pub interventions: Vec<Intervention>,
    /// What one could do.
    pub actions: Vec<Action>,
    /// Cases of before that looked alike.
    pub similar: Vec<Alike>,
    /// What happened, in order.
    pub timeline: Vec<Entry>,
    /// What could not be looked at, and why.
    pub unseen: Vec<String>,
}

/// The first cause, in a list of cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suspect {
    /// In one sentence.
    pub words: String,
    /// 0 to 1.
    pub score: f64,
    /// What became of it.
    pub verdict: Verdict,
    /// Who made the change.
    pub by: String,
    /// Its commit.
    pub commit: String,
    /// Its release.
    pub release: String,
}

/// A case in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Its name.
    pub id: String,
    /// What fires, of whom.
    pub title: String,
    /// The gravest of its alerts'.
    pub severity: String,
    /// Whether it still needs somebody.
    pub state: State,
    /// When the first alert began.
    pub opened_at: i64,
    /// When it was closed.
    pub closed_at: Option<i64>,
    /// When it was last changed.
    pub updated_at: i64,
    /// Who feels it.
    pub subject: Subject,
    /// What is known.
    pub summary: String,
    /// Alerts that still fire.
    pub firing: u64,
    /// All its alerts.
    pub alerts: u64,
    /// The best explanation.
    pub cause: Option<Suspect>,
}

impl Case {
    /// Alerts that still fire.
    pub fn firing(&self) -> usize {
        self.alerts.iter().filter(|a| a.ends_at.is_none()).count()
    }

    /// As it stands in a list.
    pub fn line(&self) -> Line {
        Line {
            id: self.id.clone(),
            title: self.title.clone(),
            severity: self.severity.clone(),
            state: self.state,
            opened_at: self.opened_at,
            closed_at: self.closed_at,
            updated_at: self.updated_at,
            subject: self.subject.clone(),
            summary: self.summary.clone(),
            firing: self.firing() as u64,
            alerts: self.alerts.len() as u64 + self.more_alerts,
            cause: self.causes.first().map(CaseCause::suspect),
        }
    }
}

impl CaseCause {
    fn suspect(&self) -> Suspect {
        let of = |part: fn(&Change) -> &String| {
            let change = self.change.as_ref();
            change
                .map(|change| part(change).clone())
                .unwrap_or_default()
        };
        Suspect {
            words: self.words.clone(),
            score: self.score,
            verdict: self.verdict,
            by: of(|change| &change.by),
            commit: of(|change| &change.commit),
            release: of(|change| &change.release),
        }
    }
}
