//! Scripts of requests (`tests/corpus/prometheus-api`), answered here and by the real HTTP API
//! (`tests/peers/prometheus/api`) over the same samples, compared byte for byte.
//!
//! What cannot be equal is made equal first: how long something took, the order of remarks (the
//! real server's is random), and the version.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value as Json, json};
use tower::ServiceExt;
use towpath_query::promql::{Labels, Notated, parse_selector, parse_series};
use towpath_signals::metrics::{Options, Store};
use towpath_signals::{Append, Exemplar, Metadata, Sample, SeriesRef, Value};
use towpath_stdx::SystemClock;
use towpath_telemetry::prometheus::{
    ActiveTarget, Alerting, Api, DroppedTarget, NoRules, Parts, Rule, RuleGroup, Rules, Settings,
    Targets,
};
use towpath_telemetry::scrape::{config, relabel};

const STEP_MS: i64 = 60_000;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/prometheus-api")
}

/// One request of a script.
#[derive(Clone)]
struct Asked {
    place: String,
    method: String,
    path: String,
    body: String,
    headers: Vec<(String, String)>,
    /// Why the answers differ, where that is known.
    differs: Option<String>,
}

fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| match byte {
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// `METHOD path`, then indented `name=value` (a parameter: of the URL, or of the body of a POST)
/// and `@Name: value` (a header). `!reason` says that the answers differ, and why; such lines may
/// only become fewer.
fn script(file: &Path) -> Vec<Asked> {
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    let text = std::fs::read_to_string(file).unwrap();
    let mut out: Vec<Asked> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if !line.starts_with(' ') {
            let (method, path) = line.split_once(' ').expect("METHOD path");
            out.push(Asked {
                place: format!("{name}:{}", at + 1),
                method: method.to_owned(),
                path: format!("/prometheus{path}"),
                body: String::new(),
                headers: Vec::new(),
                differs: None,
            });
            continue;
        }
        let asked = out.last_mut().expect("a request before its parameters");
        let line = line.trim();
        if let Some(header) = line.strip_prefix('@') {
            let (name, value) = header.split_once(": ").expect("Name: value");
            asked.headers.push((name.to_owned(), value.to_owned()));
            continue;
        }
        if let Some(reason) = line.strip_prefix('!') {
            asked.differs = Some(reason.to_owned());
            continue;
        }
        let (name, value) = line.split_once('=').expect("name=value");
        let pair = format!("{}={}", escaped(name), escaped(value));
        if asked.method == "GET" {
            let sign = if asked.path.contains('?') { '&' } else { '?' };
            asked.path.push(sign);
            asked.path.push_str(&pair);
        } else {
            if !asked.body.is_empty() {
                asked.body.push('&');
            }
            asked.body.push_str(&pair);
        }
    }
    for asked in out.iter_mut().filter(|asked| !asked.body.is_empty()) {
        let form = "application/x-www-form-urlencoded".to_owned();
        asked.headers.push(("Content-Type".to_owned(), form));
    }
    out
}

