//! Samples from before the cut-over, of a Prometheus.
//!
//! Samples come by remote read, so that the engine here evaluates all of a query. A series counts
//! from the other server before the cut-over and from here after it; what only one of the two
//! knows is taken as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use parking_lot::Mutex;
use towpath_query::promql::{Hints, Labels, Matcher, Series, Source};
use towpath_signals::{Block, Cardinality, ExemplarSeries, Metadata, Read, ReadError, Session};

use super::past::{Past, escaped, query};
use super::union::{stripped, united};
use crate::outgrow::wire::read::{answer, ask};
use crate::wire::remote_write::unpack;

/// A Prometheus that knows what was before.
#[derive(Clone)]
pub struct PastSamples {
    past: Arc<Past>,
    replicas: Arc<[String]>,
}

impl PastSamples {
    pub(super) fn new(past: Arc<Past>, replicas: Vec<String>) -> Self {
        Self {
            past,
            replicas: replicas.into(),
        }
    }

    async fn series(
        &self,
        matchers: &[Matcher],
        start: i64,
        end: i64,
    ) -> Result<BTreeMap<Labels, Series>, String> {
        let past = &self.past;
        let message = ask(matchers, start, end.min(past.before - 1));
        let packed = snap::raw::Encoder::new().compress_vec(&message);
        let body = Bytes::from(packed.map_err(|error| error.to_string())?);
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (CONTENT_TYPE, "application/x-protobuf"),
            (CONTENT_ENCODING, "snappy"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(
            "x-prometheus-remote-read-version",
            HeaderValue::from_static("0.1.0"),
        );
        let reply = past
            .ask(Method::POST, "/api/v1/read", headers, body)
            .await?;
        let name = past.remote.name();
        if !reply.status.is_success() {
            return Err(format!("{name}: {}", reply.told()));
        }
        let message = unpack(&reply.body, past.limit).map_err(|e| format!("{name}: {e}"))?;
        let found = answer(&message).map_err(|error| format!("{name}: {error}"))?;
        Ok(united(found, &self.replicas))
    }

    /// A list of the API, for selectors and an interval.
    async fn list(
        &self,
        path: &str,
        sets: &[Vec<Matcher>],
        start: i64,
        end: i64,
    ) -> Result<Vec<serde_json::Value>, String> {
        let seconds = |ms: i64| format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000));
        let end = end.min(self.past.before - 1);
        let mut pairs = vec![("start", seconds(start.max(0))), ("end", seconds(end))];
        pairs.extend(sets.iter().map(|set| ("match[]", selector(set))));
        let mut reply = self.past.json(&format!("{path}?{}", query(&pairs))).await?;
        match reply["data"].take() {
            serde_json::Value::Array(list) => Ok(list),
            _ => Err(format!("{}: no list of data", self.past.remote.name())),
        }
    }
}

fn selector(set: &[Matcher]) -> String {
    let all: Vec<String> = set.iter().map(ToString::to_string).collect();
    format!("{{{}}}", all.join(","))
}

/// Samples of here and of before.
pub struct Both {
    here: Arc<dyn Read>,
    before: Vec<PastSamples>,
    runtime: tokio::runtime::Handle,
    remarks: Arc<Mutex<Vec<String>>>,
}

impl Both {
    /// Asks the others from the runtime that this is called in. Reading blocks, so that it must
    /// not be done on a thread of that runtime.
    pub fn new(here: Arc<dyn Read>, before: Vec<PastSamples>) -> Self {
        Self {
            here,
            before,
            runtime: tokio::runtime::Handle::current(),
            remarks: Arc::default(),
        }
    }

    fn remark(&self, past: &Past, why: &str) {
        let text = past.remark(why);
        let mut all = self.remarks.lock();
        if !all.contains(&text) {
            all.push(text);
        }
    }

    /// Those that are asked for what is from `start` on.
    fn asked(&self, start: i64) -> impl Iterator<Item = &PastSamples> {
        let all = self.before.iter();
        all.filter(move |own| start < own.past.before)
    }

    /// What lists of the others say together with one of here.
    fn joined<T: Ord>(
        &self,
        here: Vec<T>,
        path: &str,
        sets: &[Vec<Matcher>],
        (start, end, limit): (i64, i64, usize),
        read: impl Fn(&PastSamples, &serde_json::Value) -> Option<T>,
    ) -> Vec<T> {
        let mut all: BTreeSet<T> = here.into_iter().collect();
        for own in self.asked(start) {
            match self.runtime.block_on(own.list(path, sets, start, end)) {
                Ok(list) => all.extend(list.iter().filter_map(|one| read(own, one))),
                Err(why) => self.remark(&own.past, &why),
            }
        }
        let limit = if limit == 0 { usize::MAX } else { limit };
        all.into_iter().take(limit).collect()
    }
}

