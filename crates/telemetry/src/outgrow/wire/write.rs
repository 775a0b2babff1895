//! Requests of remote write, written.
//!
//! What waits is in the fields of version 1, with the start of counters added in the field that
//! version 2 has for it: such requests can be put one behind the other, and who reads version 1
//! passes over what it does not know. Version 2 is made of it when it is sent.

use std::collections::HashMap;

use indexmap::IndexMap;
use towpath_query::promql::NAME;
use towpath_signals::{Exemplar, Metadata};

use super::histogram;
use super::put::Put;
use crate::wire::remote_write::{Example, HistogramPoint, Point, Request};

/// Labels as a field of a series, to be used for every sample of it.
pub(crate) fn labels<'l>(pairs: impl Iterator<Item = (&'l str, &'l str)>) -> Vec<u8> {
    let mut out = Put::default();
    let mut label = Put::default();
    for (name, value) in pairs {
        label.clear();
        label.text(1, name);
        label.text(2, value);
        out.message(1, &label);
    }
    out.into_bytes()
}

/// A sample as both versions write it.
pub(crate) fn point(at: i64, value: f64, start: Option<i64>) -> Put {
    let mut out = Put::default();
    out.double(1, value);
    out.int(2, at);
    out.int(3, start.unwrap_or(0));
    out
}

/// Adds a series with one thing of it: a sample (field 2), an exemplar (3) or a histogram (4).
pub(crate) fn series(out: &mut Put, labels: &[u8], field: u32, what: &Put) {
    let mut series = Put::default();
    series.fields(labels);
    series.message(field, what);
    out.message(1, &series);
}

/// An exemplar of version 1.
pub(crate) fn exemplar(exemplar: &Exemplar) -> Put {
    let mut out = Put::default();
    out.fields(&labels(exemplar.labels.iter()));
    out.double(2, exemplar.value);
    out.int(3, exemplar.at);
    out
}

/// What is said about a metric family, of version 1.
pub(crate) fn metadata(family: &str, said: &Metadata) -> Put {
    let mut out = Put::default();
    out.uint(1, kind(&said.kind));
    out.text(2, family);
    out.text(4, &said.help);
    out.text(5, &said.unit);
    out
}

fn kind(name: &str) -> u64 {
    match name {
        "counter" => 1,
        "gauge" => 2,
        "histogram" => 3,
        "gaugehistogram" => 4,
        "summary" => 5,
        "info" => 6,
        "stateset" => 7,
        _ => 0,
    }
}

/// Texts by number, each once; the first is empty.
struct Symbols<'a> {
    numbers: HashMap<&'a str, u64>,
    texts: Vec<&'a str>,
}

impl<'a> Symbols<'a> {
    fn new() -> Self {
        Self {
            numbers: HashMap::from([("", 0)]),
            texts: vec![""],
        }
    }

    fn number(&mut self, text: &'a str) -> u64 {
        let next = self.texts.len() as u64;
        *self.numbers.entry(text).or_insert_with(|| {
            self.texts.push(text);
            next
        })
    }

    fn pairs(&mut self, labels: &[(&'a str, &'a str)]) -> Vec<u64> {
        let each = labels.iter();
        each.flat_map(|(name, value)| [self.number(name), self.number(value)])
            .collect()
    }
}

/// The family that a series belongs to, given what is known about families.
pub(crate) fn family<'k>(
    name: &str,
    known: &'k HashMap<String, Metadata>,
) -> Option<(String, &'k Metadata)> {
    if let Some(said) = known.get(name) {
        return Some((name.to_owned(), said));
    }
    for suffix in ["_bucket", "_count", "_sum", "_total"] {
        let Some(base) = name.strip_suffix(suffix) else {
            continue;
        };
        if let Some(said) = known.get(base) {
            return Some((base.to_owned(), said));
        }
    }
    None
}

/// What a request says about one series.
#[derive(Default)]
struct Group<'r> {
    points: Vec<&'r Point>,
    histograms: Vec<&'r HistogramPoint>,
    examples: Vec<&'r Example>,
}

