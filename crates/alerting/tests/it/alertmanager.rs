//! Configurations and routes beside amtool, and the dispatcher along a clock of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use towpath_alerting::alertmanager::{
    Alert, Config, Dispatcher, Mail, Messages, Next, Outcome, Payload, Request, Silence, Snapshot,
    Way, render,
};

use crate::peer;

#[test]
fn configurations_are_judged_as_amtool_does() {
    let amtool = peer::find("amtool");
    let mut wrong = Vec::new();
    for (name, text) in peer::corpus("alertmanager", ".yml") {
        let result = Config::read(&text);
        if result.is_ok() != name.starts_with("good") {
            wrong.push(format!("{name}: {:?}", result.as_ref().err()));
        }
        if let Err(finding) = &result {
            let global = ["bad-no-route", "bad-global-both"];
            let exempt = global.iter().any(|g| name.starts_with(g));
            assert!(finding.place.is_some() || exempt, "{name}: {finding}");
        }
        let Some(amtool) = &amtool else { continue };
        let folder = peer::folder("alertmanager");
        let theirs = peer::run(amtool, &folder, &["check-config", &name]);
        if theirs.status.success() != result.is_ok() {
            let said = String::from_utf8_lossy(&theirs.stdout).into_owned();
            wrong.push(format!("{name}: amtool: {said}; own: {:?}", result.err()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn alerts_take_the_routes_they_take_with_amtool() {
    let text = std::fs::read_to_string(peer::folder("alertmanager").join("good-full.yml"));
    let config = Config::read(&text.expect("file")).expect("a configuration");
    let amtool = peer::find("amtool");
    for severity in ["page", "warning"] {
        for team in ["web", "x", ""] {
            for (service, owner, zone) in [
                ("files", "a", "y"),
                ("files", "c", "y"),
                ("files", "b", "xz"),
            ] {
                let pairs = [
                    ("severity", severity),
                    ("team", team),
                    ("service", service),
                    ("owner", owner),
                    ("zone", zone),
                ];
                let labels: BTreeMap<String, String> = pairs
                    .iter()
                    .filter(|(_, value)| !value.is_empty())
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect();
                let routes = config.route.matching(&labels);
                let got: Vec<&str> = routes.iter().map(|route| route.receiver.as_str()).collect();
                let Some(amtool) = &amtool else { continue };
                let given: Vec<String> = labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
                let mut args = vec!["config", "routes", "test", "--config.file=good-full.yml"];
                args.extend(given.iter().map(String::as_str));
                let theirs = peer::run(amtool, &peer::folder("alertmanager"), &args);
                let said = String::from_utf8(theirs.stdout).expect("text");
                assert_eq!(said.trim(), got.join(","), "{labels:?}");
            }
        }
    }
}

const CONFIG: &str = r#"
route:
  receiver: hook
  group_by: [alertname]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 1h
inhibit_rules:
  - source_matchers: [severity="critical"]
    target_matchers: [severity="warning"]
    equal: [zone]
receivers:
  - name: hook
    webhook_configs: [{url: "http://127.0.0.1/hook"}]
"#;

const MINUTE: i64 = 60_000;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect()
}

fn alert(pairs: &[(&str, &str)], starts_at: i64, ends_at: i64) -> Alert {
    Alert {
        labels: labels(pairs),
        annotations: labels(&[("summary", "it <broke>")]),
        starts_at,
        ends_at,
        updated_at: starts_at,
        generator_url: "http://example.com/graph".to_owned(),
        timeout: false,
    }
}

fn dispatcher(now: i64, kept: Snapshot) -> Dispatcher {
    let config = Arc::new(Config::read(CONFIG).expect("a configuration"));
    Dispatcher::new(config, "http://towpath", kept, now)
}

const FAR: i64 = 1_000_000 * MINUTE;

#[test]
fn a_group_waits_tells_and_repeats() {
    let t = 1_000 * MINUTE;
    let mut d = dispatcher(t, Snapshot::default());
    d.alerts(vec![alert(&[("alertname", "A"), ("i", "1")], t, FAR)], t);
    assert!(d.tick(t + 29_000).is_empty());
    d.alerts(
        vec![alert(&[("alertname", "A"), ("i", "2")], t, FAR)],
        t + 29_000,
    );
    let sent = d.tick(t + 30_000);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].message.alerts.len(), 2);
    assert_eq!(sent[0].message.group_key, "{}:{alertname=\"A\"}");
    d.done(sent[0].id, &Outcome::Delivered, t + 31_000);
    assert!(d.tick(t + 6 * MINUTE).is_empty());
    // A new one in the group is told at the next interval.
    d.alerts(
        vec![alert(
            &[("alertname", "A"), ("i", "3")],
            t + 6 * MINUTE,
            FAR,
        )],
        t + 6 * MINUTE,
    );
    let sent = d.tick(t + 11 * MINUTE);
    assert_eq!(sent[0].message.alerts.len(), 3);
    d.done(sent[0].id, &Outcome::Delivered, t + 11 * MINUTE);
    // Nothing changes for an hour.
    let mut quiet = 0;
    let mut at = t + 12 * MINUTE;
    let repeated = loop {
        let sent = d.tick(at);
        if let Some(one) = sent.first() {
            break one.id;
        }
        quiet += 1;
        at += MINUTE;
        assert!(quiet < 100);
    };
    assert!((55..70).contains(&quiet), "{quiet}");
    d.done(repeated, &Outcome::Delivered, at);
    // All is over: told once, then forgotten.
    let over = |i| Alert {
        updated_at: at + 1,
        ..alert(&[("alertname", "A"), ("i", i)], t, at)
    };
    d.alerts(["1", "2", "3"].map(over).to_vec(), at + 1);
    let sent = d.tick(at + 6 * MINUTE);
    assert_eq!(sent[0].message.status(), "resolved");
    d.done(sent[0].id, &Outcome::Delivered, at + 6 * MINUTE);
    assert!(d.tick(at + 12 * MINUTE).is_empty());
    d.tick(at + 13 * MINUTE);
    assert_eq!(d.all().count(), 0);
}

#[test]
fn failures_are_tried_again_and_survive_restarts() {
    let t = 1_000 * MINUTE;
    let mut d = dispatcher(t, Snapshot::default());
    d.alerts(vec![alert(&[("alertname", "A")], t - 10 * MINUTE, FAR)], t);
    let first = d.tick(t);
    assert_eq!(first.len(), 1, "what has lasted long does not wait");
    d.done(first[0].id, &Outcome::Later(None), t);
    assert_eq!(d.next(), Some(t + 10_000));
    assert!(d.tick(t + 9_000).is_empty());
    let second = d.tick(t + 10_000);
    assert_eq!(second[0].attempt, 1);
    assert_eq!(second[0].idempotency_key, first[0].idempotency_key);
    d.done(second[0].id, &Outcome::Later(Some(90_000)), t + 10_000);
    assert!(
        d.tick(t + 99_000).is_empty(),
        "whoever asks for time gets it"
    );
    // An end in between: it is told after the restart, as the same message.
    let mut d = dispatcher(t + 100_000, d.snapshot());
    let mut at = t + 100_000;
    let third = loop {
        let sent = d.tick(at);
        if !sent.is_empty() {
            break sent;
        }
        at += 10_000;
        assert!(at < t + 10 * MINUTE, "told within an interval");
    };
    assert_eq!(third[0].idempotency_key, first[0].idempotency_key);
    d.done(third[0].id, &Outcome::Delivered, at);
    let mut d = dispatcher(at, d.snapshot());
    for minute in 0..30 {
        assert!(d.tick(at + minute * MINUTE).is_empty(), "told once");
    }
}

#[test]
fn silences_and_inhibition_keep_alerts_quiet() {
    let t = 1_000 * MINUTE;
    let mut d = dispatcher(t, Snapshot::default());
    let warning = [("alertname", "W"), ("severity", "warning"), ("zone", "a")];
    let critical = [("alertname", "C"), ("severity", "critical"), ("zone", "a")];
    d.alerts(vec![alert(&warning, t, FAR), alert(&critical, t, FAR)], t);
    let sent = d.tick(t + MINUTE);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].message.alerts[0].0.labels["alertname"], "C");
    assert_eq!(d.muted(&labels(&warning), t).inhibited_by.len(), 1);
    let silence = Silence {
        id: String::new(),
        matchers: vec![("alertname".into(), "=".into(), "S".into())],
        starts_at: t,
        ends_at: t + 60 * MINUTE,
        updated_at: 0,
        created_by: "me".into(),
        comment: "because".into(),
        annotations: BTreeMap::new(),
        matched: false,
    };
    let id = d
        .silence(silence.clone(), "one".into(), t)
        .expect("a silence");
    d.alerts(vec![alert(&[("alertname", "S")], t, FAR)], t);
    assert!(
        d.tick(t + 10 * MINUTE)
            .iter()
            .all(|s| s.message.group_labels["alertname"] != "S")
    );
    let mut d = dispatcher(t + 11 * MINUTE, d.snapshot());
    assert_eq!(
        d.muted(&labels(&[("alertname", "S")]), t + 12 * MINUTE)
            .silenced_by,
        std::slice::from_ref(&id)
    );
    d.expire(&id, t + 12 * MINUTE).expect("an end");
    assert!(d.expire(&id, t + 13 * MINUTE).is_err());
    let mut found = false;
    for minute in 13..30 {
        for sent in d.tick(t + minute * MINUTE) {
            found |= sent.message.group_labels["alertname"] == "S";
            d.done(sent.id, &Outcome::Delivered, t + minute * MINUTE);
        }
    }
    assert!(found, "heard again");
    let empty = Silence {
        matchers: vec![("a".into(), "=~".into(), ".*".into())],
        ..silence
    };
    assert!(d.silence(empty, "two".into(), t).is_err());
}

