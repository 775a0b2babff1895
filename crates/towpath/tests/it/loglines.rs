//! Log lines of the whole server: pushed and collected from pods, asked as Grafana asks, and still
//! there after a crash.

use crate::harness::{Server, able, until};
use serde_json::Value;
use std::time::Duration;

const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: speaker
  namespace: default
  labels: {app: speaker, towpath.dev/commit: "0123456789ab"}
spec:
  containers:
  - name: main
    image: host.towpath.dev/rootfs
    command: ["/bin/sh", "-c", "echo level=warn msg=spoken n=1; sleep 600"]
"#;

fn curl(server: &Server, arguments: &str) -> String {
    let line = format!(
        "curl -sS --max-time 20 -u grafana:{} {arguments}",
        server.token
    );
    server.shell(&line)
}

fn ask(server: &Server, path: &str, form: &str) -> Value {
    let url = format!("{}/loki/api/v1/{path}", server.url);
    let text = curl(server, &format!("-G {form} {url}"));
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path} {form}: {text}"))
}

/// The lines that a query finds.
fn lines(server: &Server, query: &str) -> Vec<String> {
    let form = format!("--data-urlencode 'query={query}' -d limit=1000");
    let reply = ask(server, "query_range", &form);
    assert_eq!(reply["status"], "success", "{reply}");
    let streams = reply["data"]["result"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let values = streams
        .iter()
        .flat_map(|stream| stream["values"].as_array());
    let lines = values.flatten().filter_map(|value| value[1].as_str());
    lines.map(str::to_owned).collect()
}

/// `towpath logs`: lines, numbers, labels, what is refused, and lines as they come.
fn from_the_command_line(server: &Server) {
    let sent = "{app=\"sent\"}";
    assert_eq!(
        server.ok(&["logs", "query", sent, "--quiet"]),
        "hello there\n"
    );
    let shown = server.run(&["logs", "query", "{app=\"speaker\"} |= \"spoken\""]);
    let (lines, remarks) = (
        String::from_utf8_lossy(&shown.stdout).into_owned(),
        String::from_utf8_lossy(&shown.stderr).into_owned(),
    );
    assert!(lines.ends_with("level=warn msg=spoken n=1\n"), "{lines}");
    assert!(remarks.contains("pod=\"speaker\""), "{remarks}");
    let counted = format!("count_over_time({sent}[1h])");
    assert!(server.ok(&["logs", "query", &counted]).contains('1'));
    assert!(
        server
            .ok(&["logs", "labels"])
            .lines()
            .any(|name| name == "app")
    );
    assert!(server.ok(&["logs", "labels", "app"]).contains("sent"));
    let refused = server.run(&["logs", "query", "{app="]);
    assert_eq!(refused.status.code(), Some(1));
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("parse error"), "{words}");
    assert!(!server.run(&["logs"]).status.success());
    // What comes later is printed by the one that waits.
    let (mut waiting, output) = server.following(&["logs", "query", sent, "--quiet", "--follow"]);
    until("the line of before", Duration::from_secs(20), || {
        std::fs::read_to_string(&output).is_ok_and(|text| text == "hello there\n")
    });
    let body = r#"{"streams":[{"stream":{"app":"sent","later":"yes"},"values":[["'$(date +%s%N)'","hello again"]]}]}"#;
    let push = format!(
        "-H 'Content-Type: application/json' -d '{body}' {}/loki/api/v1/push",
        server.url
    );
    curl(server, &push);
    until("the line that came", Duration::from_secs(20), || {
        std::fs::read_to_string(&output).is_ok_and(|text| text.ends_with("hello again\n"))
    });
    waiting.kill().expect("ended");
    waiting.wait().expect("gone");
}

#[test]
fn lines_are_kept_and_asked() {
    if !able(None) {
        return;
    }
    let server = Server::start();
    // What a data source of Grafana asks when it is saved.
    let health = ask(
        &server,
        "query",
        "-d 'query=vector(1)%2Bvector(1)' -d time=4",
    );
    assert_eq!(health["data"]["result"][0]["value"][1], "2", "{health}");
    let body =
        r#"{"streams":[{"stream":{"app":"sent"},"values":[["'$(date +%s%N)'","hello there"]]}]}"#;
    let push = format!(
        "-o /dev/null -w '%{{http_code}}' -H 'Content-Type: application/json' -d '{body}' {}/loki/api/v1/push",
        server.url
    );
    assert_eq!(curl(&server, &push), "204");
    assert_eq!(
        lines(&server, "{app=\"sent\"} |= \"there\""),
        ["hello there"]
    );
    // What pods say.
    let pod = server.file("pod.yaml", POD);
    server.kubectl_ok(&["apply", "-f", &pod]);
    let spoken =
        "{namespace=\"default\", pod=\"speaker\", container=\"main\"} | commit=\"0123456789ab\"";
    until("the pod's line", Duration::from_secs(90), || {
        !lines(&server, spoken).is_empty()
    });
    let counted = "sum by (detected_level) (count_over_time({app=\"speaker\"}[10m]))";
    let reply = ask(
        &server,
        "query",
        &format!("--data-urlencode 'query={counted}'"),
    );
    assert_eq!(
        reply["data"]["result"][0]["metric"]["detected_level"], "warn",
        "{reply}"
    );
    from_the_command_line(&server);
    // A crash loses nothing and doubles nothing.
    server.kill_and_restart();
    until("lines after a crash", Duration::from_secs(30), || {
        lines(&server, "{app=\"sent\"}").len() == 2
    });
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(lines(&server, spoken), ["level=warn msg=spoken n=1"]);
    let bare = format!(
        "curl -sS -o /dev/null -w '%{{http_code}}' {}/loki/api/v1/labels",
        server.url
    );
    assert_eq!(server.shell(&bare), "401");
    server.down();
}
