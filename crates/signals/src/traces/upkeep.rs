//! What is done from time to time: traces that are complete go into blocks, small blocks into
//! larger ones. What goes is in [`super::retention`].

use std::path::Path;
use std::sync::Arc;

use super::Error;
use super::block::{self, Block, Meta, Unwritten};
use super::join::{self, Join};
use super::store::{IDLE, Records, State, Store};
use crate::freed::Reason;
use crate::objects::{Depot, adopted_until};
use crate::segment::{self, Cache};
use crate::wal;

/// So many blocks of a size become one. Each span is copied once for every tier: the more blocks
/// at a time, the fewer tiers, and the more groups are in memory meanwhile.
pub(super) const FAN_IN: usize = 16;
/// Blocks up to these sizes are merged with others of their size, in bytes.
const TIERS: [u64; 3] = [2 << 20, 32 << 20, 256 << 20];

/// Opens the blocks of a directory. What others stand for, and what was never finished, goes.
pub(super) fn open_blocks(
    dir: &Path,
    cache: &Arc<Cache>,
    depot: Option<&Depot>,
    state: &mut State,
) -> Result<(), Error> {
    let numbers = numbers(dir)?;
    let newest = numbers.last().copied().max(depot.and_then(Depot::last));
    state.next_block = newest.map_or(1, |last| last + 1);
    let adopted = adopted_until(dir).map_err(|e| Error::io("read", dir, e))?;
    for number in numbers {
        let object = depot.and_then(|depot| depot.object(number));
        match Block::open(dir, number, Arc::clone(cache), object) {
            Ok(mut block) => {
                if number <= adopted {
                    block.meta.covers = 0;
                }
                state.blocks.push(Arc::new(block));
            }
            Err(error) => {
                let error = crate::metrics::told(&error);
                tracing::error!(error, number, "a block of traces is left out");
                state.broken.push(number);
            }
        }
    }
    let replaced: Vec<u64> = state
        .blocks
        .iter()
        .flat_map(|b| b.meta.replaces.clone())
        .collect();
    state.blocks.retain(|block| {
        let gone = replaced.contains(&block.number);
        if gone {
            remove(block);
        }
        !gone
    });
    Ok(())
}

