//! Requests of all kinds of receivers beside those the real Alertmanager makes for the same
//! configuration and the same alert.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use towpath_alerting::alertmanager::{
    Alert, Config, Dispatcher, Messages, Next, Outcome, Payload, Snapshot, Way, render,
};
use towpath_stdx::SystemClock;
use towpath_telemetry::alertmanager::{Alertmanager, Settings};

use crate::alerts::{program, serve, until};
use crate::smtp;

#[derive(Clone, Debug, PartialEq)]
struct Asked {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Value,
}

type Heard = Arc<Mutex<Vec<Asked>>>;

/// Headers that say something; others belong to the client.
const HEADERS: &[&str] = &[
    "content-type",
    "authorization",
    "x-auth-token",
    "x-user-id",
    "x-own",
    "accept-language",
];

fn form(body: &str) -> Value {
    let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
    let mut sorted: Vec<(String, String)> = pairs
        .map(|(n, v)| (n.to_owned(), v.replace('+', "%20").to_ascii_uppercase()))
        .collect();
    sorted.sort();
    json!(sorted)
}

/// Takes everything, and answers as the services would.
async fn services() -> (String, Heard) {
    let heard = Heard::default();
    let own = heard.clone();
    let all = move |request: Request| {
        let own = own.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
            answer(&own, &parts, &body)
        }
    };
    (serve(Router::new().fallback(all)).await, heard)
}

fn answer(heard: &Heard, parts: &http::request::Parts, body: &Bytes) -> Response {
    let path = parts.uri.path_and_query().expect("a path").to_string();
    let text = String::from_utf8_lossy(body).into_owned();
    let headers = HEADERS.iter().filter_map(|name| {
        let value = parts.headers.get(*name)?.to_str().ok()?;
        Some(((*name).to_owned(), value.to_owned()))
    });
    let mut headers: BTreeMap<String, String> = headers.collect();
    let kind = headers.get("content-type").cloned().unwrap_or_default();
    // Signed texts are no others' texts.
    if let Some(signed) = headers.get_mut("authorization")
        && signed.starts_with("AWS4-")
    {
        let scope = signed.split("aws4_request").next().unwrap_or_default();
        *signed = scope.to_owned();
    }
    let mut body = match kind.contains("form") {
        true => form(&text),
        false => serde_json::from_str(&text).unwrap_or(Value::String(text)),
    };
    // Their client says everything in texts.
    if path.starts_with("/telegram") {
        let map = body.as_object_mut().expect("an object");
        map.retain(|_, value| *value != false);
        for value in map.values_mut().filter(|value| !value.is_string()) {
            *value = value.to_string().into();
        }
    }
    if kind.contains("form") {
        headers.remove("content-type");
    }
    heard.lock().push(Asked {
        method: parts.method.to_string(),
        path: path.clone(),
        headers,
        body,
    });
    let said = match path.as_str() {
        path if path.starts_with("/jira/search") => json!({"issues": [
            {"key": "P-1", "fields": {"status": {"name": "Done", "statusCategory": {"key": "done"}}}}
        ]}),
        path if path.ends_with("/transitions") => {
            json!({"transitions": [{"id": "7", "name": "Reopen"}]})
        }
        path if path.contains("gettoken") => json!({"access_token": "t0ken", "errcode": 0}),
        path if path.starts_with("/sns") => {
            let said = "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>";
            return ([("content-type", "text/xml")], said).into_response();
        }
        _ => {
            json!({"ok": true, "success": true, "errcode": 0, "result": {"message_id": 1, "chat": {"id": 1, "type": "x"}, "date": 1}})
        }
    };
    axum::Json(said).into_response()
}

const TEXT: &str = "{{ .Status }} {{ .CommonLabels.alertname }} {{ .CommonAnnotations.summary }}";

