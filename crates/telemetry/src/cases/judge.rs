//! What was done about a case, and whether that showed who was to blame.
//!
//! Whoever takes back a change, deploys another version or scales within an open case intervenes.
//! Where the symptom goes within the time that a new version needs to show, what was taken back was
//! the cause; where it stays, it was not, and others move up.

use super::case::{Case, CaseCause, Entry, Intervention, State, Verdict};
use crate::ledger::{Change, ChangeKind, Object};

/// How long after an intervention its effect may show: pods start, and rules wait.
const LAG_MS: i64 = 20 * 60_000;
/// A cause that was confirmed is at least this sure.
const SURE: f64 = 0.95;
/// What is left of a cause that was refuted.
const REFUTED: f64 = 0.3;
/// Interventions that one case remembers.
const MOST: usize = 30;

pub(super) const WAITING: &str = "waiting";
const CONFIRMED: &str = "confirmed";
const REFUTED_WORD: &str = "refuted";

/// Objects whose changes matter to a case.
fn concerned(case: &Case, change: &Change) -> bool {
    let subject = case.subject.object();
    let reaches = |object: &Object| &change.object == object || change.touched.contains(object);
    let suspects = case.causes.iter().map(|cause| &cause.object);
    reaches(&subject) || case.also.iter().chain(suspects).any(reaches)
}

/// Records interventions among changes. True where there is a new one.
pub(super) fn record(case: &mut Case, changes: &[Change]) -> bool {
    let mut fresh: Vec<&Change> = changes
        .iter()
        .filter(|change| change.at > case.opened_at && concerned(case, change))
        .filter(|change| {
            !case
                .interventions
                .iter()
                .any(|known| known.change == change.id)
        })
        .collect();
    fresh.sort_by_key(|change| change.at);
    let mut found = false;
    for change in fresh {
        let undone = case.causes.iter().any(|cause| {
            let suspect = cause.change.as_ref();
            suspect.is_some_and(|suspect| change.undoes(suspect))
        });
        let suspected = case.causes.iter().any(|cause| {
            let suspect = cause.change.as_ref();
            suspect.is_some_and(|suspect| suspect.id == change.id)
        });
        let kind = match change.kind {
            _ if undone => "rollback",
            ChangeKind::Deploy if change.object.kind != "Promotion" => "deploy",
            ChangeKind::Scale => "scale",
            ChangeKind::Config => "config",
            _ => continue,
        };
        // What a symptom may come from is no answer to it.
        if suspected || case.interventions.len() >= MOST {
            continue;
        }
        case.interventions.push(Intervention {
            kind: kind.into(),
            at: change.at,
            by: change.by.clone(),
            change: change.id.clone(),
            object: change.object.clone(),
            words: change.words.clone(),
            outcome: WAITING.into(),
            outcome_at: None,
        });
        let by = match change.by.as_str() {
            "" => String::new(),
            by => format!(" by {by}"),
        };
        let words = format!("{kind} of {}{by}: {}", change.object, change.words);
        case.note(
            change.at,
            "intervention",
            words,
            Some(change.object.clone()),
        );
        found = true;
    }
    found
}

/// Judges interventions whose effect shows by now. `ended` is when the last alert ended, where none
/// fires. True where one is judged.
pub(super) fn judge(case: &mut Case, ended: Option<i64>, now: i64) -> bool {
    let waiting: Vec<usize> = (0..case.interventions.len())
        .filter(|place| case.interventions[*place].outcome == WAITING)
        .collect();
    let Some(&last) = waiting.last() else {
        return false;
    };
    let mut judged = false;
    for place in waiting {
        let at = case.interventions[place].at;
        // What was done before the last deed did not help by itself.
        let helped = match ended {
            Some(end) if end >= at && end - at <= LAG_MS => place == last,
            Some(_) => false,
            None if now - at > LAG_MS => false,
            None => continue,
        };
        // An alert that ended before is no proof of anything.
        if ended.is_some_and(|end| end < at) {
            continue;
        }
        outcome(case, place, helped, ended.unwrap_or(now));
        judged = true;
    }
    judged
}

fn outcome(case: &mut Case, place: usize, helped: bool, at: i64) {
    let word = if helped { CONFIRMED } else { REFUTED_WORD };
    let deed = &mut case.interventions[place];
    deed.outcome = word.into();
    deed.outcome_at = Some(at);
    let (kind, object, change) = (deed.kind.clone(), deed.object.clone(), deed.change.clone());
    let words = match helped {
        true => format!("the symptom went after the {kind} of {object}"),
        false => format!("the symptom stayed after the {kind} of {object}"),
    };
    case.note(at, "outcome", words, Some(object.clone()));
    // Of several changes to an object the likeliest was taken back with it.
    let blamed = case
        .causes
        .iter_mut()
        .find(|cause| answers(cause, &kind, &object, &change));
    let Some(cause) = blamed else { return };
    if cause.verdict != Verdict::Suspected {
        return;
    }
    if helped {
        cause.verdict = Verdict::Confirmed;
        cause.score = cause.score.max(SURE);
    } else {
        cause.verdict = Verdict::Refuted;
        cause.score *= REFUTED;
        cause
            .dissent
            .push(format!("the symptom stayed after the {kind} of {object}"));
    }
    case.rank();
}

