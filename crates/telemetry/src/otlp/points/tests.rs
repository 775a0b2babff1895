//! Points against a store that keeps a list.

use super::*;
use parking_lot::Mutex;
use towpath_signals::{Outcome, Refused, WriteError};

#[derive(Default)]
struct List {
    series: Mutex<Vec<Labels>>,
    samples: Mutex<Vec<Sample>>,
    exemplars: Mutex<Vec<(SeriesRef, Exemplar)>>,
}

impl List {
    fn exemplars(&self) -> Vec<String> {
        let all = self.exemplars.lock();
        let shown = all.iter().map(|(series, one)| {
            let labels = self.labels(*series).expect("known");
            format!("{labels} {} {} {}", one.labels, one.at, one.value)
        });
        shown.collect()
    }
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

    fn exemplar(&self, series: SeriesRef, exemplar: Exemplar) -> Result<(), Refused> {
        self.exemplars.lock().push((series, exemplar));
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
            {{"name":"e","exponentialHistogram":{{"aggregationTemporality":2,"dataPoints":[{{"timeUnixNano":"{at}","scale":-9}}]}}}}]}}]}}]}}"#
        )
    };
    let list = Arc::new(List::default());
    let intake = MetricIntake::new(list.clone());
    for at in [1000, 2000, 2000] {
        let request = serde_json::from_str(&text(at)).expect("JSON");
        let accepted = intake.accept(request).await.expect("taken");
        assert_eq!(accepted.rejected, 1);
        assert_eq!(accepted.message, "e: scale -9 is coarser than -4");
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

/// A request with one metric of this name and data.
fn one(metric: &str) -> ExportMetricsServiceRequest {
    let text = format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[
            {{"key":"service.name","value":{{"stringValue":"shop"}}}}]}},
            "scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}"#
    );
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn additions_to_exponential_histograms_add_up_in_the_coarser_scale() {
    let point = |at: u64, scale: i32, counts: &str| {
        let at = at * 1_000_000;
        one(&format!(
            r#"{{"name":"e","exponentialHistogram":{{"aggregationTemporality":1,"dataPoints":[
            {{"timeUnixNano":"{at}","scale":{scale},"count":"6","sum":2,"zeroCount":"1",
              "positive":{{"offset":0,"bucketCounts":{counts}}}}}]}}}}"#
        ))
    };
    let list = Arc::new(List::default());
    let intake = MetricIntake::new(list.clone());
    for request in [
        point(1000, 3, "[2, 3]"),
        point(2000, 2, "[5]"),
        point(2000, 2, "[5]"),
    ] {
        let accepted = intake.accept(request).await.expect("taken");
        assert_eq!(accepted.rejected, 0, "{}", accepted.message);
    }
    let samples = list.samples.lock();
    let last = samples.last().expect("samples");
    assert_eq!((samples.len(), last.at), (2, 2000));
    let Value::Histogram(sum) = &last.value else {
        panic!("a number");
    };
    assert_eq!((sum.schema, sum.count, sum.sum), (2, 12.0, 4.0));
    assert_eq!((sum.zero_count, &sum.positive[..]), (2.0, &[(1, 10.0)][..]));
}

#[tokio::test]
async fn exemplars_go_with_their_series_and_buckets() {
    let exemplar = r#"[{"asDouble":0.2,"timeUnixNano":"900000000","traceId":"5B8EFFF798038103D269B633813FC60C",
        "filteredAttributes":[{"key":"user.id","value":{"stringValue":"u"}},
          {"key":"long","value":{"stringValue":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}}]},
        {"asInt":"7"}]"#;
    let list = Arc::new(List::default());
    let intake = MetricIntake::new(list.clone());
    let histogram = format!(
        r#"{{"name":"took","histogram":{{"aggregationTemporality":2,"dataPoints":[
        {{"timeUnixNano":"1000000000","count":2,"sum":7.2,"bucketCounts":[1,1],"explicitBounds":[0.5],
          "exemplars":{exemplar}}}]}}}}"#
    );
    let counter = format!(
        r#"{{"name":"calls","sum":{{"isMonotonic":true,"aggregationTemporality":2,"dataPoints":[
        {{"timeUnixNano":"1000000000","asInt":"2","exemplars":{exemplar}}}]}}}}"#
    );
    for metric in [&histogram, &counter] {
        intake.accept(one(metric)).await.expect("taken");
    }
    let trace = r#"{trace_id="5b8efff798038103d269b633813fc60c", user_id="u"} 900 0.2"#;
    assert_eq!(
        list.exemplars(),
        [
            format!(r#"{{__name__="took_bucket", job="shop", le="0.5"}} {trace}"#),
            r#"{__name__="took_bucket", job="shop", le="+Inf"} {} 1000 7"#.into(),
            format!(r#"{{__name__="calls_total", job="shop"}} {trace}"#),
            r#"{__name__="calls_total", job="shop"} {} 1000 7"#.into(),
        ]
    );
}

#[tokio::test]
async fn very_many_labels_and_points_are_no_danger() {
    let attribute = |at: usize| format!(r#"{{"key":"k{at}","value":{{"stringValue":"v"}}}}"#);
    let attributes: Vec<String> = (0..5000).map(attribute).collect();
    let request = one(&format!(
        r#"{{"name":"g","gauge":{{"dataPoints":[{{"asInt":"1","timeUnixNano":"1000000000",
        "attributes":[{}]}}]}}}}"#,
        attributes.join(",")
    ));
    let list = Arc::new(List::default());
    let accepted = MetricIntake::new(list).accept(request).await;
    // How many labels a series may have is the store's to say.
    assert_eq!(accepted.expect("answered").rejected, 0);
}

#[test]
fn values_that_nest_deep_are_refused() {
    let depth = 100_000;
    let deep = format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{{"key":"k","value":{}{{"intValue":"1"}}{}}}]}}}}]}}"#,
        r#"{"arrayValue":{"values":["#.repeat(depth),
        "]}}".repeat(depth)
    );
    assert!(serde_json::from_str::<ExportMetricsServiceRequest>(&deep).is_err());
    // The same in protobuf: a list (field 1) in a value (field 5), with lengths that fit.
    let mut bytes: Vec<u8> = Vec::new();
    for _ in 0..500 {
        for tag in [0x0a, 0x2a] {
            let mut outer = vec![tag];
            prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
            outer.extend_from_slice(&bytes);
            bytes = outer;
        }
    }
    assert!(<AnyValue as prost::Message>::decode(&bytes[..]).is_err());
}
