//! A server that sends what it takes in on to a real Prometheus, and asks it for what it has not.

use crate::harness::{Server, able, free_port, until};
use crate::metrics::{curl, series};
use serde_json::Value;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(90);
/// Of Prometheus alone.
const THEIRS: &str = "promhttp_metric_handler_requests_total";

/// A program that ends with this, also where a test fails.
struct Running<'s>(&'s Server, String);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let id = &self.1;
        self.0.shell(&format!(
            "kill {id}; while kill -0 {id} 2>&-; do sleep 0.1; done; true"
        ));
    }
}

struct Peer<'s> {
    server: &'s Server,
    port: u16,
    file: String,
}

impl Peer<'_> {
    fn start(&self) -> Running<'_> {
        let (file, port) = (&self.file, self.port);
        let started = self.server.shell(&format!(
            "prometheus --config.file={file} --storage.tsdb.path=tsdb --web.enable-remote-write-receiver --web.listen-address=127.0.0.1:{port} > prometheus.log 2>&1 & echo $!"
        ));
        Running(self.server, started.trim().to_owned())
    }

    fn ask(&self, query: &str) -> Vec<Value> {
        let line = format!(
            "curl -sS --max-time 5 -G http://127.0.0.1:{}/api/v1/query --data-urlencode 'query={query}' || true",
            self.port
        );
        let reply: Value = serde_json::from_str(&self.server.shell(&line)).unwrap_or_default();
        let result = reply["data"]["result"].as_array().cloned();
        result.unwrap_or_default()
    }
}

#[test]
fn a_prometheus_gets_what_comes_in_and_is_asked_for_the_rest() {
    if !able(Some("prometheus")) {
        return;
    }
    let port = free_port();
    let settings = format!(
        "[telemetry]\nscrape-interval = \"1s\"\n\
         [[telemetry.mirror]]\nsignal = \"metrics\"\nname = \"peer\"\nurl = \"http://127.0.0.1:{port}/api/v1/write\"\n\
         [[telemetry.read-through]]\nsignal = \"metrics\"\nurl = \"http://127.0.0.1:{port}\"\nbefore = \"2200-01-01T00:00:00Z\"\n"
    );
    let server = Server::start_with(&settings, |_| {});
    // Nobody is there yet: it waits on the disk.
    until("samples that wait", LIMIT, || {
        !series(&server, "towpath_mirror_pending_items > 0").is_empty()
    });
    let text = format!(
        "scrape_configs:\n- job_name: own\n  scrape_interval: 1s\n  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
    );
    let peer = Peer {
        server: &server,
        port,
        file: server.file("prometheus.yml", &text),
    };
    let first = peer.start();
    until("what waited has come", LIMIT, || {
        !peer.ask("kube_node_info").is_empty()
    });
    // A kill stops nothing for longer than the restart takes.
    server.kill_and_restart();
    let since = server.shell("date +%s");
    let fresh = format!("timestamp(kube_node_info) > {}", since.trim());
    until("samples since the restart", LIMIT, || {
        !peer.ask(&fresh).is_empty()
    });
    until("what only Prometheus has", LIMIT, || {
        !series(&server, THEIRS).is_empty()
    });
    // Away again: answers have what is here, and say what they lack.
    drop(first);
    let url = format!("{}/prometheus/api/v1/query", server.url);
    let reply = curl(&server, &format!("-d query=kube_node_info {url}"));
    let reply: Value = serde_json::from_str(&reply).expect("JSON");
    assert_eq!(reply["data"]["result"].as_array().map(Vec::len), Some(1));
    assert!(reply["warnings"][0].is_string(), "{reply}");
    let second = peer.start();
    until("what waited the second time has come", LIMIT, || {
        let recent = peer.ask("time() - timestamp(kube_node_info) < 15");
        !recent.is_empty()
    });
    drop(second);
    server.down();
}
