//! Objects beside the real kube-state-metrics, which lists the same objects from a small server.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use towpath_telemetry::exporters::Sink;
use towpath_telemetry::exporters::objects::{Allowed, Objects};
use towpath_telemetry::family;
use towpath_testkit::{free_port, peer};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/objects")
}

fn cluster() -> Value {
    let text = std::fs::read_to_string(corpus().join("cluster.json")).expect("cluster");
    serde_json::from_str(&text).expect("json")
}

fn objects(cluster: &Value) -> Objects {
    fn all<K: DeserializeOwned>(cluster: &Value, plural: &str) -> Vec<Arc<K>> {
        let list = cluster[plural].as_array().cloned().unwrap_or_default();
        let one = |value: Value| Arc::new(serde_json::from_value(value).expect("object"));
        list.into_iter().map(one).collect()
    }
    Objects {
        pods: all(cluster, "pods"),
        deployments: all(cluster, "deployments"),
        replica_sets: all(cluster, "replicasets"),
        stateful_sets: all(cluster, "statefulsets"),
        daemon_sets: all(cluster, "daemonsets"),
        jobs: all(cluster, "jobs"),
        cron_jobs: all(cluster, "cronjobs"),
        autoscalers: all(cluster, "horizontalpodautoscalers"),
        nodes: all(cluster, "nodes"),
        namespaces: all(cluster, "namespaces"),
        volumes: all(cluster, "persistentvolumes"),
        claims: all(cluster, "persistentvolumeclaims"),
        quotas: all(cluster, "resourcequotas"),
        budgets: all(cluster, "poddisruptionbudgets"),
        services: all(cluster, "services"),
        ingresses: all(cluster, "ingresses"),
    }
}

fn allowed() -> Allowed {
    let one = |list: &[&str]| list.iter().map(|s| s.to_string()).collect();
    Allowed {
        labels: BTreeMap::from([
            ("pods".to_string(), one(&["app", "towpath.dev/commit"])),
            ("nodes".to_string(), one(&["*"])),
        ]),
    }
}

fn page(objects: &Objects) -> String {
    let mut sink = Sink::default();
    objects.write(&allowed(), &mut sink);
    family::text(&sink.finish())
}

#[test]
fn the_page_of_the_cluster() {
    let page = page(&objects(&cluster()));
    let expected = corpus().join("cluster.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&expected, &page).expect("bless");
    }
    assert_eq!(page, std::fs::read_to_string(&expected).expect("page"));
}

type Series = BTreeMap<Vec<(String, String)>, f64>;

// Series by family, labels without a value left out: they are the same as none.
fn parse(page: &str) -> BTreeMap<String, (String, Series)> {
    let mut families: BTreeMap<String, (String, Series)> = BTreeMap::new();
    let mut kinds = BTreeMap::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("kind");
            kinds.insert(name.to_string(), kind.to_string());
        } else if !line.starts_with('#') && !line.is_empty() {
            let (series, value) = line.rsplit_once(' ').expect("value");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let mut pairs = Vec::new();
            for pair in labels
                .trim_end_matches('}')
                .split("\",")
                .filter(|p| !p.is_empty())
            {
                let (name, value) = pair.split_once("=\"").expect("label");
                let value = value.trim_end_matches('"');
                if !value.is_empty() {
                    pairs.push((name.to_string(), value.to_string()));
                }
            }
            pairs.sort();
            let kind = kinds.get(name).cloned().unwrap_or_default();
            let family = families.entry(name.into()).or_insert((kind, Series::new()));
            let there = family.1.insert(pairs, value.parse().expect("number"));
            assert!(there.is_none(), "twice: {line}");
        }
    }
    families
}

const KINDS: &[(&str, &str, &str)] = &[
    ("/api/v1/pods", "v1", "Pod"),
    ("/api/v1/nodes", "v1", "Node"),
    ("/api/v1/namespaces", "v1", "Namespace"),
    ("/api/v1/services", "v1", "Service"),
    ("/api/v1/resourcequotas", "v1", "ResourceQuota"),
    ("/api/v1/persistentvolumes", "v1", "PersistentVolume"),
    (
        "/api/v1/persistentvolumeclaims",
        "v1",
        "PersistentVolumeClaim",
    ),
    ("/apis/apps/v1/deployments", "apps/v1", "Deployment"),
    ("/apis/apps/v1/replicasets", "apps/v1", "ReplicaSet"),
    ("/apis/apps/v1/statefulsets", "apps/v1", "StatefulSet"),
    ("/apis/apps/v1/daemonsets", "apps/v1", "DaemonSet"),
    ("/apis/batch/v1/jobs", "batch/v1", "Job"),
    ("/apis/batch/v1/cronjobs", "batch/v1", "CronJob"),
    (
        "/apis/autoscaling/v2/horizontalpodautoscalers",
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
    ),
    (
        "/apis/policy/v1/poddisruptionbudgets",
        "policy/v1",
        "PodDisruptionBudget",
    ),
    (
        "/apis/networking.k8s.io/v1/ingresses",
        "networking.k8s.io/v1",
        "Ingress",
    ),
];

