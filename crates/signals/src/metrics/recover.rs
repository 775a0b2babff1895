//! Opening a store: manifest, segments, checkpoint, log.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::checkpoint;
use super::exemplars::Exemplars;
use super::families::Families;
use super::head::Head;
use super::manifest::Manifest;
use super::options::Options;
use super::records::{self, Entry};
use super::segment::Segment;
use super::select::told;
use super::store::{OpenError, Store};
use super::upkeep::{Upkeep, segment_path};
use super::view::{Broken, View};
use crate::segment::Cache;
use crate::wal::{self, Files, Log, Replayed};

/// Takes entries of checkpoint and log.
struct Recovery {
    head: Head,
    exemplars: Exemplars,
    families: Families,
    /// Numbers in the log that are another series than that of the same number here.
    other: HashMap<u32, u32>,
    /// Samples of series that nothing is known of: their record was damaged.
    orphans: u64,
    flushed: i64,
}

impl Recovery {
    fn apply(&mut self, entry: Entry) {
        let id = |id: u32| self.other.get(&id).copied().unwrap_or(id);
        match entry {
            Entry::Series(series, labels) => {
                let own = self.head.restore(series, &labels);
                if own != series {
                    self.other.insert(series, own);
                }
            }
            Entry::Sample(series, time, value) => {
                if !self.head.replay(id(series), time, &value) {
                    self.orphans += 1;
                }
            }
            Entry::Metadata(family, said) => drop(self.families.add(&family, said)),
            Entry::Exemplar(series, exemplar) => {
                // One that is there already is refused.
                let _ = self.exemplars.add(id(series), exemplar);
            }
            Entry::Chunk(series, chunk) => {
                if chunk.max() >= self.flushed {
                    self.head.saw(chunk.max());
                    self.head.holds(chunk.min.max(self.flushed));
                    self.head.change(id(series), |series| series.restore(chunk));
                }
            }
            Entry::Open(series, kind, data) => {
                let last = self.head.change(id(series), |series| {
                    series.restore_open(kind, &data)?;
                    series.packed.open.first().zip(series.packed.max())
                });
                if let Some(Some((first, last))) = last {
                    self.head.saw(last);
                    self.head.holds(first.max(self.flushed));
                }
            }
            Entry::End(_) => {}
        }
    }
}

pub(crate) fn open(
    dir: &Path,
    options: Options,
    files: Arc<dyn Files>,
) -> Result<Store, OpenError> {
    let io = |source| OpenError::Io {
        path: dir.display().to_string(),
        source,
    };
    let log_dir = dir.join("wal");
    fs::create_dir_all(&log_dir).map_err(io)?;
    let manifest = Manifest::load(dir).map_err(io)?;
    sweep(dir, &manifest).map_err(io)?;
    let cache = Arc::new(Cache::new(options.cache_bytes));
    let (mut segments, mut broken) = (Vec::new(), Vec::new());
    for listed in &manifest.segments {
        let path = segment_path(dir, listed.number);
        let times = (listed.min, listed.end);
        match Segment::open(&path, listed.number, times, Arc::clone(&cache)) {
            Ok(segment) => segments.push(Arc::new(segment)),
            Err(error) => {
                let why = told(&error);
                tracing::error!(error = %why, "a segment of metrics cannot be opened");
                broken.push(Broken {
                    number: listed.number,
                    min: listed.min,
                    end: listed.end,
                    why,
                });
            }
        }
    }
    let mut recovery = Recovery {
        head: Store::head_of(&options),
        exemplars: Exemplars::new(options.exemplars),
        families: Families::default(),
        other: HashMap::new(),
        orphans: 0,
        flushed: manifest.flushed,
    };
    recovery.head.numbers_from(manifest.series);
    if manifest.flushed > i64::MIN {
        recovery.head.refuse_before(manifest.flushed);
        recovery.head.saw(manifest.flushed);
    }
    let mut damage = Vec::new();
    let paths = manifest.checkpoints.iter();
    let paths = paths.map(|number| checkpoint::path(dir, *number));
    let moving = manifest.checkpoints.last();
    let moving = moving.map(|number| checkpoint::open_path(dir, *number));
    for path in paths.chain(moving) {
        damage.extend(checkpoint::read(&path, |entry| recovery.apply(entry)).map_err(io)?);
    }
    let mut replayed = wal::replay(&log_dir, manifest.wal, |record| {
        records::read(record, |entry| recovery.apply(entry));
    })
    .map_err(io)?;
    replayed.damage.splice(0..0, damage);
    report(&replayed, recovery.orphans);
    let log = Log::open(&log_dir, manifest.wal, files).map_err(io)?;
    let view = View {
        segments,
        broken,
        flushed: manifest.flushed,
        tombstones: manifest.tombstones.clone(),
        readers: Arc::default(),
    };
    let parts = (
        recovery.head,
        recovery.exemplars,
        recovery.families,
        replayed,
    );
    let upkeep = Upkeep::new(manifest, &*options.clock);
    Ok(Store::assemble(
        dir, options, log, parts, view, upkeep, cache,
    ))
}

fn report(replayed: &Replayed, orphans: u64) {
    for damage in &replayed.damage {
        tracing::error!(
            file = damage.file,
            offset = damage.offset,
            bytes = damage.bytes,
            "damaged signals on the disk are left out"
        );
    }
    if orphans > 0 {
        tracing::error!(
            samples = orphans,
            "samples could not be placed after damage"
        );
    }
    if replayed.cut > 0 {
        tracing::info!(bytes = replayed.cut, "the torn end of the log was cut");
    }
}

/// Removes files that the manifest does not name: left over from a crash.
fn sweep(dir: &Path, manifest: &Manifest) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some((number, kind)) = name.to_str().and_then(|name| name.split_once('.')) else {
            continue;
        };
        let Ok(number) = number.parse::<u64>() else {
            continue;
        };
        let named = match kind {
            "ckp" => manifest.checkpoints.contains(&number),
            "opn" => manifest.checkpoints.last() == Some(&number),
            "seg" => manifest.segments.iter().any(|s| s.number == number),
            _ => true,
        };
        if !named {
            fs::remove_file(entry.path())?;
        }
    }
    wal::remove_before(&dir.join("wal"), manifest.wal)
}
