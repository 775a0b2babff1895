//! `kill -9` in the middle of a GitOps sync: the next server finishes it by itself.

use crate::harness::{Server, able};
use crate::repo::Repo;
use crate::web::Web;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const KILLS: usize = 25;
const MAPS: usize = 40;
const LIST: &str = "/api/v1/namespaces/target/configmaps?labelSelector=campaign%3Dsync";
const APP: &str = "/apis/argoproj.io/v1alpha1/namespaces/demo/applications/campaign";

// Forty objects in four waves that all say which round they are of, one that is new in this
// round and, with it, one of the round before that has to go.
fn manifests(round: usize) -> String {
    let mut text = String::new();
    for number in 0..MAPS {
        let wave = number / 10;
        write!(
            text,
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: map-{number}\n  labels: {{campaign: sync}}\n  annotations: {{argocd.argoproj.io/sync-wave: \"{wave}\"}}\ndata: {{round: \"{round}\"}}\n"
        )
        .expect("text");
    }
    write!(
        text,
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: only-{round}, labels: {{campaign: sync}}}}\ndata: {{round: \"{round}\"}}\n\
         ---\napiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{selector: {{app: web}}, ports: [{{port: {}}}]}}\n",
        1000 + round
    )
    .expect("text");
    text
}

fn application() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"name": "campaign", "namespace": "demo"},
        "spec": {
            "project": "default",
            "source": {"repoURL": "towpath://demo/hello", "targetRevision": "main", "path": "deploy"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "target"},
            "syncPolicy": {"automated": {"prune": true, "selfHeal": true}},
        },
    })
}

// How many of the objects are of this round.
async fn applied(web: &Web, round: usize) -> usize {
    let Ok((200, text)) = web.ask("GET", &format!("/k8s{LIST}"), "").await else {
        return 0;
    };
    let list: Value = serde_json::from_str(&text).unwrap_or_default();
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let round = round.to_string();
    let of_round = |item: &&Value| item["data"]["round"] == round.as_str();
    items.iter().filter(of_round).count()
}

// Waits until the application says that this commit is applied; returns how long that took.
async fn synced(server: &Server, web: &Web, sha: &str) -> Duration {
    let begin = Instant::now();
    loop {
        let app = web.object(APP).await;
        let status = &app["status"];
        let operation = &status["operationState"];
        if status["sync"] == json!({"status": "Synced", "revision": sha})
            && operation["phase"] == "Succeeded"
            && operation["revision"] == sha
        {
            return begin.elapsed();
        }
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "the sync did not end by itself: {status:#}\n{}",
            server.log()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writes that go on beside the campaign: every acknowledged one is remembered.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<(Vec<String>, u64, u64)>,
}

impl Writer {
    /// Starts in a namespace that exists.
    pub(crate) async fn start(web: &Web, namespace: &str) -> Self {
        let path = format!("/api/v1/namespaces/{namespace}/configmaps");
        let counter = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "counter"}, "data": {"n": "0"}});
        web.create(&path, &counter).await;
        let stop = Arc::new(AtomicBool::new(false));
        let (web, ended) = (web.clone(), stop.clone());
        let task = towpath_daemon::spawn("test-writer", async move {
            let path = format!("/k8s{path}");
            let (mut made, mut acknowledged, mut tried) = (Vec::new(), 0u64, 0u64);
            while !ended.load(Ordering::Relaxed) {
                tried += 1;
                let name = format!("w-{tried}");
                let object =
                    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
                if let Ok((201, _)) = web.ask("POST", &path, &object.to_string()).await {
                    made.push(name);
                }
                let body = json!({"data": {"n": tried.to_string()}}).to_string();
                let counter = format!("{path}/counter");
                if let Ok((200, _)) = web.ask("PATCH", &counter, &body).await {
                    acknowledged = tried;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            (made, acknowledged, tried)
        });
        Self { stop, task }
    }

    /// Ends it and checks that everything acknowledged is there; returns how much that was.
    pub(crate) async fn check(self, web: &Web, namespace: &str) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let (made, acknowledged, tried) = self.task.await.expect("writer");
        let path = format!("/api/v1/namespaces/{namespace}/configmaps");
        let items = web.items(&path).await;
        let there: BTreeSet<&str> = items
            .iter()
            .filter_map(|i| i["metadata"]["name"].as_str())
            .collect();
        let lost: Vec<&String> = made
            .iter()
            .filter(|n| !there.contains(n.as_str()))
            .collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        let counter = web.object(&format!("{path}/counter")).await;
        let counter: u64 = counter["data"]["n"]
            .as_str()
            .and_then(|n| n.parse().ok())
            .expect("number");
        assert!((acknowledged..=tried).contains(&counter));
        made.len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sync_ends_by_itself_after_a_kill() {
    if !able(None) {
        return;
    }
    let server = Server::start();
    let repo = Repo::new(&server);
    let web = &repo.web;
    for name in ["target", "writes"] {
        web.namespace(name).await;
    }
    repo.write("deploy/kustomization.yaml", "resources: [all.yaml]\n");
    repo.write("deploy/all.yaml", &manifests(0));
    let sha = repo.commit();
    assert!(repo.try_push().0);
    web.create(
        "/apis/argoproj.io/v1alpha1/namespaces/demo/applications",
        &application(),
    )
    .await;
    synced(&server, web, &sha).await;
    let writer = Writer::start(web, "writes").await;
    let (mut middle, mut recovery) = (0, Vec::new());
    for round in 1..=KILLS {
        repo.write("deploy/all.yaml", &manifests(round));
        let sha = repo.commit();
        let (acknowledged, words) = repo.try_push();
        assert!(acknowledged, "{words}");
        // From the moment of the push, over the middle of every wave, to the pruning.
        let wanted = (round - 1) * (MAPS + 1) / (KILLS - 1);
        let patience = Instant::now() + Duration::from_secs(10);
        let mut seen = 0;
        while seen < wanted {
            seen = applied(web, round).await;
            assert!(
                Instant::now() < patience,
                "{seen} of {wanted} objects\n{}",
                server.log()
            );
        }
        server.kill();
        if (1..=MAPS).contains(&seen) {
            middle += 1;
        }
        server.ok(&["up", "--quiet"]);
        recovery.push(synced(&server, web, &sha).await);
        // Exactly this round's objects, each whole; nothing of the round before.
        let items = web.items(LIST).await;
        let found: BTreeSet<String> = items
            .iter()
            .map(|i| i["metadata"]["name"].as_str().expect("name").to_string())
            .collect();
        let mut expected: BTreeSet<String> = (0..MAPS).map(|n| format!("map-{n}")).collect();
        expected.insert(format!("only-{round}"));
        assert_eq!(found, expected, "round {round}");
        for item in &items {
            assert_eq!(item["data"]["round"], round.to_string(), "{item:#}");
        }
        let service = web.object("/api/v1/namespaces/target/services/web").await;
        assert_eq!(service["spec"]["ports"][0]["port"], 1000 + round);
    }
    let written = writer.check(web, "writes").await;
    recovery.sort();
    eprintln!(
        "{KILLS} kills, {middle} with some objects applied and some not; ended by itself in {:?} (median), {:?} (worst); {written} acknowledged writes",
        recovery[KILLS / 2],
        recovery[KILLS - 1]
    );
    assert!(middle >= 8, "only {middle} kills hit a sync in its middle");
    // The history of what was applied is one entry per push, and nothing else moved.
    let moved = repo
        .web
        .items("/apis/towpath.dev/v1alpha1/namespaces/demo/runs");
    assert_eq!(moved.await.len(), 0, "there is no workflow");
}
