//! The formats in which metrics travel: parsed without allocating per line, bounded, pure.
//!
//! A [`Parser`] walks over the entries of a scraped body. What identifies a series in its format
//! ([`Point::key`]) is given as bytes, so that a scrape loop that knows the key needs no labels.
//! Where the text of upstream's errors says something useful it is the same, with the place added.

mod created;
mod float;
pub mod negotiate;
mod openmetrics;
mod pairs;
mod place;
pub(crate) mod proto;
mod protobuf;
pub mod remote_write;
mod text;

pub use negotiate::{Format, Protocol};
pub use place::ParseError;

use std::ops::Range;

use towpath_query::promql::{Histogram, Labels};
use towpath_signals::Exemplar;

/// The kind of a metric family as the formats name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `counter`
    Counter,
    /// `gauge`
    Gauge,
    /// `histogram`
    Histogram,
    /// `gaugehistogram`
    GaugeHistogram,
    /// `summary`
    Summary,
    /// `info`
    Info,
    /// `stateset`
    StateSet,
    /// `unknown`, in the classic text `untyped`
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
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
            Self::Unknown => "unknown",
        }
    }

    /// Whether its values count from a start that may be told.
    pub(crate) fn counts(self) -> bool {
        matches!(self, Self::Counter | Self::Summary | Self::Histogram)
    }
}

/// What comes next in a body.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// The kind of a family.
    Kind(String, Kind),
    /// What a family means.
    Help(String, String),
    /// The unit of a family.
    Unit(String, String),
    /// Nothing that counts.
    Comment,
    /// A number: see [`Parser::point`].
    Series,
    /// A native histogram: see [`Parser::point`] and [`Parser::histogram`].
    Histogram,
}

/// The series of an entry and its value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point<'a> {
    /// The series as it was written; the same series may be written in several ways.
    pub key: &'a [u8],
    /// Milliseconds since the epoch, where it is told.
    pub at: Option<i64>,
    /// The number; of a histogram the sum.
    pub value: f64,
}

/// What is asked of a parser beside the plain numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Native histograms are taken; otherwise what they have of classic buckets.
    pub native_histograms: bool,
    /// Classic buckets are taken beside a native histogram of the same name.
    pub classic_too: bool,
    /// Lines `…_created` of OpenMetrics only say when counting began and are no series.
    pub hide_created: bool,
}