fn config(url: &str, mail: &str) -> String {
    format!(
        r#"
route: {{receiver: all, group_by: [alertname], group_wait: 0s, group_interval: 1h}}
receivers:
- name: all
  webhook_configs:
  - {{url: '{url}/webhook?a=b', max_alerts: 1, http_config: {{http_headers: {{X-Own: {{values: [one]}}}}, basic_auth: {{username: u, password: p}}}}}}
  slack_configs:
  - {{api_url: '{url}/slack', channel: '#c', text: '{TEXT}', title: t, fallback: f, username: n, title_link: l, color: red, footer: x, short_fields: true,
      fields: [{{title: '{TEXT}', value: v}}, {{title: x, value: y, short: false}}],
      actions: [{{type: button, text: '{TEXT}', url: u, style: s, confirm: {{text: sure, title: T}}}}]}}
  discord_configs:
  - {{webhook_url: '{url}/discord', title: '{TEXT}', message: '{TEXT}', content: c, username: u, avatar_url: 'http://a/b'}}
  opsgenie_configs:
  - {{api_url: '{url}/opsgenie/', api_key: k, message: '{TEXT}', description: '{TEXT}', source: s, update_alerts: true,
      details: {{extra: '{TEXT}'}}, tags: 'a,,b', note: n, priority: P1, entity: e, actions: 'x,y',
      responders: [{{name: 'a,b', type: teams}}, {{id: i, type: user}}]}}
  incidentio_configs:
  - {{url: '{url}/incidentio', alert_source_token: tok}}
  jira_configs:
  - {{api_url: '{url}/jira/', api_type: datacenter, project: P, issue_type: Bug, summary: '{TEXT}', description: '{TEXT}', priority: High, labels: [b, '{{{{ .CommonLabels.alertname }}}}'],
      reopen_transition: Reopen, reopen_duration: 1h, wont_fix_resolution: Never, resolve_transition: Close, fields: {{customfield_1: {{value: '{TEXT}'}}}}}}
  - {{api_url: '{url}/jira/', api_type: cloud, project: P, issue_type: Bug, summary: {{template: '{TEXT}', enable_update: false}}, description: {{template: d, enable_update: false}}, priority: '', reopen_transition: Reopen}}
  rocketchat_configs:
  - {{api_url: '{url}/rocketchat', token: t, token_id: i, channel: c, title: '{TEXT}', title_link: l, text: '{TEXT}', color: red, emoji: e, icon_url: i,
      fields: [{{title: a, value: '{TEXT}'}}], actions: [{{text: a, url: u}}]}}
  mattermost_configs:
  - {{webhook_url: '{url}/mattermost', text: '{TEXT}', channel: c, username: u, icon_emoji: e, props: {{card: '{TEXT}'}},
      priority: {{priority: Urgent, requested_ack: true, persistent_notifications: true}},
      attachments: [{{title: '{TEXT}', fields: [{{title: a, value: b, short: true}}]}}]}}
  victorops_configs:
  - {{api_url: '{url}/victorops/', api_key: k, routing_key: r, message_type: WARNING, state_message: '{TEXT}', entity_display_name: e, monitoring_tool: m, custom_fields: {{own: '{TEXT}'}}}}
  webex_configs:
  - {{api_url: '{url}/webex', room_id: r, message: '{TEXT}', http_config: {{authorization: {{credentials: c}}}}}}
  msteams_configs:
  - {{webhook_url: '{url}/msteams', title: t, summary: s, text: '{TEXT}'}}
  msteamsv2_configs:
  - {{webhook_url: '{url}/msteamsv2', title: t, text: '{TEXT}'}}
  pagerduty_configs:
  - {{url: '{url}/pagerduty', routing_key: r, description: '{TEXT}', client: c, client_url: u, severity: warning, class: k, component: o, group: g, source: s,
      details: {{firing: a, resolved: b, own: '{TEXT}'}}, images: [{{src: s, alt: a, href: h}}], links: [{{href: h, text: t}}]}}
  telegram_configs:
  - {{api_url: '{url}/telegram', bot_token: b, chat_id: 5, message: '{TEXT}', parse_mode: ''}}
  wechat_configs:
  - {{api_url: '{url}/wechat/', api_secret: s, corp_id: c, message: '{TEXT}', to_user: u, to_party: p, to_tag: t, agent_id: a}}
  - {{api_url: '{url}/wechat/', api_secret: s2, corp_id: c, message: '{TEXT}', message_type: markdown, agent_id: a}}
  sns_configs:
  - {{api_url: '{url}/sns', sigv4: {{region: eu-west-1, access_key: AK, secret_key: SK}}, topic_arn: 'arn:aws:sns:eu-west-1:1:t.fifo', subject: s, message: '{TEXT}', attributes: {{a: '{TEXT}'}}}}
  email_configs:
  - {{{mail}}}
"#
    )
}

