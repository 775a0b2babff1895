//! A round of keeping the bucket as the store is: upload, name, let go, delete.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use towpath_stdx::{SystemRandom, id};

use super::bucket::Kind;
use super::catalog::{Catalog, Stored};
use super::claim::{self, RENEW};
use super::depot::{Depot, Item, Local, ObjectsError, ObjectsStats, State};

/// How often the thread looks, if nobody wakes it.
const LOOK: Duration = Duration::from_secs(60);
/// After a failure it waits for so long first, then longer up to [`LOOK`].
const SOON: Duration = Duration::from_secs(2);
/// So long the end of a store waits for a round.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked for garbage that nobody knows of, in milliseconds.
const LIST: i64 = 86_400_000;

/// Starts the thread of a depot. It ends with the store.
pub(crate) fn background<S: Local + 'static>(
    depot: &Arc<Depot>,
    store: Weak<S>,
) -> std::io::Result<()> {
    let (bell, depot) = (Arc::clone(&depot.bell), Arc::downgrade(depot));
    let run = move || {
        let (mut wait, mut again) = (Duration::ZERO, SOON);
        while bell.wait(wait) {
            let (Some(depot), Some(store)) = (depot.upgrade(), store.upgrade()) else {
                return;
            };
            wait = match depot.pass(&*store) {
                Ok(()) => {
                    again = SOON;
                    LOOK
                }
                Err(error) => {
                    let error = crate::metrics::told(&error);
                    tracing::error!(signal = depot.signal, error, "segments are not uploaded");
                    let now = again;
                    again = (again * 2).min(LOOK);
                    now
                }
            };
        }
    };
    std::thread::Builder::new()
        .name("signals-upload".to_owned())
        .spawn(run)
        .map(drop)
}

enum Uploaded {
    Stored(Stored),
    /// It is not here as a whole.
    Nothing,
    /// It counts no longer.
    Gone,
}

impl Depot {
    /// Does what is due.
    pub(crate) fn pass(&self, store: &dyn Local) -> Result<(), ObjectsError> {
        let mut state = self.state.lock();
        let (items, notes) = store.items();
        self.look(&items);
        let done = self.round(&mut state, &items, notes);
        self.look(&items);
        let mut stats = self.stats.lock();
        stats.trouble = done.as_ref().err().map(|error| crate::metrics::told(error));
        stats.failures += u64::from(done.is_err());
        done
    }

    /// Counts.
    fn look(&self, items: &[Item]) {
        let kept = self.kept.read();
        let mut now = ObjectsStats {
            segments: kept.len() as u64,
            bytes: kept.values().map(|one| one.bytes).sum(),
            ..ObjectsStats::default()
        };
        for item in items {
            let Some(data) = &item.data else { continue };
            if !data.is_here() {
                now.away_bytes += data.bytes();
            } else if !kept.contains_key(&item.number) {
                now.waiting += 1;
                now.waiting_bytes += data.bytes();
            }
        }
        let mut stats = self.stats.lock();
        now.failures = stats.failures;
        now.trouble = stats.trouble.take();
        *stats = now;
    }

    fn round(
        &self,
        state: &mut State,
        items: &[Item],
        notes: Vec<String>,
    ) -> Result<(), ObjectsError> {
        if let Some(why) = &state.fenced {
            return Err(ObjectsError::Taken(why.clone()));
        }
        if state.version.is_none() {
            let catalog = claim::claim(self, state, false)?;
            self.save(&catalog)?;
        }
        let wanted: BTreeSet<u64> = items.iter().map(|item| item.number).collect();
        let replaced = state
            .catalog
            .segments
            .keys()
            .any(|own| !wanted.contains(own));
        let mut next = state.catalog.clone();
        for item in items {
            let same = |stored: &Stored| {
                let bytes = item.data.as_ref().map(|data| data.bytes());
                bytes.is_none_or(|bytes| (bytes, item.tail_at) == (stored.bytes, stored.tail_at))
            };
            if next.segments.get(&item.number).is_some_and(same) {
                continue;
            }
            let stored = match self.upload(item)? {
                Uploaded::Stored(stored) => stored,
                Uploaded::Nothing => continue,
                // The store went on meanwhile, and so does the next round.
                Uploaded::Gone => {
                    self.bell.ring();
                    return Ok(());
                }
            };
            next.segments.insert(item.number, stored);
            // What was made of others comes into the catalog at once with these going out of it;
            // else it need not wait.
            if !replaced {
                self.put(state, next.clone())?;
                self.let_go(items)?;
            }
        }
        next.segments.retain(|own, _| wanted.contains(own));
        for item in items {
            if let Some(stored) = next.segments.get_mut(&item.number) {
                stored.note.clone_from(&item.note);
            }
        }
        next.notes = notes;
        let due = self.now().saturating_sub(state.catalog.renewed) >= RENEW;
        if next != state.catalog || due || self.is_garbage_due(state) {
            self.put(state, next)?;
            self.collect(state)?;
        }
        self.let_go(items)
    }

