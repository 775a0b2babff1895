//! Samples: taken into the store, copied into the queues, sent by remote write.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use towpath_query::promql::{Labels, NAME};
use towpath_signals::{
    Append, Exemplar, Metadata, Outcome, Refused, Sample, SeriesRef, Value, WriteError,
};

use super::drain::{Deliver, Delivered, judged};
use super::target::{Families, Target, room, unpacked};
use crate::outgrow::settings::Protocol;
use crate::outgrow::wire::put::Put;
use crate::outgrow::wire::{histogram, write};
use crate::scrape::relabel;
use crate::wire::remote_write::{Request, version_1};

/// A record is closed at about this many bytes.
const RECORD: usize = 1 << 20;
/// Bytes of labels that are kept ready, per target; beyond that all are made anew.
const READY: usize = 64 << 20;
const WRITTEN: &str = "x-prometheus-remote-write-samples-written";
const HISTOGRAMS: &str = "x-prometheus-remote-write-histograms-written";

/// Labels of series as a target gets them; none where its rules drop the series.
#[derive(Default)]
struct Ready {
    labels: HashMap<u64, Option<Arc<[u8]>>>,
    bytes: usize,
}

/// Takes samples into a store, and copies them.
pub(super) struct Mirrored {
    store: Arc<dyn Append>,
    targets: Vec<(Arc<Target>, Mutex<Ready>)>,
    all: Vec<Arc<Target>>,
    families: Arc<Families>,
}

impl Mirrored {
    pub(super) fn new(
        store: Arc<dyn Append>,
        targets: Vec<Arc<Target>>,
        families: Arc<Families>,
    ) -> Self {
        let own = targets.iter().cloned();
        Self {
            store,
            targets: own.map(|target| (target, Mutex::default())).collect(),
            all: targets,
            families,
        }
    }

    fn labels(&self, target: &Target, ready: &mut Ready, series: SeriesRef) -> Option<Arc<[u8]>> {
        if let Some(known) = ready.labels.get(&series.0) {
            return known.clone();
        }
        let own = self.store.labels(series)?;
        let made: Option<Arc<[u8]>> = relabelled(target, &own).map(Into::into);
        if ready.bytes > READY {
            *ready = Ready::default();
        }
        ready.bytes += made.as_ref().map_or(0, |made| made.len()) + 64;
        ready.labels.insert(series.0, made.clone());
        made
    }

    fn copy(&self, samples: &[Sample], outcome: &Outcome) {
        let refused: HashSet<usize> = outcome.refused.iter().map(|(at, _)| *at).collect();
        for (target, ready) in &self.targets {
            let mut ready = ready.lock();
            let (mut out, mut items) = (Put::default(), 0);
            for (at, sample) in samples.iter().enumerate() {
                if refused.contains(&at) {
                    continue;
                }
                let Some(labels) = self.labels(target, &mut ready, sample.series) else {
                    continue;
                };
                let (field, what) = match &sample.value {
                    Value::Float(value) => (2, write::point(sample.at, *value, sample.start)),
                    Value::Histogram(value) => {
                        (4, histogram::sample(value, sample.at, sample.start))
                    }
                };
                write::series(&mut out, &labels, field, &what);
                items += 1;
                if out.len() >= RECORD || items >= target.settings.batch {
                    target.put(out.bytes(), items);
                    out.clear();
                    items = 0;
                }
            }
            if items > 0 {
                target.put(out.bytes(), items);
            }
        }
    }
}

