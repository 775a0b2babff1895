//! What is older is asked of the real server, and of another Towpath.

use std::sync::Arc;

use serde_json::Value as Json;
use towpath_signals::Read;
use towpath_signals::metrics::Store;
use towpath_stdx::{Clock, SystemClock};
use towpath_telemetry::outgrow::serve::{Limits, RemoteRead};
use towpath_telemetry::outgrow::settings::ReadThrough;
use towpath_telemetry::outgrow::through::{Both, Through};

use super::copied::Copying;
use super::server::{self, Prometheus};
use super::{STEP, api, equal, now, step, store, until};

/// Samples of here, and of a server before a time.
pub(crate) fn both(here: &Arc<Store>, url: &str, before: i64, replicas: &[&str]) -> Arc<dyn Read> {
    let before = jiff::Timestamp::from_millisecond(before).unwrap();
    let settings = ReadThrough {
        url: url.into(),
        before: before.to_string(),
        timeout: "5s".into(),
        replica_labels: replicas.iter().map(ToString::to_string).collect(),
        ..ReadThrough::default()
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let through = Through::new(&[settings], &clock).unwrap();
    Arc::new(Both::new(here.clone(), through.samples))
}

/// Warnings of the answer to a query over a range.
fn warnings(base: &str, start: i64, end: i64) -> Vec<String> {
    let (start, end) = (start / 1000, end / 1000);
    let path = format!("/api/v1/query_range?query=level&start={start}&end={end}&step=15");
    let (status, body) = server::get(base, &path);
    let reply: Json = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200, "{body}");
    assert!(!reply["data"]["result"].as_array().unwrap().is_empty());
    let list = reply["warnings"].as_array().cloned().unwrap_or_default();
    list.iter()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

fn names(base: &str, path: &str) -> String {
    let (status, body) = server::get(base, path);
    assert_eq!(status, 200, "{body}");
    let reply: Json = serde_json::from_str(&body).unwrap();
    reply["data"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_of_the_real_server_and_the_present_of_here_are_one() {
    let Some(program) = server::program() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let end = now();
    let start = end - 200 * STEP;
    let cut = start + 100 * STEP;
    // One has everything, one what is new; the old goes to the real server alone.
    let all = store(&dir.path().join("all"));
    let new = store(&dir.path().join("new"));
    for at in 0..=200 {
        step(all.as_ref(), start + at * STEP, at);
    }
    let old = store(&dir.path().join("old"));
    let whole = server::serve(api(all)).await + "/prometheus";
    let handle = tokio::runtime::Handle::current();
    let work = move || {
        let _entered = handle.enter();
        let config = "global: {external_labels: {replica: one}}\n";
        let flags = ["--web.enable-remote-write-receiver"];
        let other = Prometheus::start(&program, dir.path(), config, &flags);
        let to = towpath_telemetry::outgrow::settings::Mirror {
            url: format!("{}/api/v1/write", other.base),
            ..Default::default()
        };
        let copying = Copying::start(&dir.path().join("mirror"), &old, &[to]);
        for at in 0..100 {
            step(copying.append.as_ref(), start + at * STEP, at);
        }
        for at in 100..=200 {
            step(new.as_ref(), start + at * STEP, at);
        }
        until("the old is there", || {
            copying.figure("towpath_mirror_pending_items") == 0.0
        });
        let read = both(&new, &other.base, cut, &["replica"]);
        let here = handle.block_on(server::serve(api(read))) + "/prometheus";
        equal(&here, &whole, start + 40 * STEP, end);
        assert_eq!(warnings(&here, start + 40 * STEP, end), [""; 0]);
        let span = format!("start={}&end={}", start / 1000, (cut - STEP) / 1000);
        for path in [
            format!("/api/v1/labels?{span}"),
            format!("/api/v1/label/__name__/values?{span}"),
            format!("/api/v1/series?match[]=level&{span}"),
        ] {
            assert_eq!(names(&here, &path), names(&whole, &path), "{path}");
        }
        // It is gone: what is here is answered, with a word about the rest.
        other.kill();
        let told = warnings(&here, start + 40 * STEP, end);
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with("read-through: what is before 20"),
            "{told:?}"
        );
        // Of what is new it is not even asked.
        assert_eq!(warnings(&here, cut + 60 * STEP, end), [""; 0]);
    };
    tokio::task::spawn_blocking(work).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_towpath_is_asked_alike() {
    let dir = tempfile::tempdir().unwrap();
    let end = now();
    let start = end - 100 * STEP;
    let cut = start + 50 * STEP;
    let all = store(&dir.path().join("all"));
    let new = store(&dir.path().join("new"));
    for at in 0..=100 {
        step(all.as_ref(), start + at * STEP, at);
        if at >= 50 {
            step(new.as_ref(), start + at * STEP, at);
        }
    }
    let read = RemoteRead::new(all.clone(), Arc::new(SystemClock), Limits::default());
    let whole = server::serve(api(all).merge(read.router(None))).await + "/prometheus";
    let here = server::serve(api(both(&new, &whole, cut, &[]))).await + "/prometheus";
    tokio::task::spawn_blocking(move || equal(&here, &whole, start + 40 * STEP, end))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_costs_one_wait() {
    let dir = tempfile::tempdir().unwrap();
    let new = store(dir.path());
    let end = now();
    for at in 0..=20 {
        step(new.as_ref(), end - (20 - at) * STEP, at);
    }
    // It takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let here = server::serve(api(both(&new, &url, end, &[]))).await + "/prometheus";
    let spent = tokio::task::spawn_blocking(move || {
        let began = SystemClock.monotonic();
        for _ in 0..4 {
            let told = warnings(&here, end - 10 * STEP, end);
            assert!(told[0].contains("no answer from"), "{told:?}");
        }
        SystemClock.monotonic() - began
    });
    assert!(spent.await.unwrap().as_secs() < 10);
}
