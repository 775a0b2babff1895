//! Looks at a namespace and says what is wrong there and which change is behind it.

use super::analyze::{Snapshot, analyze};
use super::case::{News, Ranked};
use super::cause::{Cause, Culprit, Symptom, SymptomKind, causes, ranked};
use super::finding::Finding;
use super::look::{self, Looked};
use super::measure::{Felt, Figures, Measured, Wanted};
use super::news::Lines;
use super::proof::{Evidence, Proof};
use super::score;
use super::spans::Spans;
use crate::ledger::{Change, ChangeKind, Ledger, Object, Observed};
use kube::Client;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use towpath_stdx::Clock;

/// Changes before a symptom that are looked at.
const WINDOW_MS: i64 = 24 * 3_600_000;
/// Changes of one namespace that are looked at.
const CHANGES: usize = 1_000;
/// Workloads of a namespace whose metrics are looked at where none is asked for.
const WORKLOADS: usize = 8;
/// Namespaces beside the one in question whose workloads it calls.
const CALLED: usize = 8;
/// A finding at least this grave is what the symptom is about, whatever metrics say.
const GRAVE: f64 = 0.85;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Where.
    pub namespace: String,
    /// Of whom; `None` for all.
    pub workload: Option<Object>,
    /// What is felt, where somebody says so.
    pub felt: Option<SymptomKind>,
    /// Since when an alert fires, milliseconds since the epoch, and what it is about.
    pub alert: Option<(i64, SymptomKind)>,
}

/// The answer to "why".
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What it is about; `None` where nothing is wrong.
    pub symptom: Option<Symptom>,
    /// The best explanations, best first.
    pub causes: Vec<Cause>,
    /// Everything that is wrong, gravest first.
    pub findings: Vec<Finding>,
    /// Changes of the last day, newest first.
    pub changes: Vec<Change>,
    /// Those of them that could explain it, likeliest first.
    pub ranked: Vec<Ranked>,
    /// What was never seen before the last change.
    pub news: Vec<News>,
    /// The next steps, done.
    pub looked: Vec<Looked>,
    /// What could not be looked at, and why.
    pub unseen: Vec<String>,
    /// Pairs of caller and called.
    #[serde(skip)]
    pub calls: Vec<(Object, Object)>,
}

/// Explains.
#[derive(Clone)]
pub struct Why {
    /// Reads events and logs.
    pub client: Client,
    /// Objects.
    pub observed: Observed,
    /// What changed.
    pub ledger: Ledger,
    /// Metrics, where there are any.
    pub figures: Option<Figures>,
    /// Lines of logs, where there are any.
    pub lines: Option<Lines>,
    /// Spans, where there are any.
    pub spans: Option<Spans>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Why {
    pub(super) fn now(&self) -> i64 {
        i64::try_from(self.clock.since_epoch().as_millis()).unwrap_or(i64::MAX)
    }

    /// What is wrong in a namespace, or with one workload in it, and why. What the objects do not
    /// show is measured, or told by whoever asks.
    pub async fn explain(&self, question: &Question) -> Explanation {
        let now = self.now();
        let namespace = question.namespace.as_str();
        let measured = self.measure(question, now).await;
        let mut unseen = measured.unseen;
        let calls = self.calls(&measured.calls, namespace);
        let spaces = spaces(question, &calls);
        let mut events = Vec::new();
        for space in spaces.iter().filter(|space| !space.is_empty()) {
            match look::events(&self.client, space).await {
                Ok(found) => events.extend(found),
                Err(why) => unseen.push(format!("events of {space}: {why}")),
            }
        }
        let changes = self.changes(&spaces, now, &mut unseen).await;
        let all = |of: &dyn Fn(&str) -> Vec<Arc<k8s_openapi::api::core::v1::Pod>>| {
            spaces.iter().flat_map(|space| of(space)).collect()
        };
        let snapshot = Snapshot {
            now,
            pods: all(&|space| self.observed.pods(space)),
            events,
            claims: self.observed.claims(namespace),
            quotas: self.observed.quotas(namespace),
            nodes: self.observed.nodes(),
            certificates: self.observed.certificates(namespace),
            disks: measured.disks,
            hungry: measured.hungry,
        };
        let mut findings = analyze(&snapshot);
        findings.retain(|finding| concerns(question, finding, &calls));
        let symptom = symptom(question, &findings, &measured.felt, now);
        let mut causes = symptom
            .as_ref()
            .map(|symptom| causes(symptom, &findings, &changes, &calls))
            .unwrap_or_default();
        for cause in &mut causes {
            prove(cause, &measured.felt, &calls);
        }
        let ranked = symptom
            .as_ref()
            .map(|symptom| ranked(symptom, &findings, &changes, &calls))
            .unwrap_or_default();
        let news = match &symptom {
            Some(symptom) => self.news(symptom, &changes, now, &mut unseen).await,
            None => Vec::new(),
        };
        let looked = look::steps(&self.client, &findings, &snapshot.events).await;
        Explanation {
            symptom,
            causes,
            findings,
            changes,
            ranked,
            news,
            looked,
            unseen,
            calls,
        }
    }

    async fn measure(&self, question: &Question, now: i64) -> Measured {
        let Some(figures) = &self.figures else {
            return Measured::default();
        };
        let workloads = match &question.workload {
            Some(workload) => vec![workload.clone()],
            None => {
                let mut all = self.observed.workloads(&question.namespace);
                all.truncate(WORKLOADS);
                all
            }
        };
        let wanted = Wanted {
            now,
            namespace: question.namespace.clone(),
            workloads,
            hungry: question.felt == Some(SymptomKind::Latency),
        };
        figures.measure(wanted).await
    }

    /// Services by their names as workloads; those that are not known are left out.
    fn calls(&self, pairs: &[(String, String)], namespace: &str) -> Vec<(Object, Object)> {
        let known = pairs.iter().filter_map(|(caller, called)| {
            let caller = self.observed.named(caller, namespace)?;
            // Who is called by name alone is sought beside the caller first.
            let called = self.observed.named(called, &caller.namespace)?;
            (caller != called).then_some((caller, called))
        });
        known.collect()
    }

    async fn changes(
        &self,
        spaces: &BTreeSet<String>,
        now: i64,
        unseen: &mut Vec<String>,
    ) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        for space in spaces {
            let found = self.ledger.between(now - WINDOW_MS, now, space, CHANGES);
            match found.await {
                Ok(found) => changes.extend(found),
                Err(error) => unseen.push(format!("changes of {space}: {error}")),
            }
        }
        changes.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| b.id.cmp(&a.id)));
        changes.dedup_by(|a, b| a.id == b.id);
        changes
    }

    async fn news(
        &self,
        symptom: &Symptom,
        changes: &[Change],
        now: i64,
        unseen: &mut Vec<String>,
    ) -> Vec<News> {
        let workload = &symptom.workload;
        let last = changes.iter().find(|change| {
            matches!(change.kind, ChangeKind::Deploy | ChangeKind::Config)
                && change.at <= symptom.since + score::SKEW_MS
                && (change.object == *workload || change.touched.contains(workload))
        });
        let cut = last.map_or(symptom.since, |change| change.at);
        let mut news: Vec<News> = Vec::new();
        if let Some(spans) = &self.spans {
            match spans.news(workload.clone(), cut, now).await {
                Ok(found) => news = found,
                Err(why) => unseen.push(format!("spans: {why}")),
            }
        }
        if let Some(lines) = &self.lines {
            match lines.news(workload.clone(), cut, now).await {
                // An error that spans told already is not told twice.
                Ok(mut found) => {
                    found.retain(|new| {
                        !news
                            .iter()
                            .any(|n| (&n.kind, &n.text) == (&new.kind, &new.text))
                    });
                    news.extend(found);
                }
                Err(why) => unseen.push(format!("logs: {why}")),
            }
        }
        news
    }
}