/// Whether an intervention speaks about a cause: it changed what the cause had changed. More pods
/// only speak about too few of them.
fn answers(cause: &CaseCause, kind: &str, object: &Object, change: &str) -> bool {
    let Some(suspect) = &cause.change else {
        return false;
    };
    suspect.id != change
        && suspect.object == *object
        && (kind != "scale" || suspect.kind == ChangeKind::Scale)
}

impl Case {
    /// Puts the likeliest cause first; what was confirmed before all others.
    pub(super) fn rank(&mut self) {
        self.causes.sort_by(|a, b| {
            let sure = |cause: &CaseCause| cause.verdict == Verdict::Confirmed;
            sure(b)
                .cmp(&sure(a))
                .then_with(|| b.score.total_cmp(&a.score))
        });
    }

    /// Adds a line to what happened.
    pub(super) fn note(&mut self, at: i64, kind: &str, words: String, object: Option<Object>) {
        const ENTRIES: usize = 300;
        let entry = Entry {
            at,
            kind: kind.into(),
            words,
            object,
        };
        if self.timeline.contains(&entry) {
            return;
        }
        let place = self.timeline.partition_point(|other| other.at <= at);
        self.timeline.insert(place, entry);
        if self.timeline.len() > ENTRIES {
            // The beginning and the end tell most.
            self.timeline.remove(ENTRIES / 2);
        }
    }

    /// When the last alert ended; `None` while one fires.
    pub(super) fn ended(&self) -> Option<i64> {
        if self.state == State::Open && self.alerts.is_empty() {
            return None;
        }
        let ends = self.alerts.iter().map(|alert| alert.ends_at);
        ends.collect::<Option<Vec<i64>>>()?.into_iter().max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::case::{CaseAlert, Subject};

    fn change(id: &str, at: i64, kind: ChangeKind, was: &str, now: &str) -> Change {
        Change {
            id: id.into(),
            at,
            kind,
            object: Object::new("Deployment", "shop", "web"),
            was: was.into(),
            now: now.into(),
            ..Change::default()
        }
    }

    fn case() -> Case {
        let suspect = change("bad", 1_000, ChangeKind::Deploy, "v1", "v2");
        let cause = |change: Option<Change>, kind: &str, score| CaseCause {
            kind: kind.into(),
            object: Object::new("Deployment", "shop", "web"),
            words: String::new(),
            change,
            finding: None,
            score,
            evidence: Vec::new(),
            dissent: Vec::new(),
            verdict: Verdict::Suspected,
        };
        Case {
            opened_at: 10_000,
            subject: Subject {
                kind: "Deployment".into(),
                namespace: "shop".into(),
                name: "web".into(),
                ..Subject::default()
            },
            alerts: vec![CaseAlert::default()],
            causes: vec![
                cause(Some(suspect), "change", 0.8),
                cause(None, "trouble", 0.5),
            ],
            ..Case::default()
        }
    }

    #[test]
    fn what_was_taken_back_in_time_was_it() {
        let mut case = case();
        let back = change("back", 60_000, ChangeKind::Deploy, "v2", "v1");
        assert!(record(&mut case, std::slice::from_ref(&back)));
        assert!(!record(&mut case, &[back]));
        assert_eq!(case.interventions[0].kind, "rollback");
        assert!(!judge(&mut case, None, 90_000));
        case.alerts[0].ends_at = Some(120_000);
        let ended = case.ended();
        assert!(judge(&mut case, ended, 120_000));
        assert_eq!(case.causes[0].verdict, Verdict::Confirmed);
        assert_eq!(case.interventions[0].outcome, CONFIRMED);
        assert!(case.timeline.iter().any(|entry| entry.kind == "outcome"));
    }

    #[test]
    fn what_did_not_help_moves_down() {
        let mut case = case();
        let back = change("back", 60_000, ChangeKind::Deploy, "v2", "v1");
        record(&mut case, &[back]);
        assert!(judge(&mut case, None, 60_001 + LAG_MS));
        assert_eq!(case.causes[0].kind, "trouble");
        assert_eq!(case.causes[1].verdict, Verdict::Refuted);
        assert!(case.causes[1].dissent[0].contains("stayed"));
    }

    #[test]
    fn more_pods_say_nothing_about_a_version() {
        let mut case = case();
        let more = change("more", 60_000, ChangeKind::Scale, "1", "3");
        record(&mut case, &[more]);
        case.alerts[0].ends_at = Some(70_000);
        assert!(judge(&mut case, Some(70_000), 70_000));
        assert_eq!(case.causes[0].verdict, Verdict::Suspected);
        assert_eq!(case.interventions[0].outcome, CONFIRMED);
    }

    #[test]
    fn what_came_before_or_is_suspected_is_no_answer() {
        let mut case = case();
        let bad = change("bad", 20_000, ChangeKind::Deploy, "v1", "v2");
        let before = change("before", 9_000, ChangeKind::Deploy, "v0", "v1");
        assert!(!record(&mut case, &[bad, before]));
    }
}
