//! From a push to pods that name its commit; what did not change stays as it is.

use crate::harness::{Server, able, busybox};
use crate::repo::Repo;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Makes the image of a push and stores it.
pub(crate) const WORKFLOW: &str = "\
name: Deliver
on: push
jobs:
  image:
    runs-on: ubuntu-latest
    steps:
    - uses: actions/checkout@v4
    - uses: docker/build-push-action@v6
      with: {context: ., push: true, tags: 'demo/hello:latest'}
";
const DOCKERFILE: &str = "\
FROM scratch
COPY busybox /bin/busybox
COPY a.txt /a.txt
ENTRYPOINT [\"/bin/busybox\", \"sh\", \"-c\", \"trap exit TERM; while true; do /bin/busybox sleep 0.1; done\"]
";
const DEPLOYMENTS: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      terminationGracePeriodSeconds: 2
      containers: [{name: hello, image: demo/hello}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: beside}
spec:
  selector: {matchLabels: {app: beside}}
  template:
    metadata: {labels: {app: beside}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: beside
        image: host.towpath.dev/rootfs
        command: [sh, -c, 'trap \"exit 0\" TERM; while true; do sleep 0.1; done']
";
const KUSTOMIZATION: &str =
    "resources: [app.yaml]\nimages:\n- name: demo/hello\n  newTag: latest\n";

fn environment(promotion: Value) -> Value {
    json!({
        "apiVersion": "towpath.dev/v1alpha1", "kind": "Environment",
        "metadata": {"name": "hello-dev", "namespace": "demo"},
        "spec": {"repository": "hello", "stage": "dev", "branch": "main", "path": "deploy",
            "namespace": "target", "promotion": promotion},
    })
}

// The project and its environment, before the first push.
pub(crate) async fn project<'a>(
    server: &'a Server,
    busybox: PathBuf,
    promotion: Value,
) -> Repo<'a> {
    let repo = Repo::new(server);
    std::fs::copy(busybox, repo.dir.join("busybox")).expect("busybox");
    repo.write("Dockerfile", DOCKERFILE);
    repo.write("deploy/app.yaml", DEPLOYMENTS);
    repo.write("deploy/kustomization.yaml", KUSTOMIZATION);
    let path = "/apis/towpath.dev/v1alpha1/namespaces/demo/environments";
    repo.web.create(path, &environment(promotion)).await;
    repo
}

// The pods of the environment, once there are two, all ready, and one names the commit.
async fn pods(server: &Server, repo: &Repo<'_>, sha: &str) -> (Value, Value) {
    let end = Instant::now() + Duration::from_secs(90);
    loop {
        let pods = repo.web.items("/api/v1/namespaces/target/pods").await;
        let of = |app: &str| {
            let mut found = pods
                .iter()
                .filter(|p| p["metadata"]["labels"]["app"] == app);
            found.next().cloned().unwrap_or_default()
        };
        let ready = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
        let (hello, beside) = (of("hello"), of("beside"));
        let named = hello["metadata"]["labels"]["towpath.dev/commit"] == sha;
        if pods.len() == 2 && pods.iter().all(ready) && named {
            return (hello, beside);
        }
        assert!(
            Instant::now() < end,
            "no pods of {sha}: {pods:#?}\n{:#?}\n{}",
            repo.runs().await,
            server.log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_name_the_commit_of_their_image() {
    let Some(busybox) = busybox().filter(|_| able(Some("kubectl"))) else {
        return;
    };
    let server = Server::start();
    let repo = project(&server, busybox, json!({"auto": true})).await;
    let first = repo.push(WORKFLOW);
    let (hello, beside) = pods(&server, &repo, &first).await;
    let labels = &hello["metadata"]["labels"];
    assert_eq!(labels["towpath.dev/environment"], "hello-dev");
    let release = format!("hello-{}", &first[..12]);
    assert_eq!(labels["towpath.dev/release"], release);
    assert_eq!(
        beside["metadata"]["labels"]["towpath.dev/commit"],
        Value::Null
    );

    repo.write("a.txt", "b");
    let second = repo.push(WORKFLOW);
    let (_, still) = pods(&server, &repo, &second).await;
    assert_eq!(still["metadata"]["uid"], beside["metadata"]["uid"]);
    let table = server.kubectl_ok(&["get", "pods", "-n", "target", "-L", "towpath.dev/commit"]);
    assert!(
        table.contains("COMMIT") && table.contains(&second),
        "{table}"
    );
    let columns = "custom-columns=C:.metadata.annotations.towpath\\.dev/commit";
    let command = [
        "get",
        "deployments",
        "-n",
        "target",
        "--no-headers",
        "-o",
        columns,
    ];
    let commits = server.kubectl_ok(&command);
    assert_eq!(commits, format!("{second}\n{second}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_promotion_is_taken_back_and_the_command_says_so() {
    let Some(busybox) = busybox().filter(|_| able(None)) else {
        return;
    };
    let server = Server::start();
    let repo = project(&server, busybox, json!({"autoRollback": true})).await;
    let promote = async |sha: &str| {
        let path = "/apis/towpath.dev/v1alpha1/namespaces/demo/releases";
        let end = Instant::now() + Duration::from_secs(90);
        while !repo
            .web
            .items(path)
            .await
            .iter()
            .any(|r| r["spec"]["sha"] == sha)
        {
            assert!(Instant::now() < end, "no release\n{}", server.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let output = server.run(&["promote", sha, "hello-dev", "--wait"]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), words)
    };
    let good = repo.push(WORKFLOW);
    let (code, words) = promote(&good).await;
    assert_eq!(code, Some(0), "{words}");
    let wrong = "---\napiVersion: v1\nkind: Service\nmetadata: {name: wrong}\nspec: {ports: [{port: 99999999}]}\n";
    repo.write("deploy/app.yaml", &format!("{DEPLOYMENTS}{wrong}"));
    let bad = repo.push(WORKFLOW);
    let (code, words) = promote(&bad).await;
    assert_eq!(code, Some(5), "{words}");
    assert!(
        words.contains("wrong") && words.contains("taking it back"),
        "{words}"
    );
    pods(&server, &repo, &good).await;
    let path = "/apis/towpath.dev/v1alpha1/namespaces/demo/environments/hello-dev";
    let status = repo.web.object(path).await["status"].clone();
    assert_eq!(status["sha"], good);
    let (code, words) = promote(&bad).await;
    assert!(
        code == Some(1) && words.contains("on hold"),
        "{code:?} {words}"
    );
}
