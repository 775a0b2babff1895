//! What waits: for a server that is busy, in a queue that is full, after this process was killed.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use towpath_signals::Refused;
use towpath_stdx::SystemClock;
use towpath_telemetry::outgrow::settings::{Mirror, WhenFull};
use towpath_telemetry::receive::{self, RemoteWrite};

use super::copied::Copying;
use super::others::{access, door};
use super::{STEP, api, now, range, server, step, store, until};

/// A port that nobody listens at.
const NOWHERE: &str = "http://127.0.0.1:1/api/v1/write";

type Kinds = Arc<Mutex<Vec<String>>>;

/// A server that is busy twice, and old: what it reads as version 1 of a message of version 2 is
/// nothing.
async fn busy(State(seen): State<Kinds>, headers: HeaderMap) -> axum::response::Response {
    let mut seen = seen.lock();
    let kind = headers["x-prometheus-remote-write-version"].to_str();
    seen.push(kind.unwrap().to_owned());
    match seen.len() {
        1 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        2 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response(),
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_is_asked_again_and_an_old_one_in_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir.path().join("own"));
    let seen = Kinds::default();
    let routes = Router::new().route("/write", post(busy));
    let base = server::serve(routes.with_state(seen.clone())).await;
    let to = Mirror {
        url: format!("{base}/write"),
        ..Mirror::default()
    };
    let handle = tokio::runtime::Handle::current();
    let work = move || {
        let _entered = handle.enter();
        let copying = Copying::start(&dir.path().join("mirror"), &store, &[to]);
        step(copying.append.as_ref(), now(), 1);
        until("it is taken", || {
            copying.figure("towpath_mirror_pending_items") == 0.0
        });
        assert_eq!(copying.figure("towpath_mirror_sent_total"), 6.0);
        assert_eq!(copying.figure("towpath_mirror_retried_total"), 12.0);
    };
    tokio::task::spawn_blocking(work).await.unwrap();
    assert_eq!(*seen.lock(), ["2.0.0", "2.0.0", "2.0.0", "0.1.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_bound_senders_are_told_or_the_oldest_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir.path().join("own"));
    let to = |name: &str, when_full| Mirror {
        name: name.into(),
        url: NOWHERE.into(),
        queue: "1Mi".into(),
        when_full,
        ..Mirror::default()
    };
    let handle = tokio::runtime::Handle::current();
    let work = move || {
        let _entered = handle.enter();
        let queues = dir.path().join("mirror");
        let refusing = [to("full", WhenFull::Refuse)];
        let dropping = [to("lossy", WhenFull::DropOldest)];
        let lossy = Copying::start(&queues, &store, &dropping);
        let end = now();
        for at in 0..8000 {
            step(lossy.append.as_ref(), end + (at - 9000) * STEP / 40, at);
        }
        let dropped = lossy.figure("towpath_mirror_dropped_total");
        let waits = lossy.figure("towpath_mirror_pending_items");
        assert!(dropped > 1000.0 && waits > 1000.0, "{dropped} {waits}");
        assert!(lossy.figure("towpath_mirror_pending_bytes") <= f64::from(1 << 20));
        drop(lossy);
        let full = Copying::start(&queues, &store, &refusing);
        let labels = [("__name__", "one")].into_iter().collect();
        let series = full.append.resolve(&labels).unwrap();
        let mut at = end - 300_000;
        let refused = loop {
            at += 1;
            let sample = towpath_signals::Sample {
                series,
                at,
                value: towpath_signals::Value::Float(at as f64),
                start: None,
            };
            let outcome = full.append.append(&[sample]).unwrap();
            if let Some((_, why)) = outcome.refused.into_iter().next() {
                break why;
            }
        };
        let Refused::Limit(why) = refused else {
            panic!("{refused}");
        };
        assert!(why.contains("queue of metrics-full is full"), "{why}");
        assert_eq!(full.figure("towpath_mirror_dropped_total"), 0.0);
    };
    tokio::task::spawn_blocking(work).await.unwrap();
}

/// The directory in which the process that is killed works.
const CHILD: &str = "TOWPATH_TEST_OUTGROW_CHILD";

/// Not a test but for the one below: writes until it is killed, and says what is durable.
#[tokio::test(flavor = "multi_thread")]
async fn writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let dir = std::path::PathBuf::from(dir);
    let store = store(&dir.join("own"));
    let to = Mirror {
        name: "other".into(),
        url: NOWHERE.into(),
        ..Mirror::default()
    };
    let copying = Copying::start(&dir.join("mirror"), &store, &[to]);
    let start = now() - 4000 * STEP / 20;
    for at in 0..4000 {
        step(copying.append.as_ref(), start + at * STEP / 20, at);
        copying.append.sync().await.unwrap();
        println!("durable {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_arrives_although_this_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let killed = tokio::task::spawn_blocking(move || {
        #[allow(clippy::disallowed_methods)] // this program once more
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["outgrow::held::writes_until_it_is_killed", "--exact"])
            .arg("--nocapture")
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last = 0;
        let mut number = |line: String| {
            let number = line.rsplit_once("durable ")?.1.parse().ok()?;
            last = number;
            Some(number)
        };
        while lines
            .next()
            .is_some_and(|line| number(line.unwrap()).is_none_or(|at: i64| at < 150))
        {}
        child.kill().unwrap();
        for line in lines {
            let _ = number(line.unwrap());
        }
        child.wait().unwrap();
        last
    });
    let last = killed.await.unwrap();
    assert!(last >= 150, "{last}");
    // What it left is sent after the next start.
    let other = store(&dir.path().join("other"));
    let write = RemoteWrite::new(other.clone(), door(), Arc::new(SystemClock));
    let routes = receive::router(Arc::new(write)).merge(api(other.clone()));
    let base = server::serve(routes).await + "/prometheus";
    let own = store(&dir.path().join("own"));
    let to = Mirror {
        name: "other".into(),
        url: format!("{base}/api/v1/write"),
        access: access(dir.path()),
        ..Mirror::default()
    };
    let handle = tokio::runtime::Handle::current();
    let work = move || {
        let _entered = handle.enter();
        let copying = Copying::start(&dir.path().join("mirror"), &own, &[to]);
        until("it is sent", || {
            copying.figure("towpath_mirror_pending_items") == 0.0
        });
        assert_eq!(copying.figure("towpath_mirror_failed_total"), 0.0);
        let end = now();
        let count = range(&base, "count_over_time(level{job=\"a\"}[2h])", end, end);
        let count = count[0]["values"][0][1].as_str().unwrap().parse::<i64>();
        let count = count.unwrap();
        // The one that was being written may have come to be there.
        assert!(count == last + 1 || count == last + 2, "{count}, {last}");
    };
    tokio::task::spawn_blocking(work).await.unwrap();
}
