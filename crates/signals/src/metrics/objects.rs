//! Segments of metrics in a bucket.

use std::path::Path;
use std::sync::Arc;

use super::manifest::{Manifest, segment_line, tombstone_line};
use super::options::Options;
use super::segment::Segment;
use super::store::{OpenError, Store};
use super::upkeep::segment_path;
use crate::objects::{Catalog, Depot, Item, Local, Object, ObjectsError, background, make_tails};

/// Looks what is in the bucket, if there is one. A manifest of nothing becomes that of the bucket.
pub(crate) fn open(
    dir: &Path,
    options: &Options,
    manifest: &mut Manifest,
) -> Result<Option<Arc<Depot>>, OpenError> {
    let Some(objects) = options.objects.clone() else {
        return Ok(None);
    };
    let clock = Arc::clone(&options.clock);
    let logged = crate::wal::numbers(&dir.join("wal")).map_err(|source| OpenError::Io {
        path: dir.display().to_string(),
        source,
    })?;
    let empty = manifest.is_new() && logged.is_empty();
    let opened = Depot::open("metrics", dir, empty, objects, clock)?;
    if let Some(catalog) = &opened.adopted {
        if !catalog.segments.is_empty() {
            *manifest = adopted(catalog).ok_or_else(|| {
                ObjectsError::Damaged("the catalog of metrics in the bucket".to_owned())
            })?;
            make_tails(&opened.depot, catalog, |number| segment_path(dir, number))?;
            manifest.store(dir).map_err(|source| OpenError::Io {
                path: dir.display().to_string(),
                source,
            })?;
        }
        opened.depot.settle()?;
    }
    Ok(Some(opened.depot))
}

/// The manifest of what is in a bucket.
fn adopted(catalog: &Catalog) -> Option<Manifest> {
    let mut lines = String::new();
    for stored in catalog.segments.values() {
        lines.push_str(&stored.note);
        lines.push('\n');
    }
    for note in &catalog.notes {
        lines.push_str(note);
        lines.push('\n');
    }
    let mut manifest = Manifest::of_lines(&lines)?;
    let numbers: Vec<u64> = catalog.segments.keys().copied().collect();
    let mut own: Vec<u64> = manifest.segments.iter().map(|one| one.number).collect();
    own.sort_unstable();
    if own != numbers {
        return None;
    }
    manifest.segments.sort_by_key(|listed| listed.min);
    manifest.next = numbers.last()?.checked_add(1)?;
    manifest.flushed = manifest.segments.iter().map(|one| one.end).max()?;
    Some(manifest)
}

impl Local for Store {
    fn items(&self) -> (Vec<Item>, Vec<String>) {
        let view = self.view();
        let item = |listed: &super::manifest::Listed| {
            let open = view.segments.iter().find(|one| one.number == listed.number);
            Item {
                number: listed.number,
                data: open.map(|one| Arc::clone(one.file.data())),
                tail_at: open.map_or(0, |one| one.file.tail_at()),
                age: listed.end,
                note: segment_line(listed),
            }
        };
        let items = view.listed.iter().map(item).collect();
        (items, view.tombstones.iter().map(tombstone_line).collect())
    }
}

impl Store {
    /// What the bucket has of a segment.
    pub(crate) fn object(&self, number: u64) -> Option<Object> {
        self.depot.as_ref()?.object(number)
    }

    /// Whether segments cannot be read since the bucket is away.
    pub(crate) fn is_out_of_reach(&self, segments: &[Arc<Segment>]) -> bool {
        let away = segments.iter().any(|one| !one.file.data().is_here());
        away && self
            .depot
            .as_ref()
            .is_some_and(|depot| depot.is_out_of_reach())
    }

    pub(crate) fn begin_uploads(self: &Arc<Self>) -> std::io::Result<()> {
        match &self.depot {
            Some(depot) if depot.options.background => background(depot, Arc::downgrade(self)),
            _ => Ok(()),
        }
    }

    /// Uploads segments to the bucket, lets local copies go and deletes what counts no longer. The
    /// store does it by itself unless its options say otherwise.
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
