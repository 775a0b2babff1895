//! Silences as changes of the ledger: what is not heard any more, or is heard again, and by whom.
//!
//! Who it was is who asked, not who the silence says made it.

use towpath_alerting::alertmanager::Silence;
use towpath_kit::traits::Principal;

use crate::ledger::{Change, ChangeKind, Object};

/// The longest comment that a change quotes, in letters.
const COMMENT: usize = 200;

/// A silence that was made or changed.
pub(super) fn made(silence: &Silence, by: &Principal, now: i64) -> Change {
    let until = match jiff::Timestamp::from_millisecond(silence.ends_at) {
        Ok(end) => format!(" until {}", end.strftime("%Y-%m-%dT%H:%M:%SZ")),
        Err(_) => String::new(),
    };
    let comment: String = silence.comment.chars().take(COMMENT).collect();
    let words = format!(
        "alerts with {} silenced{until}: {comment}",
        matched(silence)
    );
    change(silence, by, now, words)
}

/// A silence that was ended before its time.
pub(super) fn ended(silence: &Silence, by: &Principal, now: i64) -> Change {
    let words = format!("alerts with {} are heard again", matched(silence));
    change(silence, by, now, words)
}

fn change(silence: &Silence, by: &Principal, now: i64, words: String) -> Change {
    // A silence for one namespace belongs to its timeline, all others to everyone's.
    let namespace = silence
        .matchers
        .iter()
        .find(|(name, op, _)| name == "namespace" && op == "=")
        .map_or("", |(_, _, value)| value);
    Change {
        id: format!("silences/{}@{now}", silence.id),
        at: now,
        kind: ChangeKind::Silence,
        object: Object::new("Silence", namespace, &silence.id),
        by: by.name.clone(),
        words,
        ..Change::default()
    }
}

fn matched(silence: &Silence) -> String {
    let one = |(name, op, value): &(String, String, String)| format!("{name}{op}{value:?}");
    let all: Vec<String> = silence.matchers.iter().map(one).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_a_change_of_its_namespace_by_who_asked() {
        let matcher = |name: &str, value: &str| (name.to_owned(), "=".to_owned(), value.to_owned());
        let silence = Silence {
            id: "a1".into(),
            matchers: vec![matcher("alertname", "Slow"), matcher("namespace", "shop")],
            starts_at: 0,
            ends_at: 60_000,
            updated_at: 0,
            created_by: "somebody else".into(),
            comment: "known".into(),
            annotations: Default::default(),
            matched: false,
        };
        let ada = Principal {
            name: "ada".into(),
            ..Principal::default()
        };
        let change = made(&silence, &ada, 7);
        assert_eq!(change.id, "silences/a1@7");
        assert_eq!(change.object, Object::new("Silence", "shop", "a1"));
        assert_eq!(change.by, "ada");
        assert_eq!(
            change.words,
            "alerts with alertname=\"Slow\", namespace=\"shop\" silenced until 1970-01-01T00:01:00Z: known"
        );
        assert!(ended(&silence, &ada, 8).words.ends_with("are heard again"));
    }
}
