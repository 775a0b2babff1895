//! Points of metrics into the store of metrics.
//!
//! Names become those of Prometheus, the resource becomes `job`, `instance` and `target_info`.
//! Points that tell what was added since the last one are added up here, by series. Exemplars go
//! with the series they are an example of, those of classic buckets with the bucket.

mod examples;
mod names;
mod native;
mod sums;

use super::message::{
    AnyValue, ExponentialHistogramDataPoint, ExportMetricsServiceRequest, HistogramDataPoint,
    KeyValue, Metric, NumberDataPoint, Resource, SummaryDataPoint, any_value, metric, number,
};
use super::sink::{Accepted, Refusal, Sink};
use async_trait::async_trait;
use names::Sort;
use std::sync::Arc;
use sums::Sums;
use towpath_query::promql::{Labels, stale};
use towpath_signals::{Append, Exemplar, Metadata, Sample, SeriesRef, Value};

/// The bit of a point's flags that says there is no value.
const NO_VALUE: u32 = 1;
const DELTA: i32 = 1;

/// Takes points of metrics.
pub struct MetricIntake {
    store: Arc<dyn Append>,
    sums: Sums,
}

impl MetricIntake {
    /// Into this store.
    pub fn new(store: Arc<dyn Append>) -> Self {
        Self {
            store,
            sums: Sums::default(),
        }
    }
}

#[async_trait]
impl Sink<ExportMetricsServiceRequest> for MetricIntake {
    async fn accept(&self, request: ExportMetricsServiceRequest) -> Result<Accepted, Refusal> {
        let mut batch = Batch {
            intake: self,
            samples: Vec::new(),
            exemplars: Vec::new(),
            rejected: 0,
            why: String::new(),
        };
        for part in &request.resource_metrics {
            let identity = Identity::of(part.resource.as_ref());
            let metrics = part.scope_metrics.iter().flat_map(|scope| &scope.metrics);
            let mut latest = 0;
            for metric in metrics {
                latest = latest.max(batch.metric(&identity, metric));
            }
            batch.target_info(&identity, latest);
        }
        let (samples, mut rejected, mut why) = (batch.samples, batch.rejected, batch.why);
        let failed = |e: towpath_signals::WriteError| Refusal::Unavailable(e.to_string());
        let outcome = self.store.append(&samples).map_err(failed)?;
        rejected += outcome.refused_count as u64;
        if let Some((_, refused)) = outcome.refused.first() {
            why = refused.to_string();
        }
        for (series, exemplar) in batch.exemplars {
            // One that is there already, or an older one, is no reason to send the request again.
            let _ = self.store.exemplar(series, exemplar);
        }
        self.store.sync().await.map_err(failed)?;
        Ok(Accepted {
            rejected,
            message: why,
        })
    }
}

/// What a resource says of every series of its metrics.
struct Identity {
    own: Vec<(String, String)>,
    info: Vec<(String, String)>,
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|any| any.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::BoolValue(yes)) => yes.to_string(),
        Some(any_value::Value::IntValue(n)) => n.to_string(),
        Some(any_value::Value::DoubleValue(n)) => n.to_string(),
        Some(any_value::Value::BytesValue(bytes)) => towpath_stdx::id::hex(bytes),
        Some(any_value::Value::ArrayValue(list)) => {
            let all: Vec<String> = list.values.iter().map(|v| text(Some(v))).collect();
            format!("[{}]", all.join(","))
        }
        Some(any_value::Value::KvlistValue(map)) => {
            let pairs = map.values.iter();
            let all: Vec<String> = pairs
                .map(|p| format!("{}={}", p.key, text(p.value.as_ref())))
                .collect();
            format!("{{{}}}", all.join(","))
        }
        None => String::new(),
    }
}

fn labels(pairs: &[KeyValue]) -> impl Iterator<Item = (String, String)> + '_ {
    pairs
        .iter()
        .map(|pair| (names::label(&pair.key), text(pair.value.as_ref())))
}

impl Identity {
    fn of(resource: Option<&Resource>) -> Self {
        let attributes = resource.map_or(&[][..], |r| &r.attributes);
        let get = |name: &str| {
            let found = attributes.iter().find(|pair| pair.key == name);
            found
                .map(|pair| text(pair.value.as_ref()))
                .unwrap_or_default()
        };
        let (space, service) = (get("service.namespace"), get("service.name"));
        let job = match (space.is_empty(), service.is_empty()) {
            (false, false) => format!("{space}/{service}"),
            _ => service,
        };
        let own = [("job", job), ("instance", get("service.instance.id"))];
        let own = own.into_iter().filter(|(_, value)| !value.is_empty());
        let named = ["service.namespace", "service.name", "service.instance.id"];
        let rest = attributes
            .iter()
            .filter(|pair| !named.contains(&pair.key.as_str()));
        let rest: Vec<KeyValue> = rest.cloned().collect();
        Self {
            own: own.map(|(name, value)| (name.to_string(), value)).collect(),
            info: labels(&rest).collect(),
        }
    }
}