/// The namespace in question and those of whom its workloads call.
fn spaces(question: &Question, calls: &[(Object, Object)]) -> BTreeSet<String> {
    let mut spaces = BTreeSet::from([question.namespace.clone()]);
    let from = |object: &Object| match &question.workload {
        Some(workload) => score::distance(workload, object, calls).is_some(),
        None => object.namespace == question.namespace,
    };
    for (caller, called) in calls {
        if spaces.len() <= CALLED && from(caller) {
            spaces.insert(called.namespace.clone());
        }
    }
    spaces
}

/// Whether a finding has to do with what is asked about.
fn concerns(question: &Question, finding: &Finding, calls: &[(Object, Object)]) -> bool {
    let Some(workload) = &question.workload else {
        return finding.workload.namespace == question.namespace
            || finding.workload.namespace.is_empty()
            || calls.iter().any(|(caller, called)| {
                caller.namespace == question.namespace && *called == finding.workload
            });
    };
    finding.workload.namespace.is_empty()
        || finding.kind == super::finding::Kind::NoisyNeighbour
        || score::distance(workload, &finding.workload, calls).is_some()
}

/// What is felt: what somebody says, what objects show where it is grave, what metrics show, what
/// objects show otherwise, that an alert fires.
fn symptom(question: &Question, findings: &[Finding], felt: &[Felt], now: i64) -> Option<Symptom> {
    let first = findings.first();
    let about = |workload: &Object| question.workload.clone().unwrap_or(workload.clone());
    if let Some(kind) = question.felt {
        let measured = felt.iter().find(|felt| felt.kind == kind);
        return Some(Symptom {
            kind,
            workload: question.workload.clone()?,
            since: measured.map_or(now, |felt| felt.since),
        });
    }
    let objects = |finding: &Finding| Symptom {
        kind: SymptomKind::Objects,
        workload: about(&finding.workload),
        since: finding.since,
    };
    if let Some(grave) = first.filter(|finding| finding.kind.severity() >= GRAVE) {
        return Some(objects(grave));
    }
    if let Some(felt) = felt.iter().min_by_key(|felt| felt.since) {
        return Some(Symptom {
            kind: felt.kind,
            workload: felt.workload.clone(),
            since: felt.since,
        });
    }
    if let Some(first) = first {
        return Some(objects(first));
    }
    let (since, kind) = question.alert?;
    Some(Symptom {
        kind,
        since,
        workload: question.workload.clone()?,
    })
}

/// Adds what metrics of the workload say to a change that reaches it.
fn prove(cause: &mut Cause, felt: &[Felt], calls: &[(Object, Object)]) {
    let Culprit::Change { change } = &cause.culprit else {
        return;
    };
    for felt in felt {
        let reached = std::iter::once(&change.object)
            .chain(&change.touched)
            .any(|object| score::distance(&felt.workload, object, calls).is_some());
        if reached && felt.since + score::SKEW_MS >= change.at {
            let words = format!("{}: {}", felt.workload, felt.words);
            let proof = Proof::new("promql", felt.query.clone());
            cause.evidence.insert(0, Evidence::new(words, proof));
        }
    }
}
