//! Faults put into a running cluster: `towpath why` must name the true cause first, and blame
//! nobody where there is no fault.

use crate::harness::{Server, able, busybox, until};
use serde_json::Value;
use std::time::{Duration, Instant};
use towpath_stdx::Clock;

/// A workload that is well: it runs what a ConfigMap says and reads a Secret.
const WELL: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: NS}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: NS}
data: {run: "exec sleep 100000"}
---
apiVersion: v1
kind: Secret
metadata: {name: password, namespace: NS}
stringData: {word: secret}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NS}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: demo/box:1
        command: [sh, /etc/app/run]
        env: [{name: WORD, valueFrom: {secretKeyRef: {name: password, key: word}}}]
        volumeMounts: [{name: settings, mountPath: /etc/app}]
      volumes: [{name: settings, configMap: {name: settings}}]
"#;

struct Fault {
    name: &'static str,
    /// Lines of shell; `$NS` is the namespace.
    done: &'static str,
    /// `change <kind> <name>`, `trouble <kind> <name>` or `nobody`.
    cause: &'static str,
}

const PATCH: &str = "kubectl -n $NS patch deploy web -p";

const FAULTS: &[Fault] = &[
    Fault {
        name: "nothing",
        done: "true",
        cause: "nobody",
    },
    Fault {
        name: "harmless",
        done: "kubectl -n $NS scale deploy web --replicas=2",
        cause: "nobody",
    },
    Fault {
        name: "crash",
        done: r#"PATCH '{"spec":{"template":{"spec":{"containers":[{"name":"main","command":["sh","-c","echo no such table; exit 3"]}]}}}}'"#,
        cause: "change Deployment web",
    },
    Fault {
        name: "image",
        done: "kubectl -n $NS set image deploy/web main=127.0.0.1:1/none:1",
        cause: "change Deployment web",
    },
    Fault {
        name: "secret",
        done: "kubectl -n $NS delete secret password && kubectl -n $NS delete pod -l app=web --wait=false",
        cause: "change Secret password",
    },
    Fault {
        name: "config",
        done: r#"kubectl -n $NS patch configmap settings -p '{"data":{"run":"exit 4"}}' && kubectl -n $NS delete pod -l app=web --wait=false"#,
        cause: "change ConfigMap settings",
    },
    Fault {
        name: "probe",
        done: r#"PATCH '{"spec":{"template":{"spec":{"containers":[{"name":"main","readinessProbe":{"tcpSocket":{"port":81},"periodSeconds":1}}]}}}}'"#,
        cause: "change Deployment web",
    },
    Fault {
        name: "quota",
        done: r#"kubectl -n $NS create quota small --hard=pods=0 && kubectl -n $NS delete pod -l app=web --wait=false"#,
        cause: "change ResourceQuota small",
    },
    Fault {
        name: "pending",
        done: "kubectl -n $NS set resources deploy web --requests=cpu=1000",
        cause: "change Deployment web",
    },
    Fault {
        name: "memory",
        done: r#"PATCH '{"spec":{"template":{"spec":{"containers":[{"name":"main","command":["sh","-c","x=a; while :; do x=$x$x; done"],"resources":{"limits":{"memory":"16Mi"}}}]}}}}'"#,
        cause: "change Deployment web",
    },
    Fault {
        name: "reference",
        done: r#"PATCH '{"spec":{"template":{"spec":{"volumes":[{"name":"settings","configMap":{"name":"absent"}}]}}}}'"#,
        cause: "change Deployment web",
    },
    Fault {
        name: "disk",
        done: r#"PATCH '{"spec":{"template":{"spec":{"containers":[{"name":"main","command":["sh","-c","dd if=/dev/zero of=/fill bs=1M count=30; sleep 10000"],"resources":{"limits":{"ephemeral-storage":"5Mi"}}}]}}}}'"#,
        cause: "change Deployment web",
    },
    Fault {
        name: "scale",
        done: "kubectl -n $NS set resources deploy web --requests=cpu=100m && kubectl -n $NS rollout status deploy web --timeout=60s && kubectl -n $NS scale deploy web --replicas=60",
        cause: "change Deployment web",
    },
    Fault {
        name: "certificate",
        done: "kubectl -n $NS create secret generic web-tls --type=kubernetes.io/tls --from-file=tls.crt=ended.pem --from-literal=tls.key=none",
        cause: "trouble Secret web-tls",
    },
];

