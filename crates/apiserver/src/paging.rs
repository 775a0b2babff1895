//! Continue tokens: a page after the first is read from the same state as the first, which is
//! held for a while; after that the client is told and may go on with the present state.

use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use towpath_api::status::{self, Failure};
use towpath_store::Snapshot;

const KEPT: usize = 64;
const AGE: Duration = Duration::from_secs(300);

/// States that lists are being paged through, by revision and resource: one of the past is right
/// for its own resource only.
#[derive(Default)]
pub(crate) struct Pages(Mutex<BTreeMap<(u64, String), Held>>);

/// A state and since when it is held.
type Held = (Arc<Snapshot>, Instant);

/// Where the next page starts.
pub(crate) struct Continue {
    /// State to read; none for the present one.
    pub(crate) revision: Option<u64>,
    /// Last key of the page before.
    pub(crate) after: String,
}

impl Pages {
    pub(crate) fn hold(&self, resource: &str, state: &Arc<Snapshot>, now: Instant) {
        let mut held = self.0.lock();
        held.retain(|_, (_, since)| now.duration_since(*since) < AGE);
        // Counted from the first page: who never stops paging must not hold a state for ever.
        held.entry((state.revision(), resource.into()))
            .or_insert_with(|| (state.clone(), now));
        while held.len() > KEPT {
            held.pop_first();
        }
    }

    pub(crate) fn get(&self, resource: &str, revision: u64, now: Instant) -> Option<Arc<Snapshot>> {
        let held = self.0.lock();
        held.get(&(revision, resource.into()))
            .filter(|(_, since)| now.duration_since(*since) < AGE)
            .map(|(state, _)| state.clone())
    }
}

impl Continue {
    pub(crate) fn encode(&self) -> String {
        let revision = self.revision.map_or(Value::from(-1), Value::from);
        let token = json!({"v": "meta.k8s.io/v1", "rv": revision, "start": self.after});
        base64::Engine::encode(
            &base64::engine::general_purpose::URL_SAFE_NO_PAD,
            token.to_string(),
        )
    }

    pub(crate) fn decode(token: &str) -> Result<Self, Failure> {
        let bad = || status::bad_request("continue key is not valid");
        let bytes =
            base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, token)
                .map_err(|_| bad())?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| bad())?;
        let after = value["start"].as_str().ok_or_else(bad)?.to_string();
        Ok(Self {
            revision: value["rv"].as_u64(),
            after,
        })
    }

    /// 410 with a token that goes on from the same key in the present state.
    pub(crate) fn expired(&self) -> Failure {
        let fresh = Self {
            revision: None,
            after: self.after.clone(),
        };
        let mut failure = status::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
        );
        failure.details = Some(json!({"continue": fresh.encode()}));
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_nonsense_is_refused() {
        let token = Continue {
            revision: Some(7),
            after: "ns/ä b".into(),
        };
        let back = Continue::decode(&token.encode()).expect("token");
        assert_eq!((back.revision, back.after.as_str()), (Some(7), "ns/ä b"));
        for bad in ["", "x", "e30", "!!!!", "bnVsbA"] {
            assert_eq!(
                Continue::decode(bad).err().map(|f| f.code),
                Some(400),
                "{bad}"
            );
        }
        let gone = token.expired();
        assert_eq!(gone.code, 410);
    }

    #[test]
    fn a_state_is_held_from_the_first_page_on() {
        let (pages, state, begin) = (
            Pages::default(),
            Arc::new(Snapshot::default()),
            Instant::now(),
        );
        pages.hold("things", &state, begin);
        let later = begin + AGE / 2;
        pages.hold("things", &state, later);
        assert!(pages.get("things", state.revision(), later).is_some());
        assert!(pages.get("things", state.revision(), begin + AGE).is_none());
    }
}
