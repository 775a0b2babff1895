//! Blocks of traces in a bucket.

use std::path::Path;
use std::sync::Arc;

use towpath_stdx::Clock;

use super::block::{self, Block};
use super::store::{Inner, Store};
use super::upkeep::{age, numbers};
use super::{Error, Options};
use crate::objects::{Depot, Item, Local, ObjectsError, background, make_tails};
use crate::wal;

/// Looks what is in the bucket, if there is one; an empty directory takes it up.
pub(super) fn open(
    dir: &Path,
    log_dir: &Path,
    options: &Options,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<Depot>>, Error> {
    let Some(objects) = options.objects.clone() else {
        return Ok(None);
    };
    let logged = wal::numbers(log_dir).map_err(|e| Error::io("list", log_dir, e))?;
    // Tails alone are what a crash left while they were taken up.
    let whole = |number: &u64| block::path(dir, *number).exists();
    let empty = !numbers(dir)?.iter().any(whole) && logged.is_empty();
    let opened = Depot::open("traces", dir, empty, objects, Arc::clone(clock))?;
    if let Some(catalog) = &opened.adopted {
        make_tails(&opened.depot, catalog, |number| block::path(dir, number))?;
        opened.depot.settle()?;
    }
    Ok(Some(opened.depot))
}

impl Local for Inner {
    fn items(&self) -> (Vec<Item>, Vec<String>) {
        let state = self.state.lock();
        let mut items: Vec<Item> = state
            .blocks
            .iter()
            .map(|block| Item {
                number: block.number,
                data: Some(Arc::clone(block.reader.data())),
                tail_at: block.reader.tail_at(),
                age: i64::try_from(age(block)).unwrap_or(i64::MAX),
                note: String::new(),
            })
            .collect();
        items.extend(state.broken.iter().map(|number| Item {
            number: *number,
            data: None,
            tail_at: 0,
            age: i64::MIN,
            note: String::new(),
        }));
        (items, Vec::new())
    }
}

impl Store {
    /// Blocks are others than before.
    pub(super) fn changed(&self) {
        if let Some(depot) = &self.0.depot {
            depot.ring();
        }
    }

    /// Whether blocks cannot be read since the bucket is away.
    pub(super) fn is_out_of_reach(&self, blocks: &[Arc<Block>]) -> bool {
        let away = blocks.iter().any(|block| !block.reader.data().is_here());
        let depot = self.0.depot.as_ref().filter(|_| away);
        depot.is_some_and(|depot| depot.is_out_of_reach())
    }

    /// Whether the bucket was away lately.
    pub(super) fn rests(&self) -> bool {
        let depot = self.0.depot.as_ref();
        depot.is_some_and(|depot| depot.rests())
    }

    pub(super) fn begin_uploads(&self) -> Result<(), Error> {
        match &self.0.depot {
            Some(depot) if depot.options.background => {
                let begun = background(depot, Arc::downgrade(&self.0));
                begun.map_err(|e| Error::io("upload from", &self.0.blocks_dir, e))
            }
            _ => Ok(()),
        }
    }

    /// Says in the bucket that this server writes there no more.
    pub fn close(&self) {
        if let Some(depot) = &self.0.depot {
            depot.release();
        }
    }

    /// Uploads blocks to the bucket, lets local copies go and deletes what counts no longer. The
    /// store does it by itself unless its options say otherwise.
    ///
    /// # Errors
    /// The bucket or the disk fails; nothing is lost and it can be called again.
    pub fn upload(&self) -> Result<(), ObjectsError> {
        match &self.0.depot {
            Some(depot) => depot.pass(&*self.0),
            None => Ok(()),
        }
    }
}
