//! The series and samples of a query, pulled one series at a time.

use towpath_query::promql::{Hints, Labels, Matcher, Series, Source};

use super::chunk::Found;
use super::matching;
use super::store::Store;

impl Store {
    /// The series of the head that pass.
    pub(crate) fn head_ids(&self, matchers: &[Matcher]) -> Vec<u32> {
        let registry = self.head.registry.read_recursive();
        let Ok(ids) = matching::select(&*registry, matchers);
        ids
    }

    /// The labels and samples of a series of the head; none if it has gone or has no samples there.
    fn head_series(
        &self,
        id: u32,
        start: i64,
        end: i64,
    ) -> Result<Option<(Labels, Found)>, String> {
        let mut found = Found::default();
        let read = self
            .head
            .with(id, |series| series.packed.read(start, end, &mut found));
        match read {
            None => return Ok(None),
            Some(None) => return Err("a chunk in memory is damaged".to_owned()),
            Some(Some(())) => {}
        }
        if found.is_empty() {
            return Ok(None);
        }
        Ok(self.head.labels(id).map(|labels| (labels, found)))
    }
}

impl Source for Store {
    fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        hints: &Hints<'_>,
    ) -> Result<Box<dyn Iterator<Item = Result<Series, String>> + 'a>, String> {
        let (start, end) = (hints.start, hints.end);
        let ids = self.head_ids(matchers);
        Ok(Box::new(ids.into_iter().filter_map(
            move |id| match self.head_series(id, start, end) {
                Err(why) => Some(Err(why)),
                Ok(None) => None,
                Ok(Some((labels, found))) => {
                    let mut series = Series::new(labels);
                    series.floats = found.floats;
                    series.histograms = found.histograms;
                    Some(Ok(series))
                }
            },
        )))
    }
}
