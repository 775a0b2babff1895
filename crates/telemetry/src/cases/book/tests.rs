//! Cases over what is told, in order and out of it.

use super::*;
use crate::cases::case::{CaseCause, Verdict};

const QUIET: i64 = 60_000;

fn heard(name: &str, pod: &str, starts_at: i64) -> Heard {
    let labels = [("alertname", name), ("pod", pod)];
    let labels = labels.map(|(n, v)| (n.to_string(), v.to_string()));
    Heard {
        alert: CaseAlert {
            name: name.into(),
            labels: labels.into_iter().collect(),
            severity: "warning".into(),
            starts_at,
            ..CaseAlert::default()
        },
        until: starts_at + 300_000,
        held: false,
    }
}

fn subject(name: &str) -> Subject {
    Subject {
        kind: "Deployment".into(),
        namespace: "shop".into(),
        name: name.into(),
        ..Subject::default()
    }
}

fn opened(book: &mut Book, name: &str, heard: Heard, now: i64) -> String {
    let subject = subject(name);
    let object = subject.object();
    let case = fresh(subject, &heard.alert);
    let id = case.id.clone();
    assert!(book.open(case, now));
    book.join(&id, Some(&object), heard, now);
    id
}

#[test]
fn a_storm_is_one_case_and_stays_small() {
    let mut book = Book::default();
    let id = opened(&mut book, "web", heard("Down", "web-0", 1_000), 1_000);
    for pod in 1..3_000 {
        let heard = heard("Down", &format!("web-{pod}"), 2_000);
        let web = subject("web").object();
        let found = book.of(&web).expect("its case").to_string();
        assert_eq!(found, id);
        book.join(&found, Some(&web), heard, 2_000);
    }
    let case = &book.open[&id].case;
    assert_eq!((case.alerts.len(), case.more_alerts), (100, 2_900));
    assert!(serde_json::to_vec(case).expect("JSON").len() < 100_000);
    // The same told again is the same.
    book.join(&id, None, heard("Down", "web-2999", 2_000), 3_000);
    assert_eq!(book.open[&id].case.more_alerts, 2_900);
}

#[test]
fn quiet_closes_and_the_name_stays() {
    let mut book = Book::default();
    let first = heard("Down", "web-0", 1_000);
    let id = opened(&mut book, "web", first.clone(), 1_000);
    book.end(first.print(), 10_000);
    assert!(book.tick(10_000 + QUIET - 1, QUIET).is_empty());
    assert_eq!(book.next(QUIET), Some(10_000 + QUIET));
    // It comes back before the case is closed.
    book.join(&id, None, heard("Down", "web-0", 20_000), 20_000);
    assert!(book.tick(10_000 + QUIET, QUIET).is_empty());
    // Nobody tells it any more.
    let closed = book.tick(20_000 + 300_000 + QUIET, QUIET);
    assert_eq!(closed.len(), 1);
    assert_eq!(closed[0].state, State::Closed);
    assert_eq!(name(&subject("web").object(), 1_999), id);
    assert_ne!(name(&subject("web").object(), 2_000), id);
    assert_eq!(book.holding(first.print()), None);
}

#[test]
fn a_kept_case_goes_on_after_a_restart() {
    let mut book = Book::default();
    let id = opened(&mut book, "web", heard("Down", "web-0", 1_000), 1_000);
    let kept = book.open[&id].case.clone();
    let mut book = Book::new(vec![kept], 50_000);
    let again = heard("Down", "web-0", 1_000);
    assert_eq!(book.holding(again.print()), Some(id.as_str()));
    book.join(&id, None, again, 51_000);
    assert_eq!(book.open[&id].case.alerts.len(), 1);
    assert!(book.tick(52_000, QUIET).is_empty());
}