#[test]
fn messages_say_what_is_known() {
    let text = std::fs::read_to_string(peer::folder("alertmanager").join("good-full.yml"));
    let config = Config::read(&text.expect("file")).expect("a configuration");
    let t = 1_700_000_000_000;
    let mut d = dispatcher(t, Snapshot::default());
    d.alerts(
        vec![alert(
            &[("alertname", "A"), ("zone", "<z>")],
            t - 10 * MINUTE,
            t + FAR,
        )],
        t,
    );
    let message = d.tick(t).remove(0).message;
    let messages = Messages::new([("own", "{{ define \"mine\" }}own {{ .Status }}{{ end }}")]);
    let messages = messages.expect("templates");
    let none = |_: &str| Err("no file".to_owned());
    let made = |kind: &str| {
        let all = config.receivers.iter().flat_map(|r| &r.integrations);
        let of = all.into_iter().find(|i| i.kind == kind).expect("one");
        render(of, &message, &messages, &none).expect("a message")
    };
    let request = |kind: &str| first(made(kind).way);
    let json = |kind: &str| match request(kind).body {
        Payload::Json(json) => json,
        _ => panic!("{kind}"),
    };
    let hook = json("webhook");
    assert_eq!(hook["version"], "4");
    assert_eq!(hook["alerts"][0]["startsAt"], "2023-11-14T22:03:20Z");
    assert_eq!(hook["alerts"][0]["endsAt"], "0001-01-01T00:00:00Z");
    assert_eq!(hook["commonLabels"]["zone"], "<z>");
    let access = made("webhook").access;
    assert_eq!(access.authorization.as_deref(), Some("Bearer abc"));
    let slack = json("slack");
    assert_eq!(slack["attachments"][0]["title"], "[FIRING:1] A (<z>)");
    assert_eq!(slack["attachments"][0]["color"], "danger");
    let page = json("pagerduty");
    assert_eq!(page["event_action"], "trigger");
    assert_eq!(page["payload"]["custom_details"]["num_firing"], 1);
    assert_eq!(page["payload"]["custom_details"]["a"], "b");
    let telegram = request("telegram");
    assert_eq!(telegram.url, "https://api.telegram.org/bott/sendMessage");
    assert_eq!(
        json("msteamsv2")["attachments"][0]["content"]["type"],
        "AdaptiveCard"
    );
    let Way::Mail(mail) = made("email").way else {
        panic!()
    };
    let Mail { text, content, .. } = *mail;
    assert!(text.starts_with("hi\n\n"), "{text}");
    let (_, html) = content.split_once("text/html").expect("HTML");
    assert!(
        html.contains("it &lt;broke&gt;") && !html.contains("<broke>"),
        "{html}"
    );
    assert!(text.contains("it <broke>"), "{text}");
    assert_eq!(
        messages
            .text("{{ template \"mine\" . }}", &message)
            .as_deref(),
        Ok("own firing")
    );
}

fn first(way: Way) -> Request {
    let Way::Talk(mut talk) = way else {
        panic!("a talk")
    };
    match talk.next(None).expect("a request") {
        Next::Ask(request) => request,
        Next::Done => panic!("nothing to ask"),
    }
}
