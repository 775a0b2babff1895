//! Certificates from requests, and the server's own while connections go on.

use crate::harness::{Server, admin, user};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

fn body(name: &str, signer: &str, common_name: &str, group: &str) -> (Value, KeyPair) {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, group);
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let key = KeyPair::generate().expect("key");
    let request = params.serialize_request(&key).expect("request");
    let request = STANDARD.encode(request.pem().expect("PEM"));
    let body = json!({
        "metadata": {"name": name},
        "spec": {"request": request, "signerName": signer, "expirationSeconds": 3600,
            "usages": ["client auth", "digital signature"], "username": "mallory"}
    });
    (body, key)
}

const CLIENT: &str = "kubernetes.io/kube-apiserver-client";

async fn approve(server: &Server, name: &str, kind: &str) -> (u16, Value) {
    let path = format!("{REQUESTS}/{name}");
    let (_, mut request) = server.get(&path).await;
    request["status"]["conditions"] =
        json!([{"type": kind, "status": "True", "reason": "Test", "message": "by the test"}]);
    // The signer may write between the two.
    if let Some(metadata) = request["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    let path = format!("{path}/approval");
    server.call(Method::PUT, &path, &request).await
}

async fn until(server: &Server, name: &str, what: &str) -> Value {
    let begin = Instant::now();
    loop {
        let (_, request) = server.get(&format!("{REQUESTS}/{name}")).await;
        if !request.pointer(what).unwrap_or(&Value::Null).is_null() {
            return request;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "{what}: {request}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_approved_request_becomes_a_certificate_that_logs_in() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = Server::start().await;
    let (request, key) = body("jane", CLIENT, "jane", "team");
    let (code, made) = server.call(Method::POST, REQUESTS, &request).await;
    assert_eq!(code, 201, "{made}");
    // Who asks is what authentication said.
    assert_eq!(made["spec"]["username"], "admin");
    assert_eq!(made["status"], json!({}));
    let (code, done) = approve(&server, "jane", "Approved").await;
    assert_eq!(code, 200, "{done}");
    let (code, twice) = approve(&server, "jane", "Denied").await;
    assert_eq!(code, 422, "{twice}");
    let signed = until(&server, "jane", "/status/certificate").await;
    let pem = STANDARD
        .decode(signed["status"]["certificate"].as_str().expect("text"))
        .expect("base64");
    let address = server
        .api
        .add_listener("127.0.0.1:0".parse().expect("address"))
        .await
        .expect("listener");
    let whoami = async || {
        let mut config = kube::Config::new(format!("https://{address}").parse().expect("address"));
        config.root_cert = Some(vec![
            STANDARD
                .decode(
                    server
                        .api
                        .ca_pem()
                        .lines()
                        .filter(|l| !l.starts_with('-'))
                        .collect::<String>(),
                )
                .expect("DER"),
        ]);
        config.auth_info.client_certificate_data = Some(STANDARD.encode(&pem));
        config.auth_info.client_key_data = Some(STANDARD.encode(key.serialize_pem()).into());
        let client = kube::Client::try_from(config).expect("client");
        let request = http::Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
            .header("content-type", "application/json")
            .body(b"{}".to_vec())
            .expect("request");
        client.request::<Value>(request).await.expect("review")
    };
    let me = whoami().await;
    assert_eq!(me["status"]["userInfo"]["username"], "jane");
    assert_eq!(
        me["status"]["userInfo"]["groups"],
        json!(["team", "system:authenticated"])
    );
    server.api.rotate_certificates().expect("new certificates");
    assert_eq!(whoami().await["status"]["userInfo"]["username"], "jane");
}

#[tokio::test]
async fn what_signers_refuse_is_said() {
    let server = Server::start().await;
    let masters = body("masters", CLIENT, "jane", "system:masters").0;
    let (code, refused) = server.call(Method::POST, REQUESTS, &masters).await;
    assert_eq!(code, 403, "{refused}");
    let component = body("component", CLIENT, "system:towpath:gitops", "x").0;
    assert_eq!(server.call(Method::POST, REQUESTS, &component).await.0, 403);
    let mut broken = body("broken", CLIENT, "jane", "x").0;
    broken["spec"]["request"] = STANDARD.encode("nonsense").into();
    let (code, refused) = server.call(Method::POST, REQUESTS, &broken).await;
    assert_eq!(
        (code, &refused["details"]["causes"][0]["field"]),
        (422, &json!("spec.request"))
    );
    let mut server_use = body("uses", CLIENT, "jane", "x").0;
    server_use["spec"]["usages"] = json!(["server auth"]);
    server.call(Method::POST, REQUESTS, &server_use).await;
    approve(&server, "uses", "Approved").await;
    let failed = until(&server, "uses", "/status/conditions/1").await;
    assert_eq!(failed["status"]["conditions"][1]["type"], "Failed");
    assert_eq!(failed["status"]["certificate"], Value::Null);
    let foreign = body("foreign", "example.org/signer", "jane", "x").0;
    assert_eq!(server.call(Method::POST, REQUESTS, &foreign).await.0, 201);
    let (code, _) = approve(&server, "foreign", "Approved").await;
    assert_eq!(code, 200);
    // Who may change requests may not approve for every signer.
    let role = json!({"metadata": {"name": "approver"}, "rules": [
        {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests", "certificatesigningrequests/approval"], "verbs": ["get", "create", "update"]},
        {"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": ["example.org/*"], "verbs": ["approve"]}
    ]});
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    server
        .call(Method::POST, &format!("{rbac}/clusterroles"), &role)
        .await;
    let binding = json!({"metadata": {"name": "approver"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "approver"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "boss"}]});
    server
        .call(
            Method::POST,
            &format!("{rbac}/clusterrolebindings"),
            &binding,
        )
        .await;
    for (name, signer, expected) in [("a", CLIENT, 403), ("b", "example.org/signer", 200)] {
        let (request, _) = body(name, signer, "jane", "x");
        assert_eq!(
            server
                .call_as(
                    user("boss"),
                    Method::POST,
                    REQUESTS,
                    "application/json",
                    &request
                )
                .await
                .0,
            201
        );
        let (_, mut object) = server.get(&format!("{REQUESTS}/{name}")).await;
        object["status"]["conditions"] = json!([{"type": "Approved", "status": "True"}]);
        let path = format!("{REQUESTS}/{name}/approval");
        let (code, answer) = server
            .call_as(
                user("boss"),
                Method::PUT,
                &path,
                "application/json",
                &object,
            )
            .await;
        assert_eq!(code, expected, "{answer}");
    }
}

#[tokio::test]
async fn a_node_has_its_certificate_at_once_and_acts_on_itself_alone() {
    let server = Server::start().await;
    let mut node = admin();
    node.name = "system:node:n1".into();
    node.groups = vec!["system:nodes".into(), "system:authenticated".into()];
    let signer = "kubernetes.io/kube-apiserver-client-kubelet";
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    for role in [
        "system:node",
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
    ] {
        let binding = json!({"metadata": {"name": role.rsplit(':').next()},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}]});
        server
            .call(
                Method::POST,
                &format!("{rbac}/clusterrolebindings"),
                &binding,
            )
            .await;
    }
    let (request, _) = body("n1", signer, "system:node:n1", "system:nodes");
    let send = async |method, path: &str, body: &Value| {
        server
            .call_as(node.clone(), method, path, "application/json", body)
            .await
    };
    let (code, made) = send(Method::POST, REQUESTS, &request).await;
    assert_eq!(code, 201, "{made}");
    until(&server, "n1", "/status/certificate").await;
    for (name, expected) in [("n1", 201), ("n2", 403)] {
        let body = json!({"metadata": {"name": name}});
        let (code, answer) = send(Method::POST, "/api/v1/nodes", &body).await;
        assert_eq!(code, expected, "{answer}");
    }
    let pods = "/api/v1/namespaces/default/pods";
    for (pod, on) in [("a", "n1"), ("b", "n2")] {
        let body = json!({"metadata": {"name": pod}, "spec": {"nodeName": on, "containers": [{"name": "c", "image": "x"}]}});
        let (code, answer) = server.call(Method::POST, pods, &body).await;
        assert_eq!(code, 201, "{answer}");
    }
    let token = async |spec: Value| {
        let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
        send(Method::POST, path, &json!({"spec": spec})).await.0
    };
    let bound =
        |pod: &str| json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod}});
    assert_eq!(token(bound("a")).await, 201);
    assert_eq!(token(bound("b")).await, 403);
    assert_eq!(token(json!({})).await, 403);
    let delete = async |pod: &str| {
        send(
            Method::DELETE,
            &format!("{pods}/{pod}?gracePeriodSeconds=0"),
            &Value::Null,
        )
        .await
        .0
    };
    assert_eq!(delete("b").await, 403);
    assert_eq!(delete("a").await, 200);
}
