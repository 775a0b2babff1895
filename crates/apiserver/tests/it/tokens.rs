//! Tokens of service accounts: what they are bound to, what a pod is given, keys and their
//! rotation.

use crate::harness::Server;
use http::Method;
use serde_json::{Value, json};
use towpath_kit::traits::Credential;
use towpath_stdx::Secret;

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "initContainers": [{"name": "i", "image": "x"}],
        "containers": [{"name": "c", "image": "x"}],
    }})
}

async fn accepted(server: &Server, token: &str) -> Option<towpath_kit::traits::Principal> {
    let credential = Credential::Bearer(Secret::from(token.to_string()));
    server
        .api
        .authenticator()
        .authenticate(&credential)
        .await
        .ok()
}

async fn token(server: &Server, account: &str, spec: Value) -> (u16, Value) {
    let path = format!("{ACCOUNTS}/{account}/token");
    server
        .call(Method::POST, &path, &json!({ "spec": spec }))
        .await
}

#[tokio::test]
async fn a_token_ends_with_its_pod_and_says_where_it_runs() {
    let server = Server::start().await;
    let node = json!({"metadata": {"name": "n1"}});
    let (_, node) = server.call(Method::POST, "/api/v1/nodes", &node).await;
    let mut body = pod("p");
    body["spec"]["nodeName"] = "n1".into();
    let (code, made) = server.call(Method::POST, PODS, &body).await;
    assert_eq!(code, 201, "{made}");
    let uid = made["metadata"]["uid"].clone();
    let bound = |uid: &Value| json!({"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid});
    let (code, _) = token(
        &server,
        "default",
        json!({"boundObjectRef": bound(&"other".into())}),
    )
    .await;
    assert_eq!(code, 409);
    server
        .call(
            Method::POST,
            ACCOUNTS,
            &json!({"metadata": {"name": "other"}}),
        )
        .await;
    let (code, refused) = token(&server, "other", json!({"boundObjectRef": bound(&uid)})).await;
    assert_eq!(code, 400, "{refused}");
    let (code, given) = token(&server, "default", json!({"boundObjectRef": bound(&uid)})).await;
    assert_eq!(code, 201, "{given}");
    let text = given["status"]["token"].as_str().expect("token");
    let who = accepted(&server, text).await.expect("accepted");
    let extra = |name: &str| who.extra[&format!("authentication.kubernetes.io/{name}")][0].clone();
    assert_eq!(
        (extra("pod-name"), extra("node-name")),
        ("p".into(), "n1".into())
    );
    assert_eq!(node["metadata"]["uid"], extra("node-uid"));
    server
        .call(
            Method::DELETE,
            &format!("{PODS}/p?gracePeriodSeconds=0"),
            &Value::Null,
        )
        .await;
    assert!(accepted(&server, text).await.is_none());
    // A pod made again under the name is another pod.
    server.call(Method::POST, PODS, &body).await;
    assert!(accepted(&server, text).await.is_none());
}

#[tokio::test]
async fn a_token_is_good_for_its_audience_alone() {
    let server = Server::start().await;
    let (_, given) = token(&server, "default", json!({"audiences": ["vault"]})).await;
    let text = given["status"]["token"].as_str().expect("token");
    assert!(accepted(&server, text).await.is_none());
    let review = async |audiences: Value| {
        let body = json!({"spec": {"token": text, "audiences": audiences}});
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        server.call(Method::POST, path, &body).await.1["status"].clone()
    };
    let good = review(json!(["vault", "elsewhere"])).await;
    assert_eq!(
        (&good["authenticated"], &good["audiences"]),
        (&json!(true), &json!(["vault"]))
    );
    assert_eq!(
        review(json!(["elsewhere"])).await["authenticated"],
        Value::Null
    );
    assert_eq!(review(json!([])).await["authenticated"], Value::Null);
}

#[tokio::test]
async fn pods_get_a_volume_with_a_token_unless_someone_says_no() {
    let server = Server::start().await;
    let make = async |body: Value| server.call(Method::POST, PODS, &body).await.1;
    let made = make(pod("a")).await;
    let volume = &made["spec"]["volumes"][0];
    assert!(
        volume["name"]
            .as_str()
            .expect("name")
            .starts_with("kube-api-access-")
    );
    let sources = volume["projected"]["sources"].as_array().expect("sources");
    assert_eq!(
        sources[0]["serviceAccountToken"],
        json!({"expirationSeconds": 3607, "path": "token"})
    );
    assert_eq!(sources[1]["configMap"]["name"], "kube-root-ca.crt");
    assert_eq!(sources[2]["downwardAPI"]["items"][0]["path"], "namespace");
    for list in ["containers", "initContainers"] {
        let mount = &made["spec"][list][0]["volumeMounts"][0];
        assert_eq!(
            mount["mountPath"],
            "/var/run/secrets/kubernetes.io/serviceaccount"
        );
        assert_eq!(
            (&mount["name"], &mount["readOnly"]),
            (&volume["name"], &json!(true))
        );
    }
    // A copy of a pod brings its volume along.
    let mut copy = pod("copy");
    copy["spec"] = made["spec"].clone();
    copy["spec"]["containers"][0]["volumeMounts"] = Value::Null;
    let copied = make(copy).await;
    assert_eq!(copied["spec"]["volumes"], made["spec"]["volumes"]);
    assert_eq!(
        copied["spec"]["containers"][0]["volumeMounts"][0]["name"],
        volume["name"]
    );
    let mut without = pod("b");
    without["spec"]["automountServiceAccountToken"] = false.into();
    assert_eq!(make(without).await["spec"]["volumes"], Value::Null);
    let account = json!({"metadata": {"name": "quiet"}, "automountServiceAccountToken": false});
    server.call(Method::POST, ACCOUNTS, &account).await;
    let mut quiet = pod("c");
    quiet["spec"]["serviceAccountName"] = "quiet".into();
    assert_eq!(make(quiet.clone()).await["spec"]["volumes"], Value::Null);
    quiet["metadata"]["name"] = "d".into();
    quiet["spec"]["automountServiceAccountToken"] = true.into();
    assert!(make(quiet).await["spec"]["volumes"].is_array());
}

#[tokio::test]
async fn a_new_key_signs_and_the_old_one_still_verifies() {
    let server = Server::start().await;
    let keys = async |server: &Server| {
        let (code, set) = server.get("/openid/v1/jwks").await;
        assert_eq!(code, 200);
        set["keys"].as_array().cloned().expect("keys")
    };
    let (_, before) = token(&server, "default", json!({})).await;
    let before = before["status"]["token"]
        .as_str()
        .expect("token")
        .to_string();
    let first = keys(&server).await;
    server.api.rotate_token_key().expect("rotated");
    let (_, after) = token(&server, "default", json!({})).await;
    let after = after["status"]["token"]
        .as_str()
        .expect("token")
        .to_string();
    let second = keys(&server).await;
    assert_eq!(second.len(), 2);
    assert_eq!(second[1], first[0]);
    let server = server.restart().await;
    assert_eq!(keys(&server).await, second);
    for text in [&before, &after] {
        assert!(accepted(&server, text).await.is_some());
    }
    let (_, discovery) = server.get("/.well-known/openid-configuration").await;
    assert!(
        discovery["jwks_uri"]
            .as_str()
            .expect("uri")
            .ends_with("/openid/v1/jwks")
    );
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = server.dir.path().join("pki").join(name);
        std::fs::metadata(path).expect("file").permissions().mode() & 0o777
    };
    assert_eq!(mode("token.key"), 0o600);
}

#[tokio::test]
async fn secrets_are_sealed_on_disk_and_rewritten_by_a_rotation() {
    use base64::Engine;
    let server = Server::start().await;
    let plain = "correct horse battery staple";
    let coded = base64::engine::general_purpose::STANDARD.encode(plain);
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret =
        |name: &str| json!({"metadata": {"name": name}, "stringData": {"password": plain}});
    for name in ["a", "b"] {
        let (code, made) = server.call(Method::POST, secrets, &secret(name)).await;
        assert_eq!(code, 201, "{made}");
    }
    server
        .call(Method::DELETE, &format!("{secrets}/b"), &Value::Null)
        .await;
    let server = server.restart().await;
    let found = |server: &Server| {
        let files = std::fs::read_dir(server.dir.path().join("objects")).expect("objects");
        files.flatten().any(|file| {
            let bytes = std::fs::read(file.path()).expect("file");
            let holds = |text: &str| {
                bytes
                    .windows(text.len())
                    .any(|part| part == text.as_bytes())
            };
            holds(plain) || holds(&coded)
        })
    };
    assert!(!found(&server));
    let read = async |server: &Server| {
        let (_, secret) = server.get(&format!("{secrets}/a")).await;
        (
            secret["data"]["password"].clone(),
            secret["metadata"]["resourceVersion"].clone(),
        )
    };
    let before = read(&server).await;
    assert_eq!(before.0, coded.as_str());
    let key = |server: &Server| {
        std::fs::read_to_string(server.dir.path().join("pki/secrets.key")).expect("key")
    };
    let first = key(&server);
    let (code, said) = server.call(Method::POST, "/keys/secrets", &json!({})).await;
    assert_eq!(code, 200, "{said}");
    let second = key(&server);
    assert!(second.lines().count() == 1 && first != second);
    let jane = crate::harness::user("jane");
    let refused = server
        .call_as(
            jane,
            Method::POST,
            "/keys/secrets",
            "application/json",
            &json!({}),
        )
        .await;
    assert_eq!(refused.0, 403);
    let server = server.restart().await;
    assert_eq!(read(&server).await, before);
    assert!(!found(&server));
}
