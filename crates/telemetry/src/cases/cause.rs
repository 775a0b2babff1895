//! Which change, or which trouble elsewhere, is behind a symptom.

use super::case::Ranked;
use super::finding::{Finding, Kind};
use super::proof::{Evidence, Proof};
use super::score;
use crate::ledger::{Change, ChangeKind, Object};
use serde::{Deserialize, Serialize};

/// What is felt, beyond the state of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SymptomKind {
    /// More errors.
    Errors,
    /// Slower answers.
    Latency,
    /// Memory that only grows.
    Leak,
    /// What a rule measures, whatever that is.
    Measured,
    /// What the objects say, nothing else.
    Objects,
}

/// What a case is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Symptom {
    /// What is felt.
    pub kind: SymptomKind,
    /// By whom.
    pub workload: Object,
    /// Since when, milliseconds since the epoch.
    pub since: i64,
}

/// Who is blamed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Culprit {
    /// A change.
    Change {
        /// Which.
        change: Box<Change>,
    },
    /// Trouble that no change explains.
    Trouble {
        /// Which.
        finding: Box<Finding>,
    },
}

/// One explanation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// Who is blamed.
    pub culprit: Culprit,
    /// 0 to 1: how well it explains what is seen.
    pub score: f64,
    /// What speaks for it.
    pub evidence: Vec<Evidence>,
    /// What speaks against it.
    pub dissent: Vec<String>,
}

/// An explanation worse than this is none.
const LEAST: f64 = 0.25;
/// A trouble is blamed on a change that explains it at least this well.
const EXPLAINED: f64 = 0.3;
/// An explanation at least this good overtakes earlier ones.
const STRONG: f64 = 0.5;
/// What is left of an explanation that a later one overtook.
const OVERTAKEN: f64 = 0.75;
/// Explanations beyond these do not help anybody.
const MOST: usize = 3;
/// Changes that are ranked.
const RANKED: usize = 30;

/// The best explanations of a symptom, best first, at most three; none where nothing is wrong or
/// nothing explains it. `calls` are pairs of caller and called.
pub fn causes(
    symptom: &Symptom,
    findings: &[Finding],
    changes: &[Change],
    calls: &[(Object, Object)],
) -> Vec<Cause> {
    let mut found: Vec<Cause> = Vec::new();
    for finding in findings {
        let near = nearness(symptom, finding, calls);
        if near == 0.0 {
            continue;
        }
        let weight = near * finding.kind.severity();
        let explained: Vec<(&Change, f64)> = changes
            .iter()
            .map(|change| (change, score::explains(change, finding)))
            .filter(|(_, share)| *share >= EXPLAINED)
            .collect();
        let alone = explained.is_empty();
        for (change, share) in &explained {
            // With the earlier change alone all was well until the later one came.
            let later = explained.iter().any(|(other, strength)| {
                other.at > change.at
                    && other.at <= finding.since + score::SKEW_MS
                    && *strength >= STRONG
            });
            let share = if later { share * OVERTAKEN } else { *share };
            let words = format!("{}: {}", finding.workload, finding.words);
            let evidence = Evidence::new(words, Proof::of(finding));
            blame(&mut found, change, weight * share, evidence, finding);
        }
        if alone {
            found.push(Cause {
                culprit: Culprit::Trouble {
                    finding: Box::new(finding.clone()),
                },
                score: weight * 0.75,
                evidence: vec![Evidence::new(finding.words.clone(), Proof::of(finding))],
                dissent: Vec::new(),
            });
        }
    }
    if symptom.kind != SymptomKind::Objects {
        for change in changes {
            let share = score::fits(change, symptom, calls);
            if share < LEAST {
                continue;
            }
            let before = (symptom.since - change.at).max(0) / 1000;
            let words = format!("{} seconds before it began: {}", before, change.words);
            let evidence = Evidence::new(words, Proof::change(change));
            add(&mut found, change, share * 0.8, evidence);
        }
    }
    let likely = ranked(symptom, findings, changes, calls);
    for cause in &mut found {
        cause.dissent.extend(dissent(cause, symptom, &likely));
    }
    found.retain(|cause| cause.score >= LEAST);
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(MOST);
    found
}

