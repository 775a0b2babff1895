//! What comes in is copied to the real server, and to another Towpath.

use std::path::Path;
use std::sync::Arc;

use towpath_daemon::CancellationToken;
use towpath_signals::Append;
use towpath_signals::metrics::Store;
use towpath_stdx::SystemClock;
use towpath_telemetry::family::Gather;
use towpath_telemetry::outgrow::mirror::Mirrors;
use towpath_telemetry::outgrow::settings::{Mirror, Relabel};

use super::server::{self, Prometheus};
use super::{STEP, api, equal, now, range, step, store, until};

/// A store whose samples are copied, until it is dropped: nothing is closed then.
pub(crate) struct Copying {
    pub(crate) append: Arc<dyn Append>,
    mirrors: Mirrors,
    stop: CancellationToken,
}

impl Copying {
    pub(crate) fn start(dir: &Path, store: &Arc<Store>, to: &[Mirror]) -> Self {
        let mirrors = Mirrors::open(dir, to, Arc::new(SystemClock)).unwrap();
        let stop = CancellationToken::new();
        mirrors.start(&stop);
        Self {
            append: mirrors.samples(store.clone()),
            mirrors,
            stop,
        }
    }

    pub(crate) fn figure(&self, name: &str) -> f64 {
        let families = tokio::runtime::Handle::current()
            .block_on(self.mirrors.figures().gather())
            .unwrap();
        let family = families.into_iter().find(|family| family.name == name);
        family.unwrap().samples[0].value
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn copied(flags: &'static [&'static str], sent_histograms: bool) {
    let Some(program) = server::program() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir.path().join("own"));
    let here = server::serve(api(store.clone())).await + "/prometheus";
    let handle = tokio::runtime::Handle::current();
    let work = move || {
        let _entered = handle.enter();
        let flags = [&["--web.enable-remote-write-receiver"], flags].concat();
        let other = Prometheus::start(&program, dir.path(), "", &flags);
        let to = Mirror {
            name: "peer".into(),
            url: format!("{}/api/v1/write", other.base),
            ..Mirror::default()
        };
        let queues = dir.path().join("mirror");
        let end = now();
        let start = end - 200 * STEP;
        let copying = Copying::start(&queues, &store, std::slice::from_ref(&to));
        for at in 0..60 {
            step(copying.append.as_ref(), start + at * STEP, at);
        }
        until("the first part is there", || {
            copying.figure("towpath_mirror_pending_items") == 0.0
        });
        // It goes away; what comes meanwhile waits.
        other.kill();
        for at in 60..120 {
            step(copying.append.as_ref(), start + at * STEP, at);
        }
        assert!(copying.figure("prometheus_remote_storage_samples_pending") > 60.0);
        // So does this side; what waits is on the disk.
        drop(copying);
        let copying = Copying::start(&queues, &store, &[to]);
        for at in 120..=200 {
            step(copying.append.as_ref(), start + at * STEP, at);
        }
        let waits = copying.figure("towpath_mirror_pending_items");
        assert!(waits > 140.0 * 5.0, "{waits} wait");
        let other = Prometheus::start(&program, dir.path(), "", &flags);
        until("the rest is there", || {
            copying.figure("towpath_mirror_pending_items") == 0.0
        });
        assert_eq!(copying.figure("towpath_mirror_failed_total"), 0.0);
        assert_eq!(copying.figure("towpath_mirror_dropped_total"), 0.0);
        assert!(sent_histograms);
        equal(&here, &other.base, start + 40 * STEP, end);
        std::fs::read_dir(queues.join("metrics-peer"))
            .unwrap()
            .count()
    };
    // The note of how far it was sent is all that is left.
    assert_eq!(tokio::task::spawn_blocking(work).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_arrive_although_both_sides_are_killed() {
    copied(&[], true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_version_1_alone_gets_that() {
    let flag = "--web.remote-write-receiver.accepted-protobuf-messages=prometheus.WriteRequest";
    copied(Box::leak(Box::new([flag])), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_are_changed_on_the_way() {
    let Some(program) = server::program() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir.path().join("own"));
    let handle = tokio::runtime::Handle::current();
    let work = move || {
        let _entered = handle.enter();
        let flags = ["--web.enable-remote-write-receiver"];
        let other = Prometheus::start(&program, dir.path(), "", &flags);
        let to = Mirror {
            url: format!("{}/api/v1/write", other.base),
            external_labels: [("cluster".to_owned(), "north".to_owned())].into(),
            write_relabel_configs: vec![Relabel {
                source_labels: Some(vec!["__name__".into()]),
                regex: Some("level|sometimes".into()),
                action: "keep".into(),
                ..Relabel::default()
            }],
            ..Mirror::default()
        };
        let copying = Copying::start(&dir.path().join("mirror"), &store, &[to]);
        let end = now();
        for at in 0..=5 {
            step(copying.append.as_ref(), end - (5 - at) * STEP, at);
        }
        until("it is there", || {
            copying.figure("towpath_mirror_pending_items") == 0.0
        });
        let got = range(
            &other.base,
            "count by (__name__, cluster) ({job!=\"\"})",
            end,
            end,
        );
        let names: Vec<String> = got
            .as_array()
            .unwrap()
            .iter()
            .map(|series| series["metric"].to_string())
            .collect();
        assert_eq!(
            names,
            [
                r#"{"__name__":"level","cluster":"north"}"#,
                r#"{"__name__":"sometimes","cluster":"north"}"#
            ]
        );
    };
    tokio::task::spawn_blocking(work).await.unwrap();
}
