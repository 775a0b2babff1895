//! From an explanation to a case: what is known, in the order and the words that people need.

use super::case::{Action, Case, CaseCause, Seen, Verdict};
use super::cause::{Cause, Culprit};
use super::judge::WAITING;
use super::why::Explanation;
use crate::ledger::{Change, Place};

/// Findings that a case keeps.
const FINDINGS: usize = 20;
/// What a step showed is kept up to this length.
const OUTPUT: usize = 8 << 10;
/// Changes that stand in the timeline.
const TOLD: usize = 10;
/// A change less likely than this does not stand there.
const LIKELY: f64 = 0.2;

/// Takes in what was found. What was found before stays where nothing is found now: a symptom that
/// goes takes its traces with it.
pub(super) fn take(case: &mut Case, found: Explanation, place: Option<&Place>, now: i64) {
    case.updated_at = now;
    case.unseen = found.unseen;
    if let Some(place) = place {
        case.subject.environment.clone_from(&place.name);
        case.subject.project.clone_from(&place.project);
    }
    let before = case.causes.first().map(key);
    if !found.causes.is_empty() {
        let fresh = found.causes.into_iter().map(cause);
        let answers: Vec<&str> = case
            .interventions
            .iter()
            .filter(|deed| deed.outcome == WAITING)
            .map(|deed| deed.change.as_str())
            .collect();
        // What somebody does about it is not what it came from.
        let mut causes: Vec<CaseCause> = fresh
            .filter(|cause| {
                let change = cause.change.as_ref();
                change.is_none_or(|change| !answers.contains(&change.id.as_str()))
            })
            .collect();
        let none = causes.is_empty();
        for old in std::mem::take(&mut case.causes) {
            match causes.iter_mut().find(|cause| key(cause) == key(&old)) {
                Some(same) if old.verdict != Verdict::Suspected => *same = old,
                Some(_) => {}
                None if old.verdict != Verdict::Suspected || none => {
                    causes.push(old);
                }
                None => {}
            }
        }
        case.causes = causes;
        case.rank();
    }
    if !found.findings.is_empty() {
        case.findings = found.findings;
        case.findings.truncate(FINDINGS);
    }
    if !found.ranked.is_empty() {
        case.changes = found.ranked;
    }
    if !found.news.is_empty() {
        case.news = found.news;
    }
    let looked = found.looked.into_iter();
    let looked = looked.filter(|looked| !looked.output.trim().is_empty());
    let looked: Vec<Seen> = looked
        .map(|looked| Seen {
            title: looked.step.title(),
            step: looked.step,
            output: last(&looked.output, OUTPUT).to_string(),
        })
        .collect();
    if !looked.is_empty() {
        case.looked = looked;
    }
    story(case);
    let first = case.causes.first();
    if let Some(cause) = first.filter(|cause| Some(key(cause)) != before) {
        let words = format!("most likely: {}", named(cause));
        let object = cause.object.clone();
        case.note(now, "cause", words, Some(object));
    }
    words(case, place);
}

/// Says again what is known, after something was learnt.
pub(super) fn words(case: &mut Case, place: Option<&Place>) {
    case.summary = summary(case);
    case.actions = actions(case, place);
}

// Changes and findings take their places in the timeline.
fn story(case: &mut Case) {
    let told = case.changes.iter().filter(|ranked| ranked.score >= LIKELY);
    let told: Vec<Change> = told
        .take(TOLD)
        .map(|ranked| ranked.change.clone())
        .collect();
    for change in told {
        if case
            .interventions
            .iter()
            .any(|deed| deed.change == change.id)
        {
            continue;
        }
        let words = of(&change);
        case.note(change.at, "change", words, Some(change.object));
    }
    for finding in case.findings.clone() {
        let known = case.timeline.iter();
        let mut known = known.filter(|entry| entry.kind == "finding");
        if known.any(|entry| entry.object.as_ref() == Some(&finding.workload)) {
            continue;
        }
        let words = format!("{}: {}", finding.workload, finding.words);
        case.note(finding.since, "finding", words, Some(finding.workload));
    }
}

