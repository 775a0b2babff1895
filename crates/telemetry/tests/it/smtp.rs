//! Mail to a real server, and to one of our own that plays what the real one does not.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use towpath_alerting::alertmanager::Alert;
use towpath_stdx::SystemClock;
use towpath_telemetry::alertmanager::{Alertmanager, Settings};

use crate::alerts::{now, program, until};

/// A certificate for this machine, as files.
pub(crate) fn certificate(folder: &Path) -> (String, String) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    (certificate.display().to_string(), key.display().to_string())
}

pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    pub(crate) mails: Arc<Mutex<Vec<Value>>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The real server, of one of its kinds.
#[allow(clippy::disallowed_methods)] // the peer is a program of its own
pub(crate) fn server(kind: &str, files: &(String, String)) -> Option<Server> {
    let program = program("smtp")?;
    let mut child = Command::new(program)
        .args([kind, &files.0, &files.1])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the peer starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let address = lines.next().expect("a line").expect("its address");
    let mails = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&mails);
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            kept.lock()
                .push(serde_json::from_str(&line).expect("a mail"));
        }
    });
    Some(Server {
        child,
        address,
        mails,
    })
}

pub(crate) fn alert(name: &str) -> Alert {
    Alert {
        labels: BTreeMap::from([("alertname".to_owned(), name.to_owned())]),
        annotations: BTreeMap::from([("summary".to_owned(), "It is <hot> & wörks".to_owned())]),
        starts_at: now() - 1000,
        ends_at: now() + 3_600_000,
        updated_at: now(),
        generator_url: "http://example.com/g".to_owned(),
        timeout: false,
    }
}

