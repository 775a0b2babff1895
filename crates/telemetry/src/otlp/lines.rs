//! Log records into the store of lines.
//!
//! Attributes of the resource that say where something runs become labels of the stream; all other
//! attributes, those of the library and the record's own fields are labels of the line. The line
//! is the body, as JSON where it is no text.

use super::message::{AnyValue, ExportLogsServiceRequest, KeyValue, LogRecord, any_value};
use super::sink::{Accepted, Refusal, Sink};
use async_trait::async_trait;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use towpath_query::promql::Labels;
use towpath_signals::logs::{Line, LogStore, PushError, Stream};
use towpath_stdx::Clock;

/// Attributes of a resource that tell streams apart.
const STREAM: [&str; 18] = [
    "cloud.availability_zone",
    "cloud.region",
    "container.name",
    "deployment.environment",
    "deployment.environment.name",
    "k8s.cluster.name",
    "k8s.container.name",
    "k8s.cronjob.name",
    "k8s.daemonset.name",
    "k8s.deployment.name",
    "k8s.job.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.replicaset.name",
    "k8s.statefulset.name",
    "service.instance.id",
    "service.name",
    "service.namespace",
];
/// The most labels of a line; further ones are left out.
const LINE_LABELS_MAX: usize = 128;

/// Takes log records.
pub struct LogIntake {
    store: Arc<LogStore>,
    clock: Arc<dyn Clock>,
}

impl LogIntake {
    /// Into this store.
    pub fn new(store: Arc<LogStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }
}

#[async_trait]
impl Sink<ExportLogsServiceRequest> for LogIntake {
    async fn accept(&self, request: ExportLogsServiceRequest) -> Result<Accepted, Refusal> {
        let now = i64::try_from(self.clock.since_epoch().as_nanos()).unwrap_or(i64::MAX);
        let store = Arc::clone(&self.store);
        let work = move || store.push(streams(request, now));
        let done = tokio::task::spawn_blocking(work).await;
        let pushed = done.map_err(|e| Refusal::Unavailable(e.to_string()))?;
        let pushed = pushed.map_err(refusal)?;
        self.store.sync().await.map_err(refusal)?;
        let message = pushed.refused.first().map(ToString::to_string);
        Ok(Accepted {
            rejected: pushed.refused_count as u64,
            message: message.unwrap_or_default(),
        })
    }
}

fn refusal(error: PushError) -> Refusal {
    match error {
        PushError::Full(_) => Refusal::Busy {
            message: error.to_string(),
            after: Duration::from_secs(1),
        },
        other => Refusal::Unavailable(other.to_string()),
    }
}

/// A name as labels are written.
fn label(name: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut out: String = name.chars().map(fits).collect();
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert_str(0, "key_");
    }
    out
}

fn plain(value: &AnyValue) -> String {
    match &value.value {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        None => String::new(),
        _ => json(value).to_string(),
    }
}

fn json(value: &AnyValue) -> Json {
    use any_value::Value;
    match &value.value {
        None => Json::Null,
        Some(Value::StringValue(text)) => text.clone().into(),
        Some(Value::BoolValue(yes)) => (*yes).into(),
        Some(Value::IntValue(n)) => (*n).into(),
        Some(Value::DoubleValue(n)) => (*n).into(),
        Some(Value::BytesValue(bytes)) => towpath_stdx::id::hex(bytes).into(),
        Some(Value::ArrayValue(list)) => list.values.iter().map(json).collect(),
        Some(Value::KvlistValue(map)) => {
            let pairs = map.values.iter();
            let pairs = pairs.map(|p| (p.key.clone(), p.value.as_ref().map_or(Json::Null, json)));
            Json::Object(pairs.collect::<Map<String, Json>>())
        }
    }
}

/// Attributes as labels; values within values by joined names.
fn flatten(prefix: &str, pairs: &[KeyValue], out: &mut Vec<(String, String)>) {
    for pair in pairs {
        let Some(value) = &pair.value else {
            continue;
        };
        let name = match prefix {
            "" => label(&pair.key),
            prefix => format!("{prefix}_{}", label(&pair.key)),
        };
        match &value.value {
            Some(any_value::Value::KvlistValue(map)) => flatten(&name, &map.values, out),
            _ => out.push((name, plain(value))),
        }
    }
}

