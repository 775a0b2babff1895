//! The audit log: what is recorded, in which form, and what is not.

use crate::harness::{Server, admin, send, user};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";

async fn events(server: &Server, query: &str) -> Vec<Value> {
    let (code, list) = server.get(&format!("/audit?{query}")).await;
    assert_eq!(code, 200, "{list}");
    list["items"].as_array().cloned().expect("items")
}

#[tokio::test]
async fn who_did_what_is_recorded_and_secrets_are_not() {
    let server = Server::start().await;
    let map = json!({"metadata": {"name": "m"}, "data": {"colour": "blue"}});
    server.call(Method::POST, MAPS, &map).await;
    server
        .call_as(
            user("jane"),
            Method::DELETE,
            &format!("{MAPS}/m"),
            "",
            &Value::Null,
        )
        .await;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"password": "open sesame"}});
    server.call(Method::POST, SECRETS, &secret).await;
    server.get(&format!("{SECRETS}/s")).await;
    server.get(MAPS).await;
    let impersonated = Request::builder()
        .method(Method::DELETE)
        .uri(format!("{MAPS}/m"))
        .header("impersonate-user", "john")
        .header("user-agent", "test/1")
        .body(Full::default())
        .expect("request");
    send(server.api.service(admin()), impersonated).await;
    let made = events(&server, "verb=create&resource=configmaps").await;
    let event = &made[0];
    for (pointer, wanted) in [
        ("/kind", json!("Event")),
        ("/apiVersion", json!("audit.k8s.io/v1")),
        ("/level", json!("Metadata")),
        ("/stage", json!("ResponseComplete")),
        ("/requestURI", json!(MAPS)),
        ("/user/username", json!("admin")),
        ("/userAgent", json!("test/1")),
        ("/responseStatus/code", json!(201)),
        (
            "/objectRef",
            json!({"resource": "configmaps", "namespace": "default", "name": "m", "apiVersion": "v1"}),
        ),
        (
            "/annotations/authorization.k8s.io~1decision",
            json!("allow"),
        ),
    ] {
        assert_eq!(
            event.pointer(pointer),
            Some(&wanted),
            "{pointer} in {event}"
        );
    }
    assert!(event["requestObject"].is_null() && event["auditID"].is_string());
    let own = towpath_kit::traits::Principal::component("workloads");
    server
        .call_as(own, Method::DELETE, &format!("{MAPS}/x"), "", &Value::Null)
        .await;
    let all = events(&server, "name=x").await;
    assert_eq!(all.len(), 1);
    assert!(events(&server, "name=x&components=false").await.is_empty());
    let refused = events(&server, "user=jane").await;
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0]["responseStatus"]["code"], 403);
    assert_eq!(refused[0]["responseStatus"]["reason"], "Forbidden");
    assert_eq!(
        refused[0]["annotations"]["authorization.k8s.io/decision"],
        "forbid"
    );
    assert_eq!(refused[0]["objectRef"]["name"], "m");
    let as_john = &events(&server, "verb=delete&user=admin").await[0];
    assert_eq!(as_john["impersonatedUser"]["username"], "john");
    let of_secrets = events(&server, "resource=secrets").await;
    let verbs: Vec<&str> = of_secrets
        .iter()
        .filter_map(|e| e["verb"].as_str())
        .collect();
    assert_eq!(verbs, ["get", "create"]);
    assert!(
        events(&server, "verb=list&resource=configmaps")
            .await
            .is_empty()
    );
    let jane = server
        .call_as(user("jane"), Method::GET, "/audit", "", &Value::Null)
        .await;
    assert_eq!(jane.0, 403);
    let server = server.restart().await;
    let text = std::fs::read_to_string(server.dir.path().join("audit/audit.log")).expect("log");
    assert!(
        text.lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
    assert!(!text.contains("sesame") && !text.contains("b3BlbiBzZXNhbWU="));
}

#[tokio::test]
async fn a_policy_of_the_users_own_decides() {
    let dir = tempfile::tempdir().expect("directory");
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n\
        - {level: RequestResponse, resources: [{group: '', resources: [configmaps, secrets]}], verbs: [create, watch], omitManagedFields: true}\n";
    std::fs::write(dir.path().join("audit-policy.yaml"), policy).expect("policy");
    let config = || towpath_apiserver::Config::new(dir.path());
    let api = towpath_apiserver::ApiServer::open(config())
        .await
        .expect("server");
    let server = Server {
        api,
        dir: tempfile::tempdir().expect("directory"),
    };
    let map = json!({"metadata": {"name": "m"}, "data": {"colour": "blue"}});
    server.call(Method::POST, MAPS, &map).await;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"password": "open sesame"}});
    server.call(Method::POST, SECRETS, &secret).await;
    drop(server.watch(&format!("{MAPS}?watch=1")).await);
    let of_maps = events(&server, "resource=configmaps&verb=create").await;
    let stages: Vec<&str> = of_maps.iter().filter_map(|e| e["stage"].as_str()).collect();
    assert_eq!(stages, ["ResponseComplete", "RequestReceived"]);
    assert_eq!(of_maps[0]["requestObject"]["data"]["colour"], "blue");
    let answer = &of_maps[0]["responseObject"];
    assert_eq!(answer["metadata"]["name"], "m");
    assert!(answer["metadata"]["managedFields"].is_null());
    assert_eq!(of_maps[0]["auditID"], of_maps[1]["auditID"]);
    let watched = events(&server, "verb=watch").await;
    let stages: Vec<&str> = watched.iter().filter_map(|e| e["stage"].as_str()).collect();
    assert_eq!(
        stages,
        ["ResponseComplete", "ResponseStarted", "RequestReceived"]
    );
    let of_secrets = events(&server, "resource=secrets").await;
    assert!(!json!(of_secrets).to_string().contains("b3BlbiBzZXNhbWU="));
    assert_eq!(of_secrets[0]["level"], "Metadata");
    let (_, metrics) = server.get("/metrics").await;
    assert!(
        metrics
            .as_str()
            .expect("text")
            .contains("apiserver_audit_event_total")
    );
    server.api.stop().await;
    drop(server);
    std::fs::write(dir.path().join("audit-policy.yaml"), "nonsense").expect("policy");
    let failed = towpath_apiserver::ApiServer::open(config())
        .await
        .err()
        .expect("refused");
    assert!(failed.to_string().contains("audit-policy.yaml"), "{failed}");
}

#[tokio::test]
async fn what_typed_clients_send_is_recorded_too() {
    let server = Server::start().await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "typed"}});
    let body = towpath_api::protobuf::encode(map.to_string().as_bytes()).expect("protobuf");
    let kind = "application/vnd.kubernetes.protobuf";
    let request = Request::builder()
        .method(Method::POST)
        .uri(MAPS)
        .header("content-type", kind)
        .header("accept", kind)
        .body(Full::new(body.into()))
        .expect("request");
    assert_eq!(send(server.api.service(admin()), request).await.0, 201);
    let made = events(&server, "verb=create&resource=configmaps").await;
    assert_eq!(made[0]["objectRef"]["name"], "typed");
    assert_eq!(made[0]["responseStatus"]["code"], 201);
}
