//! A real client library: in process and over TLS, watching, logging, running programs.

use crate::harness::{Server, admin};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http::Method;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, AttachParams, DeleteParams, LogParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use serde_json::json;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use towpath_kit::traits::{
    ContainerFigures, Duplex, ExecRequest, ExecStreams, LogRequest, PodFigures, PodStreamError,
    PodStreams, PortRequest, ResourceFigures,
};

/// A node whose only program upper-cases its input and ends with code 3 at its end.
struct Upper;

#[async_trait]
impl PodStreams for Upper {
    async fn log(
        &self,
        request: LogRequest,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, PodStreamError> {
        let text = format!("{} {:?}\n", request.of.container, request.tail_lines);
        Ok(futures::stream::iter([Ok(Bytes::from("first\n")), Ok(Bytes::from(text))]).boxed())
    }

    async fn exec(&self, request: ExecRequest) -> Result<ExecStreams, PodStreamError> {
        if request.command == ["missing"] {
            return Err(PodStreamError::BadRequest("no such program".into()));
        }
        let (stdin, mut input) = duplex(1024);
        let (mut output, stdout) = duplex(1024);
        let exit = Box::pin(async move {
            let mut buffer = [0u8; 256];
            loop {
                match input.read(&mut buffer).await {
                    Ok(0) | Err(_) => return Ok(3),
                    Ok(count) => {
                        let text = buffer[..count].to_ascii_uppercase();
                        let _ = output.write_all(&text).await;
                    }
                }
            }
        });
        Ok(ExecStreams {
            stdin: Some(Box::new(stdin)),
            stdout: Some(Box::new(stdout)),
            stderr: None,
            resize: None,
            exit,
        })
    }

    async fn connect(&self, request: PortRequest) -> Result<Box<dyn Duplex>, PodStreamError> {
        if request.port != 7 {
            let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
            return Err(PodStreamError::Failed {
                what: format!("connect to port {}", request.port),
                cause: refused.to_string(),
            });
        }
        let (near, far) = duplex(1024);
        tokio::spawn(async move {
            let (mut from, mut to) = tokio::io::split(far);
            let _ = tokio::io::copy(&mut from, &mut to).await;
            let _ = to.shutdown().await;
        });
        Ok(Box::new(near))
    }
}

pub(crate) async fn with_pod(server: &Server) {
    server.api.set_pod_streams(Arc::new(Upper));
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let pods = "/api/v1/namespaces/default/pods";
    assert_eq!(server.call(Method::POST, pods, &pod).await.0, 201);
    let binding = json!({"target": {"kind": "Node", "name": "n"}});
    assert_eq!(
        server
            .call(Method::POST, &format!("{pods}/p/binding"), &binding)
            .await
            .0,
        201
    );
}

async fn use_pod(client: kube::Client) {
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let log = pods
        .logs(
            "p",
            &LogParams {
                tail_lines: Some(7),
                ..LogParams::default()
            },
        )
        .await
        .expect("log");
    assert_eq!(log, "first\nc Some(7)\n");
    let asked = AttachParams::default()
        .stdin(true)
        .stdout(true)
        .stderr(false);
    let mut process = pods.exec("p", ["upper"], &asked).await.expect("exec");
    let (mut stdin, mut stdout) = (
        process.stdin().expect("stdin"),
        process.stdout().expect("stdout"),
    );
    let status = process.take_status().expect("status");
    stdin.write_all(b"hello").await.expect("write");
    stdin.flush().await.expect("flush");
    let mut answer = [0u8; 5];
    stdout.read_exact(&mut answer).await.expect("read");
    assert_eq!(&answer, b"HELLO");
    stdin.shutdown().await.expect("shutdown");
    drop(stdin);
    let status = tokio::time::timeout(std::time::Duration::from_secs(10), status)
        .await
        .expect("an end")
        .expect("status");
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
    assert!(pods.exec("p", ["missing"], &asked).await.is_err());
}

#[tokio::test]
async fn in_process() {
    let server = Server::start().await;
    with_pod(&server).await;
    let client = towpath_kit::client::in_process(server.api.service(admin()));
    use_pod(client.clone()).await;
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    let events = watcher::watcher(maps.clone(), watcher::Config::default().streaming_lists());
    let mut events = Box::pin(events);
    let mut initial = Vec::new();
    loop {
        match events.try_next().await.expect("event").expect("stream") {
            watcher::Event::InitApply(map) => initial.push(map.metadata.name.unwrap_or_default()),
            watcher::Event::InitDone => break,
            _ => {}
        }
    }
    assert_eq!(initial, ["kube-root-ca.crt"]);
    let map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "m"}, "data": {"a": "b"}}))
            .expect("map");
    maps.create(&PostParams::default(), &map)
        .await
        .expect("create");
    let applied = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"c": "d"}});
    maps.patch("m", &PatchParams::apply("test"), &Patch::Apply(&applied))
        .await
        .expect("apply");
    maps.delete("m", &DeleteParams::default())
        .await
        .expect("delete");
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(
            match events.try_next().await.expect("event").expect("stream") {
                watcher::Event::Apply(map) => format!("apply {}", map.data.map_or(0, |d| d.len())),
                watcher::Event::Delete(_) => "delete".into(),
                _ => "other".into(),
            },
        );
    }
    assert_eq!(seen, ["apply 1", "apply 2", "delete"]);
}