/// Changes that could explain a symptom, likeliest first.
pub(super) fn ranked(
    symptom: &Symptom,
    findings: &[Finding],
    changes: &[Change],
    calls: &[(Object, Object)],
) -> Vec<Ranked> {
    let mut all: Vec<Ranked> = changes
        .iter()
        .map(|change| {
            let of_findings = findings.iter().map(|finding| {
                let near = nearness(symptom, finding, calls) * finding.kind.severity();
                near * score::explains(change, finding)
            });
            let own = match symptom.kind {
                SymptomKind::Objects => 0.0,
                _ => score::fits(change, symptom, calls) * 0.8,
            };
            Ranked {
                change: change.clone(),
                score: of_findings.fold(own, f64::max),
            }
        })
        .filter(|ranked| ranked.score > 0.0)
        .collect();
    all.sort_by(|a, b| {
        let by_score = b.score.total_cmp(&a.score);
        by_score.then_with(|| b.change.at.cmp(&a.change.at))
    });
    all.truncate(RANKED);
    all
}

// How much a trouble concerns who feels the symptom: its own, that of whom it calls, that of the
// machine below.
fn nearness(symptom: &Symptom, finding: &Finding, calls: &[(Object, Object)]) -> f64 {
    let ended = finding.kind == Kind::Certificate && finding.others_well;
    if ended && symptom.kind != SymptomKind::Objects {
        return 0.0;
    }
    if let Some(steps) = score::distance(&symptom.workload, &finding.workload, calls) {
        // A called service that is down explains errors as well as one's own trouble does.
        return 0.95_f64.powi(i32::try_from(steps).unwrap_or(9));
    }
    let here = symptom.workload.namespace == finding.workload.namespace;
    match finding.kind {
        Kind::NodeDown | Kind::DiskFull => 0.7,
        Kind::NoisyNeighbour if symptom.kind == SymptomKind::Latency => 0.8,
        Kind::Certificate | Kind::Quota | Kind::Denied | Kind::UnknownName if here => 0.8,
        _ if here && symptom.kind == SymptomKind::Objects => 0.6,
        _ => 0.0,
    }
}

fn blame(found: &mut Vec<Cause>, change: &Change, score: f64, evidence: Evidence, of: &Finding) {
    add(found, change, score, evidence);
    if of.others_well && change.kind == ChangeKind::Deploy {
        let words = format!("other pods of {} are well", of.workload);
        if let Some(cause) = of_change(found, change)
            && !cause.evidence.iter().any(|known| known.words == words)
        {
            let workload = &of.workload;
            let query = format!("-n {} get pods", workload.namespace);
            cause
                .evidence
                .push(Evidence::new(words, Proof::new("kubectl", query)));
        }
    }
}

fn of_change<'a>(found: &'a mut [Cause], change: &Change) -> Option<&'a mut Cause> {
    found.iter_mut().find(
        |cause| matches!(&cause.culprit, Culprit::Change { change: own } if own.id == change.id),
    )
}

// What several things speak for is likelier than what one does, but never certain.
fn add(found: &mut Vec<Cause>, change: &Change, score: f64, evidence: Evidence) {
    if let Some(cause) = of_change(found, change) {
        cause.score = 1.0 - (1.0 - cause.score) * (1.0 - score * 0.5);
        cause.evidence.push(evidence);
        return;
    }
    found.push(Cause {
        culprit: Culprit::Change {
            change: Box::new(change.clone()),
        },
        score,
        evidence: vec![evidence],
        dissent: Vec::new(),
    });
}

fn dissent(cause: &Cause, symptom: &Symptom, likely: &[Ranked]) -> Vec<String> {
    let Culprit::Change { change } = &cause.culprit else {
        return Vec::new();
    };
    let mut words = Vec::new();
    if symptom.since - change.at > 3_600_000 {
        words.push("it was made more than an hour before".into());
    }
    let others = likely
        .iter()
        .map(|ranked| &ranked.change)
        .filter(|other| other.id != change.id && (other.at - change.at).abs() < 60_000)
        .count();
    if others > 0 {
        words.push(format!(
            "{others} other changes were made within a minute of it"
        ));
    }
    words
}