/// The numbers of the blocks in a directory, in order; of those in a bucket the tails are here.
/// What was never finished goes.
pub(super) fn numbers(dir: &Path) -> Result<Vec<u64>, Error> {
    let listing = std::fs::read_dir(dir).map_err(|e| Error::io("list", dir, e))?;
    let mut numbers = Vec::new();
    for entry in listing {
        let path = entry.map_err(|e| Error::io("list", dir, e))?.path();
        let extension = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        let stem = path
            .file_stem()
            .and_then(|s| s.to_str())
            .unwrap_or_default();
        match (extension, stem.parse::<u64>()) {
            ("traces" | "tail", Ok(number)) => numbers.push(number),
            ("partial", _) => {
                std::fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?
            }
            _ => {}
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

pub(super) fn remove(block: &Block) {
    if let Err(error) = segment::remove(&block.path) {
        tracing::warn!(%error, path = %block.path.display(), "remove a block of traces");
    }
}

impl Store {
    /// Does what is due. Call it every second or so, away from what must not wait.
    ///
    /// # Errors
    /// A block cannot be written; what should be in it stays in memory and in the log.
    pub fn upkeep(&self) -> Result<(), Error> {
        let guard = self.0.upkeep.lock();
        self.0.room.look();
        // First, because it makes room for what follows.
        self.expire();
        let options = &self.0.options;
        let now = self.0.clock.monotonic();
        let (bytes, oldest) = {
            let state = self.0.state.lock();
            (state.head.bytes, state.head.oldest())
        };
        let old = oldest.is_some_and(|oldest| now.duration_since(oldest) >= options.flush_age);
        if bytes >= options.flush_bytes || old {
            // With twice as much as there should be, nothing is waited for.
            self.flush_locked(bytes >= 2 * options.flush_bytes)?;
        }
        self.trim()?;
        self.compact()?;
        drop(guard);
        Ok(())
    }

    /// Puts all traces into a block.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn flush(&self) -> Result<(), Error> {
        let _guard = self.0.upkeep.lock();
        self.flush_locked(true)
    }

    fn flush_locked(&self, all: bool) -> Result<(), Error> {
        let now = self.0.clock.monotonic();
        let since = if all {
            Some(now)
        } else {
            now.checked_sub(IDLE)
        };
        let Some(since) = since else {
            return Ok(());
        };
        let (leaving, covers, number) = {
            let mut state = self.0.state.lock();
            let taken = state.head.take_idle(since);
            if taken.is_empty() {
                return Ok(());
            }
            // From here on, the log before the new file is about what leaves, and what stays is
            // written again behind it.
            let rotated = self.0.log.rotate().and_then(|covers| {
                let mut records = Records::default();
                let parts = state.head.live.values().flat_map(|live| &live.parts);
                parts.for_each(|part| records.add(&part.bytes));
                let mut records = records.finish().into_iter();
                records.try_for_each(|record| self.0.log.push(&record))?;
                Ok(covers)
            });
            let covers = match rotated {
                Ok(covers) => covers,
                Err(why) => {
                    state.head.put_back(&taken, now);
                    return Err(Error::Log(super::NotTaken::from(why).to_string()));
                }
            };
            state.leaving_bytes = taken.values().map(|live| live.bytes).sum();
            state.leaving = Arc::new(taken);
            let number = state.next_block;
            state.next_block += 1;
            (Arc::clone(&state.leaving), covers, number)
        };
        let meta = Meta {
            covers,
            made_ns: self.now_ns(),
            ..Meta::default()
        };
        let made = block::write(&self.0.blocks_dir, number, meta, |making| {
            for (id, live) in leaving.iter() {
                if making.is_full(live.spans()) {
                    making.put()?;
                }
                let parts = live.parts.iter().map(|part| &*part.bytes);
                making.draft.add_parts(*id, parts);
            }
            Ok(())
        });
        let opened = self.opened(number, made.map(drop));
        let mut state = self.0.state.lock();
        state.leaving = Arc::default();
        state.leaving_bytes = 0;
        match opened {
            Ok(block) => {
                state.blocks.push(block);
                drop(state);
                self.changed();
                // What stayed must be durable behind the new file before the old ones go: a
                // rotation syncs, and files behind it are never removed with those before.
                let durable = self.0.log.rotate().is_ok();
                if durable && let Err(error) = wal::remove_before(&self.0.log_dir, covers) {
                    tracing::warn!(%error, "remove the log of traces that are in blocks");
                }
                Ok(())
            }
            Err(error) => {
                state.head.put_back(&leaving, now);
                Err(error)
            }
        }
    }

    fn opened(&self, number: u64, made: Result<(), Unwritten>) -> Result<Arc<Block>, Error> {
        let path = block::path(&self.0.blocks_dir, number);
        made.map_err(|e| match e {
            Unwritten::Write(e) => Error::io("write", &path, e),
            Unwritten::Read(why) => Error::Merge(why),
        })?;
        let block = Block::open(&self.0.blocks_dir, number, Arc::clone(&self.0.cache), None)?;
        Ok(Arc::new(block))
    }

    pub(super) fn now_ns(&self) -> u64 {
        u64::try_from(self.0.clock.since_epoch().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Merges blocks of like size, where there are enough of them.
    fn compact(&self) -> Result<(), Error> {
        if self.rests() {
            return Ok(());
        }
        let blocks = self.0.state.lock().blocks.clone();
        let tier = |block: &Block| TIERS.iter().position(|most| block.reader.bytes() < *most);
        let unreadable = self.0.unreadable.lock().clone();
        let readable = |block: &&Arc<Block>| !unreadable.contains(&block.number);
        let due = (0..TIERS.len()).find_map(|wanted| {
            let same = blocks.iter().filter(|block| tier(block) == Some(wanted));
            let same: Vec<Arc<Block>> = same.filter(readable).take(FAN_IN).cloned().collect();
            (same.len() == FAN_IN).then_some(same)
        });
        let Some(due) = due else {
            return Ok(());
        };
        self.rewrite(&due, None).map(drop)
    }

    /// Makes one block of some, without what is kept no longer, and counts what that frees where
    /// there is a reason for it. Tells its number, if something is left. Blocks that cannot be read are named in the server's log and left
    /// as they are from then on.
    pub(super) fn rewrite(
        &self,
        due: &[Arc<Block>],
        reason: Option<Reason>,
    ) -> Result<Option<u64>, Error> {
        let before: u64 = due.iter().map(|block| block.reader.bytes()).sum();
        if !self.0.room.fits(before) {
            return Ok(None);
        }
        let number = {
            let mut state = self.0.state.lock();
            state.next_block += 1;
            state.next_block - 1
        };
        let meta = Meta {
            covers: due.iter().map(|b| b.meta.covers).max().unwrap_or(0),
            replaces: due.iter().map(|b| b.number).collect(),
            made_ns: due.iter().map(|b| b.meta.made_ns).max().unwrap_or(0),
            ..Meta::default()
        };
        let newest_ns = due.iter().map(|block| age(block)).max().unwrap_or(0);
        let made = block::write(&self.0.blocks_dir, number, meta, |making| {
            Join::of(due).copy(making, |trace| self.keeps(trace, newest_ns))
        });
        if let Err(Unwritten::Read(why)) = &made {
            if !self.is_out_of_reach(due) {
                self.set_aside(due);
            }
            let partial = block::path(&self.0.blocks_dir, number).with_extension("partial");
            std::fs::remove_file(&partial).map_err(|e| Error::io("remove", &partial, e))?;
            return Err(Error::Merge(why.clone()));
        }
        let block = self.opened(number, made.map(drop))?;
        let empty = block.meta.traces == 0;
        let after = if empty { 0 } else { block.reader.bytes() };
        let gone = block.meta.replaces.clone();
        let mut state = self.0.state.lock();
        state.blocks.retain(|block| !gone.contains(&block.number));
        if !empty {
            state.blocks.push(Arc::clone(&block));
        }
        drop(state);
        due.iter().for_each(|block| remove(block));
        self.changed();
        if empty {
            remove(&block);
        }
        if let Some(reason) = reason {
            self.0.freed.add(reason, before as i64 - after as i64);
        }
        Ok((!empty).then_some(number))
    }

    /// Finds out which of some blocks cannot be read, so that the others can go on.
    fn set_aside(&self, due: &[Arc<Block>]) {
        for block in due {
            if let Err(error) = join::check(block) {
                let path = block.reader.data().name();
                tracing::error!(path, %error, "a block of traces is left as it is");
                self.0.unreadable.lock().insert(block.number);
            }
        }
    }
}

/// How old a block is, as a time. Clocks of senders may be wrong; it is no younger than its making.
pub(super) fn age(block: &Block) -> u64 {
    block.meta.end_ns.min(block.meta.made_ns)
}
