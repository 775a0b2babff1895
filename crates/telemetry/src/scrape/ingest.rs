//! A scraped body becomes samples of series.
//!
//! What identifies a series in the body leads to its place in the store without building labels
//! anew, as long as the target says it the same way. Samples of a body that breaks off are not
//! written at all; what a target no longer says is marked as ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use towpath_query::promql::{Labels, NAME, stale};
use towpath_signals::{Append, Exemplar, Metadata, Refused, Sample, SeriesRef, Value, WriteError};

use super::config::Job;
use super::relabel::{self, Set};
use super::written::Names;
use crate::family::Family;
use crate::wire::{Entry, Format, ParseError, Parser};

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

struct Known {
    series: SeriesRef,
    labels: Labels,
    seen: u64,
}

/// What is known of one target from scrape to scrape.
pub(crate) struct Ingest {
    job: Arc<Job>,
    target: Labels,
    round: u64,
    /// How much was known at the last success.
    settled: usize,
    series: HashMap<Box<[u8]>, Known>,
    dropped: HashMap<Box<[u8]>, u64>,
    /// Series of this scrape and of the one before, as far as their end is to be marked.
    current: HashMap<SeriesRef, ()>,
    previous: HashMap<SeriesRef, ()>,
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
            round: 1,
            settled: 0,
            series: HashMap::new(),
            dropped: HashMap::new(),
            current: HashMap::new(),
            previous: HashMap::new(),
            reports: HashMap::new(),
        }
    }

    /// Writes a body; `at` is the time of samples that have none.
    pub(crate) fn body(
        &mut self,
        store: &dyn Append,
        body: &[u8],
        format: Format,
        at: i64,
        metadata: &mut BTreeMap<String, Metadata>,
    ) -> (Counts, Result<(), IngestError>) {
        let mut batch = Batch::default();
        let read = self.read(store, body, format, at, metadata, &mut batch);
        let counts = batch.counts;
        (counts, self.finish(store, batch, read, at))
    }

    /// Writes the families of a producer inside this process.
    pub(crate) fn families(
        &mut self,
        store: &dyn Append,
        families: &[Family],
        at: i64,
        metadata: &mut BTreeMap<String, Metadata>,
    ) -> (Counts, Result<(), IngestError>) {
        let mut batch = Batch::default();
        let mut read = Ok(());
        let mut key = Vec::new();
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
                read = self.sample(store, &key, labels, value, at, &mut batch);
                if read.is_err() {
                    break;
                }
            }
        }
        let counts = batch.counts;
        (counts, self.finish(store, batch, read, at))
    }

    /// Marks everything that was said at the scrape before as ended.
    pub(crate) fn nothing(&mut self, store: &dyn Append, at: i64) -> Result<(), WriteError> {
        self.mark(store, at)?;
        self.turn(false);
        Ok(())
    }

    fn read(
        &mut self,
        store: &dyn Append,
        body: &[u8],
        format: Format,
        at: i64,
        metadata: &mut BTreeMap<String, Metadata>,
        batch: &mut Batch,
    ) -> Result<(), IngestError> {
        let mut parser = Parser::new(body, format, self.job.wishes);
        let mut exemplars = Vec::new();
        while let Some(entry) = parser.next()? {
            match entry {
                Entry::Comment => {}
                Entry::Kind(family, kind) => {
                    describe(store, metadata, &family, |own| {
                        own.kind = kind.name().to_owned()
                    });
                }
                Entry::Help(family, help) => {
                    describe(store, metadata, &family, |own| own.help = help);
                }
                Entry::Unit(family, unit) => {
                    describe(store, metadata, &family, |own| own.unit = unit);
                }
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
                    self.sample(store, point.key, labels, read, at, batch)?;
                }
            }
        }
        Ok(())
    }

    fn sample(
        &mut self,
        store: &dyn Append,
        key: &[u8],
        labels: impl FnOnce() -> Result<Labels, ParseError>,
        read: Read,
        at: i64,
        batch: &mut Batch,
    ) -> Result<(), IngestError> {
        batch.counts.scraped += 1;
        if let Some(seen) = self.dropped.get_mut(key) {
            *seen = self.round;
            return Ok(());
        }
        let series = match self.series.get_mut(key) {
            Some(known) => {
                let again = std::mem::replace(&mut known.seen, self.round) == self.round;
                // Twice in one body and without times: only the first one counts.
                if again && read.at.is_none() {
                    return Ok(());
                }
                known.series
            }
            None => {
                let Some(labels) = self.labels(&labels()?)? else {
                    self.dropped.insert(key.into(), self.round);
                    return Ok(());
                };
                let limit = self.job.limits.samples;
                if limit > 0 && batch.counts.kept as u64 >= limit {
                    batch.counts.kept += 1;
                    batch.limit = Some("sample limit exceeded".to_owned());
                    return Ok(());
                }
                let series = match store.resolve(&labels) {
                    Ok(series) => series,
                    Err(Refused::Limit(limit)) => return Err(IngestError::Limit(limit)),
                    Err(refused) => {
                        return Err(IngestError::Series(format!("{refused}: {labels}")));
                    }
                };
                batch.counts.added += 1;
                let seen = self.round;
                self.series.insert(
                    key.into(),
                    Known {
                        series,
                        labels,
                        seen,
                    },
                );
                series
            }
        };
        batch.counts.kept += 1;
        let limit = self.job.limits.samples;
        if limit > 0 && batch.counts.kept as u64 > limit {
            batch.limit = Some("sample limit exceeded".to_owned());
        }
        if batch.limit.is_some() {
            return Ok(());
        }
        if read.at.is_none() || self.job.track_timestamps_staleness {
            self.current.insert(series, ());
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
        Ok(())
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
    ) -> Result<(), IngestError> {
        let limit = batch.limit.clone().map(IngestError::Limit);
        let written = match read.and(limit.map_or(Ok(()), Err)) {
            Ok(()) => self.write(store, batch),
            Err(error) => Err(error),
        };
        match written {
            Ok(()) => {
                self.mark(store, at)?;
                self.turn(true);
                Ok(())
            }
            Err(error) => {
                self.current.clear();
                self.nothing(store, at)?;
                Err(error)
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
        let mut renewed = HashMap::new();
        for known in self.series.values_mut() {
            if lost.iter().any(|sample| sample.series == known.series)
                && let Ok(series) = store.resolve(&known.labels)
            {
                renewed.insert(known.series, series);
                known.series = series;
            }
        }
        lost.retain_mut(|sample| match renewed.get(&sample.series) {
            Some(series) => {
                self.current.remove(&sample.series);
                self.current.insert(*series, ());
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
        let gone = self
            .previous
            .keys()
            .filter(|series| !self.current.contains_key(series));
        let markers: Vec<Sample> = gone.map(|series| marker(*series, at)).collect();
        if !markers.is_empty() {
            store.append(&markers)?;
        }
        Ok(())
    }

    /// The next scrape is another round; after a good one what was not seen is forgotten.
    fn turn(&mut self, good: bool) {
        let count = self.series.len() + self.dropped.len();
        if good || count > self.settled * 2 + 1000 {
            let round = self.round;
            self.series.retain(|_, known| known.seen == round);
            self.dropped.retain(|_, seen| *seen == round);
        }
        if good {
            self.settled = count;
        }
        std::mem::swap(&mut self.current, &mut self.previous);
        self.current.clear();
        self.round += 1;
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
            let known = known.filter(|series| store.labels(*series).is_some());
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

fn describe(
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

/// Labels of a sample with those of its target. Where both have one, `honor` decides; the other
/// one is kept as `exported_…`.
fn with_target(own: &Labels, target: &Labels, honor: bool) -> Set {
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let mut set: Set = own.iter().map(pair).collect();
    let mut conflicts = Vec::new();
    for (name, value) in target.iter() {
        match set.get(name) {
            Some(_) if honor => continue,
            Some(other) => conflicts.push((name.to_owned(), other.clone())),
            None => {}
        }
        set.insert(name.to_owned(), value.to_owned());
    }
    conflicts.sort_by_key(|(name, _)| name.len());
    for (name, value) in conflicts {
        let mut name = format!("exported_{name}");
        while set.contains_key(&name) {
            name = format!("exported_{name}");
        }
        set.insert(name, value);
    }
    set
}

fn check(set: &Set, job: &Job) -> Result<(), IngestError> {
    let shown = || {
        set.iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect::<Labels>()
            .to_string()
    };
    let Some(metric) = set.get(NAME) else {
        let words = "missing metric name (__name__ label)";
        return Err(IngestError::Series(words.to_owned()));
    };
    let legacy = job.names == Names::Legacy;
    let plain = |name: &str| crate::family::is_plain(name) && !name.contains(':');
    let valid = |name: &String| !name.is_empty() && (!legacy || plain(name));
    if (legacy && !crate::family::is_plain(metric)) || !set.keys().all(valid) {
        let words = format!("invalid metric name or label names: {}", shown());
        return Err(IngestError::Series(words));
    }
    let limits = &job.limits;
    if limits.labels > 0 && set.len() as u64 > limits.labels {
        return Err(IngestError::Limit(format!(
            "label_limit exceeded (metric: {metric:.50}, number of labels: {}, limit: {})",
            set.len(),
            limits.labels
        )));
    }
    for (name, value) in set {
        let long = |text: &str, limit: u64| limit > 0 && text.len() as u64 > limit;
        if long(name, limits.label_name_bytes) {
            return Err(IngestError::Limit(format!(
                "label_name_length_limit exceeded (metric: {metric:.50}, label name: {name:.50}, \
                 length: {}, limit: {})",
                name.len(),
                limits.label_name_bytes
            )));
        }
        if long(value, limits.label_value_bytes) {
            return Err(IngestError::Limit(format!(
                "label_value_length_limit exceeded (metric: {metric:.50}, label name: {name:.50}, \
                 value: {value:.50}, length: {}, limit: {})",
                value.len(),
                limits.label_value_bytes
            )));
        }
    }
    Ok(())
}
