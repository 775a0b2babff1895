//! A bad commit's alert opens a case by itself that names the commit; the case survives a crash,
//! and rolling back confirms the cause and closes it.

use crate::commits::{WORKFLOW, project};
use crate::harness::{Server, able, busybox};
use crate::repo::Repo;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SETTINGS: &str = "[telemetry]\nscrape-interval = \"1s\"\ncase-quiet = \"3s\"\n";
const RULES: &str = r#"
groups:
- name: target
  interval: 1s
  rules:
  - alert: Restarts
    expr: kube_pod_container_status_restarts_total{namespace="target"} >= 1
    labels: {severity: critical}
    annotations: {summary: "{{ $labels.pod }} ends again and again"}
  - alert: RestartsInNamespace
    expr: sum by (namespace) (kube_pod_container_status_restarts_total{namespace="target"}) >= 1
    labels: {severity: warning}
"#;
const DOCKERFILE: &str = "\
FROM scratch
COPY busybox /bin/busybox
COPY a.txt /a.txt
ENTRYPOINT [\"/bin/busybox\", \"sh\", \"-c\", \"trap exit TERM; . /a.txt; while true; do /bin/busybox sleep 0.1; done\"]
";
const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: hello, image: demo/hello}]
";

async fn wait<T>(server: &Server, what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(
            Instant::now() < end,
            "{what} did not happen\n{}",
            server.log()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn cases(repo: &Repo<'_>, state: &str) -> Vec<Value> {
    let (code, text) = repo.get(&format!("/api/v1/cases?state={state}")).await;
    assert_eq!(code, 200, "{text}");
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    answer["cases"].as_array().cloned().unwrap_or_default()
}

async fn case(repo: &Repo<'_>, id: &str) -> Value {
    let (code, text) = repo.get(&format!("/api/v1/cases/{id}")).await;
    assert_eq!(code, 200, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

// Until all pods of the environment are of a commit and run.
async fn runs(server: &Server, repo: &Repo<'_>, sha: &str) {
    wait(server, &format!("pods of {sha}"), async || {
        let pods = repo.web.items("/api/v1/namespaces/target/pods").await;
        let here = |pod: &Value| {
            pod["metadata"]["labels"]["towpath.dev/commit"] == sha
                && pod["status"]["containerStatuses"][0]["started"] == true
        };
        (!pods.is_empty() && pods.iter().all(here)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_commit_opens_a_case_that_names_it_and_rollback_confirms_it() {
    let Some(busybox) = busybox().filter(|_| able(None)) else {
        return;
    };
    let server = Server::start_with(SETTINGS, |data| {
        let rules = data.join("telemetry/rules");
        std::fs::create_dir_all(&rules).expect("directory");
        std::fs::write(rules.join("target.yml"), RULES).expect("rules");
    });
    let repo = project(&server, busybox, json!({"auto": true})).await;
    repo.write("Dockerfile", DOCKERFILE);
    repo.write("a.txt", "echo all is well\n");
    repo.write("deploy/app.yaml", DEPLOYMENT);
    let good = repo.push(WORKFLOW);
    runs(&server, &repo, &good).await;
    // What it says is known before it is replaced, or nothing could be new.
    let said = "/loki/api/v1/query_range?query=%7Bnamespace%3D%22target%22%7D%20%7C%3D%20%60all%20is%20well%60";
    wait(&server, "the lines of the good commit", async || {
        let (_, text) = repo.get(said).await;
        text.contains(r#""values":[["#).then_some(())
    })
    .await;
    assert!(cases(&repo, "open").await.is_empty());

    // Ends with the server.
    server.shell(&format!(
        "curl -sS -N -u any:{} {}/api/v1/cases/changes > changes.txt 2>&1 &",
        server.token, server.url
    ));
    repo.write(
        "a.txt",
        "/bin/busybox sleep 4; echo SettingsError: no such table; exit 3\n",
    );
    let bad = repo.push(WORKFLOW);
    let line = wait(&server, "a case of the bad commit", async || {
        let open = cases(&repo, "open").await;
        open.into_iter()
            .find(|case| case["cause"]["commit"] == bad && case["alerts"] == 2)
    })
    .await;
    // Both alerts, of the pod and of its namespace, are one case, with whom and since when.
    let id = line["id"].as_str().expect("name").to_string();
    assert_eq!(cases(&repo, "open").await.len(), 1);
    assert_eq!(line["severity"], "critical");
    assert_eq!(line["subject"]["environment"], "hello-dev");
    let whole = wait(&server, "what the program said", async || {
        let whole = case(&repo, &id).await;
        let looked = whole["looked"].to_string();
        let new = whole["news"].to_string();
        (looked.contains("no such table") && new.contains("SettingsError")).then_some(whole)
    })
    .await;
    let first = &whole["causes"][0];
    assert_eq!(first["change"]["release"], format!("hello-{}", &bad[..12]));
    assert_eq!(first["verdict"], "suspected");
    assert!(
        first["evidence"][0]["query"]["text"].is_string(),
        "{first:#}"
    );
    let alert = &whole["alerts"][0];
    assert!(
        alert["query"]
            .as_str()
            .is_some_and(|q| q.contains("restarts_total"))
    );
    assert!(
        alert["value"].as_f64().is_some_and(|v| v >= 1.0),
        "{alert:#}"
    );
    let action = whole["actions"][0]["command"].as_str().unwrap_or_default();
    assert!(
        action.starts_with("towpath rollback hello-dev"),
        "{whole:#}"
    );
    // The command line says the same.
    let said = server.run(&["why", &id]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.contains(&bad[..12]) && said.contains("no such table"),
        "{said}"
    );
    let said = server.run(&["cases"]);
    assert_eq!(said.status.code(), Some(1));
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains(&id) && said.contains(&bad[..12]), "{said}");
    let said = server.run(&["why", &bad[..8]]);
    assert!(String::from_utf8_lossy(&said.stdout).contains(&id));
    assert_eq!(
        server.run(&["why", "c-0000000000000000"]).status.code(),
        Some(6)
    );
    assert_eq!(server.run(&["why", "nothing"]).status.code(), Some(6));

    let changes = std::fs::read_to_string(server.dir().join("changes.txt")).expect("changes");
    let told = format!(r#"{{"id":"{id}"}}"#);
    assert!(changes.lines().any(|line| line == told), "{changes}");

    server.kill_and_restart();
    let open = cases(&repo, "open").await;
    assert_eq!(open.len(), 1, "{open:#?}");
    assert_eq!(open[0]["id"], id);
    // Rules tell of the end only of what they have seen fire since the start; without that the case
    // waits for some minutes.
    wait(&server, "alerts after the restart", async || {
        let (_, text) = repo.get("/prometheus/api/v1/alerts").await;
        let fires = |name: &str| text.contains(&format!(r#""alertname":"{name}""#));
        (fires("Restarts") && fires("RestartsInNamespace")).then_some(())
    })
    .await;

    server.ok(&["rollback", "hello-dev", "-m", "it ends again and again"]);
    runs(&server, &repo, &good).await;
    let end = Instant::now() + Duration::from_secs(120);
    while cases(&repo, "closed").await.iter().all(|c| c["id"] != id) {
        if Instant::now() > end {
            let (_, alerts) = repo.get("/prometheus/api/v1/alerts").await;
            let whole = case(&repo, &id).await;
            panic!("the case goes on: {whole:#}\n{alerts}\n{}", server.log());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let whole = case(&repo, &id).await;
    assert_eq!(whole["causes"][0]["verdict"], "confirmed", "{whole:#}");
    assert_eq!(whole["causes"][0]["change"]["commit"], bad);
    let deeds = whole["interventions"].as_array().expect("interventions");
    let back = deeds.iter().find(|deed| deed["kind"] == "rollback");
    assert_eq!(
        back.expect("the rollback")["outcome"],
        "confirmed",
        "{whole:#}"
    );
    assert!(cases(&repo, "open").await.is_empty());
    let said = server.ok(&["why", &id]);
    assert!(said.contains("confirmed"), "{said}");
    server.ok(&["cases"]);
    server.down();
}
