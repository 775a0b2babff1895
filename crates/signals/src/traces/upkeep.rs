//! What is done from time to time: traces that are complete go into blocks, small blocks into
//! larger ones, old ones away.

use std::path::Path;
use std::sync::Arc;

use towpath_query::traceql::Wanted;

use super::Error;
use super::block::{self, Block, Meta, Unwritten};
use super::merge::Merge;
use super::store::{IDLE, Records, State, Store};
use crate::segment::Cache;
use crate::wal;

/// So many blocks of a size become one.
const FAN_IN: usize = 8;
/// Blocks up to these sizes are merged with others of their size, in bytes.
const TIERS: [u64; 2] = [32 << 20, 256 << 20];

/// Opens the blocks of a directory. What others stand for, and what was never finished, goes.
pub(super) fn open_blocks(dir: &Path, cache: &Arc<Cache>, state: &mut State) -> Result<(), Error> {
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
            ("traces", Ok(number)) => numbers.push(number),
            ("partial", _) => {
                std::fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?
            }
            _ => {}
        }
    }
    numbers.sort_unstable();
    state.next_block = numbers.last().map_or(1, |last| last + 1);
    for number in numbers {
        match Block::open(dir, number, Arc::clone(cache)) {
            Ok(block) => state.blocks.push(Arc::new(block)),
            Err(error) => tracing::error!(%error, number, "a block of traces is left out"),
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

fn remove(block: &Block) {
    if let Err(error) = std::fs::remove_file(&block.path) {
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
        self.compact()?;
        self.expire();
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
        let traces = leaving.iter().map(|(id, live)| Ok(live.trace(*id)));
        let made = block::write(&self.0.blocks_dir, number, meta, traces);
        let opened = self.opened(number, made.map(drop));
        let mut state = self.0.state.lock();
        state.leaving = Arc::default();
        state.leaving_bytes = 0;
        match opened {
            Ok(block) => {
                state.blocks.push(block);
                drop(state);
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
        let block = Block::open(&self.0.blocks_dir, number, Arc::clone(&self.0.cache))?;
        Ok(Arc::new(block))
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.0.clock.since_epoch().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Merges blocks of like size, where there are enough of them.
    fn compact(&self) -> Result<(), Error> {
        let blocks = self.0.state.lock().blocks.clone();
        let tier = |block: &Block| TIERS.iter().position(|most| block.reader.bytes() < *most);
        let due = (0..TIERS.len()).find_map(|wanted| {
            let same = blocks.iter().filter(|block| tier(block) == Some(wanted));
            let same: Vec<Arc<Block>> = same.take(FAN_IN).cloned().collect();
            (same.len() == FAN_IN).then_some(same)
        });
        let Some(due) = due else {
            return Ok(());
        };
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
        let wanted = Arc::new(Wanted::everything(0, u64::MAX));
        let mut sources: Vec<Box<dyn Iterator<Item = _>>> = Vec::new();
        for block in &due {
            let traces = Arc::clone(block).traces(Arc::clone(&wanted), true)?;
            sources.push(Box::new(traces.map(|t| t.map_err(|e| e.to_string()))));
        }
        let made = block::write(&self.0.blocks_dir, number, meta, Merge::new(sources));
        let block = self.opened(number, made.map(drop))?;
        let gone = block.meta.replaces.clone();
        let mut state = self.0.state.lock();
        state.blocks.retain(|block| !gone.contains(&block.number));
        state.blocks.push(block);
        drop(state);
        due.iter().for_each(|block| remove(block));
        Ok(())
    }

    /// Lets go what is too old, and the oldest of what is too much.
    fn expire(&self) {
        let options = &self.0.options;
        let keep_ns = u64::try_from(options.retention.as_nanos()).unwrap_or(u64::MAX);
        let oldest_ns = self.now_ns().saturating_sub(keep_ns);
        // Clocks of senders may be wrong; a block is no younger than its making.
        let age = |block: &Block| block.meta.end_ns.min(block.meta.made_ns);
        let mut gone = Vec::new();
        let mut state = self.0.state.lock();
        let mut total: u64 = state.blocks.iter().map(|b| b.reader.bytes()).sum();
        let mut by_age = state.blocks.clone();
        by_age.sort_by_key(|block| age(block));
        for block in by_age {
            if age(&block) >= oldest_ns && total <= options.max_bytes {
                break;
            }
            total -= block.reader.bytes();
            gone.push(block);
        }
        let gone_numbers: Vec<u64> = gone.iter().map(|block| block.number).collect();
        state
            .blocks
            .retain(|block| !gone_numbers.contains(&block.number));
        drop(state);
        gone.iter().for_each(|block| remove(block));
    }
}
