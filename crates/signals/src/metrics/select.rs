//! The series and samples of a query, pulled one series at a time from segments and head.
//!
//! Streams of a segment are in the order of their keys, so that the series of several segments are
//! put together by walking them side by side: nothing is held but where each walk is. The keys of
//! the head are made and sorted where there are segments beside it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use towpath_query::promql::{Hints, Labels, Matcher, Samples, Series, Source};

use super::chunk::Found;
use super::compact::{bury, covers};
use super::downsample::{Plan, Reading};
use super::index::{OfHead, OfSegment};
use super::manifest::Tombstone;
use super::segment::{self, Walk};
use super::store::Store;
use super::view::View;
use crate::matching;
use crate::segment::SegmentError;

impl Store {
    /// The series of the head that pass.
    pub(crate) fn head_ids(&self, matchers: &[Matcher]) -> Vec<u32> {
        let registry = self.head.registry.read_recursive();
        let index = OfHead {
            head: &self.head,
            registry: &registry,
        };
        let Ok(ids) = matching::select(&index, matchers);
        ids
    }

    /// Where the series that pass are, in order of time.
    fn sides(
        &self,
        view: &View,
        matchers: &[Matcher],
        start: i64,
        end: i64,
    ) -> Result<Vec<Side>, SegmentError> {
        let mut sides = Vec::new();
        for (place, segment) in view.segments.iter().enumerate() {
            if !segment.overlaps(start, end) {
                continue;
            }
            let ids = matching::select(&OfSegment(&segment.file), matchers)?;
            if !ids.is_empty() {
                let of = Of::Segment(place, Walk::default());
                sides.push(Side { ids, at: 0, of });
            }
        }
        if end >= view.flushed {
            let ids = self.head_ids(matchers);
            if !ids.is_empty() {
                let of = Of::Head(Keys::default());
                sides.push(Side { ids, at: 0, of });
            }
        }
        if sides.len() > 1
            && let Some(Side { ids, of, .. }) = sides.last_mut()
            && let Of::Head(keys) = of
        {
            self.sort(ids, keys);
        }
        Ok(sides)
    }

    /// Brings series of the head into the order of their keys.
    fn sort(&self, ids: &mut Vec<u32>, keys: &mut Keys) {
        let registry = self.head.registry.read_recursive();
        let mut places = Vec::with_capacity(ids.len());
        for id in ids.drain(..) {
            let begin = keys.texts.len();
            let known = self.head.with(id, |series| {
                registry.put_key(&series.labels, &mut keys.texts);
            });
            // One that is gone had no samples left.
            if known.is_some() {
                places.push((begin, keys.texts.len(), id));
            }
        }
        drop(registry);
        let texts = &keys.texts;
        places.sort_unstable_by(|a, b| texts[a.0..a.1].cmp(&texts[b.0..b.1]));
        ids.extend(places.iter().map(|(_, _, id)| *id));
        keys.places = places.into_iter().map(|(from, to, _)| (from, to)).collect();
    }

    /// Adds what the head has of a series; where `newest` says so it may be the last sample alone.
    fn head_samples(
        &self,
        id: u32,
        (start, end): (i64, i64),
        newest: bool,
        found: &mut Found,
    ) -> Result<(), String> {
        let read = self.head.with(id, |series| {
            if newest && series.packed.read_last(start, end, found) {
                return Some(());
            }
            series.packed.read(start, end, found)
        });
        match read {
            Some(None) => Err("a chunk in memory is damaged".to_owned()),
            // Gone since: it had no samples left.
            None | Some(Some(())) => Ok(()),
        }
    }
}

/// The keys of series of the head.
#[derive(Default)]
struct Keys {
    texts: Vec<u8>,
    places: Vec<(usize, usize)>,
}

enum Of {
    /// Which one of the view.
    Segment(usize, Walk),
    Head(Keys),
}

/// A segment or the head, with the series of it that pass.
struct Side {
    ids: Vec<u32>,
    /// The next one.
    at: usize,
    of: Of,
}

impl Side {
    /// The key of the next series; none behind the last one.
    fn key(&mut self, view: &View) -> Result<Option<&[u8]>, SegmentError> {
        let Some(id) = self.ids.get(self.at) else {
            return Ok(None);
        };
        match &mut self.of {
            Of::Segment(place, walk) => walk.at.key(&view.segments[*place].file, *id).map(Some),
            Of::Head(keys) => {
                let place = keys.places.get(self.at);
                Ok(place.map(|(from, to)| &keys.texts[*from..*to]))
            }
        }
    }
}

