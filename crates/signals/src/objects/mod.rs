//! Segments as objects of a bucket, for data that is older than what the local disk should hold.
//!
//! The head and its log stay local. Each store has a [`Depot`]: it uploads segments once they
//! count, then names them in the store's catalog in the bucket, and only then local copies beyond
//! a limit may go. What goes leaves its *tail* behind (footer, index, filters), so that a query
//! asks the bucket for blocks alone.
//!
//! | object below `<prefix>/<signal>/` | what |
//! |---|---|
//! | `manifest/CURRENT` | the catalog: who writes here, and which segments count |
//! | `segments/<number>-<tag>.seg` | a segment; the tag is another one for each upload |
//!
//! The catalog is replaced by conditional writes alone, so that of two servers one is told at once
//! that it is not alone; it then leaves the bucket as it is. What the catalog does not name (left by
//! a crash, or replaced by compaction) is deleted after a grace period, in which queries that began
//! before may still read it.
//!
//! On the local disk the file `OBJECTS` is the catalog as it was written last. Whether a segment
//! counts is said there as ever: by the manifest or by its file, of which the tail is the rest. The
//! bucket's catalog is asked for it in one case alone: when the directory is empty.

mod bucket;
mod catalog;
mod claim;
mod depot;
mod pass;
mod settings;

pub use bucket::{Bucket, BucketError};
pub(crate) use catalog::Catalog;
pub(crate) use depot::{Depot, Item, Local, adopted_until, make_tails};
pub use depot::{Objects, ObjectsError, ObjectsStats};
pub(crate) use pass::background;
pub use settings::{BucketSettings, Keys};

use std::sync::Arc;

/// A segment that is in the bucket.
#[derive(Clone)]
pub(crate) struct Object {
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) key: String,
    pub(crate) bytes: u64,
    /// Where what is kept locally begins.
    pub(crate) tail_at: u64,
}
