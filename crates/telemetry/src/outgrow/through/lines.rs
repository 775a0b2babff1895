//! Lines from before the cut-over, of a Loki.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::past::{Past, escaped, query};

/// By this header labels come by where they are from.
const FLAGS: HeaderName = HeaderName::from_static("x-loki-response-encoding-flags");
const NANOS: i64 = 1_000_000;

/// A Loki that knows what was before.
#[derive(Clone)]
pub struct PastLines {
    past: Arc<Past>,
}

/// What is asked over an interval, times in nanoseconds.
pub(crate) struct Asked<'a> {
    pub(crate) query: &'a str,
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// Of lines.
    pub(crate) limit: Option<usize>,
    pub(crate) forward: bool,
    /// Of numbers, in milliseconds.
    pub(crate) step: Option<i64>,
    /// Between two lines at least, in nanoseconds; 0 for all.
    pub(crate) interval: i64,
    pub(crate) categorize: bool,
}

impl PastLines {
    pub(super) fn new(past: Arc<Past>) -> Self {
        Self { past }
    }

    /// What is older is asked there, nanoseconds since the epoch.
    pub(crate) fn before(&self) -> i64 {
        self.past.before.saturating_mul(NANOS)
    }

    pub(crate) fn remark(&self, why: &str) -> String {
        self.past.remark(why)
    }

    /// The data of the answer to a query over an interval.
    pub(crate) async fn range(&self, asked: &Asked<'_>) -> Result<Value, String> {
        let direction = if asked.forward { "forward" } else { "backward" };
        let mut pairs = vec![
            ("query", asked.query.to_owned()),
            ("start", asked.start.to_string()),
            ("end", asked.end.to_string()),
            ("direction", direction.to_owned()),
        ];
        pairs.extend(asked.limit.map(|limit| ("limit", limit.to_string())));
        pairs.extend(asked.step.map(|step| ("step", format!("{step}ms"))));
        if asked.interval > 0 {
            pairs.push(("interval", (asked.interval as f64 / 1e9).to_string()));
        }
        let mut headers = HeaderMap::new();
        if asked.categorize {
            headers.insert(FLAGS, HeaderValue::from_static("categorize-labels"));
        }
        let path = format!("/loki/api/v1/query_range?{}", query(&pairs));
        let reply = self.past.get(&path, headers).await?;
        let mut reply: Value = serde_json::from_slice(&reply.body)
            .map_err(|error| format!("{}: {error}", self.past.remote.name()))?;
        Ok(reply["data"].take())
    }

    /// The data of the answer to a query at one time.
    pub(crate) async fn instant(&self, text: &str, time: i64) -> Result<Value, String> {
        let pairs = [("query", text.to_owned()), ("time", time.to_string())];
        let path = format!("/loki/api/v1/query?{}", query(&pairs));
        let mut reply = self.past.json(&path).await?;
        Ok(reply["data"].take())
    }

    /// A list: of `labels`, of `series`, of the values of a label.
    pub(crate) async fn list(
        &self,
        what: &List<'_>,
        selectors: &[&str],
        start: i64,
        end: i64,
    ) -> Result<Vec<Value>, String> {
        let mut pairs = vec![
            ("start", start.to_string()),
            ("end", end.min(self.before()).to_string()),
        ];
        let name = if matches!(what, List::Series) {
            "match[]"
        } else {
            "query"
        };
        pairs.extend(selectors.iter().map(|text| (name, (*text).to_owned())));
        let path = match what {
            List::Names => "labels".to_owned(),
            List::Series => "series".to_owned(),
            List::Values(label) => format!("label/{}/values", escaped(label)),
        };
        let path = format!("/loki/api/v1/{path}?{}", query(&pairs));
        let mut reply = self.past.json(&path).await?;
        match reply["data"].take() {
            Value::Array(list) => Ok(list),
            // Loki leaves out what is empty.
            _ => Ok(Vec::new()),
        }
    }
}

/// A list that can be asked for.
pub(crate) enum List<'a> {
    Names,
    Values(&'a str),
    Series,
}