/// The labels after those of the target were added and its rules applied.
fn relabelled(target: &Target, own: &Labels) -> Option<Vec<u8>> {
    let settings = &target.settings;
    if settings.external_labels.is_empty() && target.rules.is_empty() {
        return Some(write::labels(own.iter()));
    }
    let mut set: relabel::Set = own
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for (name, value) in &settings.external_labels {
        if !value.is_empty() {
            set.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    if !relabel::apply(&target.rules, &mut set) || set.is_empty() {
        return None;
    }
    let pairs = set.iter();
    Some(write::labels(
        pairs.map(|(name, value)| (name.as_str(), value.as_str())),
    ))
}

#[async_trait]
impl Append for Mirrored {
    fn resolve(&self, labels: &Labels) -> Result<SeriesRef, Refused> {
        self.store.resolve(labels)
    }

    fn labels(&self, series: SeriesRef) -> Option<Labels> {
        self.store.labels(series)
    }

    fn is(&self, series: SeriesRef, labels: &[(&str, &str)]) -> bool {
        self.store.is(series, labels)
    }

    fn going_on(&self, labels: &Labels, since: i64) -> Vec<SeriesRef> {
        self.store.going_on(labels, since)
    }

    fn touch(&self, series: SeriesRef) -> bool {
        self.store.touch(series)
    }

    fn append(&self, samples: &[Sample]) -> Result<Outcome, WriteError> {
        if let Err(why) = room(&self.all) {
            let first = samples.iter().enumerate().take(100);
            return Ok(Outcome {
                taken: 0,
                refused: first
                    .map(|(at, _)| (at, Refused::Limit(why.clone())))
                    .collect(),
                refused_count: samples.len(),
            });
        }
        let outcome = self.store.append(samples)?;
        // Of many that are refused not all are named; the other server refuses those as well.
        if outcome.taken > 0 {
            self.copy(samples, &outcome);
        }
        Ok(outcome)
    }

    fn exemplar(&self, series: SeriesRef, exemplar: Exemplar) -> Result<(), Refused> {
        let what = write::exemplar(&exemplar);
        self.store.exemplar(series, exemplar)?;
        for (target, ready) in &self.targets {
            let Some(labels) = self.labels(target, &mut ready.lock(), series) else {
                continue;
            };
            let mut out = Put::default();
            write::series(&mut out, &labels, 3, &what);
            // Samples are what is counted.
            target.put(out.bytes(), 0);
        }
        Ok(())
    }

    fn metadata(&self, family: &str, metadata: Metadata) {
        self.families.hear(family, &metadata);
        self.store.metadata(family, metadata);
    }

    async fn sync(&self) -> Result<(), WriteError> {
        self.store.sync().await
    }
}

/// Sends samples.
pub(super) struct Sender {
    target: Arc<Target>,
    families: Arc<Families>,
    /// The other server knows version 1 alone.
    old: AtomicBool,
    /// Families that a server of version 1 was told about.
    told: Mutex<HashSet<String>>,
}

impl Sender {
    pub(super) fn new(target: &Arc<Target>, families: Arc<Families>) -> Self {
        Self {
            target: Arc::clone(target),
            families,
            old: AtomicBool::new(target.settings.protocol == Protocol::One),
            told: Mutex::default(),
        }
    }

    fn auto(&self) -> bool {
        self.target.settings.protocol == Protocol::Auto
    }

    /// What is said about families that the other was not told about yet.
    fn described(&self, request: &Request<'_>) -> (Vec<u8>, Vec<String>) {
        let known = self.families.0.read();
        let mut told = self.told.lock();
        if told.len() > known.len() {
            told.clear();
        }
        let (mut out, mut fresh) = (Put::default(), Vec::new());
        for one in &request.series {
            let own = &request.labels[one.labels.clone()];
            let name = own.iter().find(|(name, _)| *name == NAME);
            let Some((family, said)) = name.and_then(|(_, name)| write::family(name, &known))
            else {
                continue;
            };
            if !told.contains(&family) && !fresh.contains(&family) {
                out.message(3, &write::metadata(&family, said));
                fresh.push(family);
            }
        }
        (out.into_bytes(), fresh)
    }

    fn body(
        &self,
        plain: &[u8],
        request: &Request<'_>,
        old: bool,
    ) -> Result<(Vec<u8>, Vec<String>), String> {
        let (message, fresh) = if old {
            let (said, fresh) = self.described(request);
            ([plain, &said].concat(), fresh)
        } else {
            (
                write::version_2(request, &self.families.0.read()),
                Vec::new(),
            )
        };
        let packed = snap::raw::Encoder::new().compress_vec(&message);
        Ok((packed.map_err(|error| error.to_string())?, fresh))
    }
}

fn headers(old: bool) -> HeaderMap {
    let (content, version) = match old {
        true => ("application/x-protobuf", "0.1.0"),
        false => (
            "application/x-protobuf;proto=io.prometheus.write.v2.Request",
            "2.0.0",
        ),
    };
    let mut out = HeaderMap::new();
    out.insert(CONTENT_TYPE, HeaderValue::from_static(content));
    out.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    out.insert(
        "x-prometheus-remote-write-version",
        HeaderValue::from_static(version),
    );
    out
}

#[async_trait]
impl Deliver for Sender {
    async fn deliver(&self, records: &[Vec<u8>], items: u64) -> Delivered {
        let plain = unpacked(records);
        loop {
            let old = self.old.load(Ordering::Relaxed);
            let made = version_1(&plain)
                .map_err(|error| error.to_string())
                .and_then(|request| {
                    let highest = request.points.iter().map(|point| point.at);
                    let highest = highest.chain(request.histograms.iter().map(|point| point.at));
                    let highest = highest.max().unwrap_or(0);
                    Ok((self.body(&plain, &request, old)?, highest))
                });
            let ((body, fresh), highest) = match made {
                Ok(made) => made,
                Err(why) => return Delivered::Refused { why, sent: 0 },
            };
            let bytes = body.len() as u64;
            let asked = self.target.remote.post(headers(old), body).await;
            if let Ok(reply) = &asked {
                let unknown = reply.status.as_u16() == 415;
                // Who takes a message of version 2 says how much of it was written; who does not
                // say so read it as version 1 and found nothing in it.
                let silent = reply.status.is_success() && reply.header(WRITTEN).is_empty();
                if !old && self.auto() && (unknown || silent) {
                    tracing::info!(target = self.target.name, "remote write 1.0 from now on");
                    self.old.store(true, Ordering::Relaxed);
                    continue;
                }
            }
            let written = asked.as_ref().ok().and_then(|reply| {
                let count = |name| reply.header(name).parse::<u64>().ok();
                Some(count(WRITTEN)? + count(HISTOGRAMS).unwrap_or(0))
            });
            return match judged(asked) {
                Ok(_) => {
                    self.told.lock().extend(fresh);
                    let failed = match old {
                        true => 0,
                        false => items.saturating_sub(written.unwrap_or(items)),
                    };
                    Delivered::Taken {
                        failed,
                        bytes,
                        highest,
                    }
                }
                Err(Delivered::Refused { why, .. }) => Delivered::Refused {
                    why,
                    sent: written.unwrap_or(0),
                },
                Err(other) => other,
            };
        }
    }
}
