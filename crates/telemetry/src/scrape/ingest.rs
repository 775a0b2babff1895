//! A scraped body becomes samples of series.
//!
//! What identifies a series in the body leads to its place in the store without building labels
//! anew, as long as the target says it the same way; a line that came after the one before last
//! time as well is not even parsed ([`Known`]). Samples of a body that breaks off are not written
//! at all; what a target no longer says is marked as ended.

mod labels;
mod read;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use towpath_query::promql::{Labels, NAME, stale};
use towpath_signals::{Append, Exemplar, Metadata, Refused, Sample, SeriesRef, Value, WriteError};

use self::labels::{check, with_target};
use self::read::{describe, heard};
use super::config::Job;
use super::known::Known;
use super::relabel;
use crate::family::Family;
use crate::wire::{Format, ParseError, Parser};

/// How long a series is shown after its last sample, unless its end is marked.
const LOOKBACK_MS: i64 = 300_000;

/// Why a scrape counts as failed although the target answered.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum IngestError {
    /// The body breaks its format.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A series makes no sense.
    #[error("{0}")]
    Series(String),
    /// A limit of the job or of the store is reached.
    #[error("{0}")]
    Limit(String),
    /// The store takes nothing.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What a scrape brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Samples in the body.
    pub scraped: usize,
    /// Samples left after relabelling.
    pub kept: usize,
    /// Series that were not there at the scrape before.
    pub added: usize,
}

/// What is known of one target from scrape to scrape.
pub(crate) struct Ingest {
    job: Arc<Job>,
    target: Labels,
    known: Known,
    reports: HashMap<&'static str, SeriesRef>,
}

/// The samples of one scrape while they are read.
#[derive(Default)]
struct Batch {
    counts: Counts,
    samples: Vec<Sample>,
    exemplars: Vec<(SeriesRef, Exemplar)>,
    /// A limit that was exceeded; the rest is still counted.
    limit: Option<String>,
}

/// One sample as it was read.
struct Read {
    at: Option<i64>,
    value: Value,
    start: Option<i64>,
    exemplars: Vec<Exemplar>,
}

impl Ingest {
    pub(crate) fn new(job: Arc<Job>, target: Labels) -> Self {
        Self {
            job,
            target,
            known: Known::default(),
            reports: HashMap::new(),
        }
    }

    /// Takes over what a scrape before a restart left, as if it had been the one before: series
    /// that are not in the next one end with it instead of five minutes later. What rules made of
    /// them, and what is told about the scrape itself, is not the target's own.
    pub(crate) fn resume(&mut self, store: &dyn Append, at: i64) {
        let own = |labels: &Labels| {
            let name = labels.get(NAME);
            let told = name == "up" || name.starts_with("scrape_");
            !told && !name.contains(':') && !name.starts_with("ALERTS")
        };
        let left = store.going_on(&self.target, at - LOOKBACK_MS);
        let left = left.into_iter();
        let left = left.filter(|series| store.labels(*series).is_some_and(|l| own(&l)));
        self.known.left(left.collect());
    }

    /// Writes a body; `at` is the time of samples that have none. Gives back bytes that are no
    /// longer needed.
    pub(crate) fn body(
        &mut self,
        store: &dyn Append,
        body: Vec<u8>,
        format: Format,
        at: i64,
        metadata: &mut BTreeMap<String, Metadata>,
    ) -> (Counts, Result<(), IngestError>, Vec<u8>) {
        let mut batch = self.begin();
        let mut keys = Vec::new();
        let read = self.read(store, &body, format, at, metadata, (&mut batch, &mut keys));
        let counts = batch.counts;
        // Of a family that is described twice the last word counts, so all are heard in order.
        for line in self.known.described() {
            let line = body.get(line).unwrap_or_default();
            let mut parser = Parser::new(line, format, self.job.wishes);
            // It ends before its format has it end, if that says how.
            while let Ok(Some(said)) = parser.next() {
                heard(store, metadata, said);
            }
        }
        let (body, spare) = match format {
            Format::Text | Format::OpenMetrics => (body, keys),
            Format::Protobuf => (keys, body),
        };
        let (result, before) = self.finish(store, batch, read, at, body);
        let larger = |one: Vec<u8>, other: Vec<u8>| match one.capacity() < other.capacity() {
            true => other,
            false => one,
        };
        (counts, result, larger(before, spare))
    }