struct Figures;

#[async_trait]
impl ResourceFigures for Figures {
    async fn pods(&self, _: &str) -> Vec<PodFigures> {
        let figures = ContainerFigures {
            name: "c".into(),
            cpu_nanocores: 5_000_000,
            memory_working_set_bytes: 4 << 20,
        };
        let at = std::time::Duration::from_secs(1_795_264_445);
        let window = std::time::Duration::from_secs(10);
        let pod = |name: &str| PodFigures {
            namespace: "default".into(),
            pod: name.into(),
            at,
            window,
            containers: vec![figures.clone()],
        };
        vec![pod("p"), pod("gone")]
    }
}

#[tokio::test]
async fn figures_are_served_once_someone_has_them() {
    let server = Server::start().await;
    let path = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods";
    assert_eq!(server.get(path).await.0, 404);
    with_pod(&server).await;
    server.api.set_figures(Arc::new(Figures));
    let (code, list) = server.get(path).await;
    assert_eq!(
        (code, list["items"].as_array().map(Vec::len)),
        (200, Some(1)),
        "{list}"
    );
    let wanted = json!([{"name": "c", "usage": {"cpu": "5000000n", "memory": "4096Ki"}}]);
    assert_eq!(list["items"][0]["containers"], wanted);
    assert_eq!(server.get(&format!("{path}/p")).await.1["window"], "10s");
    assert_eq!(server.get(&format!("{path}/gone")).await.0, 404);
}

#[tokio::test]
async fn over_tls() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = Server::start().await;
    with_pod(&server).await;
    let address = server
        .api
        .add_listener(([127, 0, 0, 1], 0).into())
        .await
        .expect("listener");
    let file = server.dir.path().join("kubeconfig");
    std::fs::write(&file, server.api.kubeconfig(&format!("https://{address}"))).expect("write");
    let client = towpath_kit::client::from_kubeconfig(&file)
        .await
        .expect("client");
    use_pod(client.clone()).await;
    assert_eq!(
        client.apiserver_version().await.expect("version").minor,
        "36"
    );
    // A client certificate is as good as a token.
    let (certificate, key) = server
        .api
        .client_certificate("jane", "system:masters")
        .expect("certificate");
    let encode =
        |text: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    let text = server.api.kubeconfig(&format!("https://{address}"));
    let text = text.split("    token:").next().expect("user").to_string();
    let text = format!(
        "{text}    client-certificate-data: {}\n    client-key-data: {}\n",
        encode(&certificate),
        encode(key.reveal_secret())
    );
    std::fs::write(&file, text).expect("write");
    let client = towpath_kit::client::from_kubeconfig(&file)
        .await
        .expect("client");
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    assert_eq!(
        maps.list(&Default::default())
            .await
            .expect("list")
            .items
            .len(),
        1
    );
}
