//! Pages that follow one another, read with what is known of the one before, and beside that each
//! on its own by the parser alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use async_trait::async_trait;
use parking_lot::Mutex;
use proptest::prelude::*;
use towpath_signals::Outcome;

use super::*;
use crate::scrape::config;
use crate::wire::Entry;

/// A store that writes down what it is told.
#[derive(Default)]
struct List {
    series: Mutex<Vec<Labels>>,
    told: Mutex<Vec<String>>,
}

impl List {
    fn tell(&self, series: &Labels, at: i64, value: f64) {
        let value = match towpath_query::promql::is_stale(value) {
            true => "end".to_owned(),
            false => value.to_string(),
        };
        self.told.lock().push(format!("{series} {at} {value}"));
    }

    fn all(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock())
    }
}

#[async_trait]
impl Append for List {
    fn resolve(&self, labels: &Labels) -> Result<SeriesRef, Refused> {
        let mut series = self.series.lock();
        let known = series.iter().position(|own| own == labels);
        let at = known.unwrap_or_else(|| {
            series.push(labels.clone());
            series.len() - 1
        });
        Ok(SeriesRef(at as u64))
    }

    fn labels(&self, series: SeriesRef) -> Option<Labels> {
        self.series.lock().get(series.0 as usize).cloned()
    }

    fn append(&self, samples: &[Sample]) -> Result<Outcome, WriteError> {
        for sample in samples {
            let Value::Float(value) = sample.value else {
                panic!("a number")
            };
            let labels = self.labels(sample.series).unwrap();
            self.tell(&labels, sample.at, value);
            if let Some(start) = sample.start {
                self.told.lock().push(format!("since {start}"));
            }
        }
        Ok(Outcome::default())
    }

    fn exemplar(&self, series: SeriesRef, exemplar: Exemplar) -> Result<(), Refused> {
        let labels = self.labels(series).unwrap();
        self.told.lock().push(format!("{labels} {exemplar:?}"));
        Ok(())
    }

    fn metadata(&self, _: &str, _: Metadata) {}

    async fn sync(&self) -> Result<(), WriteError> {
        Ok(())
    }
}

/// Reads each page as if it were the first one.
#[derive(Default)]
struct Plainly {
    list: List,
    before: BTreeSet<String>,
    metadata: BTreeMap<String, Metadata>,
}

impl Plainly {
    fn page(&mut self, job: &Job, body: &[u8], format: Format, at: i64) -> (usize, bool) {
        let mut parser = Parser::new(body, format, job.wishes);
        let (mut scraped, mut seen, mut now) = (0, BTreeSet::new(), BTreeSet::new());
        let (mut told, mut examples) = (List::default(), Vec::new());
        let read = loop {
            let entry = match parser.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => break true,
                Err(_) => break false,
            };
            let change: Box<dyn FnOnce(&mut Metadata)> = match &entry {
                Entry::Kind(_, kind) => Box::new(|own| own.kind = kind.name().to_owned()),
                Entry::Help(_, help) => Box::new(|own| own.help.clone_from(help)),
                Entry::Unit(_, unit) => Box::new(|own| own.unit.clone_from(unit)),
                _ => Box::new(|_| {}),
            };
            if let Entry::Kind(family, _) | Entry::Help(family, _) | Entry::Unit(family, _) = &entry
            {
                change(self.metadata.entry(family.clone()).or_default());
            }
            if entry != Entry::Series {
                continue;
            }
            scraped += 1;
            let start = parser.start();
            let point = parser.point();
            let first = seen.insert(point.key.to_vec());
            if !first && point.at.is_none() {
                continue;
            }
            let Ok(labels) = parser.labels() else {
                break false;
            };
            if point.at.is_none() {
                now.insert(labels.to_string());
            }
            told.tell(&labels, point.at.unwrap_or(at), point.value);
            if let Some(start) = start {
                told.told.get_mut().push(format!("since {start}"));
            }
            let mut own = Vec::new();
            parser.exemplars(point.at.unwrap_or(at), &mut own);
            examples.extend(own.into_iter().map(|own| format!("{labels} {own:?}")));
        };
        let mut told = told.all();
        told.extend(examples);
        if !read {
            (told, now) = (Vec::new(), BTreeSet::new());
        }
        for gone in self.before.difference(&now) {
            told.push(format!("{gone} {at} end"));
        }
        self.list.told.lock().extend(told);
        self.before = now;
        (scraped, read)
    }
}

const TEXT: &[&str] = &[
    "# HELP a what {v}",
    "# TYPE a counter",
    "# TYPE a gauge",
    "# TYPE h histogram",
    "# a comment",
    "",
    "a {v}",
    "a{x=\"1\"} {v}",
    "a{x=\"2\"} {v}",
    "a {x=\"1\"} {v}",
    "a{x=\"1\",} {v} 1000",
    "  b {v}",
    "b\t{v}",
    "ab {v}.5",
    "h_bucket{le=\"2.0\"} {v}",
    "h_bucket{le=\"1.0\"} {v}",
    "{\"d\"} {v}",
    "c{y=\"ü\\\\\"} -{v}.25 ",
    "c NaN",
    "b {v} {v}{v}",
];

