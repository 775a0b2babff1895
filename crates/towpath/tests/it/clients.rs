//! Helm and kubectl where pods really run: waiting for them, hooks that are jobs, going back by
//! itself, and everything that reaches into a container. What needs no pod is compared with the
//! real kube-apiserver in `crates/apiserver/tests/it/journeys.rs`.

use crate::harness::{Server, able, until};
use std::path::Path;
use std::time::Duration;

/// A web server that also is the chart's migration, its test, and a place to copy files to.
const IMAGE: &str = r#"FROM scratch
COPY --chmod=0755 busybox /bin/sh
COPY --chmod=0755 busybox /bin/tar
COPY --chmod=0755 busybox /bin/cat
COPY --chmod=0755 busybox /bin/busybox
COPY --chmod=0755 migrate /bin/migrate
COPY --chmod=0755 check /bin/check
COPY index.html /www/index.html
CMD ["/bin/busybox", "httpd", "-f", "-v", "-p", "8080", "-h", "/www"]
"#;

fn build(server: &Server) {
    let context = server.dir().join("context");
    std::fs::create_dir_all(&context).expect("directory");
    std::fs::copy("/bin/busybox", context.join("busybox")).expect("busybox-static is installed");
    let files = [
        ("Dockerfile", IMAGE),
        ("index.html", "hello\n"),
        ("migrate", "#!/bin/sh\necho migrated\n"),
        (
            "check",
            "#!/bin/sh\nexec /bin/busybox wget -q -O - http://app/index.html\n",
        ),
    ];
    for (name, text) in files {
        std::fs::write(context.join(name), text).expect("write");
    }
    let path = context.display().to_string();
    server.ok(&["build", &path, "--tag", "demo/web:1"]);
}

fn chart() -> String {
    let path = "../apiserver/tests/corpus/charts/app";
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(path)
        .display()
        .to_string()
}

#[test]
fn helm_waits_for_pods_and_goes_back_by_itself() {
    if !able(Some("kubectl")) || !able(Some("helm")) {
        return;
    }
    let server = Server::start();
    build(&server);
    let chart = chart();
    let helm = |verb: &str, more: &[&str]| {
        let mut arguments = vec![verb, "app"];
        if matches!(verb, "install" | "upgrade") {
            arguments.extend([chart.as_str(), "--set", "storageClass=local"]);
            // A claim that no pod uses is never bound.
            arguments.extend([
                "--set",
                "image=demo/web:1,database=demo/web:1,persistence=false",
            ]);
        }
        arguments.extend(more);
        server.tool("helm", &arguments)
    };
    let succeeds = |verb: &str, more: &[&str]| {
        let output = helm(verb, more);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{verb}: {words}\n{}", server.log());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let colour = || server.kubectl_ok(&["exec", "deploy/app", "--", "sh", "-c", "echo $COLOUR"]);

    succeeds("install", &["--wait", "--timeout", "120s"]);
    let ready = "jsonpath={.status.readyReplicas}";
    for of in ["deployment/app", "statefulset/app-db"] {
        assert_eq!(server.kubectl_ok(&["get", of, "-o", ready]), "1", "{of}");
    }
    // The hook ran to its end and was taken away, as it asked.
    assert_eq!(server.kubectl_ok(&["get", "jobs", "-o", "name"]), "");
    assert_eq!(colour(), "blue\n");
    let tested = succeeds("test", &["--timeout", "60s", "--logs"]);
    assert!(tested.contains("Phase:          Succeeded"), "{tested}");
    assert!(tested.contains("hello"), "{tested}");

    let green = ["--set", "colour=green", "--wait", "--timeout", "120s"];
    succeeds("upgrade", &green);
    assert_eq!(colour(), "green\n");

    // An image that nobody has: not ready in time, so the release before comes back.
    let broken = ["--set", "colour=green,hooks=false,image=demo/none:1"];
    let more = ["--wait", "--timeout", "8s", "--rollback-on-failure"];
    let output = helm("upgrade", &[&broken[..], &more[..]].concat());
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(words.contains("has been rolled back"), "{words}");
    let image = "jsonpath={.spec.template.spec.containers[0].image}";
    let now = server.kubectl_ok(&["get", "deployment/app", "-o", image]);
    assert_eq!(now, "demo/web:1");

    succeeds("rollback", &["1", "--wait", "--timeout", "120s"]);
    assert_eq!(colour(), "blue\n");
    let history = succeeds("history", &["-o", "json"]);
    let history: serde_json::Value = serde_json::from_str(&history).expect("JSON");
    let states: Vec<&str> = history
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|release| release["status"].as_str())
        .collect();
    let wanted = [
        "superseded",
        "superseded",
        "failed",
        "superseded",
        "deployed",
    ];
    assert_eq!(states, wanted);
    succeeds("uninstall", &["--wait", "--timeout", "60s"]);
    let left = ["get", "pvc,deployment,statefulset,service", "-o", "name"];
    let left = server.kubectl_ok(&left);
    // What a stateful set claimed is nobody's to take.
    assert!(
        left.contains("persistentvolumeclaim/data-app-db-0\n"),
        "{left}"
    );
    assert!(
        !left.contains("app-db\n") && !left.contains("deployment"),
        "{left}"
    );
}