/// The series of a query, one after the other.
struct Selected<'s> {
    store: &'s Store,
    view: Arc<View>,
    sides: Vec<Side>,
    plan: Plan,
    /// Which sides have the next series.
    now: Vec<usize>,
    /// How many samples the one before had: the next one is like it, mostly.
    usual: usize,
}

impl Selected<'_> {
    /// Finds out which sides have the next series; false behind the last one.
    fn find(&mut self) -> Result<bool, SegmentError> {
        self.now.clear();
        if let [only] = &self.sides[..] {
            if only.at < only.ids.len() {
                self.now.push(0);
            }
            return Ok(!self.now.is_empty());
        }
        let mut least: &[u8] = &[];
        for (at, side) in self.sides.iter_mut().enumerate() {
            let Some(key) = side.key(&self.view)? else {
                continue;
            };
            let order = match self.now.is_empty() {
                true => std::cmp::Ordering::Less,
                false => key.cmp(least),
            };
            if order.is_lt() {
                self.now.clear();
                least = key;
            }
            if order.is_le() {
                self.now.push(at);
            }
        }
        Ok(!self.now.is_empty())
    }

    /// The samples of the series that was found; none if there are none.
    fn read(&mut self) -> Result<Option<Series>, String> {
        let (store, view) = (self.store, &self.view);
        let (start, end) = (self.plan.start, self.plan.end);
        let mut reading = Reading::new(&self.plan);
        let mut found = Found {
            floats: Samples {
                times: Vec::with_capacity(self.usual),
                values: Vec::with_capacity(self.usual),
            },
            histograms: Vec::new(),
        };
        // Behind what is deleted there may be another that counts.
        let newest = self.plan.newest() && view.tombstones.is_empty();
        let mut labels: Option<Labels> = None;
        for at in &self.now {
            let side = &mut self.sides[*at];
            let id = side.ids[side.at];
            side.at += 1;
            match &mut side.of {
                Of::Head(_) => {
                    let times = (start.max(view.flushed), end);
                    store.head_samples(id, times, newest, &mut found)?;
                    if labels.is_none() && !found.is_empty() {
                        labels = store.head.labels(id);
                    }
                }
                Of::Segment(place, walk) => {
                    let segment = &view.segments[*place];
                    segment.find(walk, id).map_err(|e| told(&e))?;
                    let mut deleted = false;
                    let within =
                        |stone: &&Tombstone| stone.start < segment.end && stone.end >= segment.min;
                    for stone in view.tombstones.iter().filter(within) {
                        let key = walk.at.key(&segment.file, id).map_err(|e| told(&e))?;
                        let labels = segment::labels(key).unwrap_or_default();
                        deleted |= covers(stone, &labels);
                    }
                    reading
                        .read(segment, walk, deleted, &mut found)
                        .map_err(|e| told(&e))?;
                    if labels.is_none() && !found.is_empty() {
                        let key = walk.at.key(&segment.file, id).map_err(|e| told(&e))?;
                        labels = segment::labels(key);
                    }
                }
            }
        }
        if store.truncated.load(Ordering::Acquire) > view.flushed && end >= view.flushed {
            return Err("samples moved while the query ran; try again".to_owned());
        }
        let Some(labels) = labels else {
            return Ok(None);
        };
        let downsampled = reading.finish(&mut found, &labels, &view.tombstones);
        bury(&mut found, &labels, &view.tombstones);
        if found.is_empty() {
            return Ok(None);
        }
        self.usual = found.floats.len();
        let mut series = Series::new(labels);
        series.floats = found.floats;
        series.histograms = found.histograms;
        series.downsampled = downsampled;
        Ok(Some(series))
    }
}

impl Iterator for Selected<'_> {
    type Item = Result<Series, String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let read = match self.find() {
                Ok(false) => return None,
                Ok(true) => self.read().transpose(),
                Err(error) => Some(Err(told(&error))),
            };
            match read {
                None => {}
                Some(Err(why)) => {
                    self.sides.clear();
                    return Some(Err(why));
                }
                series => return series,
            }
        }
    }
}

/// An error with its cause.
pub(crate) fn told(error: &SegmentError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

impl Source for Store {
    fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        hints: &Hints<'_>,
    ) -> Result<Box<dyn Iterator<Item = Result<Series, String>> + 'a>, String> {
        let (start, end) = (hints.start, hints.end);
        let view = self.view();
        view.check(start, end)?;
        let sides = self
            .sides(&view, matchers, start, end)
            .map_err(|e| told(&e))?;
        Ok(Box::new(Selected {
            store: self,
            view,
            sides,
            plan: Plan::new(hints),
            now: Vec::new(),
            usual: 0,
        }))
    }
}
