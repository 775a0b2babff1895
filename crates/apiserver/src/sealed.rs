//! Secrets at rest: what the disk gets of them is sealed with AES-256-GCM.
//!
//! This lies between the store and its durable back end, so that memory, watches and answers know
//! nothing of it. A sealed record names its key and is bound to its place (resource, key,
//! revision), so that none can be put in another's stead. Records of before are read as they are;
//! a rotation writes all anew, with the same revisions.

use crate::pki::{PkiError, write_private};
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use towpath_stdx::{Random, Secret};
use towpath_store::{Backend, Batch, Error, Loaded, Rec, Row};

/// What is sealed.
const SEALED: &str = "secrets";
/// A stored object begins with `{`, so this tells them apart.
const MARK: &[u8] = b"towpath-sealed-1:";
const NONCE_BYTES: usize = 12;
const KEY_BYTES: usize = 32;
const ID_CHARS: usize = 8;

struct Key {
    id: String,
    seal: RandomizedNonceKey,
    text: Secret,
}

impl Key {
    fn read(line: &str) -> Option<Self> {
        let (id, text) = line.trim().split_once(' ')?;
        let bytes = STANDARD.decode(text).ok()?;
        let good = id.len() == ID_CHARS && bytes.len() == KEY_BYTES;
        good.then_some(())?;
        Some(Self {
            id: id.into(),
            seal: RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()?,
            text: Secret::from(text.to_string()),
        })
    }

    fn make(random: &dyn Random) -> Option<Self> {
        let (mut id, mut bytes) = ([0; ID_CHARS / 2], [0; KEY_BYTES]);
        random.fill(&mut id);
        random.fill(&mut bytes);
        Self::read(&format!(
            "{} {}",
            towpath_stdx::id::hex(&id),
            STANDARD.encode(bytes)
        ))
    }
}

/// The keys in `pki/secrets.key`, one per line: the one that seals, then those before it that
/// records may still need.
pub(crate) struct Keys {
    path: PathBuf,
    keys: RwLock<Vec<Key>>,
    rewrite: AtomicBool,
}

impl Keys {
    /// Reads the file, or makes it.
    pub(crate) fn open(path: PathBuf, random: &dyn Random) -> Result<Self, PkiError> {
        let unusable = || PkiError::Key("the key of secrets at rest (pki/secrets.key)");
        let keys = match std::fs::read_to_string(&path) {
            Ok(text) => text
                .lines()
                .map(|line| Key::read(line).ok_or_else(unusable))
                .collect::<Result<Vec<_>, _>>()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(file(&path, source)),
        };
        let own = Self {
            path,
            keys: RwLock::new(keys),
            rewrite: AtomicBool::new(false),
        };
        if own.keys.read().is_empty() {
            let first = Key::make(random).ok_or_else(unusable)?;
            own.keys.write().push(first);
            own.keep()?;
        }
        Ok(own)
    }

    fn keep(&self) -> Result<(), PkiError> {
        let mut text = String::new();
        for key in self.keys.read().iter() {
            text.push_str(&format!("{} {}\n", key.id, key.text.reveal_secret()));
        }
        write_private(&self.path, text.as_bytes()).map_err(|e| file(&self.path, e))
    }

    /// Seals with a new key from now on; the next write to the store rewrites all records.
    pub(crate) fn rotate(&self, random: &dyn Random) -> Result<String, PkiError> {
        let next = Key::make(random).ok_or(PkiError::Key("a new key"))?;
        let id = next.id.clone();
        self.keys.write().insert(0, next);
        if let Err(error) = self.keep() {
            // What cannot be kept must not seal anything.
            self.keys.write().remove(0);
            return Err(error);
        }
        self.rewrite.store(true, Ordering::Release);
        Ok(id)
    }

    /// Forgets all keys but the first, once no record needs them.
    pub(crate) fn forget_earlier(&self) -> Result<(), PkiError> {
        if self.rewrite.load(Ordering::Acquire) {
            return Ok(());
        }
        self.keys.write().truncate(1);
        self.keep()
    }

