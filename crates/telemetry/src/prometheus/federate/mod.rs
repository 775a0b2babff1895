//! `/federate`: the last value of each series that matches, as text, or as protobuf where that is
//! asked for; only the latter has a form for native histograms.

mod protobuf;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use towpath_query::promql::{Hints, Histogram, Labels, NAME, ResetHint, is_stale, parse_selector};

use super::Call;
use super::fault::Fault;
use super::reply::Reply;

/// The last value of a series.
enum Last {
    Number(f64),
    Histogram(Arc<Histogram>),
}

/// What a family of the reply holds; neighbours of one name that differ in it are two families.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Untyped,
    Histogram,
    Gauges,
}

impl Last {
    fn sort(&self) -> Sort {
        match self {
            Self::Number(_) => Sort::Untyped,
            Self::Histogram(own) if own.hint == ResetHint::Gauge => Sort::Gauges,
            Self::Histogram(_) => Sort::Histogram,
        }
    }
}

/// A series under the names that readers of the plain formats take.
struct Row {
    name: String,
    labels: Vec<(String, String)>,
    at: i64,
    last: Last,
}

/// The last values of the series that match any of the selectors.
pub(super) fn federate(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let rows = rows(call, reply)?;
    if wants_protobuf(&call.accept) {
        protobuf::write(&rows, reply)
    } else {
        text::write(&rows, reply)
    }
}

fn rows(call: &Call, reply: &Reply) -> Result<Vec<Row>, Fault> {
    let end = call.now.ms();
    let start = end - call.api.settings.lookback_ms;
    let mut found: BTreeMap<Labels, (i64, Last)> = BTreeMap::new();
    for text in call.form.all("match[]") {
        let matchers = parse_selector(text).map_err(|error| Fault::bad_data(error.to_string()))?;
        let hints = Hints {
            start,
            end,
            step: 0,
            range: 0,
            function: "",
        };
        let series = call.api.read.select(&matchers, &hints);
        for one in series.map_err(Fault::internal)? {
            let one = one.map_err(Fault::internal)?;
            let number = one.floats.iter().last();
            let histogram = one.histograms.last();
            let last = match (number, histogram) {
                (Some((at, value)), None) => (at, Last::Number(value)),
                (Some((at, value)), Some((newer, _))) if *newer < at => (at, Last::Number(value)),
                (_, Some((at, own))) => (*at, Last::Histogram(Arc::clone(own))),
                (None, None) => continue,
            };
            let gone = match &last.1 {
                Last::Number(value) => is_stale(*value),
                Last::Histogram(own) => own.is_stale(),
            };
            if !gone {
                found.insert(one.labels, last);
            }
            if reply.canceled() {
                return Ok(Vec::new());
            }
        }
    }
    let mut rows: Vec<Row> = found
        .into_iter()
        .filter(|(labels, _)| !labels.get(NAME).is_empty())
        .map(|(labels, (at, last))| row(&labels, at, last))
        .collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rows)
}

fn row(labels: &Labels, at: i64, last: Last) -> Row {
    let own = labels.iter().filter(|(name, _)| *name != NAME);
    let mut pairs: Vec<(String, String)> = own
        .map(|(name, value)| (plain(name), value.to_owned()))
        .collect();
    if labels.get("instance").is_empty() {
        pairs.push(("instance".to_owned(), String::new()));
    }
    Row {
        name: plain(labels.get(NAME)),
        labels: pairs,
        at,
        last,
    }
}

/// Whether protobuf is asked for more than text is; the first one counts where they are equal.
fn wants_protobuf(accept: &str) -> bool {
    let weight = |clause: &str| {
        let q = clause
            .split(';')
            .find_map(|part| part.trim().strip_prefix("q="));
        q.map_or(Some(1.0), |q| q.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    let mut best: Option<(f64, bool)> = None;
    for clause in accept.split(',') {
        let kind = clause.split(';').next().unwrap_or("").trim();
        let protobuf = match kind {
            "application/vnd.google.protobuf" => {
                let has = |wanted: &str| clause.split(';').any(|part| part.trim() == wanted);
                if !has("proto=io.prometheus.client.MetricFamily") || !has("encoding=delimited") {
                    continue;
                }
                true
            }
            "text/plain" => false,
            _ => continue,
        };
        let weight = weight(clause);
        if best.is_none_or(|(most, _)| weight > most) {
            best = Some((weight, protobuf));
        }
    }
    best.is_some_and(|(_, protobuf)| protobuf)
}

/// A name with underscores for what readers of the plain formats do not take.
fn plain(name: &str) -> String {
    let fits = |(at, c): (usize, char)| {
        let first = c.is_ascii_alphabetic() || matches!(c, '_' | ':');
        if first || (at > 0 && c.is_ascii_digit()) {
            c
        } else {
            '_'
        }
    };
    name.chars().enumerate().map(fits).collect()
}

/// Upper bounds and cumulative counts of a histogram with bounds of its own.
fn classic(own: &Histogram) -> Vec<(f64, f64)> {
    let mut sum = 0.0;
    let mut counts = own.positive.iter().peekable();
    let bounds = own.bounds.iter().enumerate();
    bounds
        .map(|(at, bound)| {
            while let Some((_, count)) =
                counts.next_if(|(index, _)| usize::try_from(*index).is_ok_and(|i| i <= at))
            {
                sum += count;
            }
            (*bound, sum)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_more() {
        const PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        for (accept, wanted) in [
            (
                format!("{PROTOBUF};q=0.6,text/plain;version=0.0.4;q=0.2"),
                true,
            ),
            (format!("text/plain;q=0.6,{PROTOBUF};q=0.2"), false),
            (
                format!("application/openmetrics-text,{PROTOBUF};q=0.1"),
                true,
            ),
            ("application/vnd.google.protobuf".to_owned(), false),
            ("*/*".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(wants_protobuf(&accept), wanted, "{accept}");
        }
    }

    #[test]
    fn bounds_of_their_own_become_buckets() {
        let own = Histogram {
            bounds: Arc::from([1.0, 2.0, 4.0]),
            positive: vec![(0, 2.0), (2, 3.0), (3, 1.0)],
            ..Histogram::default()
        };
        assert_eq!(classic(&own), [(1.0, 2.0), (2.0, 2.0), (4.0, 5.0)]);
    }
}
