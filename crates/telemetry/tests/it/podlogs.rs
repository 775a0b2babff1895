//! Logs of pods: every line once, over rotation and restarts.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use towpath_query::logql::{self, Direction, Settings, parse_log};
use towpath_signals::logs::{LogStore, Options};
use towpath_stdx::{Clock, SystemClock};
use towpath_telemetry::podlogs::{Collector, PodNames, Pods};

struct One;

impl Pods for One {
    fn pod(&self, uid: &str) -> Option<PodNames> {
        (uid == "uid-1").then(|| PodNames {
            namespace: "shop".to_owned(),
            name: "cart-1".to_owned(),
            app: "cart".to_owned(),
            origin: vec![("release".to_owned(), "cart-abc".to_owned())],
        })
    }
}

struct Running {
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(dir: &Path, store: &Arc<LogStore>) -> Self {
        let cancel = CancellationToken::new();
        let collector = Collector {
            logs: dir.join("logs"),
            positions: dir.join("positions"),
            node: "n1".to_owned(),
            pods: Arc::new(One),
            store: store.clone(),
        };
        let task = towpath_daemon::spawn("collect", collector.run(cancel.clone()));
        Self { cancel, task }
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap();
    }
}

fn store(dir: &Path) -> Arc<LogStore> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Arc::new(LogStore::open(&dir.join("store"), Options::default(), clock).unwrap())
}

fn append(file: &Path, lines: &[(u32, &str, &str)]) {
    let now = SystemClock.rfc3339();
    let mut out = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .unwrap();
    for (number, tag, text) in lines {
        let time = now.trim_end_matches('Z');
        writeln!(out, "{time}.{number:09}Z stdout {tag} {text}").unwrap();
    }
}

async fn lines(store: &LogStore, wanted: usize) -> Vec<String> {
    let query =
        parse_log("{namespace=\"shop\", pod=\"cart-1\", app=\"cart\", node=\"n1\"}").unwrap();
    for _ in 0..200 {
        let all = (0, i64::MAX);
        let settings = Settings::default();
        let answer = logql::logs(&query, all, Direction::Forward, 1000, store, &settings);
        let entries = answer.unwrap().entries;
        if entries.len() >= wanted {
            for entry in &entries {
                assert_eq!(entry.metadata.get("release"), "cart-abc");
                assert_eq!(entry.stream.get("container"), "main");
            }
            return entries.into_iter().map(|entry| entry.line).collect();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("fewer than {wanted} lines came");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_once() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs/uid-1/main");
    let unknown = dir.path().join("logs/uid-2/main");
    std::fs::create_dir_all(&logs).unwrap();
    std::fs::create_dir_all(&unknown).unwrap();
    let file = logs.join("0.log");
    append(&file, &[(1, "F", "one"), (2, "P", "tw"), (2, "F", "o")]);
    append(&unknown.join("0.log"), &[(1, "F", "nobody's")]);
    let held = store(dir.path());
    let running = Running::start(dir.path(), &held);
    assert_eq!(lines(&held, 2).await, ["one", "two"]);
    append(&file, &[(3, "F", "three")]);
    assert_eq!(lines(&held, 3).await.len(), 3);
    std::fs::rename(&file, logs.join("0.log.1")).unwrap();
    append(&file, &[(4, "F", "four")]);
    append(&logs.join("1.log"), &[(5, "F", "five")]);
    let all = ["one", "two", "three", "four", "five"];
    assert_eq!(lines(&held, 5).await, all);
    running.stop().await;

    // What was written meanwhile comes, what was there does not come again.
    append(&file, &[(6, "F", "six")]);
    std::fs::rename(&file, logs.join("0.log.2")).unwrap();
    append(&file, &[(7, "F", "seven")]);
    drop(held);
    let held = store(dir.path());
    let running = Running::start(dir.path(), &held);
    let all = ["one", "two", "three", "four", "five", "six", "seven"];
    assert_eq!(lines(&held, 7).await, all);
    running.stop().await;

    // Even where it was not kept how far logs were read.
    std::fs::remove_file(dir.path().join("positions")).unwrap();
    drop(held);
    let held = store(dir.path());
    let running = Running::start(dir.path(), &held);
    append(&logs.join("1.log"), &[(8, "F", "eight")]);
    assert_eq!(lines(&held, 8).await.len(), 8);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(lines(&held, 8).await.len(), 8);
    running.stop().await;
}
