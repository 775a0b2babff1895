//! How samples are looked at, beside the selections of the query engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use towpath_query::promql::{Labels, Matcher, Source};

use crate::{Exemplar, Metadata};

/// Why something could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// A block or the log is damaged, or the disk fails.
    #[error("read signals: {0}")]
    Storage(String),
}

/// The exemplars of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct ExemplarSeries {
    /// Labels of the series.
    pub labels: Labels,
    /// In order of time.
    pub exemplars: Vec<Exemplar>,
}

/// How many series there are, and of what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cardinality {
    /// Series in the head.
    pub series: u64,
    /// Pairs of labels in the head.
    pub label_pairs: u64,
    /// Chunks in the head.
    pub chunks: u64,
    /// First and last time in the head, milliseconds since the epoch; `None` while it is empty.
    pub times: Option<(i64, i64)>,
    /// Metric names with most series, most first.
    pub series_by_metric: Vec<(String, u64)>,
    /// Label names with most values, most first.
    pub values_by_label: Vec<(String, u64)>,
    /// Label names whose values take most bytes, most first.
    pub bytes_by_label: Vec<(String, u64)>,
    /// `name=value` pairs with most series, most first.
    pub series_by_pair: Vec<(String, u64)>,
}

/// Samples of an interval that are in a whole file of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// What tells it from others.
    pub number: u64,
    /// First time it covers, milliseconds since the epoch.
    pub min: i64,
    /// The time behind the last it covers.
    pub end: i64,
    /// Its samples.
    pub samples: u64,
    /// Its length.
    pub bytes: u64,
}

/// Samples for one request, where a part of them may be out of reach.
pub struct Session {
    /// The samples.
    pub read: Arc<dyn Read>,
    /// What was out of reach so far, in words for whoever asked.
    pub remarks: Arc<Mutex<Vec<String>>>,
}

/// Answers what a data source is asked. Times are milliseconds since the epoch, both ends
/// included; `sets` are alternatives, each a list of conditions; none means everything; `limit` 0
/// means no limit and is otherwise applied to the sorted answer.
pub trait Read: Source + Send + Sync {
    /// Label sets of series with a sample in the interval, in order.
    ///
    /// # Errors
    /// Something cannot be read.
    fn series(
        &self,
        sets: &[Vec<Matcher>],
        start: i64,
        end: i64,
        limit: usize,
    ) -> Result<Vec<Labels>, ReadError>;

    /// Names of labels, in order.
    ///
    /// # Errors
    /// Something cannot be read.
    fn label_names(
        &self,
        sets: &[Vec<Matcher>],
        start: i64,
        end: i64,
        limit: usize,
    ) -> Result<Vec<String>, ReadError>;

    /// Values of a label, in order.
    ///
    /// # Errors
    /// Something cannot be read.
    fn label_values(
        &self,
        name: &str,
        sets: &[Vec<Matcher>],
        start: i64,
        end: i64,
        limit: usize,
    ) -> Result<Vec<String>, ReadError>;

    /// Exemplars of series that match one of the sets.
    ///
    /// # Errors
    /// Something cannot be read.
    fn exemplars(
        &self,
        sets: &[Vec<Matcher>],
        start: i64,
        end: i64,
    ) -> Result<Vec<ExemplarSeries>, ReadError>;

    /// What is said about metric families: of one, or of all.
    fn families(&self, family: Option<&str>) -> BTreeMap<String, Vec<Metadata>>;

    /// How many series there are, the longest lists `top` entries long.
    fn cardinality(&self, top: usize) -> Cardinality;

    /// What is in whole files, in order of time.
    fn blocks(&self) -> Vec<Block> {
        Vec::new()
    }

    /// The same for one request; `None` where nothing can be out of reach but by an error.
    fn session(&self) -> Option<Session> {
        None
    }
}
