//! Kept history: finished runs, old promotions, reports. Bytes by kind, namespace and key,
//! newest first, with retention. Its own database, so that history never slows live objects.

use bytes::Bytes;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, params};
use std::path::Path;
use std::sync::Arc;

/// Why a record was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The database failed.
    #[error("{what} records")]
    Database {
        /// Operation.
        what: &'static str,
        /// Cause.
        #[source]
        source: rusqlite::Error,
    },
    /// The directory cannot be used.
    #[error("open record directory {path}")]
    Directory {
        /// Directory.
        path: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// A record does not match its checksum.
    #[error("record {0} is damaged")]
    Damaged(String),
    /// The worker thread went away.
    #[error("record work was interrupted")]
    Interrupted,
}

/// One kept thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Namespace.
    pub namespace: String,
    /// Key within kind and namespace.
    pub key: String,
    /// Seconds since 1970 when it was kept.
    pub at: u64,
    /// What was kept.
    pub bytes: Bytes,
}

/// Kept records. Cheap to clone.
#[derive(Clone)]
pub struct Records(Arc<Mutex<Connection>>);

fn database(what: &'static str) -> impl Fn(rusqlite::Error) -> RecordError {
    move |source| RecordError::Database { what, source }
}

fn checksum(kind: &str, namespace: &str, key: &str, bytes: &[u8]) -> u32 {
    let mut sum = 0;
    for part in [kind.as_bytes(), namespace.as_bytes(), key.as_bytes(), bytes] {
        sum = crc32c::crc32c_append(sum, &(part.len() as u64).to_le_bytes());
        sum = crc32c::crc32c_append(sum, part);
    }
    sum
}

type Raw = (String, String, u64, Vec<u8>, u32);

fn raw(row: &rusqlite::Row<'_>) -> rusqlite::Result<Raw> {
    Ok((
        row.get(0)?,
        row.get(1)?,
        row.get::<_, i64>(2)? as u64,
        row.get(3)?,
        row.get(4)?,
    ))
}

fn checked(kind: &str, (namespace, key, at, bytes, crc): Raw) -> Result<Record, RecordError> {
    if checksum(kind, &namespace, &key, &bytes) != crc {
        return Err(RecordError::Damaged(format!("{kind} {namespace}/{key}")));
    }
    Ok(Record {
        namespace,
        key,
        at,
        bytes: bytes.into(),
    })
}

impl Records {
    /// Opens or makes `<directory>/records.db`.
    pub fn open(directory: &Path) -> Result<Self, RecordError> {
        std::fs::create_dir_all(directory).map_err(|source| RecordError::Directory {
            path: directory.display().to_string(),
            source,
        })?;
        let open = || -> rusqlite::Result<Connection> {
            let db = Connection::open(directory.join("records.db"))?;
            db.execute_batch(
                "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-1000;
                 CREATE TABLE IF NOT EXISTS records(kind TEXT NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL,
                   at INTEGER NOT NULL, bytes BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY(kind, namespace, key));
                 CREATE INDEX IF NOT EXISTS by_time ON records(kind, namespace, at);",
            )?;
            Ok(db)
        };
        Ok(Self(Arc::new(Mutex::new(
            open().map_err(database("open"))?,
        ))))
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, RecordError> + Send + 'static,
    ) -> Result<T, RecordError> {
        let db = self.0.clone();
        tokio::task::spawn_blocking(move || work(&db.lock()))
            .await
            .map_err(|_| RecordError::Interrupted)?
    }

    /// Keeps (or replaces) a record; durable on return.
    pub async fn put(&self, kind: &str, record: Record) -> Result<(), RecordError> {
        let kind = kind.to_string();
        self.with(move |db| {
            let crc = checksum(&kind, &record.namespace, &record.key, &record.bytes);
            db.execute(
                "INSERT OR REPLACE INTO records(kind, namespace, key, at, bytes, crc) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![kind, record.namespace, record.key, record.at as i64, &record.bytes[..], crc],
            )
            .map_err(database("write"))?;
            Ok(())
        })
        .await
    }

