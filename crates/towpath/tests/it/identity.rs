//! Who a client inside a pod is, and what it may do there.

use crate::harness::{Server, able, peer, until};
use std::time::Duration;

const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: host.towpath.dev/rootfs
    command: ["sh", "-c", "while :; do sleep 1; done"]
    volumeMounts: [{name: kubectl, mountPath: /kubectl, readOnly: true}]
  volumes: [{name: kubectl, hostPath: {path: "KUBECTL", type: File}}]
"#;

const ROLE: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: default, namespace: default}]
"#;

#[test]
fn a_client_in_a_pod_is_its_service_account() {
    if !able(Some("kubectl")) {
        return;
    }
    let server = Server::start();
    let kubectl = std::fs::canonicalize(peer("kubectl")).expect("kubectl");
    let pod = POD.replace("KUBECTL", &kubectl.display().to_string());
    server.kubectl_ok(&["apply", "-f", &server.file("pod.yaml", &pod)]);
    server.kubectl_ok(&[
        "wait",
        "--for=condition=Ready",
        "pod/client",
        "--timeout=60s",
    ]);
    let inside = |script: &str| {
        let output = server.kubectl(&["exec", "client", "--", "sh", "-c", script]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout) + &text(&output.stderr),
        )
    };
    let get = "D=/var/run/secrets/kubernetes.io/serviceaccount; \
        curl -sS --noproxy '*' --cacert $D/ca.crt -H \"Authorization: Bearer $(cat $D/token)\" \
        https://kubernetes.default.svc/api/v1/namespaces/$(cat $D/namespace)/pods -o /dev/null -w '%{http_code}'";
    assert_eq!(inside(get), (Some(0), "403".into()), "{}", server.log());
    let (_, who) = inside("HOME=/tmp /kubectl auth whoami -o jsonpath={.status.userInfo.username}");
    assert_eq!(who, "system:serviceaccount:default:default");
    server.kubectl_ok(&["apply", "-f", &server.file("role.yaml", ROLE)]);
    assert_eq!(inside(get), (Some(0), "200".into()));
    let (code, names) = inside("HOME=/tmp /kubectl get pods -o name");
    assert_eq!((code, names.trim()), (Some(0), "pod/client"));
    let (code, refused) = inside("HOME=/tmp /kubectl get secrets");
    assert!(
        code == Some(1) && refused.contains("Forbidden"),
        "{refused}"
    );
    // Outside of its pod's life the token is worth nothing.
    let token = server.kubectl_ok(&[
        "exec",
        "client",
        "--",
        "cat",
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
    ]);
    let with_token = || {
        let token = format!("--token={token}");
        let config = server.dir().join("data/kubeconfig").display().to_string();
        let text = std::fs::read_to_string(config).expect("kubeconfig");
        let bare = text
            .split("users:")
            .next()
            .expect("clusters")
            .replace("    user: admin\n", "");
        let file = server.file("bare", &bare);
        server
            .kubectl(&["--kubeconfig", &file, &token, "get", "pods"])
            .status
            .success()
    };
    assert!(with_token());
    server.kubectl_ok(&["delete", "pod", "client", "--timeout=30s"]);
    until("the token is refused", Duration::from_secs(5), || {
        !with_token()
    });
}

#[test]
fn keys_are_replaced_and_the_audit_log_says_who_did_it() {
    if !able(Some("kubectl")) {
        return;
    }
    let server = Server::start();
    let literal = "--from-literal=password=correct-horse";
    server.kubectl_ok(&["create", "secret", "generic", "s", literal]);
    let value = || server.kubectl_ok(&["get", "secret", "s", "-o", "jsonpath={.data.password}"]);
    let before = value();
    server.ok(&["secrets", "rotate-key"]);
    server.ok(&["secrets", "rotate-token-key"]);
    server.kill_and_restart();
    assert_eq!(value(), before);
    let raw = |path: &str| server.kubectl_ok(&["get", "--raw", path]);
    let events: serde_json::Value =
        serde_json::from_str(&raw("/audit?resource=secrets&name=s")).expect("JSON");
    let event = &events["items"][0];
    assert_eq!(event["user"]["username"], "admin", "{events}");
    assert_eq!(event["verb"], "get");
    assert!(!events.to_string().contains(before.trim()));
    let keys: serde_json::Value = serde_json::from_str(&raw("/openid/v1/jwks")).expect("JSON");
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(2));
}

#[allow(clippy::disallowed_methods)] // a test's own child
fn openssl(arguments: &[&str]) {
    let output = std::process::Command::new("openssl")
        .args(arguments)
        .output();
    let output = output.expect("openssl starts");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words}");
}

#[test]
fn a_certificate_is_approved_with_kubectl() {
    if !able(Some("kubectl")) {
        return;
    }
    let server = Server::start();
    let path = |name: &str| server.dir().join(name).display().to_string();
    let (key, asked) = (path("jane.key"), path("jane.csr"));
    openssl(&[
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=jane/O=team",
        "-keyout",
        &key,
        "-out",
        &asked,
    ]);
    let request = std::fs::read(&asked).expect("request");
    let coded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, request);
    let object = format!(
        "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {{name: jane}}\nspec:\n  signerName: kubernetes.io/kube-apiserver-client\n  usages: [client auth, digital signature]\n  request: {coded}\n"
    );
    server.kubectl_ok(&["apply", "-f", &server.file("csr.yaml", &object)]);
    server.kubectl_ok(&["certificate", "approve", "jane"]);
    let certificate =
        || server.kubectl_ok(&["get", "csr", "jane", "-o", "jsonpath={.status.certificate}"]);
    until("the certificate is there", Duration::from_secs(5), || {
        !certificate().is_empty()
    });
    let pem = towpath_stdx::base64_decode(certificate().trim()).expect("base64");
    let cert = server.file("jane.crt", &String::from_utf8(pem).expect("PEM"));
    let config = server.dir().join("data/kubeconfig").display().to_string();
    let text = std::fs::read_to_string(config).expect("kubeconfig");
    let bare = text
        .split("users:")
        .next()
        .expect("clusters")
        .replace("    user: admin\n", "");
    let file = server.file("bare", &bare);
    let who = server.kubectl_ok(&[
        "--kubeconfig",
        &file,
        "--client-certificate",
        &cert,
        "--client-key",
        &key,
        "auth",
        "whoami",
        "-o",
        "jsonpath={.status.userInfo.username}",
    ]);
    assert_eq!(who, "jane");
}