fn streams(request: ExportLogsServiceRequest, now: i64) -> Vec<Stream> {
    let mut streams: BTreeMap<Labels, Vec<Line>> = BTreeMap::new();
    for part in request.resource_logs {
        let resource = part.resource.unwrap_or_default();
        let (mut own, mut rest) = (Vec::new(), Vec::new());
        for pair in resource.attributes {
            let of_stream = STREAM.contains(&pair.key.as_str());
            let target = if of_stream { &mut own } else { &mut rest };
            flatten("", &[pair], target);
        }
        if !own.iter().any(|(name, _)| name == "service_name") {
            own.push(("service_name".into(), "unknown_service".into()));
        }
        let lines = streams.entry(own.into_iter().collect()).or_default();
        for library in part.scope_logs {
            let mut shared = rest.clone();
            let scope = library.scope.unwrap_or_default();
            shared.push(("scope_name".into(), scope.name));
            shared.push(("scope_version".into(), scope.version));
            flatten("", &scope.attributes, &mut shared);
            let records = library.log_records.into_iter();
            lines.extend(records.map(|record| line(record, &shared, now)));
        }
    }
    let streams = streams.into_iter().filter(|(_, lines)| !lines.is_empty());
    streams
        .map(|(labels, lines)| Stream { labels, lines })
        .collect()
}

fn line(record: LogRecord, shared: &[(String, String)], now: i64) -> Line {
    let times = [record.time_unix_nano, record.observed_time_unix_nano];
    let at = times.into_iter().find(|at| *at > 0);
    let mut metadata: Vec<(String, String)> = Vec::new();
    flatten("", &record.attributes, &mut metadata);
    let mut put = |name: &str, value: String| metadata.push((name.into(), value));
    if record.severity_number > 0 {
        put("severity_number", record.severity_number.to_string());
    }
    let level = level(record.severity_number, &record.severity_text);
    put("detected_level", level.into());
    put("severity_text", record.severity_text);
    put("trace_id", towpath_stdx::id::hex(&record.trace_id));
    put("span_id", towpath_stdx::id::hex(&record.span_id));
    put("event_name", record.event_name);
    metadata.extend_from_slice(shared);
    metadata.retain(|(_, value)| !value.is_empty());
    // Of labels with one name the record's own stays.
    let mut seen = std::collections::HashSet::new();
    metadata.retain(|(name, _)| seen.insert(name.clone()));
    metadata.truncate(LINE_LABELS_MAX);
    Line {
        at: at.and_then(|at| i64::try_from(at).ok()).unwrap_or(now),
        text: record.body.as_ref().map(plain).unwrap_or_default(),
        metadata,
    }
}

fn level(number: i32, text: &str) -> &'static str {
    match number {
        1..=4 => "trace",
        5..=8 => "debug",
        9..=12 => "info",
        13..=16 => "warn",
        17..=20 => "error",
        21..=24 => "fatal",
        _ => match text.to_ascii_lowercase().as_str() {
            "trace" => "trace",
            "debug" => "debug",
            "info" | "information" => "info",
            "warn" | "warning" => "warn",
            "error" | "err" => "error",
            "fatal" | "critical" => "fatal",
            _ => "unknown",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_become_lines() {
        let text = r#"{"resourceLogs":[{"resource":{"attributes":[
          {"key":"service.name","value":{"stringValue":"shop"}},
          {"key":"host.arch","value":{"stringValue":"amd64"}}]},
          "scopeLogs":[{"scope":{"name":"lib"},"logRecords":[
          {"timeUnixNano":"7","severityNumber":"SEVERITY_NUMBER_ERROR2","severityText":"ERR",
           "body":{"stringValue":"it broke"},"traceId":"5b8efff798038103d269b633813fc60c",
           "attributes":[{"key":"http.code","value":{"intValue":500}},
             {"key":"user","value":{"kvlistValue":{"values":[
               {"key":"id","value":{"stringValue":"u1"}}]}}}]},
          {"body":{"kvlistValue":{"values":[{"key":"a","value":{"boolValue":true}}]}}}]}]}]}"#;
        let request = serde_json::from_str(text).expect("JSON");
        let streams = streams(request, 99);
        assert_eq!(streams.len(), 1);
        assert_eq!(streams[0].labels.to_string(), "{service_name=\"shop\"}");
        let lines = &streams[0].lines;
        assert_eq!((lines[0].at, lines[0].text.as_str()), (7, "it broke"));
        let found: BTreeMap<_, _> = lines[0].metadata.iter().cloned().collect();
        let expected = [
            ("detected_level", "error"),
            ("host_arch", "amd64"),
            ("http_code", "500"),
            ("scope_name", "lib"),
            ("severity_number", "18"),
            ("severity_text", "ERR"),
            ("trace_id", "5b8efff798038103d269b633813fc60c"),
            ("user_id", "u1"),
        ];
        let expected = expected.map(|(n, v)| (n.to_string(), v.to_string()));
        assert_eq!(found, expected.into());
        assert_eq!((lines[1].at, lines[1].text.as_str()), (99, "{\"a\":true}"));
    }
}