pub(crate) struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[allow(clippy::disallowed_methods)] // the peer is a program of its own
pub(crate) fn alertmanager(program: &Path, folder: &Path, config: &str) -> (Peer, String) {
    let file = folder.join("theirs.yml");
    std::fs::write(&file, config).expect("a configuration");
    let port = towpath_testkit::free_port();
    let log = std::fs::File::create(folder.join("theirs.log")).expect("a log");
    let child = Command::new(program)
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.path={}",
            folder.join("theirs").display()
        ))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--web.external-url=http://towpath.test")
        .arg("--cluster.listen-address=")
        // Of the machine, and read by the AWS client alone.
        .env_remove("AWS_CA_BUNDLE")
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the peer starts");
    (Peer(child), format!("127.0.0.1:{port}"))
}

/// One POST of JSON.
async fn post(address: &str, path: &str, body: &Value) -> Option<u16> {
    use http_body_util::Full;
    let stream = tokio::net::TcpStream::connect(address).await.ok()?;
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
    towpath_daemon::spawn("test connection", async move { drop(connection.await) });
    let request = http::Request::post(path)
        .header("host", address)
        .header("authorization", "Bearer good")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .expect("a request");
    let answer = sender.send_request(request).await.ok()?;
    Some(answer.status().as_u16())
}

/// A value with its names in order.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, String> = map
                .iter()
                .map(|(name, value)| (name, canonical(value)))
                .collect();
            format!("{sorted:?}")
        }
        Value::Array(items) => format!("{:?}", items.iter().map(canonical).collect::<Vec<_>>()),
        value => value.to_string(),
    }
}

/// What was asked, by where it went.
fn sorted(heard: &Heard) -> Vec<Asked> {
    let mut all = heard.lock().clone();
    // The order of lists of a form and of integrations is nobody's concern.
    all.sort_by_key(|asked| {
        let body = canonical(&asked.body);
        format!("{} {} {body}", asked.path, asked.method)
    });
    all
}

