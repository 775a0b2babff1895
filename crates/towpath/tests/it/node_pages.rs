//! What the node shows of itself, asked through the API: by kubectl, and by a Prometheus with the
//! configuration that people use.

use crate::harness::{Server, able, until};
use serde_json::Value;
use std::time::Duration;

const SETTINGS: &str = "[telemetry]\nscrape-interval = \"1s\"\n";

fn node(server: &Server) -> String {
    let mut name = String::new();
    until("the node is there", Duration::from_secs(30), || {
        let nodes = server.kubectl_ok(&["get", "nodes", "-o", "name"]);
        name = nodes.trim().trim_start_matches("node/").to_string();
        !name.is_empty()
    });
    name
}

#[test]
fn kubectl_reads_the_pages_of_the_node() {
    if !able(Some("kubectl")) {
        return;
    }
    let server = Server::start_with(SETTINGS, |_| {});
    let node = node(&server);
    let raw = |page: &str| {
        let path = format!("/api/v1/nodes/{node}/proxy{page}");
        server.kubectl_ok(&["get", "--raw", &path])
    };
    assert_eq!(raw("/healthz"), "ok");
    for (page, metric) in [
        ("/metrics", "kubelet_node_name"),
        ("/metrics/cadvisor", "container_cpu_usage_seconds_total"),
        ("/metrics/resource", "node_memory_working_set_bytes"),
    ] {
        let text = raw(page);
        assert!(text.contains(metric), "{page}: {text}");
    }
    let summary: Value = serde_json::from_str(&raw("/stats/summary")).expect("JSON");
    assert_eq!(summary["node"]["nodeName"], node.as_str());
    assert!(summary["node"]["cpu"]["usageCoreNanoSeconds"].is_u64());
    let unknown = format!("/api/v1/nodes/{node}/proxy/run/default/p/c");
    assert!(!server.kubectl(&["get", "--raw", &unknown]).status.success());
    let nobody = ["get", "--raw", &unknown, "--as=nobody"];
    assert!(!server.kubectl(&nobody).status.success());
    until("kubectl top", Duration::from_secs(60), || {
        let top = server.kubectl(&["top", "node"]);
        String::from_utf8_lossy(&top.stdout).contains(&node)
    });
    server.down();
}

/// The jobs of the configuration that every guide gives for a cluster, with the address and the
/// credential of a Prometheus outside of it.
fn configuration(server: &Server, node: &str) -> String {
    let kubeconfig = server.dir().join("data/kubeconfig");
    let text = std::fs::read_to_string(kubeconfig).expect("kubeconfig");
    let field = |name: &str| {
        let at = text.find(name).expect("field") + name.len();
        let rest = text[at..].lines().next().expect("value");
        rest.trim().to_string()
    };
    let api = field("    server: ");
    let ca = server.dir().join("ca.crt");
    let line = format!(
        "echo {} | base64 -d > {}",
        field("certificate-authority-data: "),
        ca.display()
    );
    server.shell(&line);
    let token = server.file("token", &server.token);
    let address = api.trim_start_matches("https://");
    let access = format!(
        "tls_config: {{ca_file: {}}}\n    authorization: {{credentials_file: {token}}}",
        ca.display()
    );
    // The peer is built without discovery, so what it would find is given: the meta labels.
    let found = |labels: &str| {
        format!("static_configs:\n  - targets: [\"{address}\"]\n    labels: {{{labels}}}\n")
    };
    let of_node = format!("__meta_kubernetes_node_name: {node}, __meta_kubernetes_node_label_a: b");
    let job = |name: &str, path: &str| {
        format!(
            r#"
- job_name: {name}
  scheme: https
  {}
  {}
  relabel_configs:
  - action: labelmap
    regex: __meta_kubernetes_node_label_(.+)
  - target_label: __address__
    replacement: {address}
  - source_labels: [__meta_kubernetes_node_name]
    regex: (.+)
    target_label: __metrics_path__
    replacement: /api/v1/nodes/$1/proxy{path}
"#,
            access.replace("\n    ", "\n  "),
            found(&of_node),
        )
    };
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:{}{}{}\n- job_name: kubernetes-apiservers\n  scheme: https\n  {}\n  {}  relabel_configs:\n  - source_labels: [__meta_kubernetes_namespace, __meta_kubernetes_service_name, __meta_kubernetes_endpoint_port_name]\n    action: keep\n    regex: default;kubernetes;https\n",
        job("kubernetes-nodes", "/metrics"),
        job("kubernetes-nodes-cadvisor", "/metrics/cadvisor"),
        job("kubernetes-nodes-resource", "/metrics/resource"),
        access.replace("\n    ", "\n  "),
        found(
            "__meta_kubernetes_namespace: default, __meta_kubernetes_service_name: kubernetes, __meta_kubernetes_endpoint_port_name: https"
        ),
    )
}

#[test]
fn a_prometheus_reads_the_node() {
    if !able(Some("prometheus")) || !able(Some("kubectl")) {
        return;
    }
    let server = Server::start_with(SETTINGS, |_| {});
    let node = node(&server);
    let file = server.file("prometheus.yml", &configuration(&server, &node));
    let port = crate::harness::free_port();
    let started = server.shell(&format!(
        "prometheus --config.file={file} --storage.tsdb.path=tsdb --web.listen-address=127.0.0.1:{port} > prometheus.log 2>&1 & echo $!"
    ));
    let ask = |query: &str| {
        let line = format!(
            "curl -sS --max-time 5 -G http://127.0.0.1:{port}/api/v1/query --data-urlencode 'query={query}' || true"
        );
        let reply: Value = serde_json::from_str(&server.shell(&line)).unwrap_or_default();
        let result = reply["data"]["result"].as_array().cloned();
        result.unwrap_or_default()
    };
    let end = || server.shell(&format!("kill {}; true", started.trim()));
    let begin = std::time::Instant::now();
    let up = loop {
        let up = ask("up == 1");
        if up.len() >= 4 || begin.elapsed() > Duration::from_secs(60) {
            break up;
        }
        std::thread::sleep(Duration::from_millis(500));
    };
    let seen: Vec<usize> = [
        "kubelet_node_name",
        "container_cpu_usage_seconds_total",
        "node_memory_working_set_bytes",
        "apiserver_request_total",
    ]
    .iter()
    .map(|metric| ask(metric).len())
    .collect();
    let all = ask("up");
    end();
    let log = server.shell("tail -n 20 prometheus.log");
    assert!(up.len() >= 4, "{all:?}\n{log}");
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}\n{log}");
    server.down();
}
