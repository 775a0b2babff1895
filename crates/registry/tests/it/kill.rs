//! `kill -9` in the middle of uploads: what was acknowledged is there, nothing half is.

use crate::harness::{ADMIN, Server};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use towpath_oci::Digest;

const DIR: &str = "TOWPATH_TEST_REGISTRY_DIR";

/// Not a test of its own: the server that is killed, in a process of its own.
#[tokio::test(flavor = "multi_thread")]
async fn server_process() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let server = Server::at(Path::new(&dir), |_| {}).await;
    println!("LISTENING {}", server.address);
    std::future::pending::<()>().await;
}

#[allow(clippy::disallowed_methods)] // a blocking child that is killed on purpose
fn start(dir: &Path) -> (Child, String) {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::server_process", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines
        .find_map(|line| line.unwrap().split("LISTENING ").nth(1).map(str::to_string))
        .unwrap();
    towpath_drain(lines);
    (child, address)
}

fn towpath_drain(lines: std::io::Lines<BufReader<std::process::ChildStdout>>) {
    std::thread::spawn(move || lines.for_each(drop));
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_five_kills_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let http = {
        // Sets the process's crypto provider.
        let _ = Server::at(&dir.path().join("other"), |_| {}).await;
        reqwest::Client::builder().no_proxy().build().unwrap()
    };
    let mut acknowledged: Vec<(String, Vec<u8>)> = Vec::new();
    let mut tags: Vec<(String, String)> = Vec::new();
    let mut open: Option<(String, u64, Vec<u8>)> = None;
    for round in 0..25u32 {
        let (mut child, address) = start(dir.path());
        let url = |path: &str| format!("http://{address}{path}");
        let ask = |method: &str, path: &str| {
            http.request(method.parse().unwrap(), url(path))
                .bearer_auth(ADMIN)
        };
        for (digest, content) in &acknowledged {
            let got = ask("GET", &format!("/v2/demo/a/blobs/{digest}"))
                .send()
                .await
                .unwrap();
            assert_eq!(got.bytes().await.unwrap(), content, "round {round}");
        }
        for (tag, digest) in &tags {
            let got = ask("HEAD", &format!("/v2/demo/a/manifests/{tag}"))
                .send()
                .await
                .unwrap();
            assert_eq!(got.headers()["docker-content-digest"], digest.as_str());
        }
        if let Some((location, offset, content)) = open.take() {
            // The durable offset is at least what was acknowledged, and the rest completes it.
            let status = ask("GET", &location).send().await.unwrap();
            assert_eq!(status.status(), 204, "round {round}: {location}");
            let range = status.headers()["range"].to_str().unwrap().to_string();
            let held: u64 = range[2..].parse::<u64>().unwrap() + 1;
            assert!(held >= offset, "round {round}: {held} < {offset}");
            let digest = Digest::of(&content);
            let rest = content[held as usize..].to_vec();
            let done = ask("PUT", &format!("{location}?digest={digest}"))
                .body(rest)
                .send()
                .await
                .unwrap();
            assert_eq!(done.status(), 201, "round {round}");
            acknowledged.push((digest.to_string(), content));
        }
        let small = format!("blob {round}").into_bytes();
        let digest = Digest::of(&small).to_string();
        let put = ask(
            "POST",
            &format!("/v2/demo/a/blobs/uploads/?digest={digest}"),
        )
        .body(small.clone())
        .send()
        .await
        .unwrap();
        assert_eq!(put.status(), 201);
        acknowledged.push((digest.clone(), small));
        let manifest = crate::harness::image(&digest, &digest, 1, "");
        let put = ask("PUT", &format!("/v2/demo/a/manifests/t{round}"))
            .header("content-type", towpath_oci::manifest::IMAGE)
            .body(manifest.clone())
            .send()
            .await
            .unwrap();
        assert_eq!(put.status(), 201);
        tags.push((
            format!("t{round}"),
            Digest::of(manifest.as_bytes()).to_string(),
        ));
        let content: Vec<u8> = (0..3_000_000u32)
            .map(|n| (n.wrapping_mul(31) ^ round) as u8)
            .collect();
        let begin = ask("POST", "/v2/demo/a/blobs/uploads/")
            .send()
            .await
            .unwrap();
        let location = begin.headers()["location"].to_str().unwrap().to_string();
        let first = ask("PATCH", &location)
            .body(content[..1_000_000].to_vec())
            .send()
            .await
            .unwrap();
        assert_eq!(first.status(), 202);
        // The second part is on its way when the process dies, at a different moment each time.
        let request = ask("PATCH", &location).body(content[1_000_000..].to_vec());
        let sending = towpath_daemon::spawn("test-send", async move { drop(request.send().await) });
        tokio::time::sleep(std::time::Duration::from_micros(u64::from(round) * 300)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        sending.await.unwrap();
        open = Some((location, 1_000_000, content));
    }
    let blobs = towpath_store::Blobs::open(&dir.path().join("blobs")).unwrap();
    use futures::TryStreamExt;
    let all: Vec<_> = blobs.list().try_collect().await.unwrap();
    for (id, _) in all {
        assert_eq!(
            Digest::of(&std::fs::read(blobs.path(&id)).unwrap()).to_string(),
            id.to_string()
        );
    }
}
