//! Input that means harm: each kind is refused, or taken, with the status that upstream has for
//! it, within a second, and the server goes on as before. The same requests go to the real
//! kube-apiserver wherever it is at hand.

use crate::door::{Ask, Door};
use crate::harness::Server;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use towpath_api::protobuf;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

struct Case {
    name: &'static str,
    code: u16,
    ask: Ask,
}

fn case(
    name: &'static str,
    code: u16,
    (method, path, kind): (&str, &str, &str),
    body: impl Into<Bytes>,
) -> Case {
    let mut ask = Ask::new(method, path).header("content-type", kind);
    ask.body = body.into();
    Case { name, code, ask }
}

fn map(rest: &str) -> String {
    format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"bad\"}},{rest}}}"
    )
}

fn deep(open: &str, close: &str, levels: usize) -> String {
    format!("{}{}", open.repeat(levels), close.repeat(levels))
}

// Aliases of aliases: nine to the power of the lines.
fn bomb(lines: usize) -> String {
    let mut text =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad}\na0: &a0 [x,x,x,x,x,x,x,x,x]\n"
            .to_string();
    for line in 1..lines {
        let before = format!("*a{},", line - 1).repeat(9);
        text.push_str(&format!(
            "a{line}: &a{line} [{}]\n",
            before.trim_end_matches(',')
        ));
    }
    text
}

fn typed(object: &Value) -> Vec<u8> {
    protobuf::encode(object.to_string().as_bytes()).expect("protobuf")
}

fn depth() -> Vec<Case> {
    let json = map(&format!("\"data\":{}", deep("[", "]", 20_000)));
    let object = map(&format!(
        "\"data\":{}1{}",
        "{\"a\":".repeat(20_000),
        "}".repeat(20_000)
    ));
    let yaml = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: bad}}\ndata: {}\n",
        deep("[", "]", 20_000)
    );
    let patch = format!("{{\"data\":{}}}", deep("[", "]", 20_000));
    let operations = format!(
        "[{{\"op\":\"add\",\"path\":\"/data\",\"value\":{}}}]",
        deep("[", "]", 20_000)
    );
    let one = format!("{MAPS}/there");
    vec![
        case("lists in lists", 400, ("POST", MAPS, JSON), json),
        case("objects in objects", 400, ("POST", MAPS, JSON), object),
        case("lists in lists in YAML", 400, ("POST", MAPS, YAML), yaml),
        case(
            "a deep merge patch",
            400,
            ("PATCH", &one, "application/merge-patch+json"),
            patch.clone(),
        ),
        case(
            "a deep strategic patch",
            400,
            ("PATCH", &one, "application/strategic-merge-patch+json"),
            patch,
        ),
        case(
            "a deep JSON patch",
            400,
            ("PATCH", &one, "application/json-patch+json"),
            operations,
        ),
    ]
}

fn sizes() -> Vec<Case> {
    let large = map(&format!("\"data\":{{\"a\":\"{}\"}}", "x".repeat(3_200_000)));
    let one = format!("{MAPS}/there");
    let many: Vec<Value> = (0..10_001)
        .map(|_| json!({"op": "test", "path": "/kind", "value": "ConfigMap"}))
        .collect();
    let mut object =
        typed(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bad"}}));
    object.resize(3_200_000, 0);
    vec![
        case(
            "a body over three megabytes",
            413,
            ("POST", MAPS, JSON),
            large.clone(),
        ),
        case(
            "a patch over three megabytes",
            413,
            ("PATCH", &one, "application/merge-patch+json"),
            large,
        ),
        case(
            "protobuf over three megabytes",
            413,
            ("POST", MAPS, PROTOBUF),
            object,
        ),
        case(
            "ten thousand and one operations",
            413,
            ("PATCH", &one, "application/json-patch+json"),
            json!(many).to_string(),
        ),
    ]
}

fn texts() -> Vec<Case> {
    let raw = |bytes: &[u8]| {
        [&b"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"utf\",\"labels\":{\"a\":\""[..], bytes, b"\"}}}"].concat()
    };
    let strict = format!("{MAPS}?fieldValidation=Strict&dryRun=All");
    vec![
        case(
            "bytes that are no UTF-8, in a label",
            422,
            ("POST", &format!("{MAPS}?dryRun=All"), JSON),
            raw(b"\xff\xfe"),
        ),
        case(
            "half a surrogate, in a label",
            422,
            ("POST", &format!("{MAPS}?dryRun=All"), JSON),
            raw(b"\\ud800"),
        ),
        case(
            "bytes that are no UTF-8, in YAML",
            400,
            ("POST", MAPS, YAML),
            &b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \xff}\n"[..],
        ),
        case(
            "keys twice, strictly",
            400,
            ("POST", &strict, JSON),
            map("\"data\":{\"a\":\"b\",\"a\":\"c\"}"),
        ),
        case(
            "keys twice in YAML, strictly",
            400,
            ("POST", &strict, YAML),
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad}\ndata: {a: b, a: c}\n",
        ),
        case("aliases of aliases", 400, ("POST", MAPS, YAML), bomb(9)),
        case(
            "aliases of aliases in an apply",
            400,
            (
                "PATCH",
                &format!("{MAPS}/bad?fieldManager=m"),
                "application/apply-patch+yaml",
            ),
            bomb(9),
        ),
    ]
}

