//! Groups that another server answers for; the same journey on the real kube-apiserver, so that
//! what is expected here is what upstream does.

use crate::door::{Ask, Door};
use crate::hooks::certificates;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const NAME: &str = "v1.agg.example.com";
const THINGS: &str = "/apis/agg.example.com/v1/namespaces/agg/things";

/// A small API server behind TLS: it says what it was sent.
struct Other {
    port: u16,
    bundle: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Other {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Other {
    #[allow(clippy::disallowed_methods)] // a server of the test's own
    async fn start() -> Self {
        let (bundle, config) = certificates(&["api.agg.svc"]);
        let listener = TcpListener::bind("0.0.0.0:0").await.expect("port");
        let port = listener.local_addr().expect("address").port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service_fn(answer))
                        .with_upgrades()
                        .await;
                });
            }
        });
        Self { port, bundle, task }
    }
}

#[allow(clippy::disallowed_methods)]
async fn answer(
    mut request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_string();
    let query = request.uri().query().unwrap_or_default().to_string();
    let json = |code: u16, value: Value| {
        let mut answer = Response::new(Full::new(Bytes::from(value.to_string())));
        *answer.status_mut() = StatusCode::from_u16(code).expect("code");
        let kind = http::HeaderValue::from_static("application/json");
        answer.headers_mut().insert("content-type", kind);
        answer
    };
    let verbs = json!(["create", "get", "list", "watch"]);
    Ok(match path.as_str() {
        "/apis/agg.example.com/v1" => json(
            200,
            json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "agg.example.com/v1", "resources": [
                {"name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing", "verbs": verbs, "shortNames": ["th"]},
                {"name": "things/status", "singularName": "", "namespaced": true, "kind": "Thing", "verbs": ["get"]},
            ]}),
        ),
        THINGS if query.contains("watch=1") => {
            let line = |n: u8| json!({"type": "ADDED", "object": {"kind": "Thing", "metadata": {"name": format!("t{n}")}}});
            let text = format!("{}\n{}\n", line(1), line(2));
            Response::new(Full::new(Bytes::from(text)))
        }
        _ if path == format!("{THINGS}/moved") => {
            let mut answer = json(302, json!({}));
            let to = http::HeaderValue::from_static("https://192.0.2.1/");
            answer.headers_mut().insert("location", to);
            answer
        }
        _ if path == format!("{THINGS}/teapot") => {
            let mut answer = json(418, json!({"kind": "Status", "message": "short and stout"}));
            let own = http::HeaderValue::from_static("yes");
            answer.headers_mut().insert("x-own", own);
            answer
        }
        _ if path == format!("{THINGS}/echo/exec") => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut io = TokioIo::new(upgrade.await.expect("upgraded"));
                let mut buffer = [0; 5];
                io.read_exact(&mut buffer).await.expect("five bytes");
                buffer.reverse();
                io.write_all(&buffer).await.expect("five bytes back");
                io.shutdown().await.expect("end");
            });
            let mut answer = Response::new(Full::new(Bytes::new()));
            *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            for (name, value) in [("connection", "Upgrade"), ("upgrade", "echo")] {
                let value = http::HeaderValue::from_static(value);
                answer.headers_mut().insert(name, value);
            }
            answer
        }
        path if path.starts_with(THINGS) => {
            let mut headers = serde_json::Map::new();
            for name in request.headers().keys() {
                let all: Vec<_> = request
                    .headers()
                    .get_all(name)
                    .iter()
                    .map(|v| v.to_str().unwrap_or_default())
                    .collect();
                headers.insert(name.to_string(), json!(all));
            }
            let method = request.method().to_string();
            let path = path.to_string();
            let body = request
                .into_body()
                .collect()
                .await
                .expect("body")
                .to_bytes();
            json(
                200,
                json!({"kind": "Seen", "method": method, "path": path, "query": query, "headers": headers, "body": String::from_utf8_lossy(&body)}),
            )
        }
        _ => json(404, json!({"kind": "Status", "code": 404})),
    })
}

struct World<'a> {
    door: &'a Door,
}

