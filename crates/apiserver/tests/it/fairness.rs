//! Priority and fairness: who asks a lot waits for itself, and nobody else.

use crate::harness::{Server, admin, user};
use crate::hooks::Hooks;
use bytes::Bytes;
use futures::future::join_all;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tower_service::Service;

const GROUP: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";

async fn made(server: &Server, path: &str, body: Value) -> Value {
    let (code, answer) = server.call(Method::POST, path, &body).await;
    assert_eq!(code, 201, "{answer}");
    answer
}

/// Status, headers and text of an answer.
async fn ask(
    server: &Server,
    who: &str,
    method: Method,
    path: &str,
    body: Value,
) -> (u16, http::HeaderMap, String) {
    let principal = match who {
        "admin" => admin(),
        name => user(name),
    };
    let bytes = match body {
        Value::Null => Bytes::new(),
        body => body.to_string().into(),
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Full::new(bytes))
        .expect("request");
    let answer = server.api.service(principal).call(request).await;
    let (parts, body) = answer.expect("answer").into_parts();
    let body = body.collect().await.expect("body").to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    (parts.status.as_u16(), parts.headers, text)
}

// Three seats, room for two that wait, for the users `flood` and `calm`.
async fn narrow(server: &Server) -> (String, String) {
    let level = made(
        server,
        &format!("{GROUP}/prioritylevelconfigurations"),
        json!({"metadata": {"name": "narrow"}, "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": 1, "lendablePercent": 0, "borrowingLimitPercent": 0,
            "limitResponse": {"type": "Queue", "queuing": {"queues": 2, "handSize": 1, "queueLengthLimit": 2}}}}}),
    )
    .await;
    let all = json!(["*"]);
    let users = ["flood", "calm"].map(|name| json!({"kind": "User", "user": {"name": name}}));
    let schema = made(
        server,
        &format!("{GROUP}/flowschemas"),
        json!({"metadata": {"name": "narrow"}, "spec": {
            "priorityLevelConfiguration": {"name": "narrow"}, "matchingPrecedence": 10, "distinguisherMethod": {"type": "ByUser"},
            "rules": [{"subjects": users, "resourceRules": [
                {"verbs": all, "apiGroups": all, "resources": all, "clusterScope": true, "namespaces": all}]}]}}),
    )
    .await;
    let uid = |object: &Value| object["metadata"]["uid"].as_str().expect("uid").to_string();
    (uid(&schema), uid(&level))
}

// Every config map of the namespace takes a second.
async fn slow(server: &Server, hooks: &Hooks) {
    made(
        server,
        "/api/v1/namespaces",
        json!({"metadata": {"name": "slow", "labels": {"hooked": "yes"}}}),
    )
    .await;
    made(
        server,
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
        json!({"metadata": {"name": "slow"}, "webhooks": [{
            "name": "slow.example.com", "clientConfig": hooks.client("/slow"), "failurePolicy": "Ignore", "timeoutSeconds": 1,
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
            "namespaceSelector": {"matchLabels": {"hooked": "yes"}}, "sideEffects": "None", "admissionReviewVersions": ["v1"]}]}),
    )
    .await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let subjects = ["flood", "calm"]
        .map(|name| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}));
    made(
        server,
        rbac,
        json!({"metadata": {"name": "both"}, "subjects": subjects,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}}),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_starves_nobody() {
    let (server, hooks) = (Server::start().await, Hooks::start(&["127.0.0.1"]).await);
    slow(&server, &hooks).await;
    let (schema, level) = narrow(&server).await;
    let path = "/api/v1/namespaces/slow/configmaps";
    let flood = join_all((0..12).map(|n| {
        let body = json!({"metadata": {"name": format!("c{n}")}});
        ask(&server, "flood", Method::POST, path, body)
    }));
    let others = async {
        // All seats are taken by now, and the flood's queue is full.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (_, _, metrics) = ask(&server, "admin", Method::GET, "/metrics", Value::Null).await;
        let says = |line: &str| assert!(metrics.contains(line), "{line} in {metrics}");
        says("apiserver_flowcontrol_current_executing_requests{priority_level=\"narrow\"} 3");
        says("apiserver_flowcontrol_current_inqueue_requests{priority_level=\"narrow\"} 2");
        says(
            "apiserver_flowcontrol_rejected_requests_total{priority_level=\"narrow\",reason=\"queue-full\"} 7",
        );
        says(
            "apiserver_request_total{verb=\"POST\",group=\"\",version=\"v1\",resource=\"configmaps\",subresource=\"\",scope=\"namespace\",component=\"apiserver\",code=\"429\"} ",
        );
        says("apiserver_request_duration_seconds_bucket{verb=\"POST\"");
        says("apiserver_current_inflight_requests{request_kind=\"mutating\"} ");
        let begin = Instant::now();
        // Others of the same level get the next seat, before what the flood has waiting.
        let (code, headers, text) = ask(
            &server,
            "calm",
            Method::GET,
            "/api/v1/namespaces",
            Value::Null,
        )
        .await;
        assert_eq!(code, 200, "{text}");
        assert!(
            begin.elapsed() < Duration::from_millis(1500),
            "{:?}",
            begin.elapsed()
        );
        assert_eq!(headers["x-kubernetes-pf-flowschema-uid"], schema.as_str());
        assert_eq!(headers["x-kubernetes-pf-prioritylevel-uid"], level.as_str());
        // Other levels do not notice.
        let begin = Instant::now();
        for who in ["admin", "someone"] {
            let (_, headers, _) = ask(&server, who, Method::GET, "/version", Value::Null).await;
            assert_ne!(headers["x-kubernetes-pf-prioritylevel-uid"], level.as_str());
        }
        assert!(
            begin.elapsed() < Duration::from_millis(500),
            "{:?}",
            begin.elapsed()
        );
    };
    let (flood, ()) = tokio::join!(flood, others);
    let refused: Vec<_> = flood.iter().filter(|(code, ..)| *code == 429).collect();
    assert_eq!(refused.len(), 7, "three run, two wait");
    for (_, headers, text) in refused {
        assert_eq!(headers["retry-after"], "1");
        assert_eq!(headers["x-kubernetes-pf-flowschema-uid"], schema.as_str());
        assert_eq!(text, "Too many requests, please try again later.\n");
    }
    assert_eq!(flood.iter().filter(|(code, ..)| *code == 201).count(), 5);
    changes(&server).await;
    server.api.stop().await;
}