    /// One record.
    pub async fn get(
        &self,
        kind: &str,
        namespace: &str,
        key: &str,
    ) -> Result<Option<Record>, RecordError> {
        let (kind, namespace, key) = (kind.to_string(), namespace.to_string(), key.to_string());
        self.with(move |db| {
            let sql = "SELECT namespace, key, at, bytes, crc FROM records WHERE kind = ?1 AND namespace = ?2 AND key = ?3";
            let found = db.query_row(sql, params![kind, namespace, key], raw).optional();
            found.map_err(database("read"))?.map(|found| checked(&kind, found)).transpose()
        })
        .await
    }

    /// At most `limit` records, newest first; of all namespaces where `namespace` is empty;
    /// only those kept before `before` (seconds since 1970) where given.
    pub async fn list(
        &self,
        kind: &str,
        namespace: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Record>, RecordError> {
        let (kind, namespace) = (kind.to_string(), namespace.to_string());
        let before = before.map_or(i64::MAX, |before| before as i64);
        self.with(move |db| {
            let sql = "SELECT namespace, key, at, bytes, crc FROM records
                       WHERE kind = ?1 AND (?2 = '' OR namespace = ?2) AND at < ?3 ORDER BY at DESC, key DESC LIMIT ?4";
            let mut statement = db.prepare(sql).map_err(database("list"))?;
            let found = statement.query_map(params![kind, namespace, before, limit as i64], raw).map_err(database("list"))?;
            found.map(|row| checked(&kind, row.map_err(database("list"))?)).collect()
        })
        .await
    }

    /// Removes a record; a missing one is no error.
    pub async fn delete(&self, kind: &str, namespace: &str, key: &str) -> Result<(), RecordError> {
        let (kind, namespace, key) = (kind.to_string(), namespace.to_string(), key.to_string());
        self.with(move |db| {
            let sql = "DELETE FROM records WHERE kind = ?1 AND namespace = ?2 AND key = ?3";
            db.execute(sql, params![kind, namespace, key])
                .map_err(database("delete"))?;
            Ok(())
        })
        .await
    }

    /// Drops what is older than `older_than` (seconds since 1970) and, per namespace, all but
    /// the newest `keep`. Returns what was dropped, so that the blobs it names can go too.
    pub async fn prune(
        &self,
        kind: &str,
        older_than: u64,
        keep: usize,
    ) -> Result<Vec<Record>, RecordError> {
        let kind = kind.to_string();
        self.with(move |db| {
            let sql = "SELECT namespace, key, at, bytes, crc FROM (
                         SELECT *, row_number() OVER (PARTITION BY namespace ORDER BY at DESC, key DESC) AS place
                         FROM records WHERE kind = ?1) WHERE at < ?2 OR place > ?3";
            let fail = database("prune");
            let mut statement = db.prepare(sql).map_err(&fail)?;
            let found = statement.query_map(params![kind, older_than as i64, keep as i64], raw).map_err(&fail)?;
            let dropped: Vec<Record> =
                found.map(|row| checked(&kind, row.map_err(&fail)?)).collect::<Result<_, _>>()?;
            db.execute_batch("BEGIN IMMEDIATE").map_err(&fail)?;
            for record in &dropped {
                db.execute(
                    "DELETE FROM records WHERE kind = ?1 AND namespace = ?2 AND key = ?3",
                    params![kind, record.namespace, record.key],
                )
                .map_err(&fail)?;
            }
            db.execute_batch("COMMIT").map_err(&fail)?;
            Ok(dropped)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn newest_first_and_pruned() {
        let dir = tempfile::tempdir().expect("directory");
        let records = Records::open(dir.path()).expect("open");
        for at in 1..=10u64 {
            let record = Record {
                namespace: "demo".into(),
                key: format!("r{at}"),
                at,
                bytes: Bytes::from(vec![at as u8]),
            };
            records.put("run", record).await.expect("put");
        }
        let listed = records.list("run", "demo", Some(9), 3).await.expect("list");
        assert_eq!(listed.iter().map(|r| r.at).collect::<Vec<_>>(), [8, 7, 6]);
        let dropped = records.prune("run", 3, 5).await.expect("prune");
        assert_eq!(dropped.len(), 5);
        assert_eq!(
            records
                .list("run", "", None, 100)
                .await
                .expect("list")
                .len(),
            5
        );
        assert_eq!(
            records
                .get("run", "demo", "r10")
                .await
                .expect("get")
                .map(|r| r.at),
            Some(10)
        );
        records.delete("run", "demo", "r10").await.expect("delete");
        assert_eq!(records.get("run", "demo", "r10").await.expect("get"), None);
    }
}
