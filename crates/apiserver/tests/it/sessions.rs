//! The real kubectl in a pod: programs and forwarded ports, over WebSockets and over SPDY.

use crate::clients::with_pod;
use crate::harness::{Server, admin};
use crate::peer::{programs, there};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch};
use serde_json::json;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Runs kubectl to its end, with or without WebSockets.
async fn kubectl(file: &std::path::Path, websockets: bool, args: &[&str], input: &str) -> Output {
    let mut command = tokio::process::Command::new(programs().join("kubectl"));
    let flag = if websockets { "true" } else { "false" };
    command
        .arg("--kubeconfig")
        .arg(file)
        .args(args)
        .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", flag)
        .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", flag)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().expect("kubectl");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(input.as_bytes()).await.expect("write");
    drop(stdin);
    tokio::time::timeout(Duration::from_secs(30), child.wait_with_output())
        .await
        .expect("kubectl ends")
        .expect("output")
}

#[tokio::test]
async fn kubectl_runs_programs_and_forwards_ports_both_ways() {
    if !there(&["kubectl"]) {
        return;
    }
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = Server::start().await;
    with_pod(&server).await;
    let running = json!({"status": {"phase": "Running"}});
    let pods: Api<Pod> = Api::namespaced(
        towpath_kit::client::in_process(server.api.service(admin())),
        "default",
    );
    pods.patch_status("p", &Default::default(), &Patch::Merge(running))
        .await
        .expect("running");
    let address = server
        .api
        .add_listener(([127, 0, 0, 1], 0).into())
        .await
        .expect("listener");
    let file = server.dir.path().join("kubeconfig");
    std::fs::write(&file, server.api.kubeconfig(&format!("https://{address}"))).expect("write");
    for websockets in [true, false] {
        let args = ["exec", "-i", "p", "-c", "c", "--", "upper"];
        let done = kubectl(&file, websockets, &args, "some words\n").await;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(
            String::from_utf8_lossy(&done.stdout),
            "SOME WORDS\n",
            "{said}"
        );
        assert_eq!(done.status.code(), Some(3), "{said}");
        let args = ["exec", "p", "-c", "c", "--", "missing"];
        let refused = kubectl(&file, websockets, &args, "").await;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            !refused.status.success() && said.contains("no such program"),
            "{said}"
        );
        forwarded(&file, websockets).await;
    }
}

// Many connections at once through one `kubectl port-forward`, and one to a port that is closed.
async fn forwarded(file: &std::path::Path, websockets: bool) {
    let flag = if websockets { "true" } else { "false" };
    let mut child = tokio::process::Command::new(programs().join("kubectl"))
        .arg("--kubeconfig")
        .arg(file)
        .args([
            "port-forward",
            "--address",
            "127.0.0.1",
            "pod/p",
            ":7",
            ":9",
        ])
        .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", flag)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("kubectl");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let mut ports = Vec::new();
    while ports.len() < 2 {
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line())
            .await
            .expect("a line in time")
            .expect("output")
            .expect("a line");
        // `Forwarding from 127.0.0.1:40001 -> 7`
        let port = line.split(" -> ").next().and_then(|l| l.rsplit(':').next());
        ports.push(port.and_then(|p| p.parse::<u16>().ok()).expect("port"));
    }
    let (open, shut) = (ports[0], ports[1]);
    let echo = |text: String| async move {
        let mut socket = TcpStream::connect(("127.0.0.1", open))
            .await
            .expect("connect");
        socket.write_all(text.as_bytes()).await.expect("write");
        socket.shutdown().await.expect("shutdown");
        let mut back = String::new();
        socket.read_to_string(&mut back).await.expect("read");
        assert!(back == text, "{} of {} bytes", back.len(), text.len());
    };
    let all = (0..20).map(|n| echo(format!("{n}").repeat(40_000)));
    let all = futures::future::join_all(all);
    tokio::time::timeout(Duration::from_secs(30), all)
        .await
        .expect("all come back");
    let mut closed = TcpStream::connect(("127.0.0.1", shut))
        .await
        .expect("connect");
    let mut nothing = Vec::new();
    let _ = closed.read_to_end(&mut nothing).await;
    assert!(nothing.is_empty());
    let mut told = BufReader::new(child.stderr.take().expect("stderr")).lines();
    let why = tokio::time::timeout(Duration::from_secs(30), async {
        while let Ok(Some(line)) = told.next_line().await {
            if line.contains("connect to port 9: connection refused") {
                return true;
            }
        }
        false
    });
    assert!(why.await.expect("the reason in time"));
    child.kill().await.expect("kill");
}
