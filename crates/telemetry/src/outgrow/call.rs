//! Requests to another server: few connections that are kept, every request with a deadline and a
//! bound on its answer. Addresses are the operator's own, so that none is out of reach; secrets
//! are read from their files each time, so that a new one counts at once.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use towpath_stdx::Secret;

use super::settings::Access;
use crate::scrape::fetch::trust;
use crate::scrape::written::Tls;

/// Connections that are kept.
const KEPT: usize = 4;
/// Largest file with a secret, in bytes.
const SECRET_BYTES: u64 = 1 << 20;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// It took too long.
    #[error("no answer from {0} in time")]
    Late(String),
    /// It cannot be reached, or went away.
    #[error("reach {0}: {1}")]
    Unreachable(String, String),
    /// The answer is larger than what is read.
    #[error("the answer of {0} has more than {1} bytes")]
    Large(String, usize),
    /// The request cannot be made: a file cannot be read, a value is no header.
    #[error("ask {0}: {1}")]
    Request(String, String),
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// A header's text, empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }

    /// The status with the first line of the answer.
    pub(crate) fn told(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(512)]).into_owned();
        let line = text.lines().next().unwrap_or_default().trim();
        format!("HTTP status {}: {line}", self.status)
    }
}

/// The most that is read of an answer to what was sent.
const TOLD: usize = 64 << 10;

/// What is asked.
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// Path with query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The most that is read of the answer.
    pub(crate) limit: usize,
}

struct Open {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Another server.
pub(crate) struct Remote {
    base: Uri,
    access: Access,
    timeout: Duration,
    kept: Mutex<Vec<Open>>,
}

impl Remote {
    /// At this address, reached like this.
    pub(crate) fn new(base: Uri, access: Access, timeout: Duration) -> Self {
        Self {
            base,
            access,
            timeout,
            kept: Mutex::default(),
        }
    }

    /// Scheme and authority, for messages.
    pub(crate) fn name(&self) -> String {
        let scheme = self.base.scheme_str().unwrap_or("http");
        let authority = self.base.authority().map_or("", |host| host.as_str());
        format!("{scheme}://{authority}")
    }

    /// The path of the address, without a slash at its end.
    pub(crate) fn path(&self) -> &str {
        self.base.path().trim_end_matches('/')
    }

    /// Path and query of the address as it was given.
    fn whole_path(&self) -> String {
        let path = self.base.path_and_query();
        path.map_or("/", |path| path.as_str()).to_owned()
    }

    /// Sends a body to where the settings point, once.
    pub(crate) async fn post(&self, headers: HeaderMap, body: Vec<u8>) -> Result<Reply, CallError> {
        let asked = self.ask(Ask {
            method: Method::POST,
            path: self.whole_path(),
            headers,
            body: Bytes::from(body),
            limit: TOLD,
        });
        asked.await
    }

    /// Asks once; the whole has the time of the settings.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Reply, CallError> {
        let asked = tokio::time::timeout(self.timeout, self.exchange(ask)).await;
        asked.unwrap_or_else(|_| Err(CallError::Late(self.name())))
    }

    async fn exchange(&self, ask: Ask) -> Result<Reply, CallError> {
        let fault = |why: String| CallError::Request(self.name(), why);
        let mut headers = ask.headers;
        self.headers(&mut headers).await.map_err(fault)?;
        let limit = ask.limit;
        // A kept connection may have been closed by the other side; then a new one is tried.
        loop {
            let kept = self.kept.lock().pop();
            let reused = kept.is_some();
            let mut open = match kept {
                Some(open) if open.sender.is_closed() => continue,
                Some(open) => open,
                None => self.dial().await?,
            };
            let mut request = Request::new(Full::new(ask.body.clone()));
            *request.method_mut() = ask.method.clone();
            *request.uri_mut() = ask
                .path
                .parse()
                .map_err(|error| fault(format!("{error}")))?;
            *request.headers_mut() = headers.clone();
            let sent = match open.sender.ready().await {
                Ok(()) => open.sender.send_request(request).await,
                Err(error) => Err(error),
            };
            let response = match sent {
                Ok(response) => response,
                Err(error) if reused => {
                    tracing::trace!(%error, "kept connection");
                    continue;
                }
                Err(error) => return Err(self.unreachable(&error)),
            };
            let (parts, body) = response.into_parts();
            let body =
                Limited::new(body, limit)
                    .collect()
                    .await
                    .map_err(|error| match error.is::<LengthLimitError>() {
                        true => CallError::Large(self.name(), limit),
                        false => CallError::Unreachable(self.name(), error.to_string()),
                    })?;
            let mut all = self.kept.lock();
            if all.len() < KEPT {
                all.push(open);
            }
            return Ok(Reply {
                status: parts.status,
                headers: parts.headers,
                body: body.to_bytes(),
            });
        }
    }

