//! Lines and spans are copied to another Towpath, and asked of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use serde_json::{Value as Json, json};
use towpath_daemon::CancellationToken;
use towpath_kit::traits::{Action, AuthError, Authenticator, Authorizer, Credential, Principal};
use towpath_signals::logs::{Line, LogStore, Stream};
use towpath_signals::traces::Store;
use towpath_stdx::{Clock, Secret, SystemClock};
use towpath_telemetry::door::Door;
use towpath_telemetry::loki::{Loki, Settings};
use towpath_telemetry::otlp::message::ExportTraceServiceRequest;
use towpath_telemetry::otlp::{self, Access as Doors, Sinks, TraceSink};
use towpath_telemetry::outgrow::mirror::Mirrors;
use towpath_telemetry::outgrow::settings::{Access, Mirror, ReadThrough, Signal};
use towpath_telemetry::outgrow::through::Through;
use towpath_telemetry::tempo::{Derived, Tempo, TraceIntake};

use super::{escaped, server, until};

const SECOND: i64 = 1_000_000_000;

/// Lets those in who know the word.
struct Word;

#[async_trait]
impl Authenticator for Word {
    async fn authenticate(&self, credential: &Credential) -> Result<Principal, AuthError> {
        let (Credential::Bearer(given)
        | Credential::Basic {
            password: given, ..
        }) = credential;
        match given.reveal_secret() {
            "the-word" => Ok(Principal::default()),
            _ => Err(AuthError::Rejected),
        }
    }

    fn mint(&self, _: &Principal, _: Duration) -> Secret {
        Secret::from(String::new())
    }
}

impl Authorizer for Word {
    fn allowed(&self, _: &Principal, _: &Action) -> bool {
        true
    }
}

