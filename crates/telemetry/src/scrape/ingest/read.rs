//! Bodies line by line: what came after the line before last time as well is compared, the rest is
//! parsed, and both leave the page that the next one is compared with.

use std::collections::BTreeMap;
use std::sync::Arc;

use towpath_query::promql::Labels;
use towpath_signals::{Append, Metadata, Value};

use super::super::known::{Line, What};
use super::{Batch, Ingest, IngestError, Read};
use crate::wire::{Entry, Format, Kind, ParseError, Parser};

impl Ingest {
    /// Reads a body of any format.
    pub(super) fn read(
        &mut self,
        store: &dyn Append,
        body: &[u8],
        format: Format,
        at: i64,
        metadata: &mut BTreeMap<String, Metadata>,
        (batch, keys): (&mut Batch, &mut Vec<u8>),
    ) -> Result<(), IngestError> {
        let mut parser = Parser::new(body, format, self.job.wishes);
        let mut exemplars = Vec::new();
        loop {
            let begin = parser.place();
            if let Some(begin) = begin
                && self.again(&mut parser, body, begin, at, batch)?
            {
                continue;
            }
            let Some(entry) = parser.next()? else {
                return Ok(());
            };
            match entry {
                Entry::Series | Entry::Histogram => {
                    let start = parser.start();
                    let point = parser.point();
                    let time = point.at.filter(|_| self.job.honor_timestamps);
                    parser.exemplars(time.unwrap_or(at), &mut exemplars);
                    let value = match parser.histogram() {
                        Some(histogram) => Value::Histogram(Arc::new(histogram.clone())),
                        None => Value::Float(point.value),
                    };
                    let read = Read {
                        at: time,
                        value,
                        start,
                        exemplars: std::mem::take(&mut exemplars),
                    };
                    let labels = || parser.labels();
                    if parser.place().is_none() {
                        self.keyed(store, point.key, labels, read, at, (batch, keys))?;
                        continue;
                    }
                    let alone = point.at.is_none() && read.start.is_none();
                    let alone = alone && read.exemplars.is_empty();
                    let slot = self.sample(store, (point.key, body), labels, read, at, batch)?;
                    let value = point.value;
                    let mut line = read_line(&parser, body, slot, value, alone);
                    if let Some(slot) = slot.filter(|_| parser.left_out(begin)) {
                        line.what = What::Behind(slot);
                    }
                    self.known.was_read(line);
                }
                said => {
                    let kind = match said {
                        Entry::Kind(_, kind) => Some(kind),
                        _ => None,
                    };
                    heard(store, metadata, said);
                    if parser.place().is_some() {
                        let mut line = said_line(&parser, body, kind);
                        if parser.left_out(begin) {
                            line.what = What::Other;
                        }
                        self.known.was_read(line);
                    }
                }
            }
        }
    }

    /// Takes the next line of a text if it is the one that is expected, but for its number.
    #[inline]
    fn again(
        &mut self,
        parser: &mut Parser<'_>,
        body: &[u8],
        begin: usize,
        at: i64,
        batch: &mut Batch,
    ) -> Result<bool, IngestError> {
        let Some((mut line, bytes, before)) = self.known.expected() else {
            return Ok(false);
        };
        let rest = body.get(begin..).unwrap_or_default();
        let moved = |place: u32| place as usize - before + begin;
        let name = moved(line.name.0)..moved(line.name.1);
        let end = begin + bytes.len();
        let slot = match line.what {
            What::Behind(_) | What::Other => return Ok(false),
            What::Said(kind) => {
                if !rest.starts_with(bytes) {
                    return Ok(false);
                }
                parser.pass_described(end, name.clone(), kind);
                line.end = small(end);
                line.name = (small(name.start), small(name.end));
                self.known.came(line);
                return Ok(true);
            }
            What::Plain(slot, _) | What::Series(slot) => slot,
        };
        if !parser.is_plain() {
            return Ok(false);
        }
        let mut time = None;
        let mut exemplars = Vec::new();
        let value = match line.what {
            What::Plain(_, value) if rest.starts_with(bytes) => {
                parser.pass(end);
                line.end = small(end);
                value
            }
            _ => {
                let known = &bytes[..line.name.1 as usize - before];
                if !rest.starts_with(known) || !parser.resume(name.clone())? {
                    return Ok(false);
                }
                let point = parser.point();
                time = point.at.filter(|_| self.job.honor_timestamps);
                parser.exemplars(time.unwrap_or(at), &mut exemplars);
                let alone = point.at.is_none() && exemplars.is_empty();
                let value = point.value;
                line = read_line(parser, body, Some(slot), value, alone);
                value
            }
        };
        line.name = (small(name.start), small(name.end));
        self.known.came(line);
        let read = Read {
            at: time,
            value: Value::Float(value),
            start: None,
            exemplars,
        };
        batch.counts.scraped += 1;
        self.take(slot, read, at, batch);
        Ok(true)
    }

