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
