//! Whose the catalog is. One data directory writes it, in one process; it says so every few minutes
//! and when it stops.

use std::time::Duration;

use super::ObjectsError;
use super::catalog::Catalog;
use super::depot::{Depot, State};

/// How often a process says that it is there, in milliseconds.
pub(super) const RENEW: i64 = 5 * 60_000;
/// After so long without a word it is held to be gone, in milliseconds.
const GONE: i64 = 3 * RENEW;
/// So often it is tried where others write at the same time.
const TRIES: usize = 3;

/// Reads the catalog and writes oneself in; what it says then. An `empty` directory may take the
/// place of one that is gone.
pub(super) fn claim(
    depot: &Depot,
    state: &mut State,
    empty: bool,
) -> Result<Catalog, ObjectsError> {
    let key = depot.catalog_key();
    let bucket = &depot.options.bucket;
    let mut last = None;
    for _ in 0..TRIES {
        let (mut catalog, before) = match bucket.get(&key)? {
            None => (Catalog::default(), None),
            Some((bytes, version)) => {
                let text = std::str::from_utf8(&bytes).ok();
                let catalog = text.and_then(Catalog::parse);
                let damaged = || ObjectsError::Damaged(bucket.named(&key));
                (catalog.ok_or_else(damaged)?, Some(version))
            }
        };
        if before.is_some() && catalog.writer != depot.writer {
            may_take_over(depot, &catalog, empty)?;
        }
        if before.is_none() && !state.catalog.segments.is_empty() {
            // Somebody emptied the bucket: what is still here is uploaded again.
            tracing::error!(
                catalog = bucket.named(&key),
                "the catalog of segments is gone from the bucket and is begun anew"
            );
        }
        catalog.writer.clone_from(&depot.writer);
        catalog.session.clone_from(&depot.session);
        catalog.host.clone_from(&depot.options.host);
        catalog.renewed = depot.now();
        match bucket.put(&key, catalog.text().into_bytes(), before) {
            Ok(version) => {
                state.version = Some(version);
                state.catalog = catalog.clone();
                return Ok(catalog);
            }
            Err(error) if error.kind == super::bucket::Kind::Changed => last = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(match last {
        Some(error) => error.into(),
        None => ObjectsError::Damaged(bucket.named(&key)),
    })
}

fn may_take_over(depot: &Depot, catalog: &Catalog, empty: bool) -> Result<(), ObjectsError> {
    let key = depot.catalog_key();
    let place = depot.options.bucket.named(&key);
    let silent = depot.now().saturating_sub(catalog.renewed);
    let host = &catalog.host;
    if !empty {
        return Err(ObjectsError::Taken(format!(
            "{place} belongs to the server {host} (data directory {}), and this one has segments \
             of its own: give it another prefix",
            catalog.writer
        )));
    }
    let gone = catalog.renewed == 0 || silent >= GONE;
    if gone || depot.options.take_over {
        tracing::warn!(
            catalog = place,
            from = host,
            "takes over segments in the bucket"
        );
        return Ok(());
    }
    let (ago, left) = (seconds(silent), seconds(GONE - silent));
    Err(ObjectsError::Taken(format!(
        "{place} is written by the server {host}, which said so {ago} s ago: give this one another \
         prefix; if that server is gone, wait {left} s or set take-over"
    )))
}

fn seconds(ms: i64) -> u64 {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0)).as_secs()
}