    /// Writes the families of a producer inside this process.
    pub(crate) fn families(
        &mut self,
        store: &dyn Append,
        families: &[Family],
        at: i64,
        metadata: &mut BTreeMap<String, Metadata>,
    ) -> (Counts, Result<(), IngestError>) {
        let mut batch = self.begin();
        let mut read = Ok(());
        let (mut key, mut keys) = (Vec::new(), Vec::new());
        for family in families {
            describe(store, metadata, &family.name, |own| {
                own.kind = family.kind.name().to_owned();
                own.help = family.help.to_string();
            });
            for sample in &family.samples {
                key.clear();
                for part in [&*family.name, sample.suffix] {
                    key.extend_from_slice(part.as_bytes());
                }
                for (name, value) in &sample.labels {
                    for part in [name, value] {
                        key.push(0xff);
                        key.extend_from_slice(part.as_bytes());
                    }
                }
                if read.is_err() {
                    break;
                }
                let labels = || {
                    let name = format!("{}{}", family.name, sample.suffix);
                    let own = sample
                        .labels
                        .iter()
                        .map(|(n, v)| (n.to_string(), v.to_string()));
                    Ok(std::iter::once((NAME.to_owned(), name))
                        .chain(own)
                        .collect())
                };
                let value = Read {
                    at: sample.at,
                    value: Value::Float(sample.value),
                    start: None,
                    exemplars: Vec::new(),
                };
                read = self.keyed(store, &key, labels, value, at, (&mut batch, &mut keys));
                if read.is_err() {
                    break;
                }
            }
        }
        let counts = batch.counts;
        (counts, self.finish(store, batch, read, at, keys).0)
    }

    /// Marks everything that was said at the scrape before as ended.
    pub(crate) fn nothing(&mut self, store: &dyn Append, at: i64) -> Result<(), WriteError> {
        self.mark(store, at)?;
        self.known.leave(&[]);
        Ok(())
    }

    fn begin(&mut self) -> Batch {
        Batch {
            samples: Vec::with_capacity(self.known.begin()),
            ..Batch::default()
        }
    }

    /// Takes a sample; its slot, if it has one now.
    fn sample(
        &mut self,
        store: &dyn Append,
        (key, body): (&[u8], &[u8]),
        labels: impl FnOnce() -> Result<Labels, ParseError>,
        read: Read,
        at: i64,
        batch: &mut Batch,
    ) -> Result<Option<u32>, IngestError> {
        batch.counts.scraped += 1;
        if let Some(slot) = self.known.find(key, body) {
            self.take(slot, read, at, batch);
            return Ok(Some(slot));
        }
        let Some(labels) = self.labels(&labels()?)? else {
            return Ok(Some(self.known.add(key, None, Labels::default())));
        };
        let limit = self.job.limits.samples;
        if limit > 0 && batch.counts.kept as u64 >= limit {
            batch.counts.kept += 1;
            batch.limit = Some("sample limit exceeded".to_owned());
            return Ok(None);
        }
        let series = match store.resolve(&labels) {
            Ok(series) => series,
            Err(Refused::Limit(limit)) => return Err(IngestError::Limit(limit)),
            Err(refused) => {
                return Err(IngestError::Series(format!("{refused}: {labels}")));
            }
        };
        batch.counts.added += 1;
        let slot = self.known.add(key, Some(series), labels);
        self.put(slot, series, read, at, batch);
        Ok(Some(slot))
    }

    /// Takes a sample of a series that is known.
    #[inline]
    fn take(&mut self, slot: u32, read: Read, at: i64, batch: &mut Batch) {
        let (series, again) = self.known.see(slot);
        // Twice in one body and without times: only the first one counts.
        if let Some(series) = series
            && !(again && read.at.is_none())
        {
            self.put(slot, series, read, at, batch);
        }
    }

    #[inline]
    fn put(&mut self, slot: u32, series: SeriesRef, read: Read, at: i64, batch: &mut Batch) {
        batch.counts.kept += 1;
        let limit = self.job.limits.samples;
        if limit > 0 && batch.counts.kept as u64 > limit {
            batch.limit = Some("sample limit exceeded".to_owned());
        }
        if batch.limit.is_some() {
            return;
        }
        if read.at.is_none() || self.job.track_timestamps_staleness {
            self.known.list(slot);
        }
        batch.exemplars.extend(
            read.exemplars
                .into_iter()
                .map(|exemplar| (series, exemplar)),
        );
        batch.samples.push(Sample {
            series,
            at: read.at.unwrap_or(at),
            value: read.value,
            start: read.start,
        });
    }

    /// Labels as they are stored, `None` if rules drop them.
    fn labels(&self, own: &Labels) -> Result<Option<Labels>, IngestError> {
        let mut set = with_target(own, &self.target, self.job.honor_labels);
        if !relabel::apply(&self.job.metric_relabel, &mut set) || set.is_empty() {
            return Ok(None);
        }
        check(&set, &self.job)?;
        Ok(Some(set.into_iter().collect()))
    }