/// An Alertmanager that mails.
fn manager(folder: &Path, config: &str) -> (Arc<Alertmanager>, CancellationToken) {
    let file = folder.join("alertmanager.yml");
    let text = format!(
        "route: {{receiver: mail, group_by: [alertname], group_wait: 0s, group_interval: 1s}}\n\
         receivers:\n- name: mail\n  email_configs:\n  - {{to: 'Ops <ops@example.com>, b@example.com', from: 'Alerts <alerts@example.com>', {config}}}\n"
    );
    std::fs::write(&file, text).expect("a configuration");
    let settings = Settings {
        directory: folder.join("alerts"),
        config_file: Some(file),
        external_url: "http://towpath.test".to_owned(),
        allow_local: true,
        version: "1.2.3".to_owned(),
    };
    let manager = Alertmanager::open(settings, Arc::new(SystemClock)).expect("opens");
    let cancel = CancellationToken::new();
    towpath_daemon::spawn("test manager", Arc::clone(&manager).run(cancel.clone()));
    (manager, cancel)
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_arrives_however_the_server_wants_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let files = certificate(dir.path());
    for (kind, more) in [
        ("plain", "require_tls: false"),
        ("starttls", "tls_config: {ca_file: CA}"),
        ("tls", "force_implicit_tls: true, tls_config: {ca_file: CA}"),
    ] {
        let Some(server) = server(kind, &files) else {
            return;
        };
        let folder = dir.path().join(kind);
        std::fs::create_dir(&folder).expect("a folder");
        let (manager, cancel) = manager(
            &folder,
            &format!(
                "smarthost: '{}', auth_username: u, auth_password: p, {}, \
                 headers: {{x-own: 'Grüße {{{{ .Status }}}}'}}, threading: {{enabled: true, thread_by_date: daily}}",
                server.address,
                more.replace("CA", &files.0)
            ),
        );
        manager.take(vec![alert("Hot")]);
        until(kind, || !server.mails.lock().is_empty()).await;
        let mail = server.mails.lock()[0].clone();
        assert_eq!(mail["from"], "alerts@example.com");
        assert_eq!(
            mail["to"],
            serde_json::json!(["ops@example.com", "b@example.com"])
        );
        assert_eq!(mail["private"], kind != "plain", "{kind}");
        let content = mail["content"].as_str().expect("text");
        for part in [
            "Subject: [FIRING:1] Hot\r\n",
            "To: Ops <ops@example.com>, b@example.com\r\n",
            "X-Own: =?utf-8?q?Gr=C3=BC=C3=9Fe_firing?=\r\n",
            "In-Reply-To: <alert-",
            "Content-Type: text/plain; charset=UTF-8",
            "Content-Type: text/html; charset=UTF-8",
            "w=C3=B6rks",
            "&lt;hot&gt;",
        ] {
            assert!(content.contains(part), "{part}: {content}");
        }
        assert!(manager.failures().is_empty(), "{:?}", manager.failures());
        cancel.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_said_without_secrets() {
    let dir = tempfile::tempdir().expect("a folder");
    let files = certificate(dir.path());
    for (name, kind, config, why) in [
        (
            "refused",
            "plain",
            "require_tls: false, auth_username: u, auth_password: hidden",
            "login: answered 535",
        ),
        (
            "nobody",
            "plain",
            "require_tls: false, auth_username: u, auth_password: p, to: nobody@example.com",
            "answered 550: ",
        ),
        (
            "no TLS",
            "plain",
            "auth_username: u, auth_password: p",
            "does not offer STARTTLS",
        ),
        (
            "untrusted",
            "starttls",
            "auth_username: u, auth_password: p",
            "tls: ",
        ),
    ] {
        let Some(server) = server(kind, &files) else {
            return;
        };
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).expect("a folder");
        let file = folder.join("alertmanager.yml");
        let to = match config.contains("to: ") {
            true => "",
            false => "to: ops@example.com, ",
        };
        let text = format!(
            "route: {{receiver: mail, group_wait: 0s}}\nreceivers:\n- name: mail\n  email_configs:\n  - {{{to}from: a@example.com, smarthost: '{}', {config}}}\n",
            server.address
        );
        std::fs::write(&file, text).expect("a configuration");
        let manager = Alertmanager::open(
            Settings {
                directory: folder.join("alerts"),
                config_file: Some(file),
                external_url: String::new(),
                allow_local: true,
                version: String::new(),
            },
            Arc::new(SystemClock),
        )
        .expect("opens");
        let cancel = CancellationToken::new();
        towpath_daemon::spawn("test manager", Arc::clone(&manager).run(cancel.clone()));
        manager.take(vec![alert("Hot")]);
        until(name, || !manager.failures().is_empty()).await;
        let said = manager.failures()[0].1.clone();
        assert!(said.contains(why), "{name}: {said}");
        assert!(!said.contains("hidden"), "{said}");
        assert!(server.mails.lock().is_empty());
        cancel.cancel();
    }
}

/// A server that offers some ways to log in, and notes what it hears.
async fn own(ways: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heard);
    towpath_daemon::spawn("test server", async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let (read, mut write) = stream.into_split();
        let mut lines = tokio::io::BufReader::new(read).lines();
        let mut body = false;
        let mut waiting: Vec<String> = Vec::new();
        write.write_all(b"220 here\r\n").await.expect("written");
        while let Ok(Some(line)) = lines.next_line().await {
            kept.lock().push(line.clone());
            let reply = match line.as_str() {
                "." => {
                    body = false;
                    "250 taken".to_owned()
                }
                _ if body => continue,
                "AUTH LOGIN" => {
                    waiting = vec![
                        "235 in".into(),
                        format!("334 {}", STANDARD.encode("Password:")),
                    ];
                    format!("334 {}", STANDARD.encode("Username:"))
                }
                "AUTH CRAM-MD5" => {
                    waiting = vec!["235 in".into()];
                    let challenge = "<1896.697170952@postoffice.reston.mci.net>";
                    format!("334 {}", STANDARD.encode(challenge))
                }
                "DATA" => {
                    body = true;
                    "354 go on".to_owned()
                }
                "QUIT" => "221 bye".to_owned(),
                line if line.starts_with("EHLO") => format!("250-here\r\n250 AUTH {ways}"),
                _ => waiting.pop().unwrap_or_else(|| "250 well".to_owned()),
            };
            write
                .write_all(format!("{reply}\r\n").as_bytes())
                .await
                .expect("written");
        }
    });
    (address, heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn further_ways_to_log_in() {
    for (ways, wanted) in [
        (
            "CRAM-MD5 LOGIN",
            vec![
                "AUTH CRAM-MD5".to_owned(),
                STANDARD.encode("tim b913a602c7eda7a495b4e6e7334d3890"),
            ],
        ),
        (
            "XOAUTH2 LOGIN",
            vec![
                "AUTH LOGIN".to_owned(),
                STANDARD.encode("tim"),
                STANDARD.encode("pass"),
            ],
        ),
    ] {
        let dir = tempfile::tempdir().expect("a folder");
        let (address, heard) = own(ways).await;
        let (manager, cancel) = manager(
            dir.path(),
            &format!(
                "smarthost: '{address}', require_tls: false, hello: me.example.com, \
                 auth_username: tim, auth_secret: tanstaaftanstaaf, auth_password: pass, \
                 text: \".\\n.hidden\\n\""
            ),
        );
        manager.take(vec![alert("Hot")]);
        until(ways, || heard.lock().iter().any(|line| line == "QUIT")).await;
        let heard = heard.lock().clone();
        assert_eq!(heard[0], "EHLO me.example.com");
        assert_eq!(heard[1..=wanted.len()], wanted[..], "{ways}");
        // Lines that begin with a dot have another one before it.
        assert!(heard.contains(&"..".to_owned()) && heard.contains(&"..hidden".to_owned()));
        cancel.cancel();
    }
}
