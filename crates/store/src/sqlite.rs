//! The durable back end: SQLite in WAL mode, one connection, every commit synced.
//!
//! SQLite's table pages carry no checksum, so each row does. A damaged WAL frame silently drops
//! every later one, so the WAL is kept short by explicit checkpoints; automatic ones are off
//! because they swallow errors.

use crate::backend::{Backend, Batch, Loaded, Row};
use crate::error::Error;
use crate::rec::{Meta, Rec};
use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, params};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FORMAT: i64 = 1;
const CHECKPOINT_RECORDS: usize = 500;
const CHECKPOINT_BYTES: usize = 2 << 20;

/// Objects in `<directory>/objects.db`.
pub struct Sqlite {
    db: Connection,
    wal: PathBuf,
    synced: bool,
    records: usize,
    bytes: usize,
}

fn backend(what: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |source| Error::Backend {
        what,
        source: source.into(),
    }
}

fn checksum(resource: &str, rec: &Rec, meta: &[u8]) -> u32 {
    let mut sum = crc32c::crc32c(resource.as_bytes());
    for part in [rec.key.as_bytes(), meta, &rec.body[..]] {
        sum = crc32c::crc32c_append(sum, &(part.len() as u64).to_le_bytes());
        sum = crc32c::crc32c_append(sum, part);
    }
    for number in [
        rec.row as u64,
        rec.revision,
        rec.created,
        u64::from(rec.hole),
    ] {
        sum = crc32c::crc32c_append(sum, &number.to_le_bytes());
    }
    sum
}

impl Sqlite {
    /// Opens or makes the database.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let wrap = |source: Box<dyn std::error::Error + Send + Sync>| Error::Open {
            path: directory.display().to_string(),
            source,
        };
        std::fs::create_dir_all(directory).map_err(|e| wrap(e.into()))?;
        let file = directory.join("objects.db");
        let db = Connection::open(&file).map_err(|e| wrap(e.into()))?;
        let set_up = || -> rusqlite::Result<()> {
            // One process at a time: a second one fails here instead of corrupting. Said before the
            // file is touched, it also keeps the log's index in memory, so that opening needs no
            // room on a disk that is full.
            db.execute_batch(
                "PRAGMA locking_mode=EXCLUSIVE; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
                 PRAGMA wal_autocheckpoint=0; PRAGMA cell_size_check=ON; PRAGMA cache_size=-2000;
                 CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL, crc INTEGER NOT NULL);
                 CREATE TABLE IF NOT EXISTS objects(id INTEGER PRIMARY KEY, resource TEXT NOT NULL, key TEXT NOT NULL,
                   revision INTEGER NOT NULL, created INTEGER NOT NULL, hole INTEGER NOT NULL,
                   meta BLOB NOT NULL, body BLOB NOT NULL, crc INTEGER NOT NULL);",
            )
        };
        set_up().map_err(|e| wrap(e.into()))?;
        File::open(directory)
            .and_then(|d| d.sync_all())
            .map_err(|e| wrap(e.into()))?;
        Ok(Self {
            db,
            wal: directory.join("objects.db-wal"),
            synced: true,
            records: 0,
            bytes: 0,
        })
    }

    fn meta(&self, key: &str) -> Result<Option<i64>, Error> {
        let read = self
            .db
            .query_row("SELECT value, crc FROM meta WHERE key = ?1", [key], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, u32>(1)?))
            });
        match read {
            Ok((value, crc)) if crc == meta_checksum(key, value) => Ok(Some(value)),
            Ok(_) => Err(Error::Damaged(format!("row {key} of the meta table"))),
            Err(rusqlite::Error::QueryReturnedNoRows) => Ok(None),
            Err(error) => Err(backend("read meta table")(error)),
        }
    }

    fn set_meta(&self, key: &str, value: i64) -> rusqlite::Result<usize> {
        self.db.execute(
            "INSERT OR REPLACE INTO meta(key, value, crc) VALUES (?1, ?2, ?3)",
            params![key, value, meta_checksum(key, value)],
        )
    }

    fn checkpoint(&self, mode: &'static str) -> Result<(), Error> {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        let busy: i64 = self
            .db
            .query_row(&sql, [], |row| row.get(0))
            .map_err(|error| {
                if is_full(&error) {
                    Error::Full
                } else {
                    backend("checkpoint the log")(error)
                }
            })?;
        if busy != 0 {
            return Err(Error::Damaged(
                "checkpoint found the log busy: another process uses it".into(),
            ));
        }
        Ok(())
    }

    fn rows(&self) -> Result<Vec<Row>, Error> {
        let fail = backend("load objects");
        let sql = "SELECT id, resource, key, revision, created, hole, meta, body, crc FROM objects";
        let mut statement = self.db.prepare(sql).map_err(&fail)?;
        let mut found = statement.query([]).map_err(&fail)?;
        let mut rows = Vec::new();
        while let Some(row) = found.next().map_err(&fail)? {
            rows.push(read_row(row)?);
        }
        Ok(rows)
    }

    fn write(&self, batch: &Batch) -> rusqlite::Result<()> {
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        {
            let mut put = self.db.prepare(
                "INSERT OR REPLACE INTO objects(id, resource, key, revision, created, hole, meta, body, crc)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?;
            for Row { resource, rec } in &batch.puts {
                let meta = serde_json::to_vec(&rec.meta).unwrap_or_default();
                put.execute(params![
                    rec.row,
                    &**resource,
                    &*rec.key,
                    rec.revision as i64,
                    rec.created as i64,
                    rec.hole,
                    meta,
                    &rec.body[..],
                    checksum(resource, rec, &meta)
                ])?;
            }
            let mut delete = self.db.prepare("DELETE FROM objects WHERE id = ?1")?;
            for row in &batch.deletes {
                delete.execute([row])?;
            }
        }
        if let Some(revision) = batch.revision {
            self.set_meta("revision", revision as i64)?;
        }
        self.db.execute_batch("COMMIT")
    }
}

