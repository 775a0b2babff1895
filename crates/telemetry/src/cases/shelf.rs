//! Where cases are kept: small records beside the ledger, bounded in number and age. Of each case
//! there is the whole and its line in lists; the whole is the truth and is written first. Who
//! listens hears the name of each that changed.

use super::case::{Case, Line, State};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::sync::broadcast;
use towpath_store::{Record, RecordError, Records};

const WHOLE: &str = "case";
const LINE: &str = "case-line";
/// All are in one place, as a name alone must find a case.
const PLACE: &str = "-";
/// Cases that are kept, whatever their age.
const KEPT: usize = 5_000;
/// The most that one question gets.
const MOST: usize = 500;
/// Changes that a listener may be behind.
const BEHIND: usize = 64;

/// Kept cases. Cheap to clone.
#[derive(Clone)]
pub struct Shelf {
    records: Records,
    changed: broadcast::Sender<String>,
}

fn record(case: &Case, what: &impl Serialize) -> Record {
    Record {
        namespace: PLACE.into(),
        key: case.id.clone(),
        at: u64::try_from(case.opened_at.div_euclid(1_000)).unwrap_or(0),
        bytes: Bytes::from(serde_json::to_vec(what).unwrap_or_default()),
    }
}

fn read<T: DeserializeOwned>(record: &Record) -> Option<T> {
    serde_json::from_slice(&record.bytes)
        .inspect_err(|error| tracing::warn!(%error, case = record.key, "a case cannot be read"))
        .ok()
}

impl Shelf {
    /// On these records.
    pub fn new(records: Records) -> Self {
        Self {
            records,
            changed: broadcast::Sender::new(BEHIND),
        }
    }

    /// Names of cases as they change, from now on.
    pub(super) fn changes(&self) -> broadcast::Receiver<String> {
        self.changed.subscribe()
    }

    /// Keeps a case, in place of what was kept of it; durable on return.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn put(&self, case: &Case) -> Result<(), RecordError> {
        self.records.put(WHOLE, record(case, case)).await?;
        self.records.put(LINE, record(case, &case.line())).await?;
        // Nobody may listen.
        let _ = self.changed.send(case.id.clone());
        Ok(())
    }

    /// Lines of cases, newest first; of one state, of one namespace where that is not empty.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn list(
        &self,
        state: Option<State>,
        namespace: &str,
        limit: usize,
    ) -> Result<Vec<Line>, RecordError> {
        let limit = limit.min(MOST);
        let read_through = match state.is_none() && namespace.is_empty() {
            true => limit,
            false => KEPT,
        };
        let records = self.records.list(LINE, PLACE, None, read_through).await?;
        let lines = records.iter().filter_map(read::<Line>);
        let wanted = lines.filter(|line| {
            state.is_none_or(|state| line.state == state)
                && (namespace.is_empty() || line.subject.namespace == namespace)
        });
        Ok(wanted.take(limit).collect())
    }

    /// One case.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn get(&self, id: &str) -> Result<Option<Case>, RecordError> {
        let found = self.records.get(WHOLE, PLACE, id).await?;
        Ok(found.as_ref().and_then(read))
    }

    /// Drops what is older than `oldest` (since the epoch), and all but the newest.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn prune(&self, oldest: Duration) -> Result<(), RecordError> {
        for kind in [WHOLE, LINE] {
            self.records.prune(kind, oldest.as_secs(), KEPT).await?;
        }
        Ok(())
    }
}