/// The same as `io.prometheus.write.v2.Request`, with what is said about the families. A series is
/// there once; exemplars of a series without samples are left out, as version 2 has no place for
/// them.
pub(crate) fn version_2(request: &Request<'_>, known: &HashMap<String, Metadata>) -> Vec<u8> {
    let mut groups: IndexMap<&[(&str, &str)], Group<'_>> = IndexMap::new();
    for one in &request.series {
        let group = groups
            .entry(&request.labels[one.labels.clone()])
            .or_default();
        group.points.extend(&request.points[one.points.clone()]);
        let histograms = &request.histograms[one.histograms.clone()];
        group.histograms.extend(histograms);
        group
            .examples
            .extend(&request.examples[one.examples.clone()]);
    }
    let mut symbols = Symbols::new();
    let mut all = Put::default();
    for (labels, group) in groups {
        let refs = symbols.pairs(labels);
        let mut rest = Put::default();
        for sample in group.examples {
            let mut exemplar = Put::default();
            exemplar.uints(1, symbols.pairs(&request.labels[sample.labels.clone()]));
            exemplar.double(2, sample.value);
            exemplar.int(3, sample.at);
            rest.message(4, &exemplar);
        }
        let name = labels.iter().find(|(name, _)| *name == NAME);
        if let Some((_, said)) = name.and_then(|(_, name)| family(name, known)) {
            let mut metadata = Put::default();
            metadata.uint(1, kind(&said.kind));
            metadata.uint(3, symbols.number(&said.help));
            metadata.uint(4, symbols.number(&said.unit));
            rest.message(5, &metadata);
        }
        // A message has numbers or histograms, never both.
        let mut numbers = Put::default();
        for sample in group.points {
            numbers.message(2, &point(sample.at, sample.value, sample.start));
        }
        let mut histograms = Put::default();
        for sample in group.histograms {
            if let Ok(value) = &sample.value {
                histograms.message(3, &histogram::sample(value, sample.at, sample.start));
            }
        }
        for samples in [numbers, histograms] {
            if samples.len() == 0 {
                continue;
            }
            let mut out = Put::default();
            out.uints(1, refs.iter().copied());
            out.fields(samples.bytes());
            out.fields(rest.bytes());
            all.message(5, &out);
        }
    }
    let mut message = Put::default();
    symbols.texts.iter().for_each(|text| message.text(4, text));
    message.fields(all.bytes());
    message.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::remote_write as read;
    use towpath_query::promql::Histogram;

    #[test]
    fn both_versions_say_the_same() {
        let own = labels([("__name__", "a_total"), ("job", "x")].into_iter());
        let mut one = Put::default();
        series(&mut one, &own, 2, &point(7, 1.5, Some(3)));
        series(&mut one, &own, 2, &point(-8, f64::NAN, None));
        let value = Histogram {
            count: 4.0,
            sum: 2.5,
            negative: vec![(1, 1.0)],
            positive: vec![(-3, 2.0), (5, 1.0)],
            ..Histogram::default()
        };
        series(&mut one, &own, 4, &histogram::sample(&value, 9, None));
        let example = Exemplar {
            labels: [("trace_id", "abc")].into_iter().collect(),
            value: 0.5,
            at: 11,
        };
        series(&mut one, &own, 3, &exemplar(&example));
        let first = read::version_1(one.bytes()).expect("version 1");
        assert_eq!(first.points[0].start, Some(3));
        let said = Metadata {
            kind: "counter".into(),
            help: "what a is".into(),
            unit: String::new(),
        };
        let known = HashMap::from([("a".to_owned(), said.clone())]);
        let bytes = version_2(&first, &known);
        let second = read::version_2(&bytes).expect("version 2");
        assert_eq!(second.series.len(), 2);
        for one in &second.series {
            let labels = &second.labels[one.labels.clone()];
            assert_eq!(labels, [("__name__", "a_total"), ("job", "x")]);
        }
        assert_eq!(second.histograms, first.histograms);
        assert_eq!((second.examples[0].value, second.examples[0].at), (0.5, 11));
        assert_eq!(second.points.len(), 2);
        assert_eq!(second.points[0], first.points[0]);
        assert!(second.points[1].value.is_nan());
        assert_eq!(second.series[0].metadata, Some(said));
    }
}