fn lines(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(corpus().join(name)).unwrap();
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn metric(text: &str) -> Labels {
    let matchers = parse_selector(text).unwrap();
    matchers.into_iter().map(|m| (m.name, m.value)).collect()
}

/// `series | labels | value | time`.
fn exemplars() -> Vec<(String, String, f64, i64)> {
    let split = |line: &String| {
        let parts: Vec<&str> = line.split(" | ").collect();
        let [series, labels, value, at] = parts[..] else {
            panic!("{line}")
        };
        (
            series.to_owned(),
            labels.to_owned(),
            value.parse().unwrap(),
            at.parse().unwrap(),
        )
    };
    lines("exemplars.txt").iter().map(split).collect()
}

fn metadata() -> Vec<(String, Metadata)> {
    let split = |line: &String| {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let [name, kind, unit, help] = parts[..] else {
            panic!("{line}")
        };
        let said = Metadata {
            kind: kind.to_owned(),
            help: help.to_owned(),
            unit: unit.to_owned(),
        };
        (name.to_owned(), said)
    };
    lines("metadata.txt").iter().map(split).collect()
}

fn loaded(dir: &Path) -> Arc<Store> {
    let mut options = Options::new(Arc::new(SystemClock));
    options.out_of_order_ms = 86_400_000;
    options.background = false;
    let store = Store::open(dir, options).unwrap();
    for line in lines("series.txt") {
        let (labels, values) = parse_series(&line).unwrap();
        let series = store.resolve(&labels).unwrap();
        let samples: Vec<Sample> = (0..)
            .map(|at| at * STEP_MS)
            .zip(values)
            .filter_map(|(at, value)| {
                let value = match value {
                    Notated::Gap => return None,
                    Notated::Float(value) => Value::Float(value),
                    Notated::Histogram(histogram, _) => Value::Histogram(histogram),
                };
                Some(sample(series, at, value))
            })
            .collect();
        let outcome = store.append(&samples).unwrap();
        assert_eq!(outcome.refused_count, 0, "{line}: {:?}", outcome.refused);
    }
    for (series, labels, value, at) in exemplars() {
        let series = store.resolve(&metric(&series)).unwrap();
        let labels = metric(&labels);
        store
            .exemplar(series, Exemplar { labels, value, at })
            .unwrap();
    }
    for (family, said) in metadata() {
        store.metadata(&family, said);
    }
    store
}

fn sample(series: SeriesRef, at: i64, value: Value) -> Sample {
    Sample {
        series,
        at,
        value,
        start: None,
    }
}

/// The targets that the peer has, too.
struct Scraped;

impl Targets for Scraped {
    fn pools(&self) -> Vec<String> {
        vec!["demo".to_owned()]
    }

    fn active(&self) -> Vec<ActiveTarget> {
        let discovered = [
            ("__address__", "demo.test:8080"),
            ("__metrics_path__", "/metrics"),
            ("__scheme__", "http"),
            ("__scrape_interval__", "15s"),
            ("__scrape_timeout__", "10s"),
            ("job", "demo"),
        ];
        vec![ActiveTarget {
            discovered: discovered.into_iter().collect(),
            labels: [("instance", "demo.test:8080"), ("job", "demo")]
                .into_iter()
                .collect(),
            pool: "demo".to_owned(),
            url: "http://demo.test:8080/metrics".to_owned(),
            interval: "15s".to_owned(),
            timeout: "10s".to_owned(),
            ..ActiveTarget::default()
        }]
    }

    fn dropped(&self) -> Vec<DroppedTarget> {
        let discovered = [
            ("__address__", "gone.test:80"),
            ("__scrape_interval__", "0s"),
            ("__scrape_timeout__", "0s"),
            ("job", "demo"),
        ];
        vec![DroppedTarget {
            discovered: discovered.into_iter().collect(),
            pool: "demo".to_owned(),
        }]
    }

    fn relabelling(&self, pool: &str) -> Option<Vec<relabel::Rule>> {
        let configuration = format!(
            "scrape_configs: [{{job_name: demo, relabel_configs: {}}}]",
            serde_json::to_string(&serde_saphyr::from_str::<Json>(RELABEL).unwrap()).unwrap()
        );
        let jobs = config::parse(&configuration, Path::new("/")).unwrap();
        (pool == "demo").then(|| jobs[0].relabel.clone())
    }

    fn metadata(&self, _: &ActiveTarget) -> std::collections::BTreeMap<String, Metadata> {
        metadata().into_iter().collect()
    }
}

/// Rules for the targets of `demo`.
const RELABEL: &str = r#"
- source_labels: [__meta_kind, __meta_name]
  separator: "/"
  regex: (\w+)/(.+)
  target_label: what
  replacement: $2.$1
- regex: __meta_label_(.+)
  action: labelmap
- source_labels: [job]
  modulus: 8
  target_label: __shard
  action: hashmod
- source_labels: [job]
  regex: gone
  action: drop
- target_label: fixed
  replacement: ""
"#;

const RULES: &str = r#"
groups:
- name: first
  interval: 30s
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
    labels: {kind: recorded}
  - alert: Down
    expr: up == 0
    for: 5m
    keep_firing_for: 1m
    labels: {severity: page}
    annotations: {summary: "{{ $labels.job }} is <down> & out"}
- name: second
  limit: 3
  rules:
  - alert: Always
    expr: vector(1)
"#;

/// The same, as the rule engine would tell it.
struct Ruled;

impl Rules for Ruled {
    fn groups(&self) -> Vec<RuleGroup> {
        let pair = |name: &str, value: &str| [(name, value)].into_iter().collect::<Labels>();
        let rule = |name: &str, query: &str| Rule {
            name: name.to_owned(),
            query: query.to_owned(),
            ..Rule::default()
        };
        let group = |name: &str, interval: f64, limit: u64, rules: Vec<Rule>| RuleGroup {
            name: name.to_owned(),
            file: "rules.yml".to_owned(),
            rules,
            interval,
            limit,
            ..RuleGroup::default()
        };
        let recorded = Rule {
            labels: pair("kind", "recorded"),
            ..rule("job:up:sum", "sum by (job) (up)")
        };
        let down = Rule {
            labels: pair("severity", "page"),
            alerting: Some(Alerting {
                hold: 300.0,
                keep_firing_for: 60.0,
                annotations: pair("summary", "{{ $labels.job }} is <down> & out"),
                ..Alerting::default()
            }),
            ..rule("Down", "up == 0")
        };
        let always = Rule {
            alerting: Some(Alerting::default()),
            ..rule("Always", "vector(1)")
        };
        vec![
            group("first", 30.0, 0, vec![recorded, down]),
            group("second", 60.0, 3, vec![always]),
        ]
    }

    fn alertmanagers(&self) -> Vec<String> {
        NoRules.alertmanagers()
    }
}

fn peer() -> Option<PathBuf> {
    towpath_testkit::peer("promapi")
}

fn theirs(peer: &Path, asked: &[Asked]) -> Vec<Answer> {
    let exemplars: Vec<Json> = exemplars()
        .into_iter()
        .map(|(series, labels, value, at)| {
            json!({"series": series, "labels": labels, "value": value, "at": at})
        })
        .collect();
    let metadata: serde_json::Map<String, Json> = metadata()
        .into_iter()
        .map(|(name, of)| {
            (
                name,
                json!({"type": of.kind, "help": of.help, "unit": of.unit}),
            )
        })
        .collect();
    let requests: Vec<Json> = asked
        .iter()
        .map(|one| {
            let headers: serde_json::Map<String, Json> = one
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), json!(value)))
                .collect();
            json!({"method": one.method, "path": one.path, "body": one.body, "headers": headers})
        })
        .collect();
    let job = json!({
        "step_ms": STEP_MS, "series": lines("series.txt"), "exemplars": exemplars,
        "metadata": metadata, "rules": RULES, "relabel": RELABEL, "requests": requests,
    });
    let answers = towpath_testkit::ask(peer, &[], &[job.to_string()]);
    let answers = answers.iter().map(|line| {
        let answer: Json = serde_json::from_str(line).unwrap();
        let header = |name: &str| answer["headers"][name].as_str().unwrap_or("").to_owned();
        Answer {
            status: answer["status"].as_u64().unwrap() as u16,
            content_type: header("content-type"),
            encoding: header("content-encoding"),
            body: answer["body"].as_str().unwrap().to_owned(),
        }
    });
    answers.collect()
}

