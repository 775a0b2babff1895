//! A push becomes a run, its jobs become pods, their output becomes logs: on a server of its own.

use crate::harness::{Server, able};
use crate::repo::{Repo, ended, job};
use serde_json::{Value, json};

const CACHE_AND_ARTIFACT: &str = r#"name: Whole
on: push
jobs:
  test:
    runs-on: ubuntu-latest
    outputs: {v: "${{ steps.s.outputs.v }}"}
    steps:
      - uses: actions/checkout@v4
      - id: s
        run: test -f a.txt; echo "v=42" >> "$GITHUB_OUTPUT"
      - uses: actions/cache@v4
        id: cache
        with: {path: kept, key: "k-${{ hashFiles('a.txt') }}"}
      - run: echo "hit is '${{ steps.cache.outputs.cache-hit }}'"; mkdir -p kept out; date > kept/x; echo hi > out/a.txt
      - uses: actions/upload-artifact@v4
        with: {name: out, path: out}
      - uses: towpath/gate-secrets@v1
  second:
    needs: test
    runs-on: ubuntu-latest
    strategy: {matrix: {n: [1, 2]}}
    steps:
      - uses: actions/download-artifact@v4
        with: {name: out, path: got}
      - run: echo "$(cat got/a.txt) ${{ needs.test.outputs.v }} ${{ matrix.n }}"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_push_runs_its_jobs() {
    if !able(None) {
        return;
    }
    let server = Server::start();
    let repo = Repo::new(&server);
    repo.push(CACHE_AND_ARTIFACT);
    let run = repo.until("Whole", "the end", ended).await;
    assert_eq!(run["status"]["phase"], "Succeeded", "{run:#?}");
    assert_eq!(run["status"]["gates"][0]["gate"], "secrets");
    assert!(
        repo.log(&run, "second.1", 2, "")
            .await
            .contains("\nhi 42 2\n")
    );
    assert!(repo.log(&run, "test", 4, "").await.contains("hit is ''"));
    let name = run["metadata"]["name"].as_str().expect("name");
    let (_, artifacts) = repo
        .get(&format!("/api/v1/runs/demo/{name}/artifacts"))
        .await;
    assert!(artifacts.contains("\"name\":\"out\""), "{artifacts}");
    let (code, _) = repo
        .get(&format!("/api/v1/runs/demo/{name}/jobs/test/steps/99/log"))
        .await;
    assert_eq!(code, 404);
    let path = format!("/api/v1/runs/demo/{name}/artifacts");
    let anonymous = repo.web.anonymous().ask("GET", &path, "").await;
    assert_eq!(anonymous.expect("answer").0, 401);
    // The second time, the cache is there, and nothing of the first run's jobs is left.
    repo.push(&CACHE_AND_ARTIFACT.replace("Whole", "Again"));
    let run = repo.until("Again", "the end", ended).await;
    assert!(
        repo.log(&run, "test", 4, "")
            .await
            .contains("hit is 'true'"),
        "{run:#?}"
    );
    for kind in ["pods", "secrets"] {
        let (_, text) = repo
            .get(&format!("/k8s/api/v1/namespaces/demo/{kind}"))
            .await;
        let list: Value = serde_json::from_str(&text).expect("JSON");
        let left = list["items"]
            .as_array()
            .expect("items")
            .iter()
            .filter(|o| o["metadata"]["labels"]["towpath.dev/run"] == *name);
        assert_eq!(left.count(), 0, "{kind} of run {name} are left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_a_job_loses_nothing() {
    if !able(None) {
        return;
    }
    let server = Server::start();
    let repo = Repo::new(&server);
    repo.push("name: Long\non: push\njobs:\n  long:\n    runs-on: ubuntu-latest\n    steps:\n      - run: for i in $(seq 1 200); do echo \"line $i\"; sleep 0.03; done\n  next:\n    needs: long\n    runs-on: ubuntu-latest\n    steps: [{run: echo next}]\n");
    repo.until("Long", "output", |r| {
        job(r, "long")["steps"][0]["phase"] == "Running"
    })
    .await;
    server.kill_and_restart();
    let run = repo.until("Long", "the run", |_| true).await;
    let log = repo.log(&run, "long", 1, "?follow=1").await;
    let lines: Vec<String> = log
        .lines()
        .filter(|l| l.starts_with("line "))
        .map(str::to_string)
        .collect();
    let expected: Vec<String> = (1..=200).map(|i| format!("line {i}")).collect();
    assert_eq!(lines, expected);
    let run = repo.until("Long", "the end", ended).await;
    assert_eq!(run["status"]["phase"], "Succeeded", "{run:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_and_run_again_what_failed() {
    if !able(None) {
        return;
    }
    let server = Server::start();
    let repo = Repo::new(&server);
    repo.push("name: Cancel\non: push\njobs:\n  long:\n    runs-on: ubuntu-latest\n    steps:\n      - run: sleep 60\n      - if: always()\n        run: echo cleaned up\n");
    let run = repo
        .until("Cancel", "the start", |r| {
            job(r, "long")["steps"][0]["phase"] == "Running"
        })
        .await;
    let name = run["metadata"]["name"].as_str().expect("name").to_string();
    repo.patch(&name, json!({"cancel": true})).await;
    let run = repo.until("Cancel", "the end", ended).await;
    assert_eq!(run["status"]["phase"], "Cancelled", "{run:#?}");
    assert!(repo.log(&run, "long", 2, "").await.contains("cleaned up"));
    repo.push("name: Flaky\non: push\njobs:\n  good:\n    runs-on: ubuntu-latest\n    steps: [{run: echo good}]\n  flaky:\n    runs-on: ubuntu-latest\n    steps: [{run: 'test ${{ github.run_attempt }} = 2'}]\n");
    let run = repo.until("Flaky", "the end", ended).await;
    assert_eq!(run["status"]["phase"], "Failed", "{run:#?}");
    let first = job(&run, "good")["finishedAt"].clone();
    let name = run["metadata"]["name"].as_str().expect("name").to_string();
    repo.patch(&name, json!({"attempt": 2, "failedOnly": true}))
        .await;
    let run = repo.until("Flaky", "the second end", ended).await;
    assert_eq!(run["status"]["phase"], "Succeeded", "{run:#?}");
    assert_eq!(job(&run, "good")["finishedAt"], first);
    assert!(repo.log(&run, "good", 1, "").await.contains("good"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_workflow_says_where_and_runs_nothing() {
    if !able(None) {
        return;
    }
    let server = Server::start();
    let repo = Repo::new(&server);
    repo.push("name: Broken\non: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - rum: echo\n");
    let run = repo.until("Broken", "the end", ended).await;
    assert_eq!(run["status"]["phase"], "Failed");
    let finding = &run["status"]["findings"][0];
    assert_eq!(
        (&finding["line"], &finding["column"]),
        (&json!(7), &json!(9)),
        "{run:#?}"
    );
    assert_eq!(run["status"]["jobs"], json!([]));
}