/// A series of here behind what was before.
fn behind(mut before: Series, here: Series, cut: i64) -> Series {
    for (at, value) in here.floats.iter().filter(|(at, _)| *at >= cut) {
        before.floats.push(at, value);
    }
    let later = here.histograms.into_iter().filter(|(at, _)| *at >= cut);
    before.histograms.extend(later);
    before
}

impl Source for Both {
    fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        hints: &Hints<'_>,
    ) -> Result<Box<dyn Iterator<Item = Result<Series, String>> + 'a>, String> {
        // By series, with the time from which on what is here counts.
        let mut before: BTreeMap<Labels, (i64, Series)> = BTreeMap::new();
        for own in self.asked(hints.start) {
            let asked = own.series(matchers, hints.start, hints.end);
            match self.runtime.block_on(asked) {
                Ok(found) => {
                    for (labels, series) in found {
                        let known = before.entry(labels);
                        known.or_insert((own.past.before, series));
                    }
                }
                Err(why) => self.remark(&own.past, &why),
            }
        }
        if before.is_empty() {
            return self.here.select(matchers, hints);
        }
        // Samples that stand for others cannot be put behind such that do not.
        let hints = Hints {
            step: 0,
            range: 0,
            function: "",
            ..*hints
        };
        let mut here = self.here.select(matchers, &hints)?;
        let mut left = None;
        Ok(Box::new(std::iter::from_fn(move || {
            if left.is_none() {
                match here.next() {
                    Some(Ok(own)) => {
                        let both = match before.remove(&own.labels) {
                            Some((cut, other)) => behind(other, own, cut),
                            None => own,
                        };
                        return Some(Ok(both));
                    }
                    Some(error) => return Some(error),
                    None => left = Some(std::mem::take(&mut before).into_values()),
                }
            }
            left.as_mut()?.next().map(|(_, series)| Ok(series))
        })))
    }
}

impl Read for Both {
    fn session(&self) -> Option<Session> {
        let remarks = Arc::new(Mutex::new(Vec::new()));
        let read = Self {
            here: Arc::clone(&self.here),
            before: self.before.clone(),
            runtime: self.runtime.clone(),
            remarks: Arc::clone(&remarks),
        };
        Some(Session {
            read: Arc::new(read),
            remarks,
        })
    }

    fn series(
        &self,
        sets: &[Vec<Matcher>],
        start: i64,
        end: i64,
        limit: usize,
    ) -> Result<Vec<Labels>, ReadError> {
        let here = self.here.series(sets, start, end, limit)?;
        let bounds = (start, end, limit);
        Ok(
            self.joined(here, "/api/v1/series", sets, bounds, |own, one| {
                let pairs = one.as_object()?.iter();
                let pairs =
                    pairs.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
                Some(stripped(&pairs.collect(), &own.replicas))
            }),
        )
    }

    fn label_names(
        &self,
        sets: &[Vec<Matcher>],
        start: i64,
        end: i64,
        limit: usize,
    ) -> Result<Vec<String>, ReadError> {
        let here = self.here.label_names(sets, start, end, limit)?;
        let bounds = (start, end, limit);
        Ok(
            self.joined(here, "/api/v1/labels", sets, bounds, |own, one| {
                let name = one.as_str()?;
                let replica = own.replicas.iter().any(|replica| replica == name);
                (!replica).then(|| name.to_owned())
            }),
        )
    }

    fn label_values(
        &self,
        name: &str,
        sets: &[Vec<Matcher>],
        start: i64,
        end: i64,
        limit: usize,
    ) -> Result<Vec<String>, ReadError> {
        let here = self.here.label_values(name, sets, start, end, limit)?;
        let path = format!("/api/v1/label/{}/values", escaped(name));
        Ok(
            self.joined(here, &path, sets, (start, end, limit), |_, one| {
                one.as_str().map(str::to_owned)
            }),
        )
    }

    fn exemplars(
        &self,
        sets: &[Vec<Matcher>],
        start: i64,
        end: i64,
    ) -> Result<Vec<ExemplarSeries>, ReadError> {
        self.here.exemplars(sets, start, end)
    }

    fn families(&self, family: Option<&str>) -> BTreeMap<String, Vec<Metadata>> {
        self.here.families(family)
    }

    fn cardinality(&self, top: usize) -> Cardinality {
        self.here.cardinality(top)
    }

    fn blocks(&self) -> Vec<Block> {
        self.here.blocks()
    }
}