fn meta_checksum(key: &str, value: i64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key.as_bytes()), &value.to_le_bytes())
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

fn read_row(row: &rusqlite::Row<'_>) -> Result<Row, Error> {
    let read = || -> rusqlite::Result<(Row, Vec<u8>, u32)> {
        let resource: String = row.get(1)?;
        let key: String = row.get(2)?;
        let meta: Vec<u8> = row.get(6)?;
        let rec = Rec {
            row: row.get(0)?,
            key: key.into(),
            revision: row.get::<_, i64>(3)? as u64,
            created: row.get::<_, i64>(4)? as u64,
            hole: row.get(5)?,
            meta: Meta::default(),
            body: Bytes::from(row.get::<_, Vec<u8>>(7)?),
        };
        Ok((
            Row {
                resource: resource.into(),
                rec: Arc::new(rec),
            },
            meta,
            row.get(8)?,
        ))
    };
    let (mut row, meta, crc) =
        read().map_err(|error| Error::Damaged(format!("a row cannot be read ({error})")))?;
    let damaged = || {
        Error::Damaged(format!(
            "{} {} does not match its checksum",
            row.resource, row.rec.key
        ))
    };
    if checksum(&row.resource, &row.rec, &meta) != crc || row.rec.hole as usize > row.rec.body.len()
    {
        return Err(damaged());
    }
    let meta = serde_json::from_slice(&meta).map_err(|_| damaged())?;
    if let Some(rec) = Arc::get_mut(&mut row.rec) {
        rec.meta = meta;
    }
    Ok(row)
}

impl Backend for Sqlite {
    fn load(&mut self) -> Result<Loaded, Error> {
        let format = self.meta("format")?.unwrap_or(FORMAT);
        if format != FORMAT {
            return Err(Error::Format {
                found: format,
                known: FORMAT,
            });
        }
        let check: String = self
            .db
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|error| Error::Damaged(error.to_string()))?;
        if check != "ok" {
            return Err(Error::Damaged(check));
        }
        let rows = self.rows()?;
        let newest = rows.iter().map(|row| row.rec.revision).max().unwrap_or(0);
        let revision = newest.max(self.meta("revision")?.unwrap_or(0) as u64);
        let clean = self.meta("clean")?.is_none_or(|clean| clean == 1);
        // What was recovered may so far be in the page cache only: this commit syncs it.
        let mark = || -> rusqlite::Result<()> {
            self.db.execute_batch("BEGIN IMMEDIATE")?;
            self.set_meta("format", FORMAT)?;
            self.set_meta("clean", 0)?;
            self.db.execute_batch("COMMIT")
        };
        mark().map_err(|error| {
            if is_full(&error) {
                Error::Full
            } else {
                backend("mark the store open")(error)
            }
        })?;
        self.checkpoint("TRUNCATE")?;
        Ok(Loaded {
            rows,
            revision,
            clean,
        })
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        if batch.durable != self.synced_mode() {
            let mode = if batch.durable { "FULL" } else { "NORMAL" };
            self.db
                .execute_batch(&format!("PRAGMA synchronous={mode}"))
                .map_err(backend("set sync mode"))?;
        }
        let written = self.write(batch);
        match written {
            Ok(()) => {
                self.synced = batch.durable;
                self.records += batch.puts.len() + batch.deletes.len();
                self.bytes += batch
                    .puts
                    .iter()
                    .map(|row| row.rec.body.len())
                    .sum::<usize>();
                Ok(())
            }
            // Running out of space while frames are written is the one error that is known to
            // leave the log as it was: the transaction has no commit frame.
            Err(error) if is_full(&error) => {
                match self.db.is_autocommit() || self.db.execute_batch("ROLLBACK").is_ok() {
                    true => Err(Error::Full),
                    false => Err(backend("roll back a write that did not fit")(error)),
                }
            }
            Err(error) => Err(backend("commit objects")(error)),
        }
    }

    fn sync(&mut self) -> Result<(), Error> {
        if !self.synced {
            let synced = File::open(&self.wal).and_then(|file| file.sync_data());
            synced.map_err(|source| Error::Backend {
                what: "sync the log",
                source: source.into(),
            })?;
            self.synced = true;
        }
        Ok(())
    }

    fn tidy(&mut self, now: bool) -> Result<(), Error> {
        if !now && self.records < CHECKPOINT_RECORDS && self.bytes < CHECKPOINT_BYTES {
            return Ok(());
        }
        self.sync()?;
        if now {
            // Pages of deleted objects go back to the disk, a few at a time.
            let given = self.db.execute_batch("PRAGMA incremental_vacuum(512)");
            given.map_err(|error| {
                if is_full(&error) {
                    Error::Full
                } else {
                    backend("give back free pages")(error)
                }
            })?;
        }
        self.checkpoint("PASSIVE")?;
        (self.records, self.bytes) = (0, 0);
        Ok(())
    }

    fn close(&mut self, revision: u64) -> Result<(), Error> {
        self.sync()?;
        let mark = || -> rusqlite::Result<()> {
            self.db
                .execute_batch("PRAGMA synchronous=FULL; BEGIN IMMEDIATE")?;
            self.set_meta("revision", revision as i64)?;
            self.set_meta("clean", 1)?;
            self.db.execute_batch("COMMIT")
        };
        mark().map_err(backend("mark the store closed"))?;
        self.checkpoint("TRUNCATE")
    }
}

impl Sqlite {
    fn synced_mode(&self) -> bool {
        self.db
            .query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0))
            .is_ok_and(|mode| mode == 2)
    }
}
