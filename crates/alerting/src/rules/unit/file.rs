//! What a file of tests says.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::yaml::Span;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) rule_files: Vec<String>,
    pub(super) evaluation_interval: Span,
    pub(super) group_eval_order: Vec<String>,
    pub(super) tests: Vec<Test>,
    pub(super) fuzzy_compare: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Test {
    pub(super) interval: Span,
    pub(super) input_series: Vec<Input>,
    pub(super) alert_rule_test: Vec<AlertCase>,
    pub(super) promql_expr_test: Vec<QueryCase>,
    pub(super) external_labels: BTreeMap<String, String>,
    pub(super) external_url: String,
    pub(super) name: String,
    pub(super) start_timestamp: Start,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Input {
    pub(super) series: String,
    pub(super) values: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AlertCase {
    pub(super) eval_time: Span,
    pub(super) alertname: String,
    pub(super) exp_alerts: Option<Vec<ExpectedAlert>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ExpectedAlert {
    pub(super) exp_labels: Option<BTreeMap<String, String>>,
    pub(super) exp_annotations: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct QueryCase {
    pub(super) expr: String,
    pub(super) eval_time: Span,
    pub(super) exp_samples: Option<Vec<ExpectedSample>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ExpectedSample {
    pub(super) labels: String,
    pub(super) value: f64,
    pub(super) histogram: String,
}

/// When a test starts, in milliseconds since the epoch: seconds, or a time of day.
#[derive(Clone, Copy, Default)]
pub(super) struct Start(pub(super) i64);

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Ok(seconds) = text.parse::<f64>() {
            return Ok(Self((seconds * 1000.0) as i64));
        }
        match text.parse::<jiff::Timestamp>() {
            Ok(time) => Ok(Self(time.as_millisecond())),
            Err(_) => Err(D::Error::custom(format!(
                "cannot parse {text:?} to a valid timestamp"
            ))),
        }
    }
}
