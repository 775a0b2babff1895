//! Metric families as producers inside this process hand them over, and their text.
//!
//! A producer implements [`Gather`]; the scrape loop writes what it says straight into the store,
//! and the same families are rendered where an endpoint shows them to others. Names are those of
//! the text format 0.0.4, so a counter's family is called `…_total`.

use std::borrow::Cow;
use std::fmt::Write as _;

use async_trait::async_trait;

/// A text that is most often a constant.
pub type Text = Cow<'static, str>;

/// What kind of numbers a family holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Only grows, or starts anew.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets with sum and count.
    Histogram,
    /// Quantiles with sum and count.
    Summary,
    /// Always 1; the labels are what is said. Text 0.0.4 calls it a gauge.
    Info,
    /// Not known.
    #[default]
    Unknown,
}

impl Kind {
    /// As OpenMetrics and the metadata of the store call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::Unknown => "unknown",
        }
    }

    fn classic(self) -> &'static str {
        match self {
            Self::Info => "gauge",
            Self::Unknown => "untyped",
            other => other.name(),
        }
    }
}

/// One number of a family.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What is added to the family's name: empty, `_bucket`, `_sum` or `_count`.
    pub suffix: &'static str,
    /// Labels without the name; each name once.
    pub labels: Vec<(Text, Text)>,
    /// What was measured.
    pub value: f64,
    /// When, in milliseconds since the epoch, where that is not the time of the scrape.
    pub at: Option<i64>,
}

/// A metric family.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Family {
    /// Its name.
    pub name: Text,
    /// What it means, in one line.
    pub help: Text,
    /// Of what kind its numbers are.
    pub kind: Kind,
    /// Its numbers.
    pub samples: Vec<Sample>,
}

impl Family {
    /// A family without samples.
    pub fn new(kind: Kind, name: impl Into<Text>, help: impl Into<Text>) -> Self {
        Self {
            name: name.into(),
            help: help.into(),
            kind,
            samples: Vec::new(),
        }
    }

    /// A counter without samples.
    pub fn counter(name: impl Into<Text>, help: impl Into<Text>) -> Self {
        Self::new(Kind::Counter, name, help)
    }

    /// A gauge without samples.
    pub fn gauge(name: impl Into<Text>, help: impl Into<Text>) -> Self {
        Self::new(Kind::Gauge, name, help)
    }

    /// Adds a number.
    pub fn push(&mut self, labels: Vec<(Text, Text)>, value: f64) {
        self.samples.push(Sample {
            suffix: "",
            labels,
            value,
            at: None,
        });
    }

    /// The same with one more number.
    #[must_use]
    pub fn with(mut self, labels: Vec<(Text, Text)>, value: f64) -> Self {
        self.push(labels, value);
        self
    }

    /// Adds the series of a classic histogram: `buckets` are upper bounds with cumulative counts,
    /// ascending, without the last one, which is `count`.
    pub fn histogram(
        &mut self,
        labels: &[(Text, Text)],
        buckets: impl IntoIterator<Item = (f64, u64)>,
        sum: f64,
        count: u64,
    ) {
        let bounds = buckets.into_iter().chain([(f64::INFINITY, count)]);
        for (bound, cumulative) in bounds {
            let mut own = labels.to_vec();
            own.push(("le".into(), open_metrics_float(bound).into()));
            self.add("_bucket", own, cumulative as f64);
        }
        self.add("_sum", labels.to_vec(), sum);
        self.add("_count", labels.to_vec(), count as f64);
    }

    fn add(&mut self, suffix: &'static str, labels: Vec<(Text, Text)>, value: f64) {
        self.samples.push(Sample {
            suffix,
            labels,
            value,
            at: None,
        });
    }
}

/// Why a producer had nothing to say.
#[derive(Clone, Debug, thiserror::Error)]
#[error("gather {what}: {cause}")]
pub struct GatherError {
    /// Of what.
    pub what: String,
    /// Its words.
    pub cause: String,
}

/// A producer of metrics inside this process. It is asked once per interval and has a deadline;
/// what blocks (files of `/proc`) belongs on a blocking thread.
#[async_trait]
pub trait Gather: Send + Sync {
    /// All families as they are now; a family comes once.
    ///
    /// # Errors
    /// Nothing can be said; the target counts as down.
    async fn gather(&self) -> Result<Vec<Family>, GatherError>;
}

/// `Content-Type` of [`text`].
pub const TEXT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// `Content-Type` of [`open_metrics`].
pub const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The families in the format that an `Accept` header asks for, and its `Content-Type`.
pub fn shown(families: &[Family], accept: &str) -> (&'static str, String) {
    if accept.contains("application/openmetrics-text") {
        (OPEN_METRICS_TYPE, open_metrics(families))
    } else {
        (TEXT_TYPE, text(families))
    }
}

/// The families in the text format 0.0.4.
pub fn text(families: &[Family]) -> String {
    let mut out = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        head(&mut out, &family.name, family, family.kind.classic(), false);
        for sample in &family.samples {
            line(&mut out, family, sample, number(sample.value));
            if let Some(at) = sample.at {
                let _ = write!(out, " {at}");
            }
            out.push('\n');
        }
    }
    out
}