    fn upload(&self, item: &Item) -> Result<Uploaded, ObjectsError> {
        let Some(data) = item.data.as_ref().filter(|data| data.is_here()) else {
            return Ok(Uploaded::Nothing);
        };
        let file = match File::open(data.path()) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Uploaded::Gone),
            Err(source) => return Err(self.io(data.path(), source)),
        };
        let tag = id::suffix(&SystemRandom, 8);
        let stored = Stored {
            bytes: data.bytes(),
            tail_at: item.tail_at,
            name: format!("{:012}-{tag}.seg", item.number),
            note: item.note.clone(),
        };
        let key = self.key(&stored.name);
        self.options.bucket.upload(&key, file, data.bytes())?;
        self.uploaded_bytes
            .fetch_add(stored.bytes, Ordering::Relaxed);
        Ok(Uploaded::Stored(stored))
    }

    /// Makes a catalog the one that counts.
    fn put(&self, state: &mut State, mut next: Catalog) -> Result<(), ObjectsError> {
        next.renewed = self.now();
        let key = self.catalog_key();
        let bucket = &self.options.bucket;
        let version = match bucket.put(&key, next.text().into_bytes(), state.version.clone()) {
            Ok(version) => version,
            Err(error) if error.kind == Kind::Changed => {
                let found = bucket.get(&key)?;
                let read = found.as_ref().and_then(|(bytes, version)| {
                    let text = std::str::from_utf8(bytes).ok()?;
                    Some((Catalog::parse(text)?, version.clone()))
                });
                match read {
                    // The answer to one's own write was lost.
                    Some((there, version)) if there == next => version,
                    other => {
                        let host = other.map_or("somebody".to_owned(), |(there, _)| {
                            format!(
                                "the server {} (data directory {})",
                                there.host, there.writer
                            )
                        });
                        let why = format!(
                            "{} was changed by {host}: this server writes there no more",
                            bucket.named(&key)
                        );
                        state.fenced = Some(why.clone());
                        return Err(ObjectsError::Taken(why));
                    }
                }
            }
            Err(error) => {
                // Perhaps it was written: it is read again before the next one.
                state.version = None;
                return Err(error.into());
            }
        };
        let now = self.now();
        let names: BTreeSet<&str> = next.segments.values().map(|one| &*one.name).collect();
        let gone = state.catalog.segments.values();
        let gone = gone.filter(|one| !names.contains(&*one.name));
        let gone: BTreeMap<String, i64> = gone.map(|one| (one.name.clone(), now)).collect();
        state.garbage.extend(gone);
        state.version = Some(version);
        state.catalog = next;
        self.save(&state.catalog)
    }

    fn is_garbage_due(&self, state: &State) -> bool {
        let now = self.now();
        let listed = state.listed.is_some_and(|at| now.saturating_sub(at) < LIST);
        !listed
            || state
                .garbage
                .values()
                .any(|since| self.is_over(now, *since))
    }

    fn is_over(&self, now: i64, since: i64) -> bool {
        let grace = i64::try_from(self.options.grace.as_millis()).unwrap_or(i64::MAX);
        now.saturating_sub(since) >= grace
    }

    /// Deletes what counts no longer. To be called right after the catalog was written: that it is
    /// still one's own is what makes it safe.
    fn collect(&self, state: &mut State) -> Result<(), ObjectsError> {
        let now = self.now();
        let names: BTreeSet<&str> = state.catalog.segments.values().map(|o| &*o.name).collect();
        if state.listed.is_none_or(|at| now.saturating_sub(at) >= LIST) {
            let folder = format!("{}/segments", self.signal);
            for name in self.options.bucket.list(&folder)? {
                if !names.contains(&*name) {
                    state.garbage.entry(name).or_insert(now);
                }
            }
            state.listed = Some(now);
        }
        let over = state.garbage.iter();
        let over =
            over.filter(|(name, since)| self.is_over(now, **since) && !names.contains(&***name));
        let over: Vec<String> = over.map(|(name, _)| name.clone()).collect();
        for name in over {
            self.options.bucket.delete(&self.key(&name))?;
            state.garbage.remove(&name);
            self.deleted.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Tells local copies of those in the bucket, and lets go what is too much of them.
    fn let_go(&self, items: &[Item]) -> Result<(), ObjectsError> {
        let mut here: Vec<_> = items
            .iter()
            .filter_map(|item| Some((item, item.data.as_ref()?)))
            .filter(|(_, data)| data.is_here())
            .collect();
        for (item, data) in &here {
            if let Some(object) = self.object(item.number) {
                data.set_copy(object);
            }
        }
        let mut total: u64 = here.iter().map(|(_, data)| data.bytes()).sum();
        here.sort_by_key(|(item, _)| item.age);
        for (item, data) in here {
            if total <= self.options.local_bytes {
                break;
            }
            let Some(object) = self.object(item.number) else {
                continue;
            };
            if object.bytes != data.bytes() {
                continue;
            }
            data.leave(object)
                .map_err(|source| self.io(data.path(), source))?;
            total -= data.bytes();
        }
        Ok(())
    }

    /// Says that this server writes no more, so that another one need not wait.
    pub(crate) fn release(&self) {
        self.bell.stop();
        // Not while something is uploaded: then the next server waits a little.
        let Some(mut state) = self.state.try_lock_for(PATIENCE) else {
            return;
        };
        if state.fenced.is_some() || state.version.is_none() {
            return;
        }
        let mut catalog = state.catalog.clone();
        catalog.renewed = 0;
        let key = self.catalog_key();
        let version = state.version.take();
        let put = self
            .options
            .bucket
            .put(&key, catalog.text().into_bytes(), version);
        if let Err(error) = put {
            tracing::warn!(%error, "the bucket is not told that this server stops");
        }
    }
}