// Lists the objects, and says nothing to those who watch.
fn answer(mut stream: TcpStream, cluster: &Value) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut header = String::new();
        while header != "\r\n" {
            header.clear();
            reader.read_line(&mut header)?;
        }
        let target = request.split(' ').nth(1).unwrap_or("/");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let kind = KINDS.iter().find(|(own, ..)| *own == path);
        let (status, body) = match kind {
            Some((path, version, kind)) if !query.contains("watch=") => {
                let plural = path.rsplit('/').next().expect("plural");
                let list = json!({
                    "kind": format!("{kind}List"),
                    "apiVersion": version,
                    "metadata": {"resourceVersion": "100"},
                    "items": cluster[plural],
                });
                ("200 OK", list)
            }
            Some(_) if query.contains("sendInitialEvents") => {
                let refusal = json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure",
                    "reason": "Invalid", "code": 422, "message": "no streaming lists here",
                });
                ("422 Unprocessable Entity", refusal)
            }
            Some(_) => {
                stream.write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
                )?;
                std::thread::sleep(Duration::from_secs(60));
                return Ok(());
            }
            None if path == "/version" => (
                "200 OK",
                json!({"major": "1", "minor": "36", "gitVersion": "v1.36.3"}),
            ),
            None => ("404 Not Found", json!({"kind": "Status", "code": 404})),
        };
        let body = body.to_string();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
}

fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .ok()?;
    stream
        .write_all(b"GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n")
        .ok()?;
    let mut text = String::new();
    stream.take(16 << 20).read_to_string(&mut text).ok()?;
    Some(text.split_once("\r\n\r\n")?.1.to_string())
}

#[test]
#[allow(clippy::disallowed_methods)] // the program under comparison
fn the_real_program_says_the_same() {
    let Some(program) = peer("kube-state-metrics") else {
        return;
    };
    let cluster = cluster();
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let server = listener.local_addr().expect("address");
    let served = Arc::new(cluster.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let served = served.clone();
            std::thread::spawn(move || drop(answer(stream, &served)));
        }
    });
    let plurals: Vec<&str> = KINDS
        .iter()
        .filter_map(|(path, ..)| path.rsplit('/').next())
        .collect();
    let (port, own) = (free_port(), free_port());
    let mut child = std::process::Command::new(program)
        .arg(format!("--apiserver=http://{server}"))
        .arg(format!("--resources={}", plurals.join(",")))
        .args(["--host=127.0.0.1", "--telemetry-host=127.0.0.1"])
        .arg(format!("--port={port}"))
        .arg(format!("--telemetry-port={own}"))
        .arg("--metric-labels-allowlist=pods=[app,towpath.dev/commit],nodes=[*]")
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("start");
    let end = Instant::now() + Duration::from_secs(60);
    let wanted = [
        "kube_pod_info{",
        "kube_ingress_info{",
        "kube_node_info{",
        "kube_job_info{",
        "kube_deployment_spec_replicas{",
        "kube_statefulset_replicas{",
        "kube_service_info{",
        "kube_daemonset_created{",
        "kube_cronjob_info{",
        "kube_resourcequota{",
        "kube_poddisruptionbudget_created{",
        "kube_persistentvolume_info{",
        "kube_persistentvolumeclaim_info{",
        "kube_horizontalpodautoscaler_info{",
        "kube_namespace_created{",
        "kube_replicaset_created{",
    ];
    let theirs = loop {
        let page = get(port).unwrap_or_default();
        if wanted.iter().all(|series| page.contains(series)) {
            break page;
        }
        if Instant::now() > end {
            let missing: Vec<_> = wanted.iter().filter(|s| !page.contains(*s)).collect();
            let _ = child.kill();
            panic!("not listed: {missing:?}");
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    child.kill().expect("stop");
    let _ = child.wait();
    let (theirs, ours) = (parse(&theirs), parse(&page(&objects(&cluster))));
    // Annotations as labels are not offered; drivers' attributes neither.
    let left_out = |name: &str| name.ends_with("_annotations") || name.ends_with("_csi_attributes");
    let mut wrong = Vec::new();
    let names: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    for name in names.into_iter().filter(|name| !left_out(name)) {
        match (theirs.get(name), ours.get(name)) {
            (Some(_), None) => wrong.push(format!("{name}: missing")),
            (None, Some(_)) => wrong.push(format!("{name}: not upstream's")),
            (Some(a), Some(b)) => {
                if a.0 != b.0 {
                    wrong.push(format!("{name} is {}, not {}", b.0, a.0));
                }
                for (labels, value) in &a.1 {
                    match b.1.get(labels) {
                        None => wrong.push(format!("{name}{labels:?} is missing")),
                        Some(own) if own != value => {
                            wrong.push(format!("{name}{labels:?} is {own}, not {value}"));
                        }
                        Some(_) => {}
                    }
                }
                for labels in b.1.keys().filter(|labels| !a.1.contains_key(*labels)) {
                    wrong.push(format!("{name}{labels:?} is not upstream's"));
                }
            }
            (None, None) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_page_of_a_thousand_pods_is_bounded_work() {
    let cluster = cluster();
    let one = objects(&cluster).pods.remove(0);
    let mut pods = Vec::new();
    for n in 0..1000 {
        let mut pod = (*one).clone();
        pod.metadata.name = Some(format!("web-{n}"));
        pods.push(Arc::new(pod));
    }
    let all = Objects {
        pods,
        ..Objects::default()
    };
    let begin = Instant::now();
    let mut sink = Sink::default();
    all.write(&allowed(), &mut sink);
    let families = sink.finish();
    let took = begin.elapsed();
    let samples: usize = families.iter().map(|f| f.samples.len()).sum();
    eprintln!("{samples} samples of 1,000 pods in {took:?}");
    assert!((50_000..150_000).contains(&samples), "{samples}");
    // Without optimisation, on a machine that does other things too.
    assert!(took < Duration::from_secs(5), "{took:?}");
}