fn frames() -> Vec<Case> {
    let good = typed(
        &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}),
    );
    let long = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] = 0x7f;
        bytes
    };
    vec![
        case(
            "protobuf cut short",
            400,
            ("POST", PODS, PROTOBUF),
            good[..good.len() - 9].to_vec(),
        ),
        case(
            "a length beyond the end",
            400,
            ("POST", PODS, PROTOBUF),
            long(14),
        ),
        case(
            "a length of two to the sixty-third",
            400,
            ("POST", PODS, PROTOBUF),
            &b"k8s\0\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f"[..],
        ),
        case(
            "an endless number",
            400,
            ("POST", PODS, PROTOBUF),
            [&b"k8s\0\x08"[..], &[0xff; 64]].concat(),
        ),
        case(
            "protobuf without its first bytes",
            400,
            ("POST", PODS, PROTOBUF),
            good[4..].to_vec(),
        ),
        case(
            "JSON called protobuf",
            400,
            ("POST", PODS, PROTOBUF),
            map("\"data\":{}"),
        ),
        case(
            "nothing called protobuf",
            400,
            ("POST", PODS, PROTOBUF),
            &b""[..],
        ),
    ]
}

fn selectors() -> Vec<Case> {
    let values: Vec<String> = (0..100_000).map(|n| format!("v{n}")).collect();
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "bad"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "NotIn", "values": values}]},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let list = format!("{MAPS}?labelSelector=a%20in%20({}x)", "x,".repeat(20_000));
    let broken = format!("{MAPS}?labelSelector={}", "(".repeat(20_000));
    let fields = format!(
        "{MAPS}?fieldSelector={}metadata.name%3Dx",
        "metadata.name%3Dx,".repeat(2_000)
    );
    vec![
        case(
            "a selector of a hundred thousand values",
            201,
            ("POST", &format!("{DEPLOYMENTS}?dryRun=All"), JSON),
            deployment.to_string(),
        ),
        case(
            "a label selector of twenty thousand values",
            200,
            ("GET", &list, JSON),
            "",
        ),
        case(
            "a label selector of brackets",
            400,
            ("GET", &broken, JSON),
            "",
        ),
        case(
            "a field selector of two thousand terms",
            200,
            ("GET", &fields, JSON),
            "",
        ),
    ]
}