pub(crate) fn door() -> Door {
    Door {
        authenticator: Arc::new(Word),
        authorizer: Arc::new(Word),
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn now() -> i64 {
    SystemClock.since_epoch().as_nanos() as i64 / SECOND * SECOND
}

/// How the other one is reached: the word is in a file.
pub(crate) fn access(dir: &Path) -> Access {
    let file = dir.join("word");
    std::fs::write(&file, "the-word\n").unwrap();
    Access {
        bearer_token_file: Some(file.display().to_string()),
        ..Access::default()
    }
}

fn through(signal: Signal, url: &str, before: i64, dir: &Path) -> Through {
    let before = jiff::Timestamp::from_millisecond(before / 1_000_000).unwrap();
    let settings = ReadThrough {
        signal,
        url: url.into(),
        before: before.to_string(),
        timeout: "5s".into(),
        access: access(dir),
        ..ReadThrough::default()
    };
    Through::new(&[settings], &clock()).unwrap()
}

fn lines(dir: &Path) -> Arc<LogStore> {
    Arc::new(LogStore::open(dir, Default::default(), clock()).unwrap())
}

fn loki(store: &Arc<LogStore>) -> Arc<Loki> {
    Loki::new(store.clone(), clock(), Settings::default())
}

fn say(store: &LogStore, at: i64, text: &str) {
    let line = Line {
        at,
        text: text.into(),
        metadata: vec![("detected_level".into(), "info".into())],
    };
    let stream = Stream {
        labels: [("app", "shop"), ("service_name", "shop")]
            .into_iter()
            .collect(),
        lines: vec![line],
    };
    assert_eq!(store.push(vec![stream]).unwrap().taken, 1);
}

/// The texts of lines and the warnings of an answer.
fn asked(base: &str, query: &str, start: i64, end: i64, more: &str) -> (Vec<String>, usize) {
    let path = format!(
        "/loki/api/v1/query_range?query={}&start={start}&end={end}{more}",
        escaped(query)
    );
    let (status, body) = server::get(base, &path);
    let reply: Json = serde_json::from_str(&body).unwrap_or(Json::Null);
    assert_eq!(status, 200, "{body}");
    let streams = reply["data"]["result"].as_array().cloned().unwrap();
    let values = streams.iter().flat_map(|s| s["values"].as_array().unwrap());
    let texts = values.map(|value| value[1].as_str().unwrap().to_owned());
    let warnings = reply["warnings"].as_array().map_or(0, Vec::len);
    (texts.collect(), warnings)
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_copied_and_asked_of_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let other = lines(&path.join("other"));
    let there = server::serve(loki(&other).router(Some(door()))).await;
    let own = lines(&path.join("own"));
    let to = Mirror {
        signal: Signal::Logs,
        url: format!("{there}/loki/api/v1/push"),
        access: access(path),
        external_labels: [("cluster".to_owned(), "north".to_owned())].into(),
        ..Mirror::default()
    };
    let mirrors = Mirrors::open(&path.join("mirror"), &[to], clock()).unwrap();
    own.tap(mirrors.lines().unwrap());
    let end = now();
    let cut = end - 300 * SECOND;
    for at in 0..10 {
        say(&own, end - (600 - at) * SECOND, &format!("old {at}"));
    }
    // Nobody sent anything yet: it is on the disk.
    let stop = CancellationToken::new();
    let _drop = stop.clone().drop_guard();
    let queue = path
        .join("mirror")
        .read_dir()
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert!(queue.read_dir().unwrap().count() > 0);
    mirrors.start(&stop);
    let new = lines(&path.join("new"));
    say(&new, end - 100 * SECOND, "new 0");
    say(&new, end - 90 * SECOND, "new 1");
    let front = loki(&new);
    front.read_through(through(Signal::Logs, &there, cut, path).lines);
    let here = server::serve(front.router(None)).await;
    let nowhere = loki(&new);
    nowhere.read_through(through(Signal::Logs, "http://127.0.0.1:1", cut, path).lines);
    let alone = server::serve(nowhere.router(None)).await;
    let work = move || {
        let start = end - 3600 * SECOND;
        let every = |base: &str, more: &str| asked(base, "{app=\"shop\"}", start, end, more);
        until("the lines are there", || every(&here, "").0.len() == 12);
        let (texts, warnings) = every(&here, "&limit=4");
        assert_eq!(warnings, 0);
        assert_eq!(texts, ["new 1", "new 0", "old 9", "old 8"]);
        let (texts, _) = every(&here, "&limit=3&direction=forward");
        assert_eq!(texts, ["old 0", "old 1", "old 2"]);
        let query = "sum(count_over_time({app=\"shop\"}[1h]))";
        let numbers = asked(&here, query, cut - 60 * SECOND, end, "&step=60s").0;
        // One step before the time of the cut, asked there; the others know what is here alone.
        assert_eq!(numbers, ["10", "2", "2"]);
        let (status, names) = server::get(&here, &format!("/loki/api/v1/labels?start={start}"));
        assert!(status == 200 && names.contains("cluster"), "{names}");
        // Without the other there is what is here, and a word.
        assert_eq!(every(&alone, ""), (vec!["new 1".into(), "new 0".into()], 1));
    };
    tokio::task::spawn_blocking(work).await.unwrap();
}

const ID: &str = "5b8efff798038103d269b633813fc60c";

fn spans(at: i64, id: &str) -> ExportTraceServiceRequest {
    let text = json!({"resourceSpans": [{
        "resource": {"attributes": [
            {"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeSpans": [{"spans": [{
            "traceId": ID, "spanId": id, "name": format!("span {id}"),
            "startTimeUnixNano": at.to_string(),
            "endTimeUnixNano": (at + SECOND / 10).to_string()}]}]}]});
    serde_json::from_value(text).unwrap()
}

struct Traces {
    sink: TraceSink,
    tempo: Tempo,
    doors: Doors,
}

impl Traces {
    fn open(dir: &Path) -> Self {
        let options = towpath_signals::traces::Options::new(dir.to_owned());
        let (store, _) = Store::open(options, clock()).unwrap();
        let derived = Arc::new(Derived::new(|| SystemClock.monotonic()));
        let doors = Doors {
            door: door(),
            anonymous_senders: None,
            never_anonymous: Vec::new(),
        };
        Self {
            tempo: Tempo::new(store.clone(), door(), clock()),
            sink: Arc::new(TraceIntake::new(store, derived)),
            doors,
        }
    }

    fn routes(&self) -> Router {
        let sinks = Sinks {
            traces: Some(self.sink.clone()),
            ..Sinks::default()
        };
        let tempo = self.tempo.clone().router("/tempo");
        otlp::router(self.doors.clone(), sinks, "/otlp").merge(tempo)
    }
}

fn names(base: &str, path: &str) -> (u16, String) {
    let (status, body) = server::get_as(base, path, "the-word");
    let count = body.matches("\"span 0000").count();
    (status, format!("{count} spans: {body}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_copied_and_asked_of_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let other = Traces::open(&path.join("other"));
    let there = server::serve(other.routes()).await;
    let to = Mirror {
        signal: Signal::Traces,
        url: format!("{there}/otlp/v1/traces"),
        access: access(path),
        ..Mirror::default()
    };
    let mirrors = Mirrors::open(&path.join("mirror"), &[to], clock()).unwrap();
    let own = Traces::open(&path.join("own"));
    let sink = mirrors.spans(own.sink.clone());
    let end = now();
    let cut = end - 300 * SECOND;
    let accepted = sink.accept(spans(cut - SECOND, "0000000000000001")).await;
    assert_eq!(accepted.unwrap().rejected, 0);
    sink.accept(spans(cut - SECOND / 2, "0000000000000002"))
        .await
        .unwrap();
    let stop = CancellationToken::new();
    let _drop = stop.clone().drop_guard();
    mirrors.start(&stop);
    // One span is here and there, one only there, one only here.
    let new = Traces::open(&path.join("new"));
    for (at, id) in [
        (-SECOND / 2, "0000000000000002"),
        (SECOND, "0000000000000003"),
    ] {
        new.sink.accept(spans(cut + at, id)).await.unwrap();
    }
    let front = |url: &str| {
        let through = through(Signal::Traces, url, cut, path);
        let tempo = new.tempo.clone().read_through(through.spans);
        tempo.router("/tempo")
    };
    let base = format!("{there}/tempo");
    let here = server::serve(front(&base)).await;
    let alone = server::serve(front("http://127.0.0.1:1")).await;
    let work = move || {
        let one = format!("/tempo/api/v2/traces/{ID}");
        until("the spans are there", || {
            names(&there, &one).1.starts_with("2 ")
        });
        let (status, whole) = names(&here, &one);
        assert!(status == 200 && whole.starts_with("3 "), "{whole}");
        assert!(!whole.contains("PARTIAL"), "{whole}");
        let (status, part) = names(&alone, &one);
        assert!(status == 200 && part.starts_with("2 "), "{part}");
        assert!(part.contains("PARTIAL") && part.contains("read-through"));
        let (start, end) = (end / SECOND - 3600, cut / SECOND - 10);
        let search = format!("/tempo/api/search?q=%7B%7D&start={start}&end={}", end + 10);
        let (status, found) = names(&here, &search);
        assert!(
            status == 200 && found.matches("traceID").count() == 1,
            "{found}"
        );
    };
    tokio::task::spawn_blocking(work).await.unwrap();
}
