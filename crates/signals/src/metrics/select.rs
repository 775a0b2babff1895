//! The series and samples of a query, pulled one series at a time from segments and head.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use towpath_query::promql::{Hints, Labels, Matcher, Series, Source};

use super::chunk::Found;
use super::compact::bury;
use super::ids::Quick;
use super::segment::{self, Segment};
use super::store::Store;
use super::view::View;
use crate::matching;
use crate::segment::SegmentError;

/// The head among the places a series is in.
const HEAD: u32 = u32::MAX;

/// Where a series is: which segment of the view or the head, and its number there.
type Place = (u32, u32);

impl Store {
    /// The series of the head that pass.
    pub(crate) fn head_ids(&self, matchers: &[Matcher]) -> Vec<u32> {
        let registry = self.head.registry.read_recursive();
        let Ok(ids) = matching::select(&*registry, matchers);
        ids
    }

    /// Every series that passes, with its places in order of time.
    fn places(
        &self,
        view: &View,
        matchers: &[Matcher],
        start: i64,
        end: i64,
    ) -> Result<Vec<Vec<Place>>, SegmentError> {
        let segments = view.segments.iter().zip(0u32..);
        let segments = segments.filter(|(segment, _)| segment.overlaps(start, end));
        let mut found: Vec<(u32, Vec<u32>)> = Vec::new();
        for (segment, at) in segments {
            found.push((at, matching::select(&segment.file, matchers)?));
        }
        if end >= view.flushed {
            found.push((HEAD, self.head_ids(matchers)));
        }
        found.retain(|(_, ids)| !ids.is_empty());
        if let [(place, ids)] = &found[..] {
            return Ok(ids.iter().map(|id| vec![(*place, *id)]).collect());
        }
        // The same series has the same key everywhere; keys are compared by a seeded hash.
        let seed = RandomState::new();
        let mut at: HashMap<u64, usize, Quick> = HashMap::default();
        let mut out: Vec<Vec<Place>> = Vec::new();
        for (place, ids) in found {
            for id in ids {
                let hash = match place {
                    HEAD => match self.head.labels(id) {
                        Some(labels) => seed.hash_one(&segment::key(&labels)[..]),
                        None => continue,
                    },
                    _ => {
                        let file = &view.segments[place as usize].file;
                        file.stream(id, |key, _| Some(seed.hash_one(key)))?
                    }
                };
                let at = *at.entry(hash).or_insert_with(|| {
                    out.push(Vec::new());
                    out.len() - 1
                });
                out[at].push((place, id));
            }
        }
        Ok(out)
    }

    /// The samples of one series; none if there are none.
    fn one(
        &self,
        view: &View,
        places: &[Place],
        start: i64,
        end: i64,
    ) -> Result<Option<Series>, String> {
        let mut found = Found::default();
        let mut labels: Option<Labels> = None;
        for (place, id) in places {
            if *place == HEAD {
                self.head_samples(*id, start.max(view.flushed), end, &mut found)?;
                if labels.is_none() && !found.is_empty() {
                    labels = self.head.labels(*id);
                }
                continue;
            }
            let segment: &Arc<Segment> = &view.segments[*place as usize];
            let (key, parts) = segment.series(*id).map_err(|e| told(&e))?;
            segment
                .read(&parts, start, end, false, &mut found)
                .map_err(|e| told(&e))?;
            if labels.is_none() {
                labels = segment::labels(&key);
            }
        }
        if self.truncated.load(Ordering::Acquire) > view.flushed && end >= view.flushed {
            return Err("samples moved while the query ran; try again".to_owned());
        }
        let Some(labels) = labels else {
            return Ok(None);
        };
        bury(&mut found, &labels, &view.tombstones);
        if found.is_empty() {
            return Ok(None);
        }
        let mut series = Series::new(labels);
        series.floats = found.floats;
        series.histograms = found.histograms;
        Ok(Some(series))
    }

    fn head_samples(&self, id: u32, start: i64, end: i64, found: &mut Found) -> Result<(), String> {
        let read = self
            .head
            .with(id, |series| series.packed.read(start, end, found));
        match read {
            Some(None) => Err("a chunk in memory is damaged".to_owned()),
            // Gone since: it had no samples left.
            None | Some(Some(())) => Ok(()),
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
        let places = self
            .places(&view, matchers, start, end)
            .map_err(|e| told(&e))?;
        let each = places
            .into_iter()
            .filter_map(move |places| self.one(&view, &places, start, end).transpose());
        Ok(Box::new(each))
    }
}
