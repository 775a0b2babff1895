//! Volumes and their updates.

use crate::cluster::{Cluster, forever, kept};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn files_follow_their_objects() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "default");
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), "default");
    let mut main = forever("main");
    main["volumeMounts"] = json!([
        { "name": "config", "mountPath": "/config" }, { "name": "secret", "mountPath": "/secret", "readOnly": true },
        { "name": "all", "mountPath": "/all" }, { "name": "data", "mountPath": "/sub", "subPath": "a/b" },
        { "name": "config", "mountPath": "/single", "subPath": "key" },
    ]);
    main["env"] = json!([{ "name": "S", "valueFrom": { "secretKeyRef": { "name": "creds", "key": "password" } } }]);
    let spec = json!({ "containers": [main], "volumes": [
        { "name": "config", "configMap": { "name": "settings" } },
        { "name": "secret", "secret": { "secretName": "creds", "defaultMode": 0o400 } },
        { "name": "all", "projected": { "sources": [
            { "configMap": { "name": "settings", "items": [{ "key": "key", "path": "deep/name" }] } },
            { "downwardAPI": { "items": [{ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } }] } },
        ] } },
        { "name": "data", "emptyDir": {} },
    ] });
    cluster.create("web", spec).await;
    // Waits for what it refers to, says so, and goes on once it is there.
    cluster
        .until("web", "waiting", |pod| {
            pod.status
                .as_ref()
                .is_some_and(|s| s.container_statuses.is_some())
        })
        .await;
    let secret: Secret = serde_json::from_value(json!({ "metadata": { "name": "creds" }, "stringData": { "password": "p" }, "data": { "password": "cA==" } })).expect("secret");
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .expect("secret");
    let map: ConfigMap = serde_json::from_value(
        json!({ "metadata": { "name": "settings" }, "data": { "key": "one" } }),
    )
    .expect("map");
    maps.create(&PostParams::default(), &map)
        .await
        .expect("map");
    let pod = cluster.ready("web").await;
    let (_, text) = cluster.sh(&pod, "main", "cat /config/key /secret/password /all/deep/name /all/labels /single; echo; stat -L -c %a /secret/password; echo $S; touch /sub/x && echo wrote").await;
    assert_eq!(text, "oneponeapp=\"web\"one\n400\np\nwrote\n");
    maps.patch(
        "settings",
        &PatchParams::default(),
        &Patch::Merge(json!({ "data": { "key": "two" } })),
    )
    .await
    .expect("patch");
    let began = Instant::now();
    loop {
        let (_, text) = cluster
            .sh(&pod, "main", "cat /config/key /all/deep/name")
            .await;
        if text == "twotwo" {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{text}");
    }
    eprintln!("configMap change seen after {:?}", began.elapsed());
    cluster.delete("web").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_there_and_is_renewed_before_it_ends() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    cluster.create("robot", kept(forever("main"))).await;
    let pod = cluster.ready("robot").await;
    let dir = "/var/run/secrets/kubernetes.io/serviceaccount";
    let (_, text) = cluster
        .sh(
            &pod,
            "main",
            &format!("cat {dir}/namespace; head -c 27 {dir}/ca.crt; touch {dir}/x"),
        )
        .await;
    assert!(
        text.starts_with("default-----BEGIN CERTIFICATE-----"),
        "{text}"
    );
    assert!(text.contains("Read-only"), "{text}");
    let token = async || {
        cluster
            .sh(&pod, "main", &format!("cat {dir}/token"))
            .await
            .1
    };
    let first = token().await;
    let volume = pod
        .spec
        .as_ref()
        .and_then(|s| s.volumes.as_ref())
        .expect("volumes")[0]
        .clone();
    // One that is old: what it says of its own time decides.
    let files = find(&cluster.config.data_dir, &volume.name).expect("volume");
    std::fs::write(
        files.join("..data/token"),
        "e30.eyJpYXQiOjEsImV4cCI6Mn0.c2ln",
    )
    .expect("write");
    let pods = cluster.pods();
    let patch = json!({ "metadata": { "annotations": { "a": "b" } } });
    pods.patch("robot", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .expect("patch");
    let began = Instant::now();
    loop {
        let now = token().await;
        if now.len() == first.len() && now != first {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{now}");
    }
    cluster.delete("robot").await;
    cluster.stop().await;
}

fn find(dir: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    std::fs::read_dir(dir).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && entry.file_name() == name => Some(path),
            Ok(kind) if kind.is_dir() => find(&path, name),
            _ => None,
        }
    })
}