    fn unreachable(&self, error: &impl std::error::Error) -> CallError {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(next) = cause {
            text += &format!(": {next}");
            cause = next.source();
        }
        CallError::Unreachable(self.name(), text)
    }

    async fn headers(&self, headers: &mut HeaderMap) -> Result<(), String> {
        let value = |text: &str| HeaderValue::from_str(text).map_err(|error| error.to_string());
        let authority = self.base.authority().map_or("", |host| host.as_str());
        headers.insert(HOST, value(authority)?);
        let agent = concat!("towpath/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        for (name, text) in &self.access.headers {
            let name: http::HeaderName = name.parse().map_err(|_| "malformed header")?;
            headers.insert(name, value(text)?);
        }
        let given = match (&self.access.bearer_token_file, &self.access.username) {
            (Some(file), _) => {
                let token = secret(file).await?;
                Secret::from(format!("Bearer {}", token.reveal_secret()))
            }
            (None, Some(user)) => {
                let password = match &self.access.password_file {
                    Some(file) => secret(file).await?,
                    None => Secret::from(String::new()),
                };
                let pair = Secret::from(format!("{user}:{}", password.reveal_secret()));
                Secret::from(format!(
                    "Basic {}",
                    STANDARD.encode(pair.reveal_secret_bytes())
                ))
            }
            (None, None) => return Ok(()),
        };
        let mut value =
            HeaderValue::from_str(given.reveal_secret()).map_err(|_| "the secret is no header")?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
        Ok(())
    }

    async fn dial(&self) -> Result<Open, CallError> {
        let unreachable = |why: String| CallError::Unreachable(self.name(), why);
        let https = self.base.scheme_str() == Some("https");
        let host = self.base.host().unwrap_or_default();
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = self.base.port_u16().unwrap_or(if https { 443 } else { 80 });
        let found = tokio::net::lookup_host((host.as_str(), port)).await;
        let mut last = "no such host".to_owned();
        for address in found.map_err(|error| unreachable(format!("look up {host}: {error}")))? {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return match https {
                        true => self.shake_hands(stream, host.clone()).await,
                        false => open(stream).await,
                    }
                    .map_err(unreachable);
                }
                Err(error) => last = format!("{address}: {error}"),
            }
        }
        Err(unreachable(last))
    }

    async fn shake_hands(&self, stream: TcpStream, host: String) -> Result<Open, String> {
        let access = &self.access;
        let tls = Tls {
            ca_file: access.ca_file.clone(),
            cert_file: access.cert_file.clone(),
            key_file: access.key_file.clone(),
            insecure_skip_verify: access.insecure_skip_verify,
            ..Tls::default()
        };
        let trusted = tokio::task::spawn_blocking(move || trust(&tls, Path::new("/"))).await;
        let trusted = trusted.map_err(|error| error.to_string())??;
        let name = access.server_name.clone().unwrap_or(host);
        let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(trusted));
        let stream = connector.connect(name, stream).await;
        open(stream.map_err(|error| format!("tls: {error}"))?).await
    }
}

async fn secret(file: &str) -> Result<Secret, String> {
    let path = file.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let bytes = towpath_stdx::bounded::read_file(Path::new(&path), SECRET_BYTES)
            .map_err(|error| format!("read {path}: {error}"))?;
        let whole = Secret::from(bytes);
        Ok(Secret::from(whole.reveal_secret().trim().to_owned()))
    });
    read.await.unwrap_or_else(|error| Err(error.to_string()))
}

async fn open<S>(stream: S) -> Result<Open, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(|error| error.to_string())?;
    let task = towpath_daemon::spawn("connection of outgrowing", async move {
        let _ = connection.await;
    });
    Ok(Open { sender, task })
}