const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: "demo/web:1"
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /index.html, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  terminationGracePeriodSeconds: 1
  restartPolicy: Never
  containers:
  - name: c
    image: "demo/web:1"
    stdin: true
    stdinOnce: true
    command: [sh, -c, "echo one; echo two; echo three >&2; while read -r line; do echo said $line; done; echo end"]
"#;

#[test]
fn kubectl_reaches_into_running_pods() {
    if !able(Some("kubectl")) {
        return;
    }
    let server = Server::start();
    build(&server);
    server.kubectl_ok(&["apply", "-f", &server.file("web.yaml", WEB)]);
    let rolled = ["rollout", "status", "deployment/web", "--timeout=60s"];
    let words = server.kubectl_ok(&rolled);
    assert!(words.contains("successfully rolled out"), "{words}");
    server.kubectl_ok(&[
        "wait",
        "--for=condition=Ready",
        "pod/talker",
        "--timeout=30s",
    ]);
    let running = "--for=jsonpath={.status.phase}=Running";
    server.kubectl_ok(&["wait", running, "pod/talker", "--timeout=30s"]);

    // Logs in all their selections.
    until("three lines", Duration::from_secs(10), || {
        server.kubectl_ok(&["logs", "talker"]).lines().count() == 3
    });
    assert_eq!(
        server.kubectl_ok(&["logs", "talker", "--tail=1"]),
        "three\n"
    );
    let stamped = server.kubectl_ok(&["logs", "talker", "--timestamps", "--limit-bytes=40"]);
    assert!(stamped.len() <= 40 && stamped.contains('T'), "{stamped}");
    let of_all = server.kubectl_ok(&["logs", "-l", "app=web", "--prefix", "--tail=-1"]);
    assert!(
        of_all.is_empty() || of_all.contains("[pod/web-"),
        "{of_all}"
    );
    let none = server.kubectl(&["logs", "talker", "--previous"]);
    assert!(!none.status.success());
    let wrong = server.kubectl(&["logs", "talker", "-c", "nobody"]);
    let words = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(words.contains("container nobody is not valid"), "{words}");

    // Attached, with something to say; the stream ends with the container.
    let words = server.shell("printf 'hello\\n' | timeout 20 kubectl attach -i talker -q");
    assert!(words.contains("said hello"), "{words}");

    // In and out of a container, as bytes and as files.
    let words = server.shell("printf 'a b' | kubectl exec -i deploy/web -- cat");
    assert_eq!(words, "a b");
    server.shell("head -c 300000 /dev/urandom > blob; mkdir -p tree/deep; cp blob tree/deep");
    let pod = server.kubectl_ok(&["get", "pods", "-l", "app=web", "-o", "name"]);
    let pod = pod.lines().next().expect("a pod").replace("pod/", "");
    server.shell(&format!(
        "kubectl cp tree {pod}:/tree && kubectl cp {pod}:/tree/deep/blob back"
    ));
    server.shell("cmp blob back");
    let failed = server.kubectl(&["exec", &pod, "--", "sh", "-c", "exit 3"]);
    assert_eq!(failed.status.code(), Some(3));
    // One-off pods.
    let once = "printf 'go\\n' | timeout 60 kubectl run once --image=demo/web:1 --restart=Never --rm -i -q -- sh -c 'read -r line; echo from the pod: $line'";
    assert!(server.shell(once).contains("from the pod: go"));
    assert!(!server.kubectl(&["get", "pod", "once"]).status.success());
    let file = server.file("web.yaml", WEB);
    server.kubectl_ok(&["delete", "-f", &file, "--wait", "--timeout=60s"]);
}