/// Parts of a mail that do not belong to one sending.
fn mail(of: &Value) -> (Value, Vec<String>, String) {
    let content = of["content"].as_str().expect("a mail");
    let (head, body) = content.split_once("\r\n\r\n").expect("a head");
    let mut head: Vec<String> = head
        .replace("\r\n ", " ")
        .split("\r\n")
        .filter(|line| {
            !["Date", "Message-Id", "Content-Type"].contains(&line.split(':').next().unwrap_or(""))
        })
        .map(str::to_owned)
        .collect();
    head.sort();
    let mut parts = Vec::new();
    for part in body.split("\r\n\r\n").skip(1) {
        parts.push(
            part.split("\r\n--")
                .next()
                .unwrap_or_default()
                .replace("=\r\n", ""),
        );
    }
    (json!([of["from"], of["to"]]), head, parts.join("|"))
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_those_of_the_real_one() {
    let Some(peer) = program("alertmanager") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let files = smtp::certificate(dir.path());
    let Some(server) = smtp::server("plain", &files) else {
        return;
    };
    let (url, theirs) = services().await;
    let (own_url, ours) = services().await;
    let by_mail = format!(
        "smarthost: '{}', to: 'O <o@example.com>, p@example.com', from: 'Ä <a@example.com>', require_tls: false, auth_username: u, auth_password: p, \
         text: '{TEXT} ä', html: '<p>{TEXT}</p>', headers: {{subject: 'S ä {{{{ .Status }}}}', x-own: '{TEXT}'}}, threading: {{enabled: true, thread_by_date: daily}}",
        server.address
    );
    let (_child, address) = alertmanager(&peer, dir.path(), &config(&url, &by_mail));
    let alert = json!([{
        "labels": {"alertname": "Hot <1>", "job": "j"},
        "annotations": {"summary": "it \"is\" hot"},
        "startsAt": "2026-01-02T03:04:05Z",
        "endsAt": "2090-01-02T03:04:05Z",
        "generatorURL": "http://example.com/g",
    }]);
    let mut told = None;
    for _ in 0..200 {
        told = post(&address, "/api/v2/alerts", &alert).await;
        if told == Some(200) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let log = || std::fs::read_to_string(dir.path().join("theirs.log")).unwrap_or_default();
    assert_eq!(told, Some(200), "{}", log());
    let wanted = 28;
    for _ in 0..200 {
        if theirs.lock().len() >= wanted && !server.mails.lock().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(theirs.lock().len(), wanted, "{}", log());
    let their_mail = server.mails.lock()[0].clone();
    let file = dir.path().join("alertmanager.yml");
    std::fs::write(&file, config(&own_url, &by_mail)).expect("a configuration");
    let manager = Alertmanager::open(
        Settings {
            directory: dir.path().join("alerts"),
            config_file: Some(file),
            external_url: "http://towpath.test".to_owned(),
            allow_local: true,
            version: String::new(),
        },
        Arc::new(SystemClock),
    )
    .expect("opens");
    let cancel = CancellationToken::new();
    towpath_daemon::spawn("test manager", Arc::clone(&manager).run(cancel.clone()));
    let own = serve(manager.router(crate::alerts::door())).await;
    let address = own.trim_start_matches("http://");
    let told = post(address, "/alertmanager/api/v2/alerts", &alert).await;
    assert_eq!(told, Some(200));
    until("all requests", || {
        ours.lock().len() >= wanted && server.mails.lock().len() >= 2
    })
    .await;
    assert!(manager.failures().is_empty(), "{:?}", manager.failures());
    let (theirs, ours) = (sorted(&theirs), sorted(&ours));
    let mut wrong = Vec::new();
    for (theirs, ours) in theirs.iter().zip(&ours) {
        if theirs != ours {
            wrong.push(format!("theirs {theirs:#?}\nours {ours:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(theirs.len(), ours.len());
    let our_mail = server.mails.lock()[1].clone();
    assert_eq!(
        mail(&their_mail),
        mail(&our_mail),
        "{their_mail} {our_mail}"
    );
    cancel.cancel();
}

/// Takes what is meant for any server, with a certificate of its own: a proxy that is its own end.
async fn everywhere(folder: &Path, name: &str) -> (String, Heard) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
    std::fs::write(folder.join("ca.pem"), made.cert.pem()).expect("written");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.expect("a key"))
        .expect("a certificate");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("an address");
    let heard = Heard::default();
    let own = heard.clone();
    towpath_daemon::spawn("test proxy", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (own, acceptor) = (own.clone(), acceptor.clone());
            towpath_daemon::spawn("test tunnel", async move {
                drop(tunnel(stream, acceptor, own).await);
            });
        }
    });
    (format!("http://{address}"), heard)
}

async fn tunnel(
    mut stream: tokio::net::TcpStream,
    acceptor: tokio_rustls::TlsAcceptor,
    heard: Heard,
) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    let stream = acceptor.accept(stream).await?;
    let service = hyper::service::service_fn(move |request: http::Request<_>| {
        let heard = heard.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::Body::new(body);
            let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
            Ok::<_, std::convert::Infallible>(answer(&heard, &parts, &body))
        }
    });
    let io = hyper_util::rt::TokioIo::new(stream);
    let served = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
    drop(served.await);
    Ok(())
}

/// What a receiver of ours would be sent about an alert, while it fires or once it is over: the
/// address and the body.
fn rendered(config: &str, alert: Alert, firing: bool) -> (String, Value) {
    let config = Arc::new(Config::read(config).expect("a configuration"));
    let now = alert.updated_at;
    let url = "http://towpath.test";
    let mut dispatcher = Dispatcher::new(config.clone(), url, Snapshot::default(), now);
    dispatcher.alerts(vec![alert.clone()], now);
    let mut send = dispatcher.tick(now).remove(0);
    if !firing {
        dispatcher.done(send.id, &Outcome::Delivered, now);
        let over = Alert {
            ends_at: now,
            updated_at: now + 1,
            ..alert
        };
        dispatcher.alerts(vec![over], now + 1);
        send = dispatcher.tick(now + 2_000).remove(0);
    }
    let message = send.message;
    let messages = Messages::new([]).expect("templates");
    let integration = &config.receiver("page").expect("a receiver").integrations[0];
    let made = render(integration, &message, &messages, &|_| Err("no file".into()));
    let Way::Talk(mut talk) = made.expect("a message").way else {
        panic!("a mail");
    };
    let Ok(Next::Ask(request)) = talk.next(None) else {
        panic!("no request");
    };
    match request.body {
        Payload::Json(body) => (request.url, body),
        _ => panic!("no JSON"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_pagerdutys_first_version_are_those_of_the_real_one() {
    let Some(peer) = program("alertmanager") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let (proxy, theirs) = everywhere(dir.path(), "events.pagerduty.com").await;
    let config = |more: &str| {
        format!(
            "route: {{receiver: page, group_by: [alertname], group_wait: 0s, group_interval: 1s}}\n\
             receivers:\n- name: page\n  pagerduty_configs:\n  - {{service_key: k, description: '{TEXT}', client: c, client_url: u, \
             details: {{firing: a, resolved: b, own: '{TEXT}'}}{more}}}\n"
        )
    };
    let through = format!(
        ", http_config: {{proxy_url: '{proxy}', tls_config: {{ca_file: '{}'}}}}",
        dir.path().join("ca.pem").display()
    );
    let (_child, address) = alertmanager(&peer, dir.path(), &config(&through));
    let told = smtp::alert("Hot <1>");
    let mut posted = json!([{
        "labels": told.labels,
        "annotations": told.annotations,
        "startsAt": "2026-01-02T03:04:05Z",
        "endsAt": "2090-01-02T03:04:05Z",
        "generatorURL": told.generator_url,
    }]);
    for firing in [true, false] {
        if !firing {
            posted[0]["endsAt"] = "2026-01-02T03:05:05Z".into();
        }
        let mut taken = None;
        for _ in 0..600 {
            taken = post(&address, "/api/v2/alerts", &posted).await;
            if taken == Some(200) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let log = || std::fs::read_to_string(dir.path().join("theirs.log")).unwrap_or_default();
        assert_eq!(taken, Some(200), "{}", log());
        let wanted = if firing { "trigger" } else { "resolve" };
        let mut found = None;
        for _ in 0..600 {
            found = {
                let heard = theirs.lock();
                let mut all = heard.iter();
                all.find(|a| a.body["event_type"] == wanted).cloned()
            };
            if found.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut theirs = found.unwrap_or_else(|| panic!("no {wanted}: {}", log()));
        // Fields of the other version, always empty.
        let map = theirs.body.as_object_mut().expect("an object");
        assert_eq!(map.remove("payload"), Some(Value::Null));
        assert_eq!(map.remove("event_action"), Some("".into()));
        let (url, ours) = rendered(&config(""), told.clone(), firing);
        assert_eq!(url, format!("https://events.pagerduty.com{}", theirs.path));
        assert_eq!(ours, theirs.body);
    }
}
