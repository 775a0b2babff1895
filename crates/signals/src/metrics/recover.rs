//! Opening a store: manifest, segments, checkpoint, log.

use std::borrow::Cow;
use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use towpath_stdx::keyed::Fingerprint;

use super::batch::Batch;
use super::checkpoint::{self, Records, Told};
use super::exemplars::Exemplars;
use super::families::Families;
use super::lanes::Lanes;
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

/// Takes records of checkpoint and log.
struct Recovery<'s, 'e> {
    fingerprint: Fingerprint,
    lanes: Lanes<'s, 'e>,
    exemplars: Exemplars,
    families: Families,
}

impl Records for Recovery<'_, '_> {
    fn room(&mut self) -> Vec<u8> {
        self.lanes.room()
    }

    fn record(&mut self, record: Cow<'_, [u8]>) -> Told {
        let mut told = Told {
            entries: 0,
            end: None,
            whole: true,
        };
        if records::is_of_series(&record) {
            let batch = Batch::read(&record, self.fingerprint);
            (told.entries, told.whole) = (batch.len() as u64, batch.whole);
            self.lanes.add(batch);
        } else if records::is_of_samples(&record) {
            // Whose they are decides who takes them.
            let series = Cell::new((u32::MAX, 0));
            let seen = |id: u32| {
                let (first, last) = series.get();
                series.set((first.min(id), last.max(id)));
                false
            };
            told.whole = records::read_of(&record, seen, |_| told.entries += 1);
            self.lanes.take(record, series.get());
        } else {
            told.whole = records::read(&record, |entry| match entry {
                Entry::End(count) => told.end = Some(count),
                entry => {
                    told.entries += 1;
                    self.apply(entry);
                }
            });
        }
        told
    }
}

impl Recovery<'_, '_> {
    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Metadata(family, said) => drop(self.families.add(&family, said)),
            Entry::Exemplar(series, exemplar) => {
                let own = self.lanes.other().get(&series).copied().unwrap_or(series);
                // One that is there already is refused.
                let _ = self.exemplars.add(own, exemplar);
            }
            // The lanes have them.
            Entry::Sample(..) | Entry::Chunk(..) | Entry::Open(..) => {}
            Entry::End(_) | Entry::Other => {}
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
    let mut manifest = Manifest::load(dir).map_err(io)?;
    let depot = super::objects::open(dir, &options, &mut manifest)?;
    sweep(dir, &manifest).map_err(io)?;
    let cache = Arc::new(Cache::new(options.cache_bytes));
    let (mut segments, mut broken) = (Vec::new(), Vec::new());
    for listed in &manifest.segments {
        let path = segment_path(dir, listed.number);
        let times = (listed.min, listed.end);
        let object = depot.as_ref().and_then(|depot| depot.object(listed.number));
        match Segment::open(&path, listed.number, times, Arc::clone(&cache), object) {
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
    let head = Store::head_of(&options);
    head.numbers_from(manifest.series);
    if manifest.flushed > i64::MIN {
        head.refuse_before(manifest.flushed);
        head.saw(manifest.flushed);
    }
    let (exemplars, families, replayed) = std::thread::scope(|scope| {
        let mut recovery = Recovery {
            fingerprint: head.registry.read().fingerprint(),
            lanes: Lanes::new(scope, &head, manifest.flushed),
            exemplars: Exemplars::new(options.exemplars),
            families: Families::default(),
        };
        let mut damage = Vec::new();
        let paths = manifest.checkpoints.iter();
        let paths = paths.map(|number| checkpoint::path(dir, *number));
        let moving = manifest.checkpoints.last();
        let moving = moving.map(|number| checkpoint::open_path(dir, *number));
        for path in paths.chain(moving) {
            damage.extend(checkpoint::read(&path, &mut recovery)?);
        }
        let mut replayed = wal::replay(&log_dir, manifest.wal, |record| {
            recovery.record(Cow::Borrowed(record));
        })?;
        replayed.damage.splice(0..0, damage);
        let orphans = recovery.lanes.finish();
        report(&replayed, orphans);
        std::io::Result::Ok((recovery.exemplars, recovery.families, replayed))
    })
    .map_err(io)?;
    let log = Log::open(&log_dir, manifest.wal, files).map_err(io)?;
    let view = View {
        segments,
        broken,
        listed: manifest.segments.clone(),
        flushed: manifest.flushed,
        tombstones: manifest.tombstones.clone(),
        readers: Arc::default(),
    };
    let parts = (head, exemplars, families, replayed);
    let upkeep = Upkeep::new(manifest, parts.3.bytes, &*options.clock);
    let own = (cache, depot);
    Ok(Store::assemble(dir, options, log, parts, view, upkeep, own))
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
            "seg" | "tail" => manifest.segments.iter().any(|s| s.number == number),
            _ => true,
        };
        if !named {
            fs::remove_file(entry.path())?;
        }
    }
    wal::remove_before(&dir.join("wal"), manifest.wal)
}