    fn seal(&self, resource: &str, rec: &Rec) -> Result<Bytes, Error> {
        let keys = self.keys.read();
        let fail = || fault("seal a secret", "no key".into());
        let key = keys.first().ok_or_else(fail)?;
        let mut body = rec.body().to_vec();
        let nonce = key
            .seal
            .seal_in_place_append_tag(Aad::from(place(resource, rec)), &mut body)
            .map_err(|_| fault("seal a secret", "refused by the cipher".into()))?;
        let nonce: &[u8; NONCE_BYTES] = nonce.as_ref();
        Ok([MARK, key.id.as_bytes(), nonce, &body].concat().into())
    }

    // `None` where it is not sealed.
    fn open_record(&self, resource: &str, rec: &Rec) -> Result<Option<Bytes>, Error> {
        let Some(rest) = rec.body().strip_prefix(MARK) else {
            return Ok(None);
        };
        let damaged = |why: &str| Error::Damaged(format!("{resource} {}: {why}", rec.key));
        if rest.len() < ID_CHARS + NONCE_BYTES {
            return Err(damaged("a sealed record is too short"));
        }
        let (id, rest) = rest.split_at(ID_CHARS);
        let (nonce, sealed) = rest.split_at(NONCE_BYTES);
        let id = String::from_utf8_lossy(id);
        let keys = self.keys.read();
        let key = keys.iter().find(|key| key.id == id).ok_or_else(|| {
            damaged(&format!(
                "sealed with key {id}, which pki/secrets.key does not hold"
            ))
        })?;
        let nonce = Nonce::try_assume_unique_for_key(nonce)
            .map_err(|_| damaged("a sealed record has no nonce"))?;
        let mut body = sealed.to_vec();
        let length = key
            .seal
            .open_in_place(nonce, Aad::from(place(resource, rec)), &mut body)
            .map_err(|_| damaged("it was changed, moved, or sealed with another key"))?
            .len();
        body.truncate(length);
        Ok(Some(body.into()))
    }
}

fn file(path: &Path, source: io::Error) -> PkiError {
    PkiError::File {
        path: path.display().to_string(),
        source,
    }
}

fn fault(what: &'static str, why: String) -> Error {
    Error::Backend {
        what,
        source: why.into(),
    }
}

fn place(resource: &str, rec: &Rec) -> Vec<u8> {
    format!("{resource}\0{}\0{}", rec.key, rec.revision).into_bytes()
}

/// A back end that seals what goes down and opens what comes up.
pub(crate) struct Sealed<B> {
    inner: B,
    keys: Arc<Keys>,
    /// Records as they are in memory, by row, for a rotation.
    rows: HashMap<i64, (Arc<str>, Arc<Rec>)>,
}

impl<B: Backend> Sealed<B> {
    pub(crate) fn new(inner: B, keys: Arc<Keys>) -> Self {
        Self {
            inner,
            keys,
            rows: HashMap::new(),
        }
    }

    fn sealed(&self, resource: &Arc<str>, rec: &Arc<Rec>) -> Result<Row, Error> {
        let rec = match **resource == *SEALED {
            true => Arc::new(rec.with_body(self.keys.seal(resource, rec)?)),
            false => rec.clone(),
        };
        Ok(Row {
            resource: resource.clone(),
            rec,
        })
    }

    // What a rotation adds to a batch: all records that are not in it.
    fn rewritten(&self, batch: &Batch) -> Result<Vec<Row>, Error> {
        let touched = |row: &i64| {
            batch.deletes.contains(row) || batch.puts.iter().any(|put| put.rec.row() == *row)
        };
        let rows = self.rows.iter().filter(|(row, _)| !touched(row));
        rows.map(|(_, (resource, rec))| self.sealed(resource, rec))
            .collect()
    }
}