const SETTINGS: &str = "[telemetry]\nscrape-interval = \"2s\"\n";

/// What anybody would be woken by, sooner.
const RULES: &str = r#"
groups:
- name: faults
  interval: 2s
  rules:
  - alert: ReplicasMissing
    expr: >-
      kube_deployment_status_replicas_unavailable{namespace=~"f-.*"} > 0
      or kube_deployment_spec_replicas{namespace=~"f-.*"} > kube_deployment_status_replicas_available
    for: 20s
    labels: {severity: critical}
"#;

/// Of faults that take pods away, how many must have a case that names the true cause first.
const NAMED_FIRST: f64 = 0.8;

/// Cases that alerts opened by themselves: one for each fault that takes pods away, none without.
fn by_alerts(server: &Server, since: Duration) {
    let down = |fault: &&Fault| fault.cause.starts_with("change");
    let open = || -> Vec<Value> {
        let output = server.run(&["cases", "--state", "all", "-o", "json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    };
    let of = |cases: &[Value], fault: &Fault| {
        let namespace = format!("f-{}", fault.name);
        let mut own = cases.iter();
        own.find(|case| case["subject"]["namespace"] == namespace)
            .cloned()
    };
    let wanted = FAULTS.iter().filter(down).count();
    let end = Instant::now() + Duration::from_secs(120);
    let mut cases = open();
    let has = |cases: &[Value], fault: &Fault| {
        of(cases, fault).is_some_and(|case| !case["cause"].is_null())
    };
    while Instant::now() < end && !FAULTS.iter().filter(down).all(|fault| has(&cases, fault)) {
        std::thread::sleep(Duration::from_secs(1));
        cases = open();
    }
    let mut wrong = Vec::new();
    for fault in FAULTS {
        let Some(line) = of(&cases, fault) else {
            if down(&fault) {
                wrong.push(format!("{}: no case", fault.name));
            }
            continue;
        };
        let at = Duration::from_millis(line["openedAt"].as_u64().unwrap_or_default());
        // What was slow to begin with is not the fault's.
        if !down(&fault) && at < since {
            continue;
        }
        assert!(down(&fault), "{} is no fault: {line:#}", fault.name);
        let id = line["id"].as_str().unwrap_or_default().to_string();
        let output = server.run(&["why", &id, "-o", "json"]);
        let case: Value = serde_json::from_slice(&output.stdout).expect("a case");
        let first = &case["causes"][0];
        let text = |key: &str| first["object"][key].as_str().unwrap_or_default();
        let named = format!(
            "{} {} {}",
            first["kind"].as_str().unwrap_or_default(),
            text("kind"),
            text("name")
        );
        if named != fault.cause {
            wrong.push(format!(
                "{}: {named} instead of {}\n{case:#}",
                fault.name, fault.cause
            ));
        }
    }
    let named = wanted - wrong.len();
    let names: Vec<&str> = wrong.iter().filter_map(|w| w.lines().next()).collect();
    eprintln!("{named} of {wanted} cases name the true cause first; {names:?}");
    let share = (wanted - wrong.len()) as f64 / wanted as f64;
    assert!(share >= NAMED_FIRST, "{}", wrong.join("\n"));
}

fn first_cause(answer: &Value) -> String {
    if answer["symptom"].is_null() {
        return "nobody".into();
    }
    let culprit = &answer["causes"][0]["culprit"];
    let (is, object) = match culprit["is"].as_str() {
        Some("change") => ("change", &culprit["change"]["object"]),
        Some(_) => ("trouble", &culprit["finding"]["workload"]),
        None => return "no cause".into(),
    };
    let text = |key: &str| object[key].as_str().unwrap_or_default().to_string();
    format!("{is} {} {}", text("kind"), text("name"))
}

#[test]
fn the_true_cause_is_named() {
    let Some(busybox) = busybox().filter(|_| able(Some("kubectl"))) else {
        return;
    };
    let server = Server::start_with(SETTINGS, |data| {
        let rules = data.join("telemetry/rules");
        std::fs::create_dir_all(&rules).expect("directory");
        std::fs::write(rules.join("faults.yml"), RULES).expect("rules");
    });
    let context = server.dir().join("box");
    std::fs::create_dir_all(&context).expect("directory");
    std::fs::copy(busybox, context.join("busybox")).expect("busybox");
    let names =
        ["sh", "sleep", "dd"].map(|name| format!("COPY --chmod=0755 busybox /bin/{name}\n"));
    std::fs::write(
        context.join("Dockerfile"),
        format!("FROM scratch\n{}CMD [\"/bin/sh\"]\n", names.concat()),
    )
    .expect("Dockerfile");
    server.ok(&[
        "build",
        &context.display().to_string(),
        "--tag",
        "demo/box:1",
    ]);
    server.file("ended.pem", include_str!("corpus/ended.pem"));

    let well: Vec<String> = FAULTS
        .iter()
        .map(|fault| WELL.replace("NS", &format!("f-{}", fault.name)))
        .collect();
    let file = server.file("well.yaml", &well.join("---\n"));
    server.kubectl_ok(&["apply", "-f", &file]);
    for fault in FAULTS {
        let namespace = format!("f-{}", fault.name);
        let status = [
            "-n",
            &namespace,
            "rollout",
            "status",
            "deploy/web",
            "--timeout=90s",
        ];
        server.kubectl_ok(&status);
    }
    // Before anything is done nothing is wrong anywhere.
    for fault in FAULTS {
        let namespace = format!("f-{}", fault.name);
        let answer = server.ok(&["why", "--namespace", &namespace]);
        assert!(answer.contains("nothing is wrong"), "{answer}");
    }
    for fault in FAULTS {
        let line = fault.done.replace("PATCH", PATCH);
        server.shell(&format!("NS=f-{}; {line}", fault.name));
    }
    let (begin, since) = (Instant::now(), towpath_stdx::SystemClock.since_epoch());
    let mut wrong = Vec::new();
    for fault in FAULTS {
        let namespace = format!("f-{}", fault.name);
        let ask = || -> Value {
            let output = server.run(&["why", "--namespace", &namespace, "-o", "json"]);
            serde_json::from_slice(&output.stdout).unwrap_or_default()
        };
        let mut answer = Value::Null;
        let limit = Duration::from_secs(120).saturating_sub(begin.elapsed());
        if fault.cause == "nobody" {
            until("the pods of the control", Duration::from_secs(60), || {
                answer = ask();
                answer["findings"].as_array().is_some_and(Vec::is_empty)
            });
        } else {
            let end = Instant::now() + limit.max(Duration::from_secs(5));
            while Instant::now() < end {
                answer = ask();
                if answer["findings"].as_array().is_some_and(|f| !f.is_empty()) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(500));
            }
        }
        let named = first_cause(&answer);
        if named != fault.cause {
            wrong.push(format!(
                "{}: {named} instead of {}\n{}",
                fault.name,
                fault.cause,
                serde_json::to_string_pretty(&answer).unwrap_or_default()
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} wrong:\n{}",
        wrong.len(),
        FAULTS.len(),
        wrong.join("\n")
    );
    by_alerts(&server, since);
    // A person's change has its author, and the ledger has it for charts.
    let said = server.run(&["why", "--namespace", "f-crash"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("by admin"), "{said}");
    assert!(said.contains("no such table"), "{said}");
    server.kill_and_restart();
    let said = server.run(&["why", "--namespace", "f-crash"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("Deployment web"), "{said}");
}
