//! Segments of lines in a bucket.

use std::path::Path;
use std::sync::Arc;

use towpath_stdx::{Clock, id};

use super::options::Options;
use super::segment::{self, Segment};
use super::store::{LogStore, StoreError};
use crate::objects::{Depot, Item, Local, ObjectsError, background, make_tails};
use crate::wal;

/// Before the requests to forget lines, in what the bucket is told of the store.
const DELETIONS: &str = "deletions ";

/// Looks what is in the bucket, if there is one; an empty directory takes it up.
pub(super) fn open(
    dir: &Path,
    options: &Options,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<Depot>>, StoreError> {
    let Some(objects) = options.objects.clone() else {
        return Ok(None);
    };
    let fault = |source| StoreError::Open {
        path: dir.to_path_buf(),
        source,
    };
    let segments = segment::numbers(dir).map_err(fault)?;
    let logged = wal::numbers(&dir.join("wal")).map_err(fault)?;
    // Tails alone are what a crash left while they were taken up.
    let whole = |number: &u64| segment::path(dir, *number).exists();
    let empty = !segments.iter().any(whole) && logged.is_empty();
    let opened = Depot::open("logs", dir, empty, objects, Arc::clone(clock))?;
    if let Some(catalog) = &opened.adopted {
        make_tails(&opened.depot, catalog, |number| segment::path(dir, number))?;
        let deletions = catalog.notes.iter().find_map(|n| n.strip_prefix(DELETIONS));
        if let Some(text) = deletions {
            let damaged = || ObjectsError::Damaged("the catalog of lines in the bucket".to_owned());
            let bytes = unhex(text).ok_or_else(damaged)?;
            std::fs::write(dir.join("deletions"), bytes).map_err(fault)?;
        }
        opened.depot.settle()?;
    }
    Ok(Some(opened.depot))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

impl Local for LogStore {
    fn items(&self) -> (Vec<Item>, Vec<String>) {
        // What is replaced and what replaces it change places at once.
        let segments = self.parts.read().segments.clone();
        let mut items: Vec<Item> = segments
            .iter()
            .map(|segment| Item {
                number: segment.number,
                data: Some(Arc::clone(segment.data())),
                tail_at: segment.tail_at,
                age: segment.times.1,
                note: String::new(),
            })
            .collect();
        items.extend(self.broken.iter().map(|number| Item {
            number: *number,
            data: None,
            tail_at: 0,
            age: i64::MIN,
            note: String::new(),
        }));
        let deletions = std::fs::read(self.dir.join("deletions")).ok();
        let deletions = deletions.map(|bytes| format!("{DELETIONS}{}", id::hex(&bytes)));
        (items, deletions.into_iter().collect())
    }
}

impl LogStore {
    /// Segments are others than before.
    pub(super) fn changed(&self) {
        if let Some(depot) = &self.depot {
            depot.ring();
        }
    }

    /// Whether a segment cannot be read since the bucket is away.
    pub(super) fn is_out_of_reach(&self, segment: &Segment) -> bool {
        let depot = self.depot.as_ref().filter(|_| !segment.data().is_here());
        depot.is_some_and(|depot| depot.is_out_of_reach())
    }

    /// Whether the bucket was away lately.
    pub(super) fn rests(&self) -> bool {
        self.depot.as_ref().is_some_and(|depot| depot.rests())
    }

    /// Starts to upload segments by itself, where there is a bucket.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn begin_uploads(self: &Arc<Self>) -> std::io::Result<()> {
        match &self.depot {
            Some(depot) if depot.options.background => background(depot, Arc::downgrade(self)),
            _ => Ok(()),
        }
    }

    /// Uploads segments to the bucket, lets local copies go and deletes what counts no longer.
    ///
    /// # Errors
    /// The bucket or the disk fails; nothing is lost and it can be called again.
    pub fn upload(&self) -> Result<(), ObjectsError> {
        match &self.depot {
            Some(depot) => depot.pass(self),
            None => Ok(()),
        }
    }
}
