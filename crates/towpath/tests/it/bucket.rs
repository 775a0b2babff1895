//! Segments of the whole server in a bucket: uploaded by themselves, and taken up by a server with
//! an empty disk.

use crate::harness::{Server, able, free_port, peer, until};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server of S3 that ends with the test.
struct Bucket(Child);

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts one with the bucket `kept`; its port.
#[allow(clippy::disallowed_methods)] // a test's own child
fn start(dir: &Path) -> (Bucket, u16) {
    std::fs::create_dir_all(dir.join("data/kept")).expect("bucket");
    std::fs::create_dir_all(dir.join("side")).expect("folder");
    for _ in 0..20 {
        let port = free_port();
        let mut child = Command::new(peer("s3"))
            .arg(format!("127.0.0.1:{port}"))
            .args([dir.join("data"), dir.join("side")])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server of S3 starts");
        let out = child.stdout.take().expect("output");
        let bucket = Bucket(child);
        let mut lines = BufReader::new(out).lines();
        if lines.any(|line| line.is_ok_and(|line| line.starts_with("listens"))) {
            return (bucket, port);
        }
    }
    panic!("the server of S3 does not listen");
}

fn curl(server: &Server, arguments: &str) -> String {
    let token = &server.token;
    server.shell(&format!("curl -sS --max-time 30 -u u:{token} {arguments}"))
}

fn lines(server: &Server) -> Vec<String> {
    let url = format!("{}/loki/api/v1/query_range", server.url);
    let text = curl(
        server,
        &format!("-G --data-urlencode 'query={{app=\"kept\"}}' -d since=2h {url}"),
    );
    let reply: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    assert_eq!(reply["status"], "success", "{reply}");
    let streams = reply["data"]["result"].as_array().cloned();
    let streams = streams.unwrap_or_default();
    let values = streams
        .iter()
        .filter_map(|stream| stream["values"].as_array());
    let mut lines: Vec<String> = values
        .flatten()
        .filter_map(|value| Some(value[1].as_str()?.to_owned()))
        .collect();
    lines.sort();
    lines
}

/// A figure of the server itself.
fn figure(server: &Server, name: &str) -> f64 {
    let page = curl(server, &format!("{}/metrics", server.url));
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.trim().parse().ok())
        .unwrap_or(-1.0)
}

#[test]
fn a_server_with_an_empty_disk_takes_up_what_is_in_the_bucket() {
    if !able(Some("s3")) {
        return;
    }
    let dir = std::env::temp_dir().join(format!("towpath-bucket-{}", std::process::id()));
    let (_bucket, port) = start(&dir);
    let keys = dir.join("credentials");
    let text = "[default]\naws_access_key_id = key\naws_secret_access_key = secret\n";
    std::fs::write(&keys, text).expect("credentials");
    let settings = format!(
        "[telemetry.object-storage]\nbucket = \"kept\"\nprefix = \"a/server\"\n\
         endpoint = \"http://127.0.0.1:{port}\"\nallow-http = true\nlocal = \"0\"\n\
         credentials-file = \"{}\"\n",
        keys.display()
    );
    let server = Server::start_with(&settings, |_| {});
    let values: Vec<String> = (0..50)
        .map(|n| format!("[\"'$(date +%s%N)'\",\"line {n:02}\"]"))
        .collect();
    let body = format!(
        "{{\"streams\":[{{\"stream\":{{\"app\":\"kept\"}},\"values\":[{}]}}]}}",
        values.join(",")
    );
    let push = format!(
        "-o /dev/null -w '%{{http_code}}' -H 'Content-Type: application/json' -d '{body}' \
         {}/loki/api/v1/push",
        server.url
    );
    assert_eq!(curl(&server, &push), "204");
    let known = lines(&server);
    assert_eq!(known.len(), 50);
    // To forget other lines, those that are in memory are written as a segment.
    let delete = format!(
        "-X POST -G --data-urlencode 'query={{app=\"none\"}}' -d start=1 {}/loki/api/v1/delete",
        server.url
    );
    curl(&server, &delete);
    let segments = "towpath_signals_bucket_segments{signal=\"logs\"}";
    let away = "towpath_signals_bucket_only_bytes{signal=\"logs\"}";
    until(
        "the segment is in the bucket alone",
        Duration::from_secs(120),
        || figure(&server, segments) >= 1.0 && figure(&server, away) > 0.0,
    );
    assert_eq!(
        figure(&server, "towpath_signals_bucket_up{signal=\"logs\"}"),
        1.0
    );
    assert_eq!(lines(&server), known);
    server.kill();
    let next = Server::start_with(&format!("{settings}take-over = true\n"), |_| {});
    assert_eq!(lines(&next), known);
    drop((next, server));
    let _ = std::fs::remove_dir_all(&dir);
}