    fn finish(
        &mut self,
        store: &dyn Append,
        batch: Batch,
        read: Result<(), IngestError>,
        at: i64,
        body: Vec<u8>,
    ) -> (Result<(), IngestError>, Vec<u8>) {
        let limit = batch.limit.clone().map(IngestError::Limit);
        let written = match read.and(limit.map_or(Ok(()), Err)) {
            Ok(()) => self.write(store, batch),
            Err(error) => Err(error),
        };
        match written {
            Ok(()) => match self.mark(store, at) {
                Ok(()) => (Ok(()), self.known.keep(body)),
                Err(error) => {
                    self.known.leave(&body);
                    (Err(error.into()), body)
                }
            },
            Err(error) => {
                self.known.unlist();
                let marked = self.mark(store, at);
                self.known.leave(&body);
                (marked.map_err(IngestError::from).and(Err(error)), body)
            }
        }
    }

    fn write(&mut self, store: &dyn Append, batch: Batch) -> Result<(), IngestError> {
        let outcome = store.append(&batch.samples)?;
        let mut forgotten = Vec::new();
        for (position, refused) in outcome.refused {
            match refused {
                Refused::Limit(limit) => return Err(IngestError::Limit(limit)),
                Refused::Labels(_) => forgotten.extend(batch.samples.get(position).cloned()),
                refused => tracing::debug!(%refused, job = self.job.name, "sample of a scrape"),
            }
        }
        if outcome.refused_count > 0 {
            let refused = outcome.refused_count;
            tracing::debug!(
                refused,
                job = self.job.name,
                "samples of a scrape were refused"
            );
        }
        self.renew(store, forgotten)?;
        for (series, exemplar) in batch.exemplars {
            // Those that are there already come again with every scrape.
            let _ = store.exemplar(series, exemplar);
        }
        Ok(())
    }

    /// Resolves series anew that the store has forgotten.
    fn renew(&mut self, store: &dyn Append, mut lost: Vec<Sample>) -> Result<(), IngestError> {
        if lost.is_empty() {
            return Ok(());
        }
        let gone: HashSet<SeriesRef> = lost.iter().map(|sample| sample.series).collect();
        let mut renewed = HashMap::new();
        self.known.renew(&gone, |old, labels| {
            let series = store.resolve(labels).ok()?;
            renewed.insert(old, series);
            Some(series)
        });
        lost.retain_mut(|sample| match renewed.get(&sample.series) {
            Some(series) => {
                sample.series = *series;
                true
            }
            None => false,
        });
        store.append(&lost)?;
        Ok(())
    }

    /// Marks series as ended that were there at the scrape before and are not now.
    fn mark(&self, store: &dyn Append, at: i64) -> Result<(), WriteError> {
        let gone = self.known.gone();
        let markers: Vec<Sample> = gone.iter().map(|series| marker(*series, at)).collect();
        if !markers.is_empty() {
            store.append(&markers)?;
        }
        Ok(())
    }

    /// Writes series about the scrape itself.
    pub(crate) fn report(
        &mut self,
        store: &dyn Append,
        at: i64,
        values: &[(&'static str, f64)],
    ) -> Result<(), WriteError> {
        let mut samples = Vec::with_capacity(values.len());
        for (name, value) in values {
            let known = self.reports.get(name).copied();
            let known = known.filter(|series| store.touch(*series));
            let series = match known {
                Some(series) => series,
                None => {
                    let own = [(NAME, *name)].into_iter().chain(self.target.iter());
                    match store.resolve(&own.collect::<Labels>()) {
                        Ok(series) => series,
                        Err(refused) => {
                            tracing::warn!(%refused, job = self.job.name, "report of a scrape");
                            continue;
                        }
                    }
                }
            };
            self.reports.insert(name, series);
            let value = Value::Float(*value);
            samples.push(Sample {
                series,
                at,
                value,
                start: None,
            });
        }
        store.append(&samples)?;
        Ok(())
    }

    /// Marks everything of a target that is gone as ended.
    pub(crate) fn end(&mut self, store: &dyn Append, at: i64) -> Result<(), WriteError> {
        self.nothing(store, at)?;
        let markers: Vec<Sample> = self
            .reports
            .values()
            .map(|series| marker(*series, at))
            .collect();
        store.append(&markers)?;
        Ok(())
    }
}

fn marker(series: SeriesRef, at: i64) -> Sample {
    Sample {
        series,
        at,
        value: Value::Float(stale()),
        start: None,
    }
}

#[cfg(test)]
mod tests;