#[derive(Clone, Debug, PartialEq)]
struct Answer {
    status: u16,
    content_type: String,
    encoding: String,
    body: String,
}

async fn ours(api: &Arc<Api>, asked: &Asked) -> Answer {
    let mut request = Request::builder()
        .method(asked.method.as_str())
        .uri(&asked.path);
    for (name, value) in &asked.headers {
        request = request.header(name, value);
    }
    let request = request.body(Body::from(asked.body.clone())).unwrap();
    let response = api.router(None).oneshot(request).await.unwrap();
    let header = |name: &str| {
        let value = response.headers().get(name);
        value.map_or("", |v| v.to_str().unwrap()).to_owned()
    };
    let (content_type, encoding) = (header("content-type"), header("content-encoding"));
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    Answer {
        status,
        content_type,
        encoding,
        body: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// Replaces the value of a field, up to the end of a plain value.
fn blanked(text: &str, field: &str) -> String {
    let start = format!("\"{field}\":");
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(&start) {
        let value = at + start.len();
        out.push_str(&rest[..value]);
        rest = &rest[value..];
        let end = rest.find([',', '}']).unwrap_or(rest.len());
        out.push('_');
        rest = &rest[end..];
    }
    out + rest
}

/// Sorts what stands in a list of texts at the end of a reply.
fn sorted(text: &str, field: &str) -> String {
    let start = format!(",\"{field}\":[");
    let Some(at) = text.rfind(&start) else {
        return text.to_owned();
    };
    let from = at + start.len() - 1;
    let mut list = serde_json::Deserializer::from_str(&text[from..]).into_iter::<Vec<String>>();
    let Some(Ok(mut texts)) = list.next() else {
        return text.to_owned();
    };
    let end = from + list.byte_offset();
    texts.sort();
    format!("{}{texts:?}{}", &text[..from], &text[end..])
}

fn normal(mut answer: Answer) -> Answer {
    let mut body = std::mem::take(&mut answer.body);
    for field in [
        "evalTotalTime",
        "resultSortTime",
        "queryPreparationTime",
        "innerEvalTime",
        "execQueueTime",
        "execTotalTime",
        "peakSamples",
        "file",
        "groupNextToken",
    ] {
        body = blanked(&body, field);
    }
    for field in ["warnings", "infos"] {
        body = sorted(&body, field);
    }
    if !answer.encoding.is_empty() {
        // Packers differ in their bytes; what is inside is compared in another request.
        body = "packed".to_owned();
    }
    answer.body = body;
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_the_real_api() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(corpus())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "http"))
        .collect();
    files.sort();
    let asked: Vec<Asked> = files.iter().flat_map(|file| script(file)).collect();
    let dir = tempfile::tempdir().unwrap();
    let store = loaded(dir.path());
    let api = Api::new(Parts {
        read: store,
        targets: Arc::new(Scraped),
        rules: Arc::new(Ruled),
        remove: None,
        clock: Arc::new(SystemClock),
        settings: Settings::default(),
    });
    let mut own = Vec::new();
    for one in &asked {
        own.push(ours(&api, one).await);
    }
    let Some(peer) = peer() else { return };
    let other = theirs(&peer, &asked);
    assert_eq!(other.len(), asked.len());
    let mut wrong = Vec::new();
    let mut same_again = Vec::new();
    for ((asked, own), other) in asked.iter().zip(own).zip(other) {
        let (own, other) = (normal(own), normal(other));
        let name = format!("{} {}", asked.method, asked.path);
        let expected = asked.differs.is_some();
        if own == other {
            if expected {
                same_again.push(asked.place.clone());
            }
        } else if !expected {
            wrong.push(format!(
                "{} {name} {}\n  ours   {own:?}\n  theirs {other:?}",
                asked.place, asked.body
            ));
        }
    }
    let known = asked.iter().filter(|one| one.differs.is_some()).count();
    println!("{} requests, {known} known differences", asked.len());
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(same_again.is_empty(), "no longer different: {same_again:?}");
}
