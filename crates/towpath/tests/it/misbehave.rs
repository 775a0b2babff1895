//! Jobs that misbehave: each is stopped by its limits and named, and nobody else notices.

use crate::harness::{Server, able, busybox};
use crate::kills::{start_app, visit};
use crate::repo::{Repo, ended, job};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LIMITS: &str = "[jobs]\ncpu = \"1\"\nmemory = \"160Mi\"\ndisk = \"96Mi\"\nprocesses = 200\n";

/// How long requests took while a job misbehaved.
#[derive(Debug)]
struct Answers {
    count: usize,
    failed: usize,
    worst: Duration,
}

impl Answers {
    fn of(mut times: Vec<Duration>, failed: usize) -> Self {
        times.sort();
        Self {
            count: times.len(),
            failed,
            worst: times.last().copied().unwrap_or_default(),
        }
    }

    // Generous in time, since tests run beside others; strict in what is answered.
    fn check(&self, who: &str) {
        eprintln!("  {who}: {self:?}");
        assert_eq!(self.failed, 0, "{who}: {self:?}");
        assert!(self.count > 2, "{who}: {self:?}");
        assert!(self.worst < Duration::from_secs(10), "{who}: {self:?}");
    }
}

// Asks again and again until told to stop.
fn measure(stop: &AtomicBool, ask: impl Fn() -> bool) -> Answers {
    let (mut times, mut failed) = (Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        if ask() {
            times.push(begin.elapsed());
        } else {
            failed += 1;
        }
        std::thread::sleep(Duration::from_millis(40));
    }
    Answers::of(times, failed)
}

fn workflow(name: &str, script: &str) -> String {
    let mut text = format!(
        "name: {name}\non: push\njobs:\n  bad:\n    runs-on: ubuntu-latest\n    timeout-minutes: 3\n    steps:\n      - run: |\n"
    );
    for line in script.lines() {
        text.push_str(&format!("          {line}\n"));
    }
    text.push_str("      - if: always()\n        run: echo the end\n");
    text
}

#[test]
fn each_is_stopped_and_named_and_the_rest_goes_on() {
    let Some(busybox) = busybox().filter(|_| able(None)) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let server = Server::start_with(LIMITS, |_| {});
    let repo = Repo::new(&server);
    let (address, app) = start_app(&server, &repo.web, &runtime, &busybox);
    let cases = [
        // Never ends by itself: what cannot be started is tried again.
        (
            "Forks",
            "bomb() { while true; do sleep 600 & done; }\nbomb",
            "limit of 200 processes",
        ),
        // In the background, out of the step's process group.
        (
            "Hides",
            "setsid bash -c 'while true; do setsid sleep 600 & done' &\nsleep 600",
            "limit of 200 processes",
        ),
        (
            "Eats",
            "python3 -c 'b = []\nwhile True: b.append(bytes(8 << 20))'",
            "memory",
        ),
        (
            "Fills",
            "while true; do head -c 8000000 /dev/zero >> big; sleep 0.05; done",
            "limit of 96 MiB",
        ),
        // In the background, while the step itself only waits.
        (
            "Spills",
            "setsid bash -c 'while true; do head -c 8000000 /dev/zero >> /tmp/big; sleep 0.05; done' &\nsleep 600",
            "limit of 96 MiB",
        ),
    ];
    for (name, script, words) in cases {
        let stop = AtomicBool::new(false);
        let begin = Instant::now();
        repo.push(&workflow(name, script));
        let (run, api, visits) = std::thread::scope(|scope| {
            let api = scope.spawn(|| {
                measure(&stop, || {
                    let path = "/k8s/api/v1/namespaces/demo/pods";
                    runtime
                        .block_on(repo.web.ask("GET", path, ""))
                        .is_ok_and(|(code, _)| code == 200)
                })
            });
            let visits = scope.spawn(|| {
                measure(&stop, || {
                    visit(&address).is_ok_and(|t| t.ends_with("hello\n"))
                })
            });
            struct Stop<'a>(&'a AtomicBool);
            impl Drop for Stop<'_> {
                fn drop(&mut self) {
                    self.0.store(true, Ordering::Relaxed);
                }
            }
            let run = {
                let _stop = Stop(&stop);
                runtime.block_on(repo.until(name, "the end", ended))
            };
            let api = api.join().expect("requests");
            (run, api, visits.join().expect("visits"))
        });
        eprintln!(
            "{name}: {} after {:?}",
            run["status"]["message"],
            begin.elapsed()
        );
        assert_eq!(run["status"]["phase"], "Failed", "{:#}", run["status"]);
        let bad = job(&run, "bad");
        // The node looks at disks as well, and may be first; its way of ending takes the whole pod.
        let evicted = "ephemeral local storage usage exceeds the total limit";
        let message = bad["message"].as_str().unwrap_or_default();
        if words.contains("MiB") && message.contains(evicted) {
            api.check("API");
            visits.check("app");
            continue;
        }
        for text in [&run["status"]["message"], &bad["message"]] {
            assert!(
                text.as_str().is_some_and(|t| t.contains(words)),
                "{:#}",
                run["status"]
            );
        }
        // As a finding of the step, and on the command line.
        let annotations = bad["steps"][0]["annotations"].to_string();
        assert!(annotations.contains(words), "{annotations}");
        let id = run["metadata"]["name"].as_str().expect("name");
        let log = server.run(&["logs", "--run", id]);
        let log = String::from_utf8_lossy(&log.stdout).into_owned();
        assert!(log.contains(words), "{log}");
        // What has to be done in any case is done.
        assert_eq!(bad["steps"][1]["phase"], "Succeeded", "{:#}", run["status"]);
        api.check("API");
        visits.check("app");
    }
    let pod = runtime.block_on(repo.web.object("/api/v1/namespaces/demo/pods/app"));
    let container = |pod: &Value| pod["status"]["containerStatuses"][0]["containerID"].clone();
    assert_eq!(container(&pod), container(&app), "the app was not touched");
    assert_eq!(
        pod["status"]["containerStatuses"][0]["restartCount"],
        json!(0)
    );
}