impl World<'_> {
    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.door.call(method, path, &body).await
    }

    async fn made(&self, path: &str, body: Value) {
        let (code, answer) = self.call("POST", path, body).await;
        assert_eq!(code, 201, "{answer}");
    }

    async fn merge(&self, path: &str, patch: Value) {
        let ask = Ask::new("PATCH", path).json("application/merge-patch+json", &patch);
        let answer = self.door.send(&ask).await;
        assert_eq!(answer.code, 200, "{}", answer.value());
    }

    /// Waits until the condition has a reason; gives the condition.
    async fn reason(&self, wanted: &str) -> Value {
        let begin = Instant::now();
        loop {
            let (_, object) = self
                .call("GET", &format!("{SERVICES}/{NAME}"), Value::Null)
                .await;
            let condition = object["status"]["conditions"][0].clone();
            if condition["reason"] == wanted {
                return condition;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(40),
                "{wanted}: {object}"
            );
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    async fn until(&self, path: &str, found: impl Fn(u16, &Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let (code, answer) = self.call("GET", path, Value::Null).await;
            if found(code, &answer) {
                return answer;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(40),
                "{path}: {code} {answer}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// An address of this machine that is not loopback.
pub(crate) fn own_address() -> Option<String> {
    // Endpoints may not be loopback addresses: one of this machine's own.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("socket");
    let own = socket
        .connect("192.0.2.1:9")
        .and_then(|()| socket.local_addr());
    let own = own.map(|address| address.ip().to_string()).ok();
    if own.is_none() {
        towpath_testkit::skip("this machine has no address but loopback");
    }
    own
}

async fn journey(door: &Door) {
    let Some(address) = own_address() else {
        return;
    };
    let world = World { door };
    locals(&world).await;
    refusals(&world).await;
    let (other, stranger) = (Other::start().await, Other::start().await);
    world
        .made("/api/v1/namespaces", json!({"metadata": {"name": "agg"}}))
        .await;
    world
        .made(
            SERVICES,
            json!({
                "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": NAME},
                "spec": {"group": "agg.example.com", "version": "v1", "groupPriorityMinimum": 17900, "versionPriority": 15,
                    "caBundle": stranger.bundle, "service": {"namespace": "agg", "name": "api"}},
            }),
        )
        .await;
    availability(&world, &other, &address).await;
    requests(&world).await;
    rights(&world).await;
    streams(&world).await;
    lists(&world).await;
    let slice = "/apis/discovery.k8s.io/v1/namespaces/agg/endpointslices/api-1";
    world
        .merge(
            slice,
            json!({"endpoints": [{"addresses": [address], "conditions": {"ready": false}}]}),
        )
        .await;
    world.reason("MissingEndpoints").await;
    let (code, text) = world.call("GET", THINGS, Value::Null).await;
    assert_eq!((code, text), (503, json!("service unavailable\n")));
    let path = format!("{SERVICES}/{NAME}");
    assert_eq!(world.call("DELETE", &path, Value::Null).await.0, 200);
    world.until(THINGS, |code, _| code == 404).await;
    world
        .until("/apis", |_, list| {
            !list.to_string().contains("agg.example.com")
        })
        .await;
}

async fn locals(world: &World<'_>) {
    let (code, apps) = world
        .call("GET", &format!("{SERVICES}/v1.apps"), Value::Null)
        .await;
    assert_eq!(code, 200, "{apps}");
    let label = "kube-aggregator.kubernetes.io/automanaged";
    assert_eq!(apps["metadata"]["labels"][label], "onstart");
    let spec = json!({"group": "apps", "version": "v1", "groupPriorityMinimum": 17800, "versionPriority": 15});
    assert_eq!(apps["spec"], spec);
    let condition = &apps["status"]["conditions"][0];
    assert_eq!(condition["reason"], "Local");
    assert_eq!(
        condition["message"],
        "Local APIServices are always available"
    );
    let (_, core) = world
        .call("GET", &format!("{SERVICES}/v1."), Value::Null)
        .await;
    assert!(core["spec"]["group"].is_null(), "{core}");
    // Groups of definitions come and go with them.
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "locals.local.example.com"},
        "spec": {"group": "local.example.com", "scope": "Cluster", "names": {"plural": "locals", "kind": "Local"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    world.made(definitions, definition).await;
    let path = format!("{SERVICES}/v1.local.example.com");
    let found = world
        .until(&path, |code, object| {
            code == 200 && object["status"]["conditions"][0]["reason"] == "Local"
        })
        .await;
    assert_eq!(found["metadata"]["labels"][label], "true");
    assert_eq!(found["spec"]["groupPriorityMinimum"], 1000);
    assert_eq!(found["spec"]["versionPriority"], 100);
    let path = format!("{definitions}/locals.local.example.com");
    assert_eq!(world.call("DELETE", &path, Value::Null).await.0, 200);
    world
        .until(&format!("{SERVICES}/v1.local.example.com"), |code, _| {
            code == 404
        })
        .await;
}

async fn refusals(world: &World<'_>) {
    for (name, spec, says) in [
        (
            "v2.agg.example.com",
            json!({"group": "agg.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 15}),
            "metadata.name: Invalid value: \"v2.agg.example.com\": must be `spec.version+\".\"+spec.group`: \"v1.agg.example.com\"",
        ),
        (
            "v1.agg.example.com",
            json!({"group": "agg.example.com", "version": "v1", "groupPriorityMinimum": 30000, "versionPriority": 15}),
            "spec.groupPriorityMinimum: Invalid value: 30000: must be positive and less than 20000",
        ),
        (
            "v1.agg.example.com",
            json!({"group": "agg.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 15, "insecureSkipTLSVerify": true}),
            "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
        ),
    ] {
        let body = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": name}, "spec": spec});
        let (code, answer) = world.call("POST", SERVICES, body).await;
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(code == 422 && message.contains(says), "{answer}");
    }
}

async fn availability(world: &World<'_>, other: &Other, address: &str) {
    let told = world.reason("ServiceNotFound").await;
    assert_eq!(told["status"], "False");
    assert_eq!(told["message"], "service/api in \"agg\" is not present");
    let (code, text) = world.call("GET", THINGS, Value::Null).await;
    assert_eq!((code, text), (503, json!("service unavailable\n")));
    let services = "/api/v1/namespaces/agg/services";
    world
        .made(services, json!({"metadata": {"name": "api"}, "spec": {"ports": [{"name": "https", "port": 8443}]}}))
        .await;
    let told = world.reason("ServicePortError").await;
    assert_eq!(
        told["message"],
        "service/api in \"agg\" is not listening on port 443"
    );
    world
        .merge(
            &format!("{services}/api"),
            json!({"spec": {"ports": [{"name": "https", "port": 443}]}}),
        )
        .await;
    let told = world.reason("EndpointsNotFound").await;
    assert_eq!(
        told["message"],
        "cannot find endpointslices for service/api in \"agg\""
    );
    let slices = "/apis/discovery.k8s.io/v1/namespaces/agg/endpointslices";
    let slice = json!({
        "metadata": {"name": "api-1", "labels": {"kubernetes.io/service-name": "api"}}, "addressType": "IPv4",
        "ports": [{"name": "https", "port": other.port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": false}}],
    });
    world.made(slices, slice).await;
    let told = world.reason("MissingEndpoints").await;
    assert_eq!(
        told["message"],
        "endpointslices for service/api in \"agg\" have no addresses with port name \"https\""
    );
    world
        .merge(
            &format!("{slices}/api-1"),
            json!({"endpoints": [{"addresses": [address], "conditions": {"ready": true}}]}),
        )
        .await;
    let told = world.reason("FailedDiscoveryCheck").await;
    let begin = format!(
        "failing or missing response from https://{address}:{}/apis/agg.example.com/v1: ",
        other.port
    );
    let message = told["message"].as_str().unwrap_or_default();
    assert!(message.starts_with(&begin), "{message}");
    world
        .merge(
            &format!("{SERVICES}/{NAME}"),
            json!({"spec": {"caBundle": other.bundle}}),
        )
        .await;
    let told = world.reason("Passed").await;
    assert_eq!(
        (&told["status"], &told["message"]),
        (&json!("True"), &json!("all checks passed"))
    );
    world.until(THINGS, |code, _| code == 200).await;
}

async fn requests(world: &World<'_>) {
    let ask = Ask::new("POST", format!("{THINGS}?dryRun=All&x=%2Fy"))
        .header("x-remote-user", "root")
        .header("x-remote-group", "system:masters")
        .header("x-of-client", "kept")
        .json("application/json", &json!({"a": 1}));
    let seen = world.door.send(&ask).await.value();
    assert_eq!(seen["method"], "POST");
    assert_eq!(seen["path"], THINGS);
    assert_eq!(seen["body"], "{\"a\":1}");
    assert!(
        seen["query"]
            .as_str()
            .is_some_and(|q| q.contains("dryRun=All")),
        "{seen}"
    );
    let headers = &seen["headers"];
    assert_eq!(headers["x-remote-user"], json!(["admin"]));
    let groups = headers["x-remote-group"].as_array().expect("groups");
    assert!(
        groups.contains(&json!("system:masters"))
            && groups.contains(&json!("system:authenticated")),
        "{headers}"
    );
    assert_eq!(headers["x-of-client"], json!(["kept"]));
    assert!(headers["authorization"].is_null(), "{headers}");
    let answer = world
        .door
        .send(&Ask::new("GET", format!("{THINGS}/teapot")))
        .await;
    assert_eq!(
        (answer.code, answer.headers["x-own"].as_bytes()),
        (418, &b"yes"[..])
    );
    assert_eq!(answer.value()["message"], "short and stout");
    let (code, _) = world
        .call("GET", &format!("{THINGS}/moved"), Value::Null)
        .await;
    assert_eq!(code, 502, "redirects are not followed");
}

async fn rights(world: &World<'_>) {
    let as_ann = |path: &str| {
        Ask::new("GET", path)
            .header("impersonate-user", "ann")
            .header("impersonate-group", "readers")
            .header("impersonate-extra-example.com%2fkey", "v")
    };
    let answer = world.door.send(&as_ann(THINGS)).await;
    assert_eq!(answer.code, 403);
    assert_eq!(
        answer.value()["message"],
        "things.agg.example.com is forbidden: User \"ann\" cannot list resource \"things\" in API group \"agg.example.com\" in the namespace \"agg\""
    );
    let role = json!({"metadata": {"name": "things"}, "rules": [{"apiGroups": ["agg.example.com"], "resources": ["things"], "verbs": ["list"]}]});
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/agg";
    world.made(&format!("{rbac}/roles"), role).await;
    let binding = json!({"metadata": {"name": "things"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "things"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "readers"}]});
    world.made(&format!("{rbac}/rolebindings"), binding).await;
    if world.door.is_peer() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let answer = world.door.send(&as_ann(THINGS)).await;
    assert_eq!(answer.code, 200, "{}", answer.value());
    let headers = answer.value()["headers"].clone();
    assert_eq!(headers["x-remote-user"], json!(["ann"]));
    assert_eq!(
        headers["x-remote-group"],
        json!(["readers", "system:authenticated"])
    );
    assert_eq!(headers["x-remote-extra-example.com%2fkey"], json!(["v"]));
    assert!(headers["impersonate-user"].is_null(), "{headers}");
}

async fn streams(world: &World<'_>) {
    let mut watch = world
        .door
        .open(&Ask::new("GET", format!("{THINGS}?watch=1")))
        .await;
    for name in ["t1", "t2"] {
        let event = watch.line().await.expect("event");
        assert_eq!(event["object"]["metadata"]["name"], name);
    }
    let Door::Own(server) = world.door else {
        return;
    };
    let request = Request::builder()
        .uri(format!("{THINGS}/echo/exec"))
        .header("connection", "Upgrade")
        .header("upgrade", "echo")
        .body(Full::new(Bytes::new()))
        .expect("request");
    let mut service = server.api.service(crate::harness::admin());
    let mut answer = tower_service::Service::call(&mut service, request)
        .await
        .expect("answer");
    assert_eq!(answer.status(), 101);
    let upgraded = hyper::upgrade::on(&mut answer).await.expect("upgraded");
    let mut io = TokioIo::new(upgraded);
    io.write_all(b"abcde").await.expect("five bytes");
    let mut back = Vec::new();
    io.read_to_end(&mut back).await.expect("five bytes back");
    assert_eq!(back, b"edcba");
}

async fn lists(world: &World<'_>) {
    let groups = world
        .until("/apis", |_, list| {
            list.to_string().contains("agg.example.com")
        })
        .await;
    let names: Vec<&str> = groups["groups"]
        .as_array()
        .expect("groups")
        .iter()
        .filter_map(|group| group["name"].as_str())
        .collect();
    let at = |name: &str| names.iter().position(|n| *n == name);
    assert!(at("agg.example.com") < at("apps"), "by priority: {names:?}");
    let (_, group) = world
        .call("GET", "/apis/agg.example.com", Value::Null)
        .await;
    assert_eq!(group["preferredVersion"]["version"], "v1");
    let (_, list) = world
        .call("GET", "/apis/agg.example.com/v1", Value::Null)
        .await;
    assert_eq!(list["resources"][0]["name"], "things");
    let begin = Instant::now();
    loop {
        let ask = Ask::new("GET", "/apis").header(
            "accept",
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        );
        let document = world.door.send(&ask).await.value();
        let items = document["items"].as_array().expect("items");
        let found = items
            .iter()
            .find(|g| g["metadata"]["name"] == "agg.example.com");
        if let Some(version) = found.map(|g| &g["versions"][0])
            && version["resources"][0]["resource"] == "things"
        {
            assert_eq!(version["freshness"], "Current");
            let resource = &version["resources"][0];
            assert_eq!(resource["scope"], "Namespaced");
            assert_eq!(resource["shortNames"], json!(["th"]));
            assert_eq!(resource["subresources"][0]["subresource"], "status");
            assert_eq!(resource["responseKind"]["kind"], "Thing");
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(70), "{found:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_of_other_servers() {
    let door = Door::own().await;
    journey(&door).await;
    let Door::Own(server) = &door else {
        unreachable!("ours is ours")
    };
    let (code, map) = server
        .get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")
        .await;
    assert_eq!(code, 200, "{map}");
    assert_eq!(
        map["data"]["requestheader-allowed-names"],
        "[\"front-proxy-client\"]"
    );
    assert!(
        map["data"]["requestheader-client-ca-file"]
            .as_str()
            .is_some_and(|pem| pem.contains("BEGIN CERTIFICATE"))
    );
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_of_other_servers_on_the_peer() {
    if let Some(door) = Door::peer().await {
        journey(&door).await;
    }
}