const OPEN: &[&str] = &[
    "# HELP a what {v}",
    "# TYPE a counter",
    "# TYPE g gauge",
    "# TYPE h histogram",
    "# UNIT a_seconds seconds",
    "a_total {v}",
    "a_total{x=\"1\"} {v}",
    "a_total{x=\"1\"} {v} # {trace=\"{v}\"} 0.5",
    "a_created{x=\"1\"} {v}",
    "g{x=\"1\"} {v}",
    "g{x=\"2\"} {v}.5 1.5",
    "g {v}",
    "h_bucket{le=\"2.0\"} {v} # {trace=\"x\"} 0.5 7",
    "h_bucket{le=\"1.0\"} {v}",
    "h_created {v}",
    "{\"d\"} {v}",
];

/// Lines that break a page off.
const BAD: &[&str] = &["b{ 1", "a 1 2 3", "a x", "{x=\"1\"} 1"];

/// How a page comes from the one before: by a number for each line.
fn next(lines: &mut Vec<(usize, u8)>, changes: &[u8], kinds: usize) {
    let mut out = Vec::new();
    for (at, (kind, value)) in lines.iter().enumerate() {
        let change = changes[at % changes.len()];
        match change {
            0..=140 => out.push((*kind, *value)),
            141..=215 => out.push((*kind, change)),
            216..=225 => {}
            226..=235 => out.extend([(*kind, *value), (*kind, change)]),
            236..=253 => out.extend([(change as usize % kinds, change), (*kind, *value)]),
            // Bad ones go with the next page.
            _ => out.push((kinds + at % BAD.len(), *value)),
        }
    }
    *lines = out;
}

fn written(lines: &[(usize, u8)], kinds: &[&str], open: bool, whole: bool) -> String {
    let mut out = String::new();
    for (kind, value) in lines {
        let line = kinds.get(*kind).or_else(|| BAD.get(kind - kinds.len()));
        let line = line.unwrap_or(&"").replace("{v}", &value.to_string());
        let _ = writeln!(out, "{line}");
    }
    match (open, whole) {
        (true, true) => out.push_str("# EOF\n"),
        (false, false) => drop(out.pop()),
        _ => {}
    }
    out
}

fn sorted(mut all: Vec<String>) -> Vec<String> {
    // Where a series is written in two ways, and what ended, comes in any order.
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn what_is_known_changes_nothing(
        open: bool,
        hide: bool,
        first in prop::collection::vec((0usize..20, 0u8..9), 1..30),
        pages in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..20), any::<u8>()), 1..8),
    ) {
        let (kinds, format) = match open {
            true => (OPEN, Format::OpenMetrics),
            false => (TEXT, Format::Text),
        };
        let text = "scrape_configs:\n- job_name: j\n";
        let mut job = config::parse(text, std::path::Path::new(".")).unwrap().remove(0);
        job.wishes.hide_created = hide;
        let job = Arc::new(job);
        let mut lines: Vec<_> = first.iter().map(|(k, v)| (k % kinds.len(), *v)).collect();
        let mut ingest = Ingest::new(Arc::clone(&job), Labels::default());
        let (list, mut plainly) = (List::default(), Plainly::default());
        let mut metadata = BTreeMap::new();
        let mut had = BTreeSet::new();
        for (at, (changes, whole)) in pages.iter().enumerate() {
            let body = written(&lines, kinds, open, *whole > 20);
            let at = 1_000_000 + at as i64;
            let (counts, result, _) = if body.is_empty() {
                ingest.nothing(&list, at).unwrap();
                (Counts::default(), Ok(()), Vec::new())
            } else {
                ingest.body(&list, body.clone().into_bytes(), format, at, &mut metadata)
            };
            let (scraped, good) = plainly.page(&job, body.as_bytes(), format, at);
            prop_assert_eq!(counts.scraped, scraped, "{}", body);
            prop_assert_eq!(result.is_ok() || body.is_empty(), good || body.is_empty(), "{}", body);
            if body.is_empty() && open {
                plainly.list.all();
                list.all();
            }
            let told = sorted(list.all());
            prop_assert_eq!(&told, &sorted(plainly.list.all()), "{}", body);
            prop_assert_eq!(&metadata, &plainly.metadata, "{}", body);
            had.extend(told);
            next(&mut lines, changes, kinds.len());
            // A bad line is there once.
            if lines.iter().filter(|(kind, _)| *kind >= kinds.len()).count() > 1 {
                lines.retain(|(kind, _)| *kind < kinds.len());
            }
        }
    }
}

#[test]
fn counts_of_pages() {
    let job = config::parse(
        "scrape_configs:\n- job_name: j\n",
        std::path::Path::new("."),
    );
    let job = Arc::new(job.unwrap().remove(0));
    let mut ingest = Ingest::new(job, Labels::default());
    let (list, mut metadata) = (List::default(), BTreeMap::new());
    let mut page = |text: &str| {
        let body = text.as_bytes().to_vec();
        let (counts, result, _) = ingest.body(&list, body, Format::Text, 0, &mut metadata);
        (counts.scraped, counts.kept, counts.added, result.is_ok())
    };
    assert_eq!(page("a 1\nb 2\n"), (2, 2, 2, true));
    assert_eq!(page("a 1\nb 2\n"), (2, 2, 0, true));
    assert_eq!(page("a 1\nc 2\nb 2\n"), (3, 3, 1, true));
    // What is new in a page that breaks off is known afterwards.
    assert_eq!(page("a 1\nd 2\nb{\n"), (2, 2, 1, false));
    assert_eq!(page("a 1\nd 2\nb 2\nb 3\n"), (4, 3, 0, true));
    assert_eq!(page("c 1\nb 2\n"), (2, 2, 1, true));
    assert_eq!(page("b 12\nb 2"), (2, 1, 0, true));
    assert_eq!(page("b 12\nb 2\n"), (2, 1, 0, true));
}
