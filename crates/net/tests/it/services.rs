//! Service routing, DNS and ingress over a real kernel, fed by a watch.

use crate::api::Api;
use crate::isolated::{block_on, config, inside, isolated, text};
use crate::talk::{HELLO, get, serve};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use towpath_daemon::Services;
use towpath_kit::traits::PodAddress;
use towpath_net::{Net, NetConfig, cleanup};

fn service(name: &str, ip: &str, more: Value) -> Value {
    let mut spec =
        json!({"clusterIP": ip, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    let metadata = json!({"name": name, "namespace": "demo"});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
}

fn slice(service: &str, port: u16, pods: &[&PodAddress]) -> Value {
    let endpoints: Vec<Value> = pods
        .iter()
        .map(|pod| json!({"addresses": [pod.ip.to_string()], "conditions": {"ready": true}}))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{service}-1"), "namespace": "demo", "labels": {"kubernetes.io/service-name": service}},
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
    })
}

async fn eventually(what: &str, mut test: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !test() {
        assert!(start.elapsed() < Duration::from_secs(5), "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    start.elapsed()
}

struct World {
    api: Api,
    settings: NetConfig,
    services: Services,
    a: PodAddress,
    b: PodAddress,
}

async fn world(settings: NetConfig) -> World {
    let net = Net::new(settings.clone()).await.unwrap();
    let pods = net.pod_network();
    let (a, b) = (
        pods.attach("pod-a").await.unwrap(),
        pods.attach("pod-b").await.unwrap(),
    );
    serve(&a.netns, 8080, "pod-a");
    serve(&b.netns, 8080, "pod-b");
    let api = Api::new();
    api.put(
        "namespaces",
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}),
    );
    api.put("services", service("web", "10.96.0.20", json!({"type": "NodePort", "ports": [{"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080}]})));
    api.put("endpointslices", slice("web", 8080, &[&a, &b]));
    let services = Services::start(net.services(api.client()), Duration::from_secs(10))
        .await
        .unwrap();
    World {
        api,
        settings,
        services,
        a,
        b,
    }
}

fn names(from: Option<&Path>, to: &str, times: usize) -> Vec<String> {
    let ask = |_| {
        let answer = get(from, to, HELLO).unwrap_or_else(|e| panic!("{to}: {e}"));
        if answer.contains("pod-a") { "a" } else { "b" }.to_string()
    };
    let mut seen: Vec<String> = (0..times).map(ask).collect();
    seen.sort();
    seen.dedup();
    seen
}

#[test]
fn services_route_from_everywhere() {
    if !isolated("services::services_route_from_everywhere") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut settings = config(&dir, "svc");
    settings.ingress_addr = None;
    block_on(async {
        let World {
            api,
            settings,
            services,
            a,
            b,
        } = world(settings).await;
        assert_eq!(
            names(None, "10.96.0.20:80", 30),
            ["a", "b"],
            "from the host"
        );
        assert_eq!(
            names(Some(&a.netns), "10.96.0.20:80", 30),
            ["a", "b"],
            "from a pod, itself included"
        );
        assert_eq!(
            names(None, "127.0.0.1:30080", 30),
            ["a", "b"],
            "node port on localhost"
        );
        assert_eq!(
            names(Some(&b.netns), "10.244.0.1:30080", 30),
            ["a", "b"],
            "node port from a pod"
        );
        // Who calls stays visible between pods.
        let answer = (0..20).map(|_| get(Some(&a.netns), "10.96.0.20:80", HELLO).unwrap());
        let other = answer
            .into_iter()
            .find(|text| text.contains("pod-b"))
            .unwrap();
        assert!(other.contains(&format!("from={}", a.ip)), "{other}");

        // An endpoint goes: no more connections to it.
        api.put("endpointslices", slice("web", 8080, &[&b]));
        let took = eventually("the endpoint is gone", || {
            !text("nft", &["list", "ruleset"]).contains(&format!("{} . 8080", a.ip))
        })
        .await;
        eprintln!("from EndpointSlice event to rule, nft's own listing included: {took:?}");
        assert_eq!(names(None, "10.96.0.20:80", 20), ["b"]);

        // None left: refused at once, not silence.
        api.put("endpointslices", slice("web", 8080, &[]));
        eventually("refused", || {
            get(None, "10.96.0.20:80", HELLO)
                .is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
        })
        .await;
        let refused = get(Some(&a.netns), "10.96.0.20:80", HELLO).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "from a pod");

        // By client: always the same one.
        api.put(
            "services",
            service(
                "sticky",
                "10.96.0.21",
                json!({"sessionAffinity": "ClientIP"}),
            ),
        );
        api.put("endpointslices", slice("sticky", 8080, &[&a, &b]));
        eventually("sticky is there", || {
            get(None, "10.96.0.21:80", HELLO).is_ok()
        })
        .await;
        assert_eq!(names(None, "10.96.0.21:80", 20).len(), 1);

        // The process goes and comes back: rules stay, then follow again.
        services.stop(Duration::from_secs(5)).await;
        assert_eq!(
            names(None, "10.96.0.21:80", 5).len(),
            1,
            "while nobody runs"
        );
        let net = Net::new(settings.clone()).await.unwrap();
        let services = Services::start(net.services(api.client()), Duration::from_secs(10))
            .await
            .unwrap();
        api.put("endpointslices", slice("web", 8080, &[&a]));
        eventually("web is back", || get(None, "10.96.0.20:80", HELLO).is_ok()).await;
        services.stop(Duration::from_secs(5)).await;
        cleanup(&settings).await.unwrap();
        assert_eq!(text("nft", &["list", "ruleset"]), "");
    });
}

#[test]
fn pods_resolve_names() {
    if !isolated("services::pods_resolve_names") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut settings = config(&dir, "dns");
    settings.ingress_addr = None;
    block_on(async {
        let World {
            api, services, a, ..
        } = world(settings).await;
        let dig = |server: &str, args: &[&str]| {
            let at = format!("@{server}");
            let all = [&["dig", at.as_str(), "+tries=1", "+time=3"], args].concat();
            String::from_utf8_lossy(&inside(&a.netns, &all).stdout).into_owned()
        };
        for server in ["10.244.0.1", "10.96.0.10"] {
            eventually("dns answers", || {
                dig(server, &["+short", "web.demo.svc.cluster.local"]).trim() == "10.96.0.20"
            })
            .await;
            let tcp = dig(server, &["+tcp", "+short", "web.demo.svc.cluster.local"]);
            assert_eq!(tcp.trim(), "10.96.0.20", "over TCP");
        }
        let six = dig("10.244.0.1", &["AAAA", "web.demo.svc.cluster.local"]);
        assert!(six.contains("NOERROR") && six.contains("SOA"), "{six}");
        let none = dig("10.244.0.1", &["nothing.demo.svc.cluster.local"]);
        assert!(
            none.contains("NXDOMAIN") && none.contains("AUTHORITY: 1"),
            "{none}"
        );
        let back = dig("10.244.0.1", &["+short", "-x", "10.96.0.20"]);
        assert_eq!(back.trim(), "web.demo.svc.cluster.local.");
        // No way to the world from here: an answer nevertheless, and soon.
        let start = Instant::now();
        let outside = dig("10.244.0.1", &["+time=8", "example.com"]);
        assert!(outside.contains("SERVFAIL"), "{outside}");
        assert!(start.elapsed() < Duration::from_secs(8));
        let patched = api.patches();
        assert!(
            patched
                .iter()
                .any(|(path, _)| path.ends_with("/services/kube-dns"))
        );
        services.stop(Duration::from_secs(5)).await;
    });
}

#[test]
fn ingress_routes_by_host_and_path() {
    if !isolated("services::ingress_routes_by_host_and_path") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let settings = config(&dir, "ing");
    block_on(async {
        let World { api, services, .. } = world(settings).await;
        let path = |path: &str, service: &str| json!({"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}});
        api.put("services", service("void", "10.96.0.30", json!({})));
        api.put("ingresses", json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": "web", "namespace": "demo"},
            "spec": {"rules": [{"host": "hello.localhost", "http": {"paths": [path("/", "web"), path("/void", "void")]}}]},
        }));
        let ask = |path: &str, host: &str, more: &str| {
            let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{more}connection: close");
            get(None, "127.0.0.1:8081", &head).unwrap()
        };
        eventually("the route is there", || {
            ask("/", "hello.localhost", "").contains("200 OK")
        })
        .await;
        let answer = ask(
            "/a?b=c",
            "hello.localhost:8081",
            "x-forwarded-for: 6.6.6.6\r\n",
        );
        assert!(answer.contains("GET /a?b=c HTTP/1.1"), "{answer}");
        assert!(answer.contains("x-forwarded-for: 127.0.0.1"), "{answer}");
        assert!(answer.contains("host: hello.localhost:8081"), "{answer}");
        assert!(ask("/void/x", "hello.localhost", "").contains("503 Service Unavailable"));
        let missing = ask("/b", "other.localhost", "");
        assert!(
            missing.contains("404 Not Found") && missing.contains("other.localhost/b"),
            "{missing}"
        );

        let mut stream = std::net::TcpStream::connect("127.0.0.1:8081").unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        stream.write_all(b"GET /ws HTTP/1.1\r\nhost: hello.localhost\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n").unwrap();
        let mut buffer = [0; 512];
        let length = stream.read(&mut buffer).unwrap();
        assert!(
            buffer[..length].starts_with(b"HTTP/1.1 101"),
            "{}",
            String::from_utf8_lossy(&buffer[..length])
        );
        stream.write_all(b"ping").unwrap();
        stream.read_exact(&mut buffer[..4]).unwrap();
        assert_eq!(&buffer[..4], b"ping");

        eventually("the status names the address", || {
            api.patches().iter().any(|(path, body)| {
                path.ends_with("/ingresses/web/status") && body.to_string().contains("127.0.0.1")
            })
        })
        .await;
        services.stop(Duration::from_secs(5)).await;
    });
}
