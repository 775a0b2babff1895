//! A workflow with one job, `===`, what its runner reports. Runs programs of this machine, below
//! a directory of its own.

use parking_lot::Mutex;
use serde_json::json;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use towpath_daemon::CancellationToken;
use towpath_pipeline::job::{Event, FORMAT, JobFile, Line};
use towpath_pipeline::runner::run;
use towpath_pipeline::workflow::read;

#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn job(source: &str) -> JobFile {
    let read = read("w.yml", source.as_bytes());
    assert!(read.runs(), "{:#?}", read.findings);
    let workflow = read.workflow.unwrap();
    let job = workflow.jobs.into_iter().next().unwrap();
    JobFile {
        format: FORMAT,
        namespace: "demo".into(),
        repository: "hello".into(),
        run: "hello-1".into(),
        job: job.id,
        server: "http://127.0.0.1:9".into(),
        token: "job-token-for-tests".into(),
        contexts: json!({
            "github": {"sha": "abc", "ref": "refs/heads/main", "repository": "demo/hello", "event_name": "push"},
            "secrets": {"PASSWORD": "hunter2-secret", "KEY": "line one of it\nline two of it"},
            "matrix": {"n": 1}, "needs": {"a": {"outputs": {"x": "from a"}}},
        }),
        event: json!({"ref": "refs/heads/main"}),
        workflow_env: workflow.env,
        env: job.env,
        defaults: job.defaults,
        steps: job.steps,
        outputs: job.outputs,
        timeout_minutes: job.timeout_minutes.map_or(5.0, |t| t.parse().unwrap()),
        cancel_timeout_minutes: 0.2,
        environment: [
            ("PATH", std::env::var("PATH").unwrap()),
            ("HOME", "/tmp".into()),
        ]
        .map(|(k, v)| (k.into(), v))
        .into(),
        ..JobFile::default()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn lines(out: &Out) -> Vec<Line> {
    let bytes = out.0.lock().clone();
    String::from_utf8(bytes)
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}

fn text(lines: &[Line], root: &str) -> String {
    let mut out = String::new();
    for (i, line) in lines.iter().enumerate() {
        assert_eq!(line.n, i as u64 + 1);
        let text = match &line.event {
            Event::Started => "started".into(),
            Event::StepStarted { step, name } => format!("{step} > {name}"),
            Event::Log { step, line, text } => format!("{step}:{line} {text}"),
            Event::Annotation {
                step,
                line,
                finding,
            } => {
                format!(
                    "{step} @{line} {:?} {}:{} {}",
                    finding.severity, finding.file, finding.line, finding.message
                )
            }
            Event::StepEnded {
                step,
                conclusion,
                exit_code,
            } => {
                let code = exit_code.map(|c| format!(" {c}")).unwrap_or_default();
                format!("{step} < {conclusion:?}{code}")
            }
            Event::Image { image } => format!("image {image:?}"),
            Event::Gate { verdict } => format!(
                "gate {} {} {}",
                verdict.gate, verdict.passed, verdict.message
            ),
            Event::Ended {
                conclusion,
                message,
                outputs,
            } => format!("ended {conclusion:?} {message:?} {outputs:?}"),
        };
        out.push_str(&text.replace(root, "ROOT"));
        out.push('\n');
    }
    out
}

#[test]
fn jobs() {
    for path in super::corpus("runner", "txt") {
        let file = std::fs::read_to_string(&path).unwrap();
        let source = file.split("===\n").next().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let out = Out::default();
        let job = job(source);
        runtime().block_on(run(
            job,
            dir.path(),
            Box::new(out.clone()),
            CancellationToken::new(),
        ));
        let found = text(&lines(&out), dir.path().to_str().unwrap());
        assert!(
            !found.contains("hunter2"),
            "{}: a secret got out",
            path.display()
        );
        super::expect(&path, &format!("{source}===\n{found}"));
    }
}

#[test]
fn a_cancelled_job_still_cleans_up() {
    let source = "on: push\njobs:\n  j:\n    runs-on: x\n    steps:\n      - run: |\n          trap 'echo interrupted; exit 3' INT\n          echo waiting\n          sleep 30 & wait\n      - run: echo never\n      - if: always()\n        run: echo cleaned up\n";
    let dir = tempfile::tempdir().unwrap();
    let out = Out::default();
    let cancel = CancellationToken::new();
    let job = job(source);
    let phase = runtime().block_on(async {
        let stop = cancel.clone();
        let watched = out.clone();
        let task = towpath_daemon::spawn("cancel", async move {
            while !String::from_utf8_lossy(&watched.0.lock()).contains("\"text\":\"waiting\"") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            stop.cancel();
        });
        let phase = run(job, dir.path(), Box::new(out.clone()), cancel).await;
        task.await.unwrap();
        phase
    });
    let found = text(&lines(&out), dir.path().to_str().unwrap());
    assert_eq!(phase, towpath_kit::kinds::Phase::Cancelled, "{found}");
    for expected in [
        "interrupted",
        "1 < Cancelled",
        "2 < Skipped",
        "cleaned up",
        "3 < Succeeded",
    ] {
        assert!(found.contains(expected), "{expected} is missing:\n{found}");
    }
    assert!(!found.contains("echo never"), "{found}");
}
