//! Durable state: versioned objects with watch, content-addressed blobs, and kept records.
//!
//! * [`Store`]: all live objects in memory under one global revision, a bounded ring of events
//!   that serves every watch, and one writer that makes groups of writes durable before it
//!   acknowledges or publishes them.
//! * [`Blobs`]: bytes named by their SHA-256, with the digest checked before the name exists.
//! * [`Records`]: finished things (old runs, upload states) with retention, served read-only.
//!
//! Invariants: revisions only grow and are never used twice, also across a crash; readers and
//! watchers never see a write that could be lost (Leases and Events excepted, see [`Class`]);
//! a damaged byte is found when it is loaded, not when it is served; after a failed sync
//! nothing is acknowledged or published any more.
//!
//! Nothing here knows a kind or what an object means: bodies are bytes with a hole where the
//! revision goes.

mod backend;
mod blobs;
mod error;
mod index;
mod meters;
mod rec;
mod records;
mod ring;
mod space;
mod sqlite;
mod store;
mod txn;
mod writer;

pub use backend::{Backend, Batch, Loaded, Row};
pub use blobs::{BlobError, BlobId, Blobs, Upload};
pub use error::{Error, Refused};
pub use index::{Snapshot, Table};
pub use rec::{Meta, NewRec, Rec, key};
pub use records::{Record, RecordError, Records};
pub use ring::{Event, Gone, Watch};
pub use sqlite::Sqlite;
pub use store::{Options, Store};
pub use txn::{Class, Done, Expect, Op, Txn};
