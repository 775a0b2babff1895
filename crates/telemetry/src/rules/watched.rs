//! Whether an evaluation saw the world as it is since a restart, or only what was kept from before.

use std::cell::Cell;

use towpath_query::promql::{Hints, Matcher, Series, Source};

/// A source that notes whether what is read goes on after a time.
pub(super) struct Watched<'a> {
    source: &'a dyn Source,
    since: i64,
    fresh: Cell<bool>,
    behind: Cell<bool>,
}

impl<'a> Watched<'a> {
    pub(super) fn new(source: &'a dyn Source, since: i64) -> Self {
        Self {
            source,
            since,
            fresh: Cell::new(false),
            behind: Cell::new(false),
        }
    }

    /// Whether something was read, and of every selector that found anything something is younger
    /// than the time.
    pub(super) fn current(&self) -> bool {
        self.fresh.get() && !self.behind.get()
    }
}

impl Source for Watched<'_> {
    fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        hints: &Hints<'_>,
    ) -> Result<Box<dyn Iterator<Item = Result<Series, String>> + 'a>, String> {
        let found = self.source.select(matchers, hints)?;
        // What looks at times of before says nothing about now.
        if hints.end < self.since {
            return Ok(found);
        }
        Ok(Box::new(Newest {
            found,
            of: self,
            newest: None,
        }))
    }
}

/// Series of one selector.
struct Newest<'a> {
    found: Box<dyn Iterator<Item = Result<Series, String>> + 'a>,
    of: &'a Watched<'a>,
    newest: Option<i64>,
}

impl Iterator for Newest<'_> {
    type Item = Result<Series, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.found.next();
        if let Some(Ok(series)) = &next {
            let float = series.floats.times.last().copied();
            let histogram = series.histograms.last().map(|(at, _)| *at);
            self.newest = self.newest.max(float).max(histogram);
        }
        next
    }
}

impl Drop for Newest<'_> {
    fn drop(&mut self) {
        match self.newest {
            None => {}
            Some(at) if at > self.of.since => self.of.fresh.set(true),
            Some(_) => self.of.behind.set(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_query::promql::{Labels, MatchOp, Settings, instant, parse};

    /// `old` ended before the start, `new` went on, `both` has one of each.
    struct Two;

    impl Source for Two {
        fn select<'a>(
            &'a self,
            matchers: &[Matcher],
            _: &Hints<'_>,
        ) -> Result<Box<dyn Iterator<Item = Result<Series, String>> + 'a>, String> {
            let times: &[i64] = match matchers.iter().find(|m| m.op == MatchOp::Equal) {
                Some(m) if m.value == "old" => &[90_000],
                Some(m) if m.value == "new" => &[110_000],
                Some(m) if m.value == "both" => &[90_000, 110_000],
                _ => &[],
            };
            let series = times.iter().map(|at| {
                let name = at.to_string();
                let labels: Labels = [("at", name.as_str())].into_iter().collect();
                let mut series = Series::new(labels);
                series.floats.push(*at, 1.0);
                Ok(series)
            });
            Ok(Box::new(series))
        }
    }

    #[test]
    fn an_evaluation_is_current_once_all_it_reads_went_on() {
        for (query, current) in [
            ("old", false),
            ("new", true),
            ("both > 0", true),
            ("new or old", false),
            ("new unless none", true),
            ("none", false),
            ("new and rate(old[5m])", false),
            ("new or old offset 30s", true),
        ] {
            let watched = Watched::new(&Two, 100_000);
            let expr = parse(query).expect("a query");
            instant(&expr, 120_000, &watched, &Settings::default()).expect("evaluated");
            assert_eq!(watched.current(), current, "{query}");
        }
    }
}
