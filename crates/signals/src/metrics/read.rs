//! What a data source is asked beside samples.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use towpath_query::promql::{Labels, Matcher, NAME};

use super::index::OfSegment;
use super::segment::{self, Segment};
use super::select::told;
use super::store::Store;
use crate::matching;
use crate::segment::SegmentError;
use crate::{Block, Cardinality, ExemplarSeries, Metadata, Read, ReadError};

fn limited<T>(all: BTreeSet<T>, limit: usize) -> Vec<T> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    all.into_iter().take(limit).collect()
}

fn top(mut all: Vec<(String, u64)>, count: usize) -> Vec<(String, u64)> {
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.truncate(count);
    all
}

impl Store {
    /// Gives the labels of every series that passes one of the sets and has samples about the
    /// interval to `f`, some more than once.
    fn each_series(
        &self,
        sets: &[Vec<Matcher>],
        start: i64,
        end: i64,
        mut f: impl FnMut(Labels),
    ) -> Result<(), ReadError> {
        let everything = [Vec::new()];
        let sets = match sets {
            [] => &everything[..],
            sets => sets,
        };
        let view = self.view();
        view.check(start, end).map_err(ReadError::Storage)?;
        for segment in view.segments.iter().filter(|one| one.overlaps(start, end)) {
            let mut ids = BTreeSet::new();
            for set in sets {
                ids.extend(matching::select(&OfSegment(&segment.file), set).map_err(storage)?);
            }
            for id in ids {
                let (key, parts) = segment.series(id).map_err(storage)?;
                if parts
                    .iter()
                    .any(|part| part.min <= end && part.max >= start)
                {
                    f(segment::labels(&key).unwrap_or_default());
                }
            }
        }
        let mut ids = BTreeSet::new();
        for set in sets {
            ids.extend(self.head_ids(set));
        }
        for id in ids {
            let within = self.head.with(id, |series| {
                let packed = &series.packed;
                packed.min().is_some_and(|min| min <= end)
                    && packed.max().is_some_and(|max| max >= start)
            });
            if within == Some(true)
                && let Some(labels) = self.head.labels(id)
            {
                f(labels);
            }
        }
        Ok(())
    }
}

fn storage(error: SegmentError) -> ReadError {
    ReadError::Storage(told(&error))
}

impl Read for Store {
    fn blocks(&self) -> Vec<Block> {
        let view = self.view();
        let block = |segment: &Arc<Segment>| Block {
            number: segment.number,
            min: segment.min,
            end: segment.end,
            samples: segment.samples,
            bytes: segment.bytes,
        };
        let mut blocks: Vec<Block> = view.segments.iter().map(block).collect();
        blocks.sort_by_key(|block| (block.min, block.number));
        blocks
    }

    fn series(
        &self,
        sets: &[Vec<Matcher>],
        start: i64,
        end: i64,
        limit: usize,
    ) -> Result<Vec<Labels>, ReadError> {
        let mut found = BTreeSet::new();
        self.each_series(sets, start, end, |labels| {
            found.insert(labels);
        })?;
        Ok(limited(found, limit))
    }

    fn label_names(
        &self,
        sets: &[Vec<Matcher>],
        start: i64,
        end: i64,
        limit: usize,
    ) -> Result<Vec<String>, ReadError> {
        let mut names = BTreeSet::new();
        let mut add = |name: &str| {
            if !names.contains(name) {
                names.insert(name.to_owned());
            }
        };
        if sets.is_empty() {
            let view = self.view();
            view.check(start, end).map_err(ReadError::Storage)?;
            for segment in view.segments.iter().filter(|one| one.overlaps(start, end)) {
                segment.file.names(&mut add).map_err(storage)?;
            }
            let registry = self.head.registry.read_recursive();
            registry.names().for_each(add);
        } else {
            self.each_series(sets, start, end, |labels| {
                labels.iter().for_each(|(name, _)| add(name));
            })?;
        }
        Ok(limited(names, limit))
    }

    fn label_values(
        &self,
        name: &str,
        sets: &[Vec<Matcher>],
        start: i64,
        end: i64,
        limit: usize,
    ) -> Result<Vec<String>, ReadError> {
        let mut values = BTreeSet::new();
        let mut add = |value: &str| {
            if !value.is_empty() && !values.contains(value) {
                values.insert(value.to_owned());
            }
        };
        if sets.is_empty() {
            let view = self.view();
            view.check(start, end).map_err(ReadError::Storage)?;
            for segment in view.segments.iter().filter(|one| one.overlaps(start, end)) {
                segment.file.values(name, &mut add).map_err(storage)?;
            }
            let registry = self.head.registry.read_recursive();
            registry.values(name).for_each(|(value, _)| add(value));
        } else {
            self.each_series(sets, start, end, |labels| add(labels.get(name)))?;
        }
        Ok(limited(values, limit))
    }

    fn exemplars(
        &self,
        sets: &[Vec<Matcher>],
        start: i64,
        end: i64,
    ) -> Result<Vec<ExemplarSeries>, ReadError> {
        let mut ids = BTreeSet::new();
        for set in sets {
            ids.extend(self.head_ids(set));
        }
        let mut out = Vec::new();
        for id in ids {
            let exemplars = self.exemplars.lock().read(id, start, end);
            if !exemplars.is_empty()
                && let Some(labels) = self.head.labels(id)
            {
                out.push(ExemplarSeries { labels, exemplars });
            }
        }
        out.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(out)
    }

    fn families(&self, family: Option<&str>) -> BTreeMap<String, Vec<Metadata>> {
        self.families.lock().read(family)
    }

    fn cardinality(&self, count: usize) -> Cardinality {
        let (mut chunks, mut times) = (0, None::<(i64, i64)>);
        let ids = self.head.registry.read_recursive().ids().to_vec();
        for id in &ids {
            self.head.with(*id, |series| {
                chunks += series.packed.chunks() as u64;
                if let (Some(min), Some(max)) = (series.packed.min(), series.packed.max()) {
                    let (from, to) = times.unwrap_or((min, max));
                    times = Some((from.min(min), to.max(max)));
                }
            });
        }
        let registry = self.head.registry.read_recursive();
        let by_metric = registry.values(NAME);
        let by_metric = by_metric.map(|(name, count)| (name.to_owned(), count as u64));
        let (mut values, mut bytes) = (Vec::new(), Vec::new());
        let mut pairs = Vec::new();
        for name in registry.names() {
            let mut size = 0;
            let mut number = 0;
            let mut own = Vec::new();
            for (value, count) in registry.values(name) {
                number += 1;
                size += value.len() as u64;
                own.push((value, count as u64));
            }
            own.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
            own.truncate(count);
            let own = own.into_iter();
            pairs.extend(own.map(|(value, count)| (format!("{name}={value}"), count)));
            values.push((name.to_owned(), number));
            bytes.push((name.to_owned(), size));
        }
        Cardinality {
            series: ids.len() as u64,
            label_pairs: registry.pair_count() as u64,
            chunks,
            times,
            series_by_metric: top(by_metric.collect(), count),
            values_by_label: top(values, count),
            bytes_by_label: top(bytes, count),
            series_by_pair: top(pairs, count),
        }
    }
}