/// Walks over a body in one of the formats.
#[allow(clippy::large_enum_variant)] // one per scrape
pub enum Parser<'a> {
    /// Text 0.0.4 and 1.0.0.
    Text(text::Text<'a>),
    /// OpenMetrics 0.0.1 and 1.0.0.
    OpenMetrics(openmetrics::OpenMetrics<'a>),
    /// Delimited messages `io.prometheus.client.MetricFamily`.
    Protobuf(protobuf::Protobuf<'a>),
}

impl<'a> Parser<'a> {
    /// A parser of `body`.
    pub fn new(body: &'a [u8], format: Format, wishes: Wishes) -> Self {
        match format {
            Format::Text => Self::Text(text::Text::new(body)),
            Format::OpenMetrics => {
                Self::OpenMetrics(openmetrics::OpenMetrics::new(body, wishes.hide_created))
            }
            Format::Protobuf => Self::Protobuf(protobuf::Protobuf::new(body, wishes)),
        }
    }

    /// The next entry, `None` at the end.
    ///
    /// # Errors
    /// The body breaks its format here; nothing after this place can be read.
    #[allow(clippy::should_implement_trait)] // it fails
    pub fn next(&mut self) -> Result<Option<Entry>, ParseError> {
        match self {
            Self::Text(parser) => parser.next(),
            Self::OpenMetrics(parser) => parser.next(),
            Self::Protobuf(parser) => parser.next(),
        }
    }

    /// The series and value of the entry that came last, which was [`Entry::Series`] or
    /// [`Entry::Histogram`].
    pub fn point(&self) -> Point<'_> {
        match self {
            Self::Text(parser) => parser.point(),
            Self::OpenMetrics(parser) => parser.point(),
            Self::Protobuf(parser) => parser.point(),
        }
    }

    /// Its labels with the name; `le` and `quantile` are written as OpenMetrics does.
    ///
    /// # Errors
    /// A label is there twice or is not UTF-8.
    pub fn labels(&self) -> Result<Labels, ParseError> {
        match self {
            Self::Text(parser) => parser.labels(),
            Self::OpenMetrics(parser) => parser.labels(),
            Self::Protobuf(parser) => parser.labels(),
        }
    }

    /// Where the next entry begins, with all that is skipped before it; none of formats that are
    /// no text.
    pub(crate) fn place(&self) -> Option<usize> {
        match self {
            Self::Text(parser) => Some(parser.at),
            Self::OpenMetrics(parser) => Some(parser.at),
            Self::Protobuf(_) => None,
        }
    }

    /// What names the entry that came last, in a text: its series, or the family that was
    /// described.
    pub(crate) fn name(&self, described: bool) -> Range<usize> {
        match self {
            // The name of a family means nothing to what follows.
            Self::Text(parser) if described => parser.start..parser.start,
            Self::Text(parser) => parser.key(),
            Self::OpenMetrics(parser) if described => parser.family_place(),
            Self::OpenMetrics(parser) => parser.key(),
            Self::Protobuf(_) => 0..0,
        }
    }

    /// Whether series were left out between this place and the entry that came last.
    pub(crate) fn left_out(&self, from: Option<usize>) -> bool {
        match self {
            Self::OpenMetrics(parser) => from.is_some_and(|from| from != parser.start),
            Self::Text(_) | Self::Protobuf(_) => false,
        }
    }

    /// Whether all that is known of a series is in its line.
    pub(crate) fn is_plain(&mut self) -> bool {
        match self {
            Self::Text(_) => true,
            Self::OpenMetrics(parser) => parser.is_plain(),
            Self::Protobuf(_) => false,
        }
    }

    /// Goes on at `to`, behind series that are known.
    pub(crate) fn pass(&mut self, to: usize) {
        match self {
            Self::Text(parser) => parser.at = to,
            Self::OpenMetrics(parser) => parser.at = to,
            Self::Protobuf(_) => {}
        }
    }

    /// Goes on at `to`, behind a description that is known: of this family, and its kind if it says
    /// that.
    pub(crate) fn pass_described(&mut self, to: usize, family: Range<usize>, kind: Option<Kind>) {
        match self {
            Self::Text(parser) => {
                parser.at = to;
                parser.kind = kind.unwrap_or(parser.kind);
            }
            Self::OpenMetrics(parser) => parser.pass_described(to, family, kind),
            Self::Protobuf(_) => {}
        }
    }

    /// Reads what follows a series that is known by what identifies it, which is at `key`; false,
    /// and nothing is read, if that might go on there.
    ///
    /// # Errors
    /// What follows breaks the format.
    pub(crate) fn resume(&mut self, key: Range<usize>) -> Result<bool, ParseError> {
        match self {
            Self::Text(parser) => parser.resume(key),
            Self::OpenMetrics(parser) => parser.resume(key),
            Self::Protobuf(_) => Ok(false),
        }
    }

    /// The native histogram of the entry that came last.
    pub fn histogram(&self) -> Option<&Histogram> {
        match self {
            Self::Protobuf(parser) => parser.histogram(),
            _ => None,
        }
    }

    /// The exemplars of the entry that came last; those without a time of their own get that of
    /// the sample.
    pub fn exemplars(&self, at: i64, out: &mut Vec<Exemplar>) {
        match self {
            Self::Text(_) => {}
            Self::OpenMetrics(parser) => out.extend(parser.exemplar(at)),
            Self::Protobuf(parser) => parser.exemplars(at, out),
        }
    }

    /// Since when the series counts, milliseconds since the epoch, where that is told.
    pub fn start(&mut self) -> Option<i64> {
        match self {
            Self::Text(_) => None,
            Self::OpenMetrics(parser) => parser.start(),
            Self::Protobuf(parser) => parser.start(),
        }
    }
}
