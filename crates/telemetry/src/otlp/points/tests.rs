//! Points against a store that keeps a list.

use super::*;
use towpath_signals::{Exemplar, Outcome, WriteError};

#[derive(Default)]
struct List {
    series: Mutex<Vec<Labels>>,
    samples: Mutex<Vec<Sample>>,
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
        self.samples.lock().extend_from_slice(samples);
        Ok(Outcome::default())
    }

    fn exemplar(&self, _: SeriesRef, _: Exemplar) -> Result<(), Refused> {
        Ok(())
    }

    fn metadata(&self, _: &str, _: Metadata) {}

    async fn sync(&self) -> Result<(), WriteError> {
        Ok(())
    }
}

#[tokio::test]
async fn points_become_samples_and_deltas_add_up() {
    let text = |at: u64| {
        let at = at * 1_000_000;
        format!(
            r#"{{"resourceMetrics":[{{"resource":{{"attributes":[
            {{"key":"service.name","value":{{"stringValue":"shop"}}}},
            {{"key":"host.arch","value":{{"stringValue":"arm"}}}}]}},"scopeMetrics":[{{"metrics":[
            {{"name":"calls","sum":{{"isMonotonic":true,"aggregationTemporality":1,"dataPoints":[
              {{"asInt":"3","timeUnixNano":"{at}","attributes":[{{"key":"http.code","value":{{"intValue":200}}}}]}}]}}}},
            {{"name":"took","unit":"s","histogram":{{"aggregationTemporality":2,"dataPoints":[
              {{"timeUnixNano":"{at}","count":3,"sum":4.5,"bucketCounts":[1,2],"explicitBounds":[0.5]}}]}}}},
            {{"name":"e","exponentialHistogram":{{"aggregationTemporality":1,"dataPoints":[{{}}]}}}}]}}]}}]}}"#
        )
    };
    let list = Arc::new(List::default());
    let intake = MetricIntake::new(list.clone());
    for at in [1000, 2000, 2000] {
        let request = serde_json::from_str(&text(at)).expect("JSON");
        let accepted = intake.accept(request).await.expect("taken");
        assert_eq!(accepted.rejected, 1);
        assert_eq!(
            accepted.message,
            "e: exponential histograms that tell what was added are not taken"
        );
    }
    let mut told: Vec<String> = list
        .samples
        .lock()
        .iter()
        .map(|sample| {
            let labels = list.labels(sample.series).expect("known");
            let Value::Float(value) = sample.value else {
                panic!("a histogram");
            };
            format!("{labels} {} {value}", sample.at)
        })
        .collect();
    told.sort();
    told.dedup();
    let expected = [
        r#"{__name__="calls_total", http_code="200", job="shop"} 1000 3"#,
        r#"{__name__="calls_total", http_code="200", job="shop"} 2000 6"#,
        r#"{__name__="target_info", host_arch="arm", job="shop"} 1000 1"#,
        r#"{__name__="target_info", host_arch="arm", job="shop"} 2000 1"#,
        r#"{__name__="took_seconds_bucket", job="shop", le="+Inf"} 1000 3"#,
        r#"{__name__="took_seconds_bucket", job="shop", le="+Inf"} 2000 3"#,
        r#"{__name__="took_seconds_bucket", job="shop", le="0.5"} 1000 1"#,
        r#"{__name__="took_seconds_bucket", job="shop", le="0.5"} 2000 1"#,
        r#"{__name__="took_seconds_count", job="shop"} 1000 3"#,
        r#"{__name__="took_seconds_count", job="shop"} 2000 3"#,
        r#"{__name__="took_seconds_sum", job="shop"} 1000 4.5"#,
        r#"{__name__="took_seconds_sum", job="shop"} 2000 4.5"#,
    ];
    assert_eq!(told, expected);
}