#[test]
fn a_silence_is_marked_and_what_is_held_ends_no_sooner() {
    let mut book = Book::default();
    let id = opened(&mut book, "web", heard("Down", "web-0", 1_000), 1_000);
    let mut again = heard("Down", "web-0", 1_000);
    again.alert.silenced = true;
    assert!(!opens(&again.alert) && opens(&heard("Down", "web-1", 1_000).alert));
    book.join(&id, None, again.clone(), 2_000);
    again.held = true;
    again.until = 2_500;
    book.join(&id, None, again, 2_000);
    assert!(book.tick(3_000, QUIET).is_empty());
    let case = &book.open[&id].case;
    assert!(case.alerts[0].silenced && case.firing() == 1);
    let marks = |kind: &str| case.timeline.iter().filter(|e| e.kind == kind).count();
    assert_eq!((marks("alertSilenced"), marks("alertHeard")), (1, 0));
    book.join(&id, None, heard("Down", "web-0", 1_000), 4_000);
    let case = &book.open[&id].case;
    assert!(!case.alerts[0].silenced);
    assert!(case.timeline.iter().any(|e| e.kind == "alertHeard"));
}

#[test]
fn an_alert_of_before_a_restart_ends_when_its_rule_gives_it_no_more() {
    let mut book = Book::default();
    let alerts = ["web-0", "web-1", "web-2"].map(|pod| {
        let mut heard = heard("Down", pod, 1_000);
        heard.alert.query = "up == 0".into();
        heard
    });
    let id = opened(&mut book, "web", alerts[0].clone(), 1_000);
    book.join(&id, None, alerts[1].clone(), 1_000);
    book.join(&id, None, alerts[2].clone(), 1_000);
    assert!(!book.waits());
    let mut book = Book::new(vec![book.open[&id].case.clone()], 50_000);
    assert!(book.waits());
    // One is told again, and one is still held to be looked at.
    book.join(&id, None, alerts[1].clone(), 51_000);
    let mut rule = Known {
        name: "Down".into(),
        query: "up == 1".into(),
        at: 80_000,
        active: [alerts[2].print()].into(),
        ..Known::default()
    };
    book.settle(std::slice::from_ref(&rule));
    assert_eq!(book.open[&id].case.firing(), 3, "another rule");
    rule.query = "up == 0".into();
    rule.labels = [("severity".to_string(), "critical".to_string())].into();
    book.settle(std::slice::from_ref(&rule));
    assert_eq!(book.open[&id].case.firing(), 3, "a rule with other labels");
    rule.labels = [("tier".to_string(), "{{ $value }}".to_string())].into();
    book.settle(std::slice::from_ref(&rule));
    let case = &book.open[&id].case;
    let ends: Vec<_> = case.alerts.iter().map(|alert| alert.ends_at).collect();
    assert_eq!(ends, [Some(80_000), None, None]);
    assert!(book.waits(), "one may still be over");
    rule.active.clear();
    book.settle(&[rule]);
    assert_eq!(book.open[&id].case.firing(), 1);
    assert!(!book.waits());
}

#[test]
fn one_cause_or_one_call_is_one_case() {
    let mut book = Book::default();
    let id = opened(&mut book, "web", heard("Down", "web-0", 1_000), 1_000);
    let cause = CaseCause {
        kind: "change".into(),
        object: Object::default(),
        words: String::new(),
        change: Some(Change {
            id: "a".into(),
            commit: "4f2c".into(),
            ..Change::default()
        }),
        finding: None,
        score: 0.9,
        evidence: Vec::new(),
        dissent: Vec::new(),
        verdict: Verdict::Suspected,
    };
    let open = book.open.get_mut(&id).expect("open");
    open.case.causes.push(cause.clone());
    let mut other = fresh(subject("jobs"), &heard("Slow", "jobs-0", 2_000).alert);
    assert_eq!(book.like(&other, &[]), None);
    let pair = (subject("jobs").object(), subject("web").object());
    let calls = [pair];
    assert_eq!(book.like(&other, &calls), Some(id.as_str()));
    other.opened_at = 1_000 + TOGETHER_MS + 1;
    assert_eq!(book.like(&other, &calls), None);
    other.causes.push(cause);
    assert_eq!(book.like(&other, &[]), Some(id.as_str()));
}