fn rules() -> Vec<Case> {
    let definition = |rule: &str| {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "bads.bad.example.com"}, "spec": {
            "group": "bad.example.com", "scope": "Namespaced", "names": {"plural": "bads", "singular": "bad", "kind": "Bad", "listKind": "BadList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {"s": {"type": "string", "maxLength": 1000, "x-kubernetes-validations": [{"rule": rule}]}}}}}}}]}})
        .to_string()
    };
    let dry = format!("{DEFINITIONS}?dryRun=All");
    let ask = ("POST", dry.as_str(), JSON);
    vec![
        case(
            "a rule with repeats of repeats",
            422,
            ask,
            definition("self.matches('((a{100}){100}){100}')"),
        ),
        case(
            "a rule that would go back and forth elsewhere",
            201,
            ask,
            definition("self.matches('(a+)+(b+)+$')"),
        ),
        case(
            "a rule whose cost has no bound",
            422,
            ask,
            definition(
                "[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, [1,2,3,4,5,6,7,8,9].all(d, [1,2,3,4,5,6,7,8,9].all(e, [1,2,3,4,5,6,7,8,9].all(f, self.contains('x') && self.matches('a*b*c*')))))))",
            ),
        ),
        case(
            "a rule of brackets",
            422,
            ask,
            definition(&deep("(", ")", 5_000)),
        ),
        case(
            "a rule of a quarter of a megabyte",
            422,
            ask,
            definition(&format!("self != '{}'", "x".repeat(256 << 10))),
        ),
    ]
}

// Time that this thread had a processor for: it is the server's too, and others want processors.
fn worked() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = text.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

async fn all(door: &Door, limit: Duration) -> Vec<String> {
    let there = json!({"metadata": {"name": "there"}, "data": {"a": "b"}});
    let (code, made) = door.call("POST", MAPS, &there).await;
    assert!(code == 201 || code == 409, "{made}");
    let cases = [depth(), sizes(), texts(), frames(), selectors(), rules()];
    let mut wrong = Vec::new();
    for case in cases.into_iter().flatten() {
        let mut least = Duration::MAX;
        let mut answer = None;
        // What is slow once may have waited for other tests.
        for _ in 0..3 {
            let (begin, before) = (Instant::now(), worked());
            answer = Some(door.send(&case.ask).await);
            let spent = before.and_then(|before| worked()?.checked_sub(before));
            least = least.min(spent.unwrap_or_else(|| begin.elapsed()));
            if least < limit {
                break;
            }
        }
        let answer = answer.expect("asked");
        if answer.code != case.code {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let text: String = text.chars().take(400).collect();
            wrong.push(format!(
                "{}: {} instead of {}: {text}",
                case.name, answer.code, case.code
            ));
        }
        if answer.code >= 400 && answer.value()["kind"] != "Status" {
            wrong.push(format!("{}: no Status", case.name));
        }
        if least >= limit {
            wrong.push(format!("{}: {least:?}", case.name));
        }
    }
    let (code, after) = door
        .call("GET", &format!("{MAPS}/there"), &Value::Null)
        .await;
    if code != 200 || after["data"] != there["data"] {
        wrong.push(format!("what was there is {after}"));
    }
    wrong
}

#[tokio::test]
async fn it_is_refused_at_once_and_changes_nothing() {
    let door = Door::own().await;
    let wrong = all(&door, Duration::from_secs(1)).await;
    door.close().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn upstream_refuses_the_same() {
    let Some(door) = Door::peer().await else {
        return;
    };
    let wrong = all(&door, Duration::MAX).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// A client over TLS that trusts the server's authority.
async fn outside(server: &Server) -> (std::net::SocketAddr, String, reqwest::Client) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let local = ([127, 0, 0, 1], 0).into();
    let address = server.api.add_listener(local).await.expect("listener");
    let config = server.api.kubeconfig(&format!("https://{address}"));
    let token = config.split("    token: ").nth(1).expect("a token");
    let client = reqwest::Client::builder().danger_accept_invalid_certs(true);
    let token = token.lines().next().expect("a line").trim_matches('"');
    (address, token.to_string(), client.build().expect("client"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_slow_holds_up_nobody() {
    let server = Server::start().await;
    let (address, token, client) = outside(&server).await;
    let url = format!("https://{address}{MAPS}");
    // Connections that say nothing, and bodies that never end.
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(
            tokio::net::TcpStream::connect(address)
                .await
                .expect("connection"),
        );
    }
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let part = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{"))]);
        let body = reqwest::Body::wrap_stream(part.chain(futures::stream::pending()));
        let request = client.post(&url).bearer_auth(&token).body(body);
        #[allow(clippy::disallowed_methods)] // a test's own clients
        slow.spawn(request.header("content-type", JSON).send());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut least = Duration::MAX;
    for _ in 0..3 {
        let begin = Instant::now();
        let answer = client
            .get(&url)
            .bearer_auth(&token)
            .send()
            .await
            .expect("answer");
        assert_eq!(answer.status(), 200);
        least = least.min(begin.elapsed());
    }
    // A second, where nobody else wants the processors.
    assert!(least < Duration::from_secs(5), "{least:?}");
    slow.abort_all();
    server.api.stop().await;
}

#[tokio::test]
async fn long_paths_are_read_or_refused() {
    let server = Server::start().await;
    let (address, token, client) = outside(&server).await;
    let url = format!("https://{address}{MAPS}");
    let list = |values: usize| format!("{url}?labelSelector=a%20in%20({}x)", "xx,".repeat(values));
    let long = client.get(list(20_000)).bearer_auth(&token).send().await;
    assert_eq!(long.expect("answer").status(), 200);
    // Beyond 64 KiB a path is no path; the connection goes on or a new one takes its place.
    let longer = client.get(list(30_000)).bearer_auth(&token).send().await;
    assert!(longer.is_err() || longer.is_ok_and(|answer| answer.status().is_client_error()));
    let after = client.get(&url).bearer_auth(&token).send().await;
    assert_eq!(after.expect("answer").status(), 200);
    server.api.stop().await;
}