    /// A sample of a format in which what identifies a series is no part of the body.
    pub(super) fn keyed(
        &mut self,
        store: &dyn Append,
        key: &[u8],
        labels: impl FnOnce() -> Result<Labels, ParseError>,
        read: Read,
        at: i64,
        (batch, keys): (&mut Batch, &mut Vec<u8>),
    ) -> Result<(), IngestError> {
        let slot = self.sample(store, (key, keys), labels, read, at, batch)?;
        let from = small(keys.len());
        keys.extend_from_slice(key);
        let end = small(keys.len());
        self.known.was_read(Line {
            end,
            name: (from, end),
            what: slot.map_or(What::Other, What::Series),
        });
        Ok(())
    }
}

/// Bodies are far below what a place may be; what were not would never be compared.
fn small(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// The line that a series was just read from.
fn read_line(parser: &Parser<'_>, body: &[u8], slot: Option<u32>, value: f64, alone: bool) -> Line {
    let end = parser.place().unwrap_or_default().min(body.len());
    // What ends with the body might go on next time.
    let whole = body.get(..end).is_some_and(|line| line.ends_with(b"\n"));
    let name = parser.name(false);
    Line {
        end: small(end),
        name: (small(name.start), small(name.end)),
        what: match slot {
            Some(slot) if alone && whole => What::Plain(slot, value),
            Some(slot) => What::Series(slot),
            None => What::Other,
        },
    }
}

/// The line in which a family was just described.
fn said_line(parser: &Parser<'_>, body: &[u8], kind: Option<Kind>) -> Line {
    let end = parser.place().unwrap_or_default().min(body.len());
    let whole = body.get(..end).is_some_and(|line| line.ends_with(b"\n"));
    let name = parser.name(true);
    Line {
        end: small(end),
        name: (small(name.start), small(name.end)),
        what: match whole {
            true => What::Said(kind),
            false => What::Other,
        },
    }
}

/// Takes what an entry says about a family.
pub(super) fn heard(store: &dyn Append, metadata: &mut BTreeMap<String, Metadata>, said: Entry) {
    match said {
        Entry::Kind(family, kind) => {
            describe(store, metadata, &family, |own| {
                own.kind = kind.name().to_owned()
            });
        }
        Entry::Help(family, help) => describe(store, metadata, &family, |own| own.help = help),
        Entry::Unit(family, unit) => describe(store, metadata, &family, |own| own.unit = unit),
        Entry::Comment | Entry::Series | Entry::Histogram => {}
    }
}

/// Remembers what is said about a family, and tells the store where that is new.
pub(super) fn describe(
    store: &dyn Append,
    all: &mut BTreeMap<String, Metadata>,
    family: &str,
    change: impl FnOnce(&mut Metadata),
) {
    let known = all.get(family).cloned().unwrap_or_default();
    let mut new = known.clone();
    change(&mut new);
    if new != known || !all.contains_key(family) {
        store.metadata(family, new.clone());
        all.insert(family.to_owned(), new);
    }
}