/// The samples of one request.
struct Batch<'a> {
    intake: &'a MetricIntake,
    samples: Vec<Sample>,
    exemplars: Vec<(SeriesRef, Exemplar)>,
    rejected: u64,
    why: String,
}

fn ms(ns: u64) -> i64 {
    i64::try_from(ns / 1_000_000).unwrap_or(i64::MAX)
}

impl Batch<'_> {
    fn refuse(&mut self, points: usize, why: impl Into<String>) {
        self.rejected += points as u64;
        self.why = why.into();
    }

    /// Takes a metric; the latest time of its points, in milliseconds.
    fn metric(&mut self, identity: &Identity, metric: &Metric) -> i64 {
        let (sort, kind, delta) = match &metric.data {
            Some(metric::Data::Gauge(_)) => (Sort::Gauge, "gauge", false),
            Some(metric::Data::Sum(sum)) => {
                let delta = sum.aggregation_temporality == DELTA;
                match sum.is_monotonic {
                    true => (Sort::Counter, "counter", delta),
                    false => (Sort::Gauge, "gauge", delta),
                }
            }
            Some(metric::Data::Histogram(h)) => {
                (Sort::Other, "histogram", h.aggregation_temporality == DELTA)
            }
            Some(metric::Data::Summary(_)) => (Sort::Other, "summary", false),
            Some(metric::Data::ExponentialHistogram(h)) => {
                (Sort::Other, "histogram", h.aggregation_temporality == DELTA)
            }
            None => return 0,
        };
        let name = names::metric(&metric.name, &metric.unit, sort);
        if name.is_empty() {
            self.refuse(1, "a metric needs a name");
            return 0;
        }
        let metadata = Metadata {
            kind: kind.into(),
            help: metric.description.clone(),
            unit: String::new(),
        };
        self.intake.store.metadata(&name, metadata);
        let mut latest = 0;
        match &metric.data {
            Some(metric::Data::Gauge(gauge)) => {
                for point in &gauge.data_points {
                    latest = latest.max(ms(point.time_unix_nano));
                    self.number(identity, &name, point, false);
                }
            }
            Some(metric::Data::Sum(sum)) => {
                for point in &sum.data_points {
                    latest = latest.max(ms(point.time_unix_nano));
                    self.number(identity, &name, point, delta);
                }
            }
            Some(metric::Data::Histogram(histogram)) => {
                for point in &histogram.data_points {
                    latest = latest.max(ms(point.time_unix_nano));
                    self.histogram(identity, &name, point, delta);
                }
            }
            Some(metric::Data::Summary(summary)) => {
                for point in &summary.data_points {
                    latest = latest.max(ms(point.time_unix_nano));
                    self.summary(identity, &name, point);
                }
            }
            Some(metric::Data::ExponentialHistogram(histogram)) => {
                for point in &histogram.data_points {
                    latest = latest.max(ms(point.time_unix_nano));
                    self.exponential(identity, &name, point, delta);
                }
            }
            None => {}
        }
        latest
    }

    fn exponential(
        &mut self,
        identity: &Identity,
        name: &str,
        point: &ExponentialHistogramDataPoint,
        delta: bool,
    ) {
        let value = if point.flags & NO_VALUE != 0 {
            Value::Float(stale())
        } else {
            match native::histogram(point) {
                Ok(histogram) => Value::Histogram(Arc::new(histogram)),
                Err(why) => return self.refuse(1, format!("{name}: {why}")),
            }
        };
        let labels = Point::new(identity, &point.attributes, point.time_unix_nano, delta);
        if let Some(series) = self.put_value(&labels, name, None, value) {
            self.examples(series, examples::read(&point.exemplars, labels.at));
        }
    }

    fn number(&mut self, identity: &Identity, name: &str, point: &NumberDataPoint, delta: bool) {
        let value = match point.value {
            _ if point.flags & NO_VALUE != 0 => stale(),
            Some(number::Value::AsDouble(n)) => n,
            Some(number::Value::AsInt(n)) => n as f64,
            None => return self.refuse(1, format!("{name}: a point has no value")),
        };
        let labels = Point::new(identity, &point.attributes, point.time_unix_nano, delta);
        if let Some(series) = self.put(&labels, name, None, value) {
            self.examples(series, examples::read(&point.exemplars, labels.at));
        }
    }

    fn examples(&mut self, series: SeriesRef, exemplars: impl IntoIterator<Item = Exemplar>) {
        let own = exemplars.into_iter().map(|one| (series, one));
        self.exemplars.extend(own);
    }

    fn histogram(
        &mut self,
        identity: &Identity,
        name: &str,
        point: &HistogramDataPoint,
        delta: bool,
    ) {
        let (bounds, counts) = (&point.explicit_bounds, &point.bucket_counts);
        if !counts.is_empty() && counts.len() != bounds.len() + 1 {
            return self.refuse(1, format!("{name}: buckets and bounds do not fit"));
        }
        let gone = point.flags & NO_VALUE != 0;
        let told = |value: f64| if gone { stale() } else { value };
        let labels = Point::new(identity, &point.attributes, point.time_unix_nano, delta);
        let mut examples = examples::read(&point.exemplars, labels.at);
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (bound, count) in bounds.iter().zip(counts) {
            below += count;
            let le = ("le", bound.to_string());
            let series = self.put(&labels, &bucket, Some(le), told(below as f64));
            if let Some(series) = series {
                let own = examples.extract_if(.., |one| one.value <= *bound);
                self.examples(series, own);
            }
        }
        let count = told(point.count as f64);
        let all = ("le", "+Inf".to_string());
        if let Some(series) = self.put(&labels, &bucket, Some(all), count) {
            self.examples(series, examples);
        }
        self.put(&labels, &format!("{name}_count"), None, count);
        if let Some(sum) = point.sum {
            self.put(&labels, &format!("{name}_sum"), None, told(sum));
        }
    }

    fn summary(&mut self, identity: &Identity, name: &str, point: &SummaryDataPoint) {
        let gone = point.flags & NO_VALUE != 0;
        let told = |value: f64| if gone { stale() } else { value };
        let labels = Point::new(identity, &point.attributes, point.time_unix_nano, false);
        for one in &point.quantile_values {
            let quantile = ("quantile", one.quantile.to_string());
            self.put(&labels, name, Some(quantile), told(one.value));
        }
        self.put(
            &labels,
            &format!("{name}_count"),
            None,
            told(point.count as f64),
        );
        self.put(&labels, &format!("{name}_sum"), None, told(point.sum));
    }

    fn target_info(&mut self, identity: &Identity, at: i64) {
        if identity.info.is_empty() || identity.own.is_empty() || at == 0 {
            return;
        }
        let point = Point {
            labels: identity.own.iter().chain(&identity.info).cloned().collect(),
            at,
            delta: false,
        };
        self.put(&point, "target_info", None, 1.0);
    }

    fn put(
        &mut self,
        point: &Point,
        name: &str,
        extra: Option<(&str, String)>,
        value: f64,
    ) -> Option<SeriesRef> {
        self.put_value(point, name, extra, Value::Float(value))
    }

    /// One sample of a series; nothing where it is refused or came before.
    fn put_value(
        &mut self,
        point: &Point,
        name: &str,
        extra: Option<(&str, String)>,
        value: Value,
    ) -> Option<SeriesRef> {
        if point.at == 0 {
            self.refuse(1, format!("{name}: a point has no time"));
            return None;
        }
        let extra = extra.map(|(name, value)| (name.to_string(), value));
        let own = [("__name__".to_string(), name.to_string())];
        let labels: Labels = point
            .labels
            .iter()
            .cloned()
            .chain(extra)
            .chain(own)
            .collect();
        let told = self.intake.store.resolve(&labels).and_then(|series| {
            let gone = matches!(value, Value::Float(number) if number.is_nan());
            if !point.delta || gone {
                return Ok(Some((series, value)));
            }
            let sum = self.intake.sums.add(series, &value, point.at)?;
            Ok(sum.map(|sum| (series, sum)))
        });
        match told {
            Ok(Some((series, value))) => {
                self.samples.push(Sample {
                    series,
                    at: point.at,
                    value,
                    start: None,
                });
                Some(series)
            }
            // It came before.
            Ok(None) => None,
            Err(why) => {
                self.refuse(1, why.to_string());
                None
            }
        }
    }
}

/// What the series of one point share.
struct Point {
    labels: Vec<(String, String)>,
    at: i64,
    delta: bool,
}

impl Point {
    fn new(identity: &Identity, attributes: &[KeyValue], time_ns: u64, delta: bool) -> Self {
        Self {
            labels: labels(attributes)
                .chain(identity.own.iter().cloned())
                .collect(),
            at: ms(time_ns),
            delta,
        }
    }
}

#[cfg(test)]
mod tests;