// What objects say counts from the next request on.
async fn changes(server: &Server) {
    let path = format!("{GROUP}/flowschemas/narrow");
    let (code, _) = server.call(Method::DELETE, &path, &Value::Null).await;
    assert_eq!(code, 200);
    let all = (0..40).map(|_| ask(server, "flood", Method::GET, "/api/v1/nodes", Value::Null));
    let codes: Vec<u16> = join_all(all)
        .await
        .into_iter()
        .map(|(code, ..)| code)
        .collect();
    assert!(codes.iter().all(|code| *code == 200), "{codes:?}");
    // Watches hold no seat.
    narrow_again(server).await;
    let mut watches = Vec::new();
    for _ in 0..5 {
        let request = Request::builder()
            .uri("/api/v1/configmaps?watch=1")
            .body(Full::new(Bytes::new()))
            .expect("request");
        let answer = server
            .api
            .service(user("flood"))
            .call(request)
            .await
            .expect("answer");
        assert_eq!(answer.status(), 200);
        watches.push(answer);
    }
    let (code, ..) = ask(server, "flood", Method::GET, "/api/v1/nodes", Value::Null).await;
    assert_eq!(code, 200);
    mandatory(server).await;
}

async fn narrow_again(server: &Server) {
    let all = json!(["*"]);
    made(
        server,
        &format!("{GROUP}/flowschemas"),
        json!({"metadata": {"name": "again"}, "spec": {
            "priorityLevelConfiguration": {"name": "narrow"}, "matchingPrecedence": 10,
            "rules": [{"subjects": [{"kind": "User", "user": {"name": "flood"}}], "resourceRules": [
                {"verbs": all, "apiGroups": all, "resources": all, "clusterScope": true, "namespaces": all}]}]}}),
    )
    .await;
}

// Without them nothing could be classified: they come back.
async fn mandatory(server: &Server) {
    for path in [
        "flowschemas/catch-all",
        "prioritylevelconfigurations/catch-all",
    ] {
        let path = format!("{GROUP}/{path}");
        let (_, before) = server.get(&path).await;
        let (code, _) = server.call(Method::DELETE, &path, &Value::Null).await;
        assert_eq!(code, 200);
        let begin = Instant::now();
        loop {
            let (code, object) = server.get(&path).await;
            if code == 200 && object["metadata"]["uid"] != before["metadata"]["uid"] {
                assert_eq!(object["spec"], before["spec"]);
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(5), "{object}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let path = format!("{GROUP}/prioritylevelconfigurations/narrow");
    let (code, _) = server.call(Method::DELETE, &path, &Value::Null).await;
    assert_eq!(code, 200);
    let begin = Instant::now();
    loop {
        let (_, schema) = server.get(&format!("{GROUP}/flowschemas/again")).await;
        let condition = &schema["status"]["conditions"][0];
        if condition["reason"] == "NotFound" {
            assert_eq!(
                (&condition["type"], &condition["status"]),
                (&json!("Dangling"), &json!("True"))
            );
            assert_eq!(
                condition["message"],
                "This FlowSchema references the PriorityLevelConfiguration object named \"narrow\" but there is no such object"
            );
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(5), "{schema}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