/// The families in OpenMetrics 1.0.
pub fn open_metrics(families: &[Family]) -> String {
    let mut out = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let (name, kind) = match family.kind {
            Kind::Counter => match family.name.strip_suffix("_total") {
                Some(name) => (name, Kind::Counter),
                // A counter must end so; this one is none in the eyes of OpenMetrics.
                None => (&*family.name, Kind::Unknown),
            },
            Kind::Info => match family.name.strip_suffix("_info") {
                Some(name) => (name, Kind::Info),
                None => (&*family.name, Kind::Gauge),
            },
            kind => (&*family.name, kind),
        };
        head(&mut out, name, family, kind.name(), true);
        for sample in &family.samples {
            line(&mut out, family, sample, open_metrics_float(sample.value));
            if let Some(at) = sample.at {
                let _ = write!(out, " {}.{:03}", at.div_euclid(1000), at.rem_euclid(1000));
            }
            out.push('\n');
        }
    }
    out.push_str("# EOF\n");
    out
}

fn head(out: &mut String, name: &str, family: &Family, kind: &str, quotes: bool) {
    let shown = if is_plain(name) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(format!("\"{}\"", escaped(name, true)))
    };
    if !family.help.is_empty() {
        let _ = writeln!(out, "# HELP {shown} {}", escaped(&family.help, quotes));
    }
    let _ = writeln!(out, "# TYPE {shown} {kind}");
}

fn line(out: &mut String, family: &Family, sample: &Sample, value: String) {
    let plain = is_plain(&family.name);
    if plain {
        out.push_str(&family.name);
        out.push_str(sample.suffix);
    }
    if !plain || !sample.labels.is_empty() {
        out.push('{');
        let mut first = true;
        if !plain {
            let name = escaped(&family.name, true);
            let _ = write!(out, "\"{name}{}\"", sample.suffix);
            first = false;
        }
        for (name, value) in &sample.labels {
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            let value = escaped(value, true);
            if is_plain(name) && !name.contains(':') {
                let _ = write!(out, "{name}=\"{value}\"");
            } else {
                let _ = write!(out, "\"{}\"=\"{value}\"", escaped(name, true));
            }
        }
        out.push('}');
    }
    out.push(' ');
    out.push_str(&value);
}

/// Whether a metric name needs no quotes.
pub(crate) fn is_plain(name: &str) -> bool {
    let first = |b: u8| b.is_ascii_alphabetic() || b == b'_' || b == b':';
    let bytes = name.as_bytes();
    bytes.first().is_some_and(|b| first(*b))
        && bytes.iter().all(|b| first(*b) || b.is_ascii_digit())
}

fn escaped(text: &str, quotes: bool) -> Cow<'_, str> {
    if !text.contains(['\\', '\n', '"']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 4);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

fn number(value: f64) -> String {
    towpath_query::promql::format_number(value)
}

/// A number the way OpenMetrics writes values of `le` and `quantile`: whole ones end in `.0`.
pub fn open_metrics_float(value: f64) -> String {
    let mut text = towpath_query::promql::format_general(value);
    if value.is_finite() && !text.contains(['e', '.']) {
        text.push_str(".0");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn families() -> Vec<Family> {
        let mut latency = Family::new(Kind::Histogram, "wait_seconds", "Time \"in\"\nline.");
        latency.histogram(
            &[("path".into(), "/a\\b".into())],
            [(0.5, 1), (1.0, 3)],
            2.5,
            4,
        );
        vec![
            Family::counter("seen_total", "Seen.").with(vec![("kind".into(), "x".into())], 3.0),
            Family::gauge("empty", "Never shown."),
            latency,
            Family::gauge("strange name", "").with(vec![("a.b".into(), "c".into())], f64::NAN),
        ]
    }

    #[test]
    fn classic_text() {
        let expected = "\
# HELP seen_total Seen.
# TYPE seen_total counter
seen_total{kind=\"x\"} 3
# HELP wait_seconds Time \"in\"\\nline.
# TYPE wait_seconds histogram
wait_seconds_bucket{path=\"/a\\\\b\",le=\"0.5\"} 1
wait_seconds_bucket{path=\"/a\\\\b\",le=\"1.0\"} 3
wait_seconds_bucket{path=\"/a\\\\b\",le=\"+Inf\"} 4
wait_seconds_sum{path=\"/a\\\\b\"} 2.5
wait_seconds_count{path=\"/a\\\\b\"} 4
# TYPE \"strange name\" gauge
{\"strange name\",\"a.b\"=\"c\"} NaN
";
        assert_eq!(text(&families()), expected);
    }

    #[test]
    fn open_metrics_text() {
        let text = open_metrics(&families());
        assert!(
            text.starts_with(
                "# HELP seen Seen.\n# TYPE seen counter\nseen_total{kind=\"x\"} 3.0\n"
            )
        );
        assert!(text.contains("# HELP wait_seconds Time \\\"in\\\"\\nline.\n"));
        assert!(text.ends_with("# EOF\n"));
    }
}
