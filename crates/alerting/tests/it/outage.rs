//! Receivers that are away and servers that end, along a clock of its own: no alert is lost, and
//! nothing is told more often than there were ends. Throttles, digests, pauses, and what is noted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use towpath_alerting::alertmanager::{
    Alert, Cause, Config, DURING, Dispatcher, Outcome, Send, Silence, Snapshot, UNTIL, What,
};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const START: i64 = 1_700_000_000_000;

fn config(integration: &str, extras: &str) -> Arc<Config> {
    let text = format!(
        "route: {{receiver: hook, group_by: [alertname], group_wait: 30s, group_interval: 5m, repeat_interval: 12h}}\n\
         receivers: [{{name: hook, {integration}}}]\n"
    );
    let mut config = Config::read(&text).expect("a configuration");
    config.extend(extras).expect("further settings");
    Arc::new(config)
}

const HOOK: &str = "webhook_configs: [{url: 'http://127.0.0.1/hook'}]";
const MUTE_HOOK: &str = "webhook_configs: [{url: 'http://127.0.0.1/hook', send_resolved: false}]";

fn alert(name: &str, instance: usize, severity: &str, starts_at: i64, ends_at: i64) -> Alert {
    let labels = [
        ("alertname", name.to_owned()),
        ("instance", instance.to_string()),
        ("severity", severity.to_owned()),
    ];
    Alert {
        labels: labels.map(|(n, v)| (n.to_owned(), v)).into(),
        annotations: BTreeMap::new(),
        starts_at,
        ends_at,
        updated_at: starts_at.max(START),
        generator_url: String::new(),
        timeout: false,
    }
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// What a receiver heard: alerts by name and instance, and messages by their keys.
#[derive(Default)]
struct Heard {
    alerts: BTreeSet<String>,
    messages: BTreeMap<String, usize>,
}

impl Heard {
    fn take(&mut self, send: &Send) {
        *self
            .messages
            .entry(send.idempotency_key.clone())
            .or_default() += 1;
        for (alert, _) in &send.message.alerts {
            self.alerts.insert(name_of(alert));
        }
    }
}

fn name_of(alert: &Alert) -> String {
    let label = |name: &str| alert.labels.get(name).map_or("", String::as_str);
    format!("{}/{}", label("alertname"), label("instance"))
}

/// One run: four hours with a receiver that is away for the second one. What is kept is what was
/// there after the last step, as the server keeps it; an end may fall between any two steps.
fn run(seed: u64, integration: &str) {
    let config = config(integration, "");
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut kept = Snapshot::default();
    let mut own = Dispatcher::new(config.clone(), "http://t", kept.clone(), START);
    let mut heard = Heard::default();
    let mut fired: Vec<Alert> = Vec::new();
    let (mut ends, mut serial) = (0usize, 0usize);
    let mut now = START;
    let mut begun: Vec<(i64, Alert)> = Vec::new();
    while now < START + 4 * HOUR {
        now += 5_000 + dice.roll(10_000) as i64;
        let minutes = (now - START) / MINUTE;
        if minutes < 150 && dice.roll(12) == 0 {
            serial += 1;
            let lasts = [2, 8, 40, 300][dice.roll(4) as usize] * MINUTE;
            let name = ["A", "B", "C"][dice.roll(3) as usize];
            let made = alert(name, serial, "warning", now, now + lasts);
            fired.push(made.clone());
            begun.push((now + lasts, made));
        }
        // Rules tell their alerts again and again, also after a restart.
        let told: Vec<Alert> = begun
            .iter()
            .map(|(end, alert)| Alert {
                ends_at: (*end).min(now + 4 * MINUTE),
                updated_at: now,
                ..alert.clone()
            })
            .collect();
        own.alerts(told, now);
        // What is over is told once, and kept with the next step.
        let sends = own.tick(now);
        kept = own.snapshot();
        begun.retain(|(end, _)| *end > now);
        let away = (60..120).contains(&minutes);
        let mut ended = dice.roll(60) == 0;
        for send in sends {
            if ended && dice.roll(2) == 0 {
                break;
            }
            if !away {
                heard.take(&send);
            }
            // It may end between arrival and the note of it.
            if dice.roll(40) == 0 {
                ended = true;
                break;
            }
            let outcome = match away {
                true => Outcome::Later(None),
                false => Outcome::Delivered,
            };
            own.done(send.id, &outcome, now);
            kept = own.snapshot();
        }
        if ended {
            ends += 1;
            now += dice.roll(60_000) as i64;
            own = Dispatcher::new(config.clone(), "http://t", kept.clone(), now);
        }
    }
    assert!(serial > 10, "seed {seed}: {serial} alerts");
    for alert in fired {
        // What ends before its group is due need not be told.
        if alert.ends_at - alert.starts_at < 8 * MINUTE {
            continue;
        }
        let name = name_of(&alert);
        assert!(
            heard.alerts.contains(&name),
            "seed {seed}: {name} is lost, {} to {}",
            (alert.starts_at - START) / MINUTE,
            (alert.ends_at - START) / MINUTE
        );
    }
    let twice: usize = heard.messages.values().map(|count| count - 1).sum();
    assert!(twice <= ends, "seed {seed}: {twice} repeats, {ends} ends");
}

#[test]
fn an_hour_without_a_receiver_loses_nothing() {
    for seed in 0..12 {
        run(seed, HOOK);
        run(seed + 1034, MUTE_HOOK);
    }
}

/// What fires and ends while the receiver is away is told once it is back, even after a restart.
#[test]
fn what_came_and_went_meanwhile_is_told() {
    for integration in [HOOK, MUTE_HOOK] {
        let config = config(integration, "");
        let mut own = Dispatcher::new(config.clone(), "http://t", Snapshot::default(), START);
        let made = alert("A", 1, "warning", START, START + 10 * MINUTE);
        own.alerts(vec![made], START);
        let mut now = START;
        let mut failures = 0;
        while now < START + HOUR {
            now += 5_000;
            for send in own.tick(now) {
                failures += 1;
                own.done(send.id, &Outcome::Later(None), now);
            }
            if now == START + 20 * MINUTE {
                own = Dispatcher::new(config.clone(), "http://t", own.snapshot(), now);
            }
        }
        // 10 s, then twice as long each time, up to 5 minutes.
        assert!((14..24).contains(&failures), "{failures}");
        let mut told = Vec::new();
        while now < START + 2 * HOUR {
            now += 5_000;
            for send in own.tick(now) {
                told.push(send.message.status());
                own.done(send.id, &Outcome::Delivered, now);
            }
        }
        assert_eq!(told, ["resolved"], "{integration}");
        assert_eq!(own.all().count(), 0);
        assert!(own.snapshot().owed.is_empty());
    }
}

/// Who answers that it wants time gets it from all groups.
#[test]
fn a_pause_counts_for_all_groups() {
    let mut own = Dispatcher::new(config(HOOK, ""), "http://t", Snapshot::default(), START);
    let old = START - HOUR;
    own.alerts(vec![alert("A", 1, "warning", old, START + HOUR)], START);
    let sends = own.tick(START);
    own.done(sends[0].id, &Outcome::Later(Some(20 * MINUTE)), START);
    own.alerts(
        vec![alert("B", 1, "warning", old, START + HOUR)],
        START + MINUTE,
    );
    let mut now = START + MINUTE;
    let mut told = Vec::new();
    while now < START + 30 * MINUTE {
        for send in own.tick(now) {
            told.push((now - START) / MINUTE);
            own.done(send.id, &Outcome::Delivered, now);
        }
        now += 10_000;
    }
    assert_eq!(told, [20, 20]);
}

const THROTTLE: &str = "receivers: {hook: {throttle: {burst: 2, every: 10m, bypass: [critical]}}}";

#[test]
fn what_does_not_fit_becomes_one_digest() {
    let config = config(HOOK, THROTTLE);
    let mut own = Dispatcher::new(config.clone(), "http://t", Snapshot::default(), START);
    let old = START - HOUR;
    let many: Vec<Alert> = (0..30)
        .map(|at| alert(&format!("A{at:02}"), at, "warning", old, START + 10 * HOUR))
        .collect();
    own.alerts(many.clone(), START);
    own.alerts(
        vec![alert("Fire", 0, "critical", old, START + 10 * HOUR)],
        START,
    );
    let mut sends = own.tick(START);
    assert_eq!(sends.len(), 3, "two, and the one that always goes");
    assert!(
        sends
            .iter()
            .any(|s| s.message.group_labels["alertname"] == "Fire")
    );
    let (events, lost) = own.events();
    let held = events.iter().filter(|event| {
        matches!(&event.what, What::Suppressed { by, .. }
            if by == &[Cause::Throttle("hook/webhook[0]".into())])
    });
    assert_eq!((held.count(), lost), (28, 0));
    for send in sends.drain(..) {
        own.done(send.id, &Outcome::Delivered, START);
    }
    // A restart does not fill the bucket.
    let mut own = Dispatcher::new(config, "http://t", own.snapshot(), START + MINUTE);
    let mut told = Vec::new();
    let mut now = START + MINUTE;
    while now < START + 3 * HOUR {
        own.alerts(
            many.iter()
                .map(|a| Alert {
                    updated_at: now,
                    ..a.clone()
                })
                .collect(),
            now,
        );
        for send in own.tick(now) {
            told.push(((now - START) / MINUTE, send.message.clone()));
            let outcome = match told.len() {
                1 => Outcome::Later(None),
                _ => Outcome::Delivered,
            };
            own.done(send.id, &outcome, now);
        }
        now += 10_000;
    }
    assert_eq!(told.len(), 2, "a digest that fails, and again: {told:#?}");
    assert_eq!(told[0].0, 10);
    let (digest, firing) = &told[1].1.alerts[0];
    assert!(*firing);
    assert_eq!(digest.labels["alertname"], "AlertsHeldBack");
    assert_eq!(digest.annotations["count"], "28");
    assert!(digest.annotations["summary"].starts_with("28 alerts of 28 groups"));
    assert!(digest.annotations["description"].ends_with("and 8 more"));
    assert_eq!(
        digest.annotations["link"],
        "http://t/#/alerts?receiver=hook"
    );
}

#[test]
fn further_settings_are_checked() {
    let mut config = Config::clone(&config(HOOK, ""));
    for (text, why) in [
        ("receivers: {nobody: {}}", "undefined receiver"),
        (
            "receivers: {hook: {throttle: {every: 0s}}}",
            "more than zero",
        ),
        ("receivers: {hook: {throtle: {}}}", "unknown field"),
        ("receivers: {hook: {throttle: {burst: 2}}}", "missing field"),
    ] {
        let finding = config.extend(text).expect_err(text);
        assert!(finding.to_string().contains(why), "{finding}");
        assert!(finding.place.is_some(), "{finding}");
    }
}

fn silence(annotations: &[(&str, &str)]) -> Silence {
    Silence {
        id: String::new(),
        matchers: vec![("alertname".into(), "=".into(), "A".into())],
        starts_at: START,
        ends_at: START + 1000 * HOUR,
        updated_at: 0,
        created_by: "me".into(),
        comment: "because".into(),
        annotations: annotations
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect(),
        matched: false,
    }
}

#[test]
fn silences_recur() {
    let mut own = Dispatcher::new(config(HOOK, ""), "http://t", Snapshot::default(), START);
    let nights = "[{times: [{start_time: '22:00', end_time: '24:00'}], location: UTC}]";
    own.silence(silence(&[(DURING, nights)]), "one".into(), START)
        .expect("a silence");
    let labels = alert("A", 1, "x", 0, 0).labels;
    let day = START - START % (24 * HOUR) + 24 * HOUR;
    let own = Dispatcher::new(config(HOOK, ""), "http://t", own.snapshot(), START);
    for (hour, quiet) in [
        (12, false),
        (21, false),
        (22, true),
        (23, true),
        (24, false),
        (46, true),
    ] {
        let muted = own.muted(&labels, day + hour * HOUR + 1);
        assert_eq!(!muted.silenced_by.is_empty(), quiet, "{hour}");
    }
    let mut own = own;
    for bad in ["[]", "[{times: 3}]", "[{weekdays: [noday]}]"] {
        let made = own.silence(silence(&[(DURING, bad)]), "two".into(), START);
        assert!(made.is_err(), "{bad}");
    }
    assert!(
        own.silence(silence(&[(UNTIL, "tomorrow")]), "two".into(), START)
            .is_err()
    );
}

#[test]
fn silences_end_with_their_alerts() {
    let mut own = Dispatcher::new(config(HOOK, ""), "http://t", Snapshot::default(), START);
    own.silence(silence(&[(UNTIL, "resolved")]), "one".into(), START)
        .expect("a silence");
    let ends = START + 30 * MINUTE;
    let mut now = START;
    let mut last = 0;
    while now < START + HOUR {
        if now >= START + 10 * MINUTE {
            own.alerts(vec![alert("A", 1, "x", START, ends)], now);
        }
        assert!(own.tick(now).is_empty());
        if own.silences().any(|s| s.ends_at > now) {
            last = (now - START) / MINUTE;
        }
        now += 10_000;
    }
    // Before it matched anything it waits; after that it waits for calm.
    assert_eq!(last, 34);
}

#[test]
fn what_happens_is_noted() {
    let mut own = Dispatcher::new(config(HOOK, ""), "http://t", Snapshot::default(), START);
    let id = own
        .silence(silence(&[]), "one".into(), START)
        .expect("a silence");
    own.alerts(vec![alert("A", 1, "x", START, START + 8 * MINUTE)], START);
    let mut seen = Vec::new();
    let mut now = START;
    while now < START + 20 * MINUTE {
        own.tick(now);
        seen.extend(own.events().0);
        now += 10_000;
    }
    let words: Vec<String> = seen
        .iter()
        .map(|event| match &event.what {
            What::Fires { .. } => "fires".to_owned(),
            What::Resolves { .. } => "resolves".to_owned(),
            What::Suppressed { by, .. } => format!("{:?}", by[0].parts()),
        })
        .collect();
    assert_eq!(
        words,
        ["fires", &format!("{:?}", ("silence", &id)), "resolves"]
    );
}