impl<B: Backend> Backend for Sealed<B> {
    fn load(&mut self) -> Result<Loaded, Error> {
        let mut loaded = self.inner.load()?;
        let mut plain = 0;
        for row in &mut loaded.rows {
            if *row.resource != *SEALED {
                continue;
            }
            match self.keys.open_record(&row.resource, &row.rec)? {
                Some(body) => row.rec = Arc::new(row.rec.with_body(body)),
                None => plain += 1,
            }
            let kept = (row.resource.clone(), row.rec.clone());
            self.rows.insert(row.rec.row(), kept);
        }
        if plain > 0 {
            tracing::warn!(
                secrets = plain,
                "secrets of an earlier version are not sealed on disk; POST /keys/secrets seals them"
            );
        }
        Ok(loaded)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        let rotates = self.keys.rewrite.load(Ordering::Acquire);
        let concerned = rotates || batch.puts.iter().any(|row| *row.resource == *SEALED);
        if !concerned {
            self.inner.commit(batch)?;
        } else {
            let puts = batch.puts.iter();
            let mut puts = puts
                .map(|row| self.sealed(&row.resource, &row.rec))
                .collect::<Result<Vec<_>, _>>()?;
            if rotates {
                puts.extend(self.rewritten(batch)?);
            }
            self.inner.commit(&Batch {
                puts,
                deletes: batch.deletes.clone(),
                revision: batch.revision,
                durable: batch.durable || rotates,
            })?;
            if rotates {
                self.keys.rewrite.store(false, Ordering::Release);
            }
        }
        for row in &batch.deletes {
            self.rows.remove(row);
        }
        for row in batch.puts.iter().filter(|row| *row.resource == *SEALED) {
            let kept = (row.resource.clone(), row.rec.clone());
            self.rows.insert(row.rec.row(), kept);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.inner.sync()
    }

    fn tidy(&mut self, now: bool) -> Result<(), Error> {
        self.inner.tidy(now)
    }

    fn close(&mut self, revision: u64) -> Result<(), Error> {
        self.inner.close(revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_stdx::SystemRandom;
    use towpath_store::NewRec;

    fn rec(key: &str, body: &str, revision: u64) -> Rec {
        let new = NewRec {
            body: Bytes::copy_from_slice(body.as_bytes()),
            hole: 1,
            meta: towpath_store::Meta::default(),
        };
        Rec::unsaved(key.into(), new, revision)
    }

    #[test]
    fn a_sealed_record_opens_in_its_place_alone() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("secrets.key");
        let keys = Keys::open(path.clone(), &SystemRandom).expect("keys");
        let plain = rec("ns/a", "{\"data\":\"plain\"}", 7);
        let body = keys.seal(SEALED, &plain).expect("sealed");
        assert!(!body.windows(5).any(|part| part == b"plain"));
        let sealed = plain.with_body(body.clone());
        let open = |keys: &Keys, rec: &Rec| keys.open_record(SEALED, rec);
        assert_eq!(
            open(&keys, &sealed).expect("opened").as_ref(),
            Some(plain.body())
        );
        assert!(open(&keys, &plain).expect("plain").is_none());
        for other in [rec("ns/b", "{}", 7), rec("ns/a", "{}", 8)] {
            assert!(open(&keys, &other.with_body(body.clone())).is_err());
        }
        for at in MARK.len()..body.len() {
            let mut damaged = body.to_vec();
            damaged[at] ^= 1;
            assert!(
                open(&keys, &plain.with_body(damaged.into())).is_err(),
                "byte {at}"
            );
            assert!(
                open(&keys, &plain.with_body(body.slice(..at))).is_err(),
                "cut at {at}"
            );
        }
        // Another start and another key later it still opens; without its key it does not.
        let keys = Keys::open(path.clone(), &SystemRandom).expect("keys");
        keys.rotate(&SystemRandom).expect("rotated");
        assert!(open(&keys, &sealed).is_ok());
        keys.rewrite.store(false, Ordering::Release);
        keys.forget_earlier().expect("forgotten");
        assert!(open(&keys, &sealed).is_err());
        let again = Keys::open(path, &SystemRandom).expect("keys");
        assert_eq!(again.keys.read().len(), 1);
    }
}
