//! Messages over HTTP: one connection each, with a deadline, no redirects, bounded answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use towpath_alerting::alertmanager::{Body, Integration, Messages, Outcome, Send, render};

use crate::scrape::reachable;

/// The longest a message may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// No answer is read further.
const ANSWER_BYTES: usize = 64 << 10;
/// The longest wait an answer may ask for.
const RETRY_AFTER_MS: i64 = 3_600_000;

/// Why a message did not arrive, and what follows.
pub(super) struct Failure {
    pub(super) why: String,
    pub(super) outcome: Outcome,
}

fn later(why: impl Into<String>) -> Failure {
    Failure {
        why: why.into(),
        outcome: Outcome::Later(None),
    }
}

fn refused(why: impl Into<String>) -> Failure {
    Failure {
        why: why.into(),
        outcome: Outcome::Refused,
    }
}

pub(super) struct Sender {
    allow_local: bool,
    tls: Mutex<Option<Arc<ClientConfig>>>,
}

fn secret(path: &str) -> Result<String, String> {
    let bytes = towpath_stdx::bounded::read_file(std::path::Path::new(path), 1 << 20)
        .map_err(|error| format!("{path}: {error}"))?;
    String::from_utf8(bytes).map_err(|_| format!("{path}: not UTF-8"))
}

impl Sender {
    pub(super) fn new(allow_local: bool) -> Self {
        Self {
            allow_local,
            tls: Mutex::default(),
        }
    }

    pub(super) async fn send(
        &self,
        integration: &Integration,
        send: &Send,
        messages: &Arc<Messages>,
    ) -> Result<(), Failure> {
        let (of, message, messages) = (
            integration.clone(),
            send.message.clone(),
            Arc::clone(messages),
        );
        let made = tokio::task::spawn_blocking(move || render(&of, &message, &messages, &secret));
        let made = made.await.map_err(|error| refused(error.to_string()))?;
        let made = made.map_err(refused)?;
        let Body::Json(body) = made.body else {
            return Err(refused("mail is not sent yet; use another integration"));
        };
        let key = &send.idempotency_key;
        let asked = self.post(
            &made.url,
            made.authorization.as_deref(),
            key,
            body.to_string(),
        );
        match tokio::time::timeout(DEADLINE, asked).await {
            Ok(result) => result,
            Err(_) => Err(later("it took too long")),
        }
    }

    async fn post(
        &self,
        url: &str,
        authorization: Option<&str>,
        key: &str,
        body: String,
    ) -> Result<(), Failure> {
        // URLs hold secrets, so that no failure says them.
        let uri: Uri = url.parse().map_err(|_| refused("the URL cannot be read"))?;
        let (Some(host), Some(scheme)) = (uri.host(), uri.scheme_str()) else {
            return Err(refused("the URL has no host or no scheme"));
        };
        let https = match scheme {
            "http" => false,
            "https" => true,
            other => return Err(refused(format!("unsupported scheme {other}"))),
        };
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let host = host.trim_matches(['[', ']']);
        let stream = self.dial(host, port).await?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = uri.authority().map_or(host, |a| a.as_str());
        let authority = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        let mut request = http::Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, authority)
            .header(USER_AGENT, concat!("towpath/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", key);
        if let Some(value) = authorization {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| refused("the authorization is no header"))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| refused(error.to_string()))?;
        if !https {
            return exchange(stream, request).await;
        }
        let config = self.trust().await?;
        let name = ServerName::try_from(host.to_owned()).map_err(|e| refused(e.to_string()))?;
        let connector = tokio_rustls::TlsConnector::from(config);
        let stream = connector.connect(name, stream).await;
        exchange(
            stream.map_err(|error| later(format!("tls: {error}")))?,
            request,
        )
        .await
    }

    /// Connects. The address is looked at here, after the name was resolved, so that no name
    /// leads where no message may go.
    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, Failure> {
        let found = tokio::net::lookup_host((host, port)).await;
        let found = found.map_err(|error| later(format!("look up {host}: {error}")))?;
        let mut last = later(format!("look up {host}: no address"));
        for address in found {
            if !self.allowed(address.ip()) {
                last = refused(format!("messages may not go to {}", address.ip()));
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = later(format!("connect to {address}: {error}")),
            }
        }
        Err(last)
    }

    fn allowed(&self, address: IpAddr) -> bool {
        reachable(address) || (self.allow_local && address.to_canonical().is_loopback())
    }

    async fn trust(&self) -> Result<Arc<ClientConfig>, Failure> {
        if let Some(config) = self.tls.lock().clone() {
            return Ok(config);
        }
        let made = tokio::task::spawn_blocking(|| {
            let mut roots = RootCertStore::empty();
            for certificate in rustls_native_certs::load_native_certs().certs {
                // What the system holds and cannot be read is of no use to anyone.
                let _ = roots.add(certificate);
            }
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
        });
        let made = made.await.map_err(|error| later(error.to_string()))?;
        let config = Arc::new(made.map_err(|error| later(error.to_string()))?);
        *self.tls.lock() = Some(Arc::clone(&config));
        Ok(config)
    }
}

async fn exchange<S>(stream: S, request: http::Request<Full<Bytes>>) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + std::marker::Send + 'static,
{
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| later(error.to_string()))?;
    let task = towpath_daemon::spawn("alert connection", async move {
        let _ = connection.await;
    });
    let answer = sender.send_request(request).await;
    let result = match answer {
        Err(error) => Err(later(error.to_string())),
        Ok(answer) => {
            let status = answer.status();
            let wait = answer.headers().get(RETRY_AFTER);
            let wait = wait.and_then(|value| value.to_str().ok()?.parse::<i64>().ok());
            let wait = wait.map(|seconds| seconds.saturating_mul(1000).clamp(0, RETRY_AFTER_MS));
            let body = Limited::new(answer.into_body(), ANSWER_BYTES)
                .collect()
                .await;
            let said = body.map(|body| body.to_bytes()).unwrap_or_default();
            judge(status, wait, &said)
        }
    };
    task.abort();
    result
}

fn judge(status: StatusCode, wait: Option<i64>, said: &[u8]) -> Result<(), Failure> {
    if status.is_success() {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(said).chars().take(200).collect();
    let why = format!("answered {status}: {said}");
    let again = status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT;
    Err(Failure {
        why,
        outcome: match again {
            true => Outcome::Later(wait),
            false => Outcome::Refused,
        },
    })
}