// The end of a text, whole characters.
fn last(text: &str, bytes: usize) -> &str {
    let mut from = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

fn key(cause: &CaseCause) -> String {
    match (&cause.change, &cause.finding) {
        (Some(change), _) => change.id.clone(),
        (None, Some(finding)) => format!("{:?} {}", finding.kind, finding.about),
        (None, None) => String::new(),
    }
}

fn cause(of: Cause) -> CaseCause {
    let (kind, object, words, change, finding) = match of.culprit {
        Culprit::Change { change } => (
            "change",
            change.object.clone(),
            change.words.clone(),
            Some(*change),
            None,
        ),
        Culprit::Trouble { finding } => (
            "trouble",
            finding.workload.clone(),
            finding.words.clone(),
            None,
            Some(*finding),
        ),
    };
    CaseCause {
        kind: kind.into(),
        object,
        words,
        change,
        finding,
        score: of.score,
        evidence: of.evidence,
        dissent: of.dissent,
        verdict: Verdict::Suspected,
    }
}

fn of(change: &Change) -> String {
    let mut words = format!("{}: {}", change.object, change.words);
    if !change.commit.is_empty() {
        let short = change.commit.get(..12).unwrap_or(&change.commit);
        words = format!("{words}, commit {short}");
    }
    if !change.by.is_empty() {
        words = format!("{words}, by {}", change.by);
    }
    words
}

fn named(cause: &CaseCause) -> String {
    match &cause.change {
        Some(change) => of(change),
        None => format!("{}: {}", cause.object, cause.words),
    }
}

fn summary(case: &Case) -> String {
    let at = u64::try_from(case.opened_at.div_euclid(1_000)).unwrap_or(0);
    let at = towpath_stdx::clock::rfc3339(at);
    let at = at.get(11..19).unwrap_or_default();
    let names: std::collections::BTreeSet<&str> = case
        .alerts
        .iter()
        .map(|alert| alert.name.as_str())
        .collect();
    let names: Vec<&str> = names.into_iter().take(3).collect();
    let whom = case.subject.object();
    let first = format!("{} on {whom} since {at} UTC.", names.join(", "));
    let second = match case.causes.first() {
        None => "No change of the last day and no trouble explains it.".to_string(),
        Some(cause) => {
            let named = named(cause);
            let sure = cause.score * 100.0;
            match (cause.verdict, &cause.change) {
                (Verdict::Confirmed, _) => format!("It was {named}: undoing it ended it."),
                (_, Some(_)) => format!("Most likely because of {named} ({sure:.0} %)."),
                (_, None) => format!("No change is behind it: {named} ({sure:.0} %)."),
            }
        }
    };
    format!("{first} {second}")
}

fn actions(case: &Case, place: Option<&Place>) -> Vec<Action> {
    let Some(change) = case.causes.first().and_then(|cause| cause.change.as_ref()) else {
        return Vec::new();
    };
    let object = &change.object;
    let names: Vec<&str> = case
        .alerts
        .iter()
        .map(|a| a.name.as_str())
        .take(1)
        .collect();
    let expected = format!("{} is expected to end within minutes", names.concat());
    let command = match (place, object.kind.as_str()) {
        (Some(place), _) if !change.promotion.is_empty() || !change.commit.is_empty() => {
            format!("towpath rollback {} -m \"{}\"", place.name, case.id)
        }
        (_, "Deployment" | "StatefulSet" | "DaemonSet")
            if change.kind == crate::ledger::ChangeKind::Deploy =>
        {
            let kind = object.kind.to_ascii_lowercase();
            format!(
                "kubectl -n {} rollout undo {kind}/{}",
                object.namespace, object.name
            )
        }
        _ => return Vec::new(),
    };
    vec![Action {
        kind: "rollback".into(),
        words: format!("Take back “{}” of {object}: {expected}.", change.words),
        command,
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::case::{CaseAlert, Subject};
    use crate::cases::judge;
    use crate::ledger::{ChangeKind, Object};

    fn change(id: &str, at: i64, was: &str, now: &str) -> Change {
        Change {
            id: id.into(),
            at,
            kind: ChangeKind::Deploy,
            object: Object::new("Deployment", "shop", "web"),
            by: "ann".into(),
            commit: "4f2c91e06b1d5a".into(),
            words: "image of main: a → b".into(),
            was: was.into(),
            now: now.into(),
            ..Change::default()
        }
    }

    fn found(changes: &[Change]) -> Explanation {
        let causes = changes.iter().map(|change| Cause {
            culprit: Culprit::Change {
                change: Box::new(change.clone()),
            },
            score: 0.8,
            evidence: Vec::new(),
            dissent: Vec::new(),
        });
        Explanation {
            causes: causes.collect(),
            ..Explanation::default()
        }
    }

    fn case() -> Case {
        Case {
            opened_at: 1_732_250_000_000,
            subject: Subject {
                kind: "Deployment".into(),
                namespace: "shop".into(),
                name: "web".into(),
                ..Subject::default()
            },
            alerts: vec![CaseAlert {
                name: "Down".into(),
                ..CaseAlert::default()
            }],
            ..Case::default()
        }
    }

    #[test]
    fn the_story_is_told_and_stays() {
        let mut case = case();
        let place = Place {
            project: "demo".into(),
            name: "shop-prd".into(),
            stage: "prd".into(),
        };
        let bad = change("bad", 1_732_249_990_000, "v1", "v2");
        take(&mut case, found(&[bad]), Some(&place), 1_732_250_001_000);
        assert_eq!(
            case.summary,
            "Down on Deployment shop/web since 04:33:20 UTC. Most likely because of Deployment \
             shop/web: image of main: a → b, commit 4f2c91e06b1d, by ann (80 %)."
        );
        assert!(
            case.actions[0]
                .command
                .starts_with("towpath rollback shop-prd -m")
        );
        assert_eq!(case.subject.environment, "shop-prd");
        // A symptom that is over shows nothing any more.
        take(&mut case, Explanation::default(), None, 1_732_250_002_000);
        assert_eq!(case.causes.len(), 1);
        // What is done about it is not blamed.
        let back = change("back", 1_732_250_010_000, "v2", "v1");
        assert!(judge::record(&mut case, std::slice::from_ref(&back)));
        take(&mut case, found(&[back]), None, 1_732_250_011_000);
        assert_eq!(
            case.causes[0].change.as_ref().map(|c| c.id.as_str()),
            Some("bad")
        );
        case.alerts[0].ends_at = Some(1_732_250_060_000);
        assert!(judge::judge(
            &mut case,
            Some(1_732_250_060_000),
            1_732_250_060_000
        ));
        words(&mut case, None);
        assert!(
            case.summary.contains("undoing it ended it"),
            "{}",
            case.summary
        );
        let order: Vec<i64> = case.timeline.iter().map(|entry| entry.at).collect();
        assert!(order.is_sorted(), "{:?}", case.timeline);
    }

    #[test]
    fn long_outputs_keep_their_end() {
        assert_eq!(last("abcé", 3), "cé");
        assert_eq!(last("abcé", 1), "");
        assert_eq!(last("ab", 9), "ab");
    }
}
