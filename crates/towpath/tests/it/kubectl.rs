//! The unmodified kubectl against the embedded API.

use crate::harness::{Server, able, until};
use std::time::Duration;

const APP: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: c, image: "demo/none:1"}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
"#;

#[test]
fn objects_are_applied_read_changed_and_deleted() {
    if !able(Some("kubectl")) {
        return;
    }
    let server = Server::start();
    let file = server.file("app.yaml", APP);
    server.kubectl_ok(&["apply", "-f", &file]);
    assert!(
        server
            .kubectl_ok(&["apply", "-f", &file])
            .contains("deployment.apps/web unchanged")
    );
    server.kubectl_ok(&["apply", "--server-side", "--force-conflicts", "-f", &file]);
    until("two pods", Duration::from_secs(20), || {
        server
            .kubectl_ok(&["get", "pods", "-l", "app=web", "-o", "name"])
            .lines()
            .count()
            == 2
    });
    let table = server.kubectl_ok(&["get", "deployments,services"]);
    assert!(
        table.contains("READY") && table.contains("CLUSTER-IP"),
        "{table}"
    );
    assert!(
        server
            .kubectl_ok(&["describe", "deployment", "web"])
            .contains("StrategyType:")
    );
    assert!(
        server
            .kubectl_ok(&["explain", "deployment.spec.replicas"])
            .contains("FIELD: replicas")
    );
    server.kubectl_ok(&["scale", "deployment/web", "--replicas=1"]);
    until("one pod", Duration::from_secs(20), || {
        server
            .kubectl_ok(&["get", "pods", "-l", "app=web", "-o", "name"])
            .lines()
            .count()
            == 1
    });
    server.kubectl_ok(&["set", "image", "deployment/web", "c=demo/none:2"]);
    server.kubectl_ok(&["rollout", "undo", "deployment/web"]);
    server.kubectl_ok(&["rollout", "restart", "deployment/web"]);
    let changed = server.file("changed.yaml", &APP.replace("blue", "green"));
    assert_eq!(
        server.kubectl(&["diff", "-f", &changed]).status.code(),
        Some(1)
    );
    assert!(
        server
            .kubectl_ok(&["auth", "can-i", "delete", "pods"])
            .contains("yes")
    );
    let refused = server.kubectl(&["auth", "can-i", "delete", "pods", "--as=nobody"]);
    assert!(String::from_utf8_lossy(&refused.stdout).contains("no"));
    assert!(
        server
            .kubectl_ok(&["api-resources"])
            .contains("statefulsets")
    );
    server.kubectl_ok(&["delete", "-f", &file, "--wait=true", "--timeout=30s"]);
}

#[test]
fn custom_resources_follow_their_schema() {
    if !able(Some("kubectl")) {
        return;
    }
    let server = Server::start();
    let crd = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {plural: boats, singular: boat, kind: Boat, shortNames: [bt]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [length]
            properties:
              length: {type: integer, minimum: 1}
              colour: {type: string, default: white}
    additionalPrinterColumns: [{name: Length, type: integer, jsonPath: .spec.length}]
"#;
    server.kubectl_ok(&["apply", "-f", &server.file("crd.yaml", crd)]);
    server.kubectl_ok(&[
        "wait",
        "--for=condition=Established",
        "crd/boats.example.org",
        "--timeout=10s",
    ]);
    let boat = "apiVersion: example.org/v1\nkind: Boat\nmetadata: {name: a}\nspec: {length: 12}\n";
    server.kubectl_ok(&["apply", "-f", &server.file("boat.yaml", boat)]);
    assert_eq!(
        server.kubectl_ok(&["get", "boat", "a", "-o", "jsonpath={.spec.colour}"]),
        "white"
    );
    assert!(server.kubectl_ok(&["get", "bt"]).contains("LENGTH"));
    let bad = server.file("bad.yaml", &boat.replace("12", "0"));
    let refused = server.kubectl(&["apply", "-f", &bad]);
    assert!(!refused.status.success());
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("spec.length"), "{words}");
    let unknown = server.file(
        "unknown.yaml",
        &boat.replace("length: 12", "length: 12, sails: 2"),
    );
    assert!(!server.kubectl(&["apply", "-f", &unknown]).status.success());
}

#[test]
fn logs_and_exec_reach_a_running_pod() {
    if !able(Some("kubectl")) {
        return;
    }
    let server = Server::start();
    let context = server.dir().join("context");
    std::fs::create_dir_all(&context).expect("directory");
    std::fs::copy("/bin/busybox", context.join("busybox")).expect("busybox-static is installed");
    let dockerfile =
        "FROM scratch\nCOPY --chmod=0755 busybox /bin/sh\nCOPY --chmod=0755 busybox /bin/busybox\n";
    std::fs::write(context.join("Dockerfile"), dockerfile).expect("write");
    server.ok(&[
        "build",
        &context.display().to_string(),
        "--tag",
        "demo/box:1",
    ]);
    let pod = r#"
apiVersion: v1
kind: Pod
metadata: {name: box}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: "demo/box:1", command: ["/bin/sh", "-c", "echo first line; mkdir /www; echo hello > /www/index.html; /bin/busybox httpd -p 127.0.0.1:8080 -h /www; while :; do sleep 1; done"]}
"#;
    server.kubectl_ok(&["apply", "-f", &server.file("pod.yaml", pod)]);
    server.kubectl_ok(&["wait", "--for=condition=Ready", "pod/box", "--timeout=60s"]);
    assert_eq!(server.kubectl_ok(&["logs", "box"]), "first line\n");
    let said = server.kubectl_ok(&["exec", "box", "--", "/bin/sh", "-c", "echo in the pod"]);
    assert_eq!(said, "in the pod\n");
    assert_eq!(through_a_forwarded_port(&server), "hello\n");
    let failed = server.kubectl(&["exec", "box", "--", "/bin/sh", "-c", "exit 7"]);
    assert_eq!(failed.status.code(), Some(7));
    server.kill_and_restart();
    until("the pod is adopted", Duration::from_secs(20), || {
        server
            .kubectl(&["exec", "box", "--", "/bin/sh", "-c", "exit 0"])
            .status
            .success()
    });
    let restarts = "jsonpath={.status.containerStatuses[0].restartCount}";
    assert_eq!(
        server.kubectl_ok(&["get", "pod", "box", "-o", restarts]),
        "0"
    );
    server.kubectl_ok(&["delete", "pod", "box", "--timeout=30s"]);
}

// What listens in the pod on its loopback interface alone.
fn through_a_forwarded_port(server: &Server) -> String {
    use std::io::{BufRead, BufReader, Read, Write};
    let mut forward = server
        .kubectl_command(&["port-forward", "--address", "127.0.0.1", "pod/box", ":8080"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("kubectl");
    let mut line = String::new();
    // Kept open: kubectl goes on telling.
    let mut told = BufReader::new(forward.stdout.take().expect("output"));
    told.read_line(&mut line).expect("a line");
    // `Forwarding from 127.0.0.1:40001 -> 8080`
    let port = line.split(" -> ").next().and_then(|l| l.rsplit(':').next());
    let port: u16 = port.and_then(|p| p.parse().ok()).expect(&line);
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connect");
    socket.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("write");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("read");
    forward.kill().expect("kill");
    forward.wait().expect("wait");
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    body.expect(&answer).to_string()
}
