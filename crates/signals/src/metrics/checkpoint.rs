//! The head on the disk, so that the log before can go.
//!
//! A checkpoint is a list of files. The first holds all series and closed chunks there were, each
//! one after adds what is new of both; after samples have gone into a segment the list begins
//! anew. What changes all the time (open chunks, exemplars, metadata) is in one more file that
//! each checkpoint replaces.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::records;
use super::store::Store;
use crate::wal::{Damage, FRAME, Framed, frame, records as pieces};

/// Records are this long, about.
const RECORD: usize = 256 << 10;

pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.ckp"))
}

/// The file of what changes all the time.
pub(crate) fn open_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.opn"))
}

struct Out {
    file: BufWriter<File>,
    framed: Vec<u8>,
    entries: u64,
}

impl Out {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::with_capacity(1 << 20, File::create(path)?),
            framed: Vec::new(),
            entries: 0,
        })
    }

    fn record(&mut self, record: &mut Vec<u8>, least: usize) -> io::Result<()> {
        if record.len() > least {
            self.framed.clear();
            frame(&mut self.framed, record);
            self.file.write_all(&self.framed)?;
            record.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.record(&mut records::end(self.entries), 0)?;
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()
    }
}

/// Writes the files of a checkpoint with a number: all there is, or what came since series `from`
/// and the chunks that are in files already. Durable when this returns, but for their names.
pub(crate) fn write(store: &Store, number: u64, whole: bool, from: u32) -> io::Result<()> {
    let mut out = Out::create(&path(&store.dir, number))?;
    let mut moving = Out::create(&open_path(&store.dir, number))?;
    let ids = store.head.registry.read().ids().to_vec();
    let mut record = Vec::new();
    for id in ids.iter().filter(|id| whole || **id >= from) {
        if let Some(labels) = store.head.labels(*id) {
            records::put_series(&mut record, *id, &labels);
            out.entries += 1;
            out.record(&mut record, RECORD)?;
        }
    }
    out.record(&mut record, 0)?;
    let (mut open, mut grown) = (Vec::new(), Vec::new());
    for id in &ids {
        let entries = store.head.with(*id, |series| {
            let saved = if whole { 0 } else { usize::from(series.saved) };
            let packed = &series.packed;
            let new = &packed.closed[saved.min(packed.closed.len())..];
            for chunk in new {
                records::put_chunk(&mut record, *id, chunk);
            }
            let count = new.len() as u64;
            series.saved = packed.closed.len().min(usize::from(u16::MAX)) as u16;
            grown.clear();
            let form = packed.open.put(&mut grown);
            if let Some(form) = form {
                records::put_open(&mut open, *id, form, &grown);
            }
            (count, u64::from(form.is_some()))
        });
        let (closed, opened) = entries.unwrap_or_default();
        out.entries += closed;
        moving.entries += opened;
        out.record(&mut record, RECORD)?;
        moving.record(&mut open, RECORD)?;
    }
    out.record(&mut record, 0)?;
    out.finish()?;
    moving.record(&mut open, 0)?;
    for (family, said) in store.families.lock().read(None) {
        for said in said.iter().rev() {
            records::put_metadata(&mut record, &family, said);
            moving.entries += 1;
        }
        moving.record(&mut record, RECORD)?;
    }
    moving.record(&mut record, 0)?;
    let exemplars = store.exemplars.lock().all();
    for (series, exemplar) in &exemplars {
        records::put_exemplar(&mut record, *series, exemplar);
        moving.entries += 1;
        moving.record(&mut record, RECORD)?;
    }
    moving.record(&mut record, 0)?;
    moving.finish()
}

/// What became of a record.
pub(crate) struct Told {
    /// How many entries there were, but for the end.
    pub(crate) entries: u64,
    /// How many there ought to have been so far, in the last record.
    pub(crate) end: Option<u64>,
    /// All of it makes sense.
    pub(crate) whole: bool,
}

/// Takes the records of a checkpoint.
pub(crate) trait Records {
    /// Where the next one may be read into.
    fn room(&mut self) -> Vec<u8>;

    /// Takes one.
    fn record(&mut self, record: Cow<'_, [u8]>) -> Told;
}

/// The records in a file of a checkpoint, and what became of them.
struct Reading<'r, R> {
    records: &'r mut R,
    entries: u64,
    ended: bool,
}

impl<R: Records> Reading<'_, R> {
    /// Whether all of it makes sense.
    fn record(&mut self, record: Cow<'_, [u8]>) -> bool {
        let told = self.records.record(record);
        self.entries += told.entries;
        if let Some(count) = told.end {
            self.ended = count == self.entries;
        }
        told.whole
    }
}

/// Reads a file of a checkpoint. What is damaged in it is told and left out.
pub(crate) fn read(path: &Path, records: &mut impl Records) -> io::Result<Vec<Damage>> {
    // Records are read past it, into where they stay.
    let mut file = BufReader::with_capacity(4 << 10, File::open(path)?);
    let mut damage = Vec::new();
    let mut offset = 0u64;
    let mut reading = Reading {
        records,
        entries: 0,
        ended: false,
    };
    loop {
        // One record at a time, so that a file never is in memory as a whole.
        let mut front = Vec::with_capacity(FRAME);
        (&mut file).take(FRAME as u64).read_to_end(&mut front)?;
        if front.is_empty() {
            break;
        }
        let framed = front.first_chunk().and_then(Framed::of);
        let mut record = reading.records.room();
        if let Some(framed) = &framed {
            record.reserve_exact(framed.length);
            let length = framed.length as u64;
            (&mut file).take(length).read_to_end(&mut record)?;
        }
        if !framed.is_some_and(|framed| framed.is(&record)) {
            // The frame is lost: what is left is searched for the next one.
            salvage(path, offset, &mut reading, &mut damage)?;
            break;
        }
        let bytes = (FRAME + record.len()) as u64;
        if !reading.record(Cow::Owned(record)) {
            damage.push(at(path, offset, bytes));
        }
        offset += bytes;
    }
    if !reading.ended && damage.is_empty() {
        damage.push(at(path, offset, 0));
    }
    Ok(damage)
}

fn at(path: &Path, offset: u64, bytes: u64) -> Damage {
    Damage {
        file: path.display().to_string(),
        offset,
        bytes,
    }
}

fn salvage(
    path: &Path,
    from: u64,
    reading: &mut Reading<'_, impl Records>,
    damage: &mut Vec<Damage>,
) -> io::Result<()> {
    let bytes = fs::read(path)?;
    for piece in pieces(bytes.get(from as usize..).unwrap_or_default()) {
        match piece {
            crate::wal::Piece::Record(record) => {
                reading.record(Cow::Borrowed(record));
            }
            crate::wal::Piece::Damaged {
                offset,
                bytes: lost,
            } => damage.push(at(path, from + offset as u64, lost as u64)),
        }
    }
    Ok(())
}
