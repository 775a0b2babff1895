//! Alerts of the whole server: a receiver that is tested, silences from the command line, the
//! history as log lines, and the ends of certificates.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Server, able, until};
use crate::metrics::{SETTINGS, curl, series};

/// Takes messages; what they said.
fn receiver() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = heard.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut text = String::new();
            let mut part = [0u8; 4096];
            while let Ok(count) = stream.read(&mut part) {
                text += &String::from_utf8_lossy(&part[..count]);
                let length = text.to_lowercase();
                let length = length
                    .split("content-length: ")
                    .nth(1)
                    .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
                let body = text
                    .split_once("\r\n\r\n")
                    .map_or(0, |(_, body)| body.len());
                if count == 0 || length.is_some_and(|length| body >= length) {
                    break;
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            kept.lock().expect("lock").push(text);
        }
    });
    (address, heard)
}

#[test]
fn alerts_reach_people_and_are_kept() {
    if !able(None) {
        return;
    }
    let (address, heard) = receiver();
    let server = Server::start_with(SETTINGS, |data| {
        let folder = data.join("telemetry");
        std::fs::create_dir_all(folder.join("rules")).expect("a folder");
        let config = format!(
            "route: {{receiver: team, group_by: [alertname], group_wait: 1s, group_interval: 1s}}\nreceivers: [{{name: team, webhook_configs: [{{url: 'http://{address}/hidden-path'}}]}}]\n"
        );
        std::fs::write(folder.join("alertmanager.yml"), config).expect("written");
        let further = "receivers: {team: {throttle: {burst: 50, every: 1s}}}";
        std::fs::write(folder.join("receivers.yml"), further).expect("written");
        let rules = "groups: [{name: g, interval: 1s, rules: [{alert: Always, expr: vector(1)}, {alert: Hushed, expr: vector(1)}]}]";
        std::fs::write(folder.join("rules/own.yml"), rules).expect("written");
    });
    let id = server.ok(&[
        "silence",
        "add",
        "alertname=Hushed",
        "--for",
        "1h",
        "--comment",
        "known",
        "--until-resolved",
    ]);
    let said = |word: &str| {
        let heard = heard.lock().expect("lock");
        heard.iter().any(|text| text.contains(word))
    };
    until("the message", Duration::from_secs(60), || said("Always"));
    assert!(server.ok(&["alerts"]).contains("Always"));
    assert!(!server.ok(&["alerts"]).contains("Hushed"));
    assert!(
        server
            .ok(&["alerts", "--all", "alertname=Hushed"])
            .contains(id.trim())
    );
    let silences = server.ok(&["silence"]);
    assert!(silences.contains("until resolved"), "{silences}");
    assert!(
        server
            .ok(&["alerts", "test", "team"])
            .contains("webhook[0]")
    );
    assert!(said("TestMessage"));
    assert_eq!(
        server.run(&["alerts", "test", "nobody"]).status.code(),
        Some(6)
    );
    let receivers = server.ok(&["alerts", "receivers"]);
    assert!(receivers.contains("told"), "{receivers}");
    server.ok(&["silence", "expire", id.trim()]);
    // Both stand on the timeline, with who it was.
    let changes = format!("{}/api/v1/changes", server.url);
    until(
        "silences among the changes",
        Duration::from_secs(10),
        || {
            let all: Value = serde_json::from_str(&curl(&server, &changes)).expect("JSON");
            let of = |one: &&Value| one["kind"] == "silence" && one["object"]["name"] == id.trim();
            let found: Vec<&Value> = all["changes"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(of)
                .collect();
            found.len() == 2 && found.iter().all(|one| one["by"] == "admin")
        },
    );
    until("what was silenced", Duration::from_secs(60), || {
        said("Hushed")
    });
    let history = curl(
        &server,
        &format!(
            "-G --data-urlencode 'query={{job=\"towpath/notifications\"}}' '{}/loki/api/v1/query_range?limit=500'",
            server.url
        ),
    );
    for word in ["fires", "suppressed", "delivered", "TestMessage"] {
        assert!(history.contains(word), "{word}: {history}");
    }
    assert!(!history.contains("hidden-path"), "{history}");
    until("ends of certificates", Duration::from_secs(30), || {
        let found = series(&server, "towpath_certificate_not_after_seconds > time()");
        found
            .iter()
            .any(|one: &Value| one["metric"]["source"] == "server")
    });
    server.down();
}
