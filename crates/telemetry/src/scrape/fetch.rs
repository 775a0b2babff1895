//! Asks a target over HTTP: one connection that is kept, bounded in time and size.
//!
//! Where a job was written by users of the cluster, the address is looked at when it is dialled,
//! after every redirect: what pods may not reach, the server does not reach for them. Credentials
//! go to the host they are for and to no other one.

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, LOCATION,
    USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use towpath_kit::anyone::Anyone;

use super::config::{Http, Job};
use super::written::Tls;
use crate::wire::negotiate;

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 10;
/// The most bytes that are made room for before they come.
const BELIEVED: usize = 1 << 20;
/// Largest file with a certificate or a secret, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A connection and the task that drives it; it ends with this.
struct Open {
    to: String,
    sender: SendRequest<Empty<Bytes>>,
    task: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks one target.
pub(crate) struct Fetch {
    http: Http,
    accept: String,
    encoding: &'static str,
    timeout_ms: i64,
    body_bytes: u64,
    tls: Mutex<Option<Arc<ClientConfig>>>,
    open: Option<Open>,
}

/// An answer, as it came.
pub(crate) struct Answer {
    pub(crate) content_type: String,
    pub(crate) gzip: bool,
    pub(crate) body: Vec<u8>,
}

/// What the answer is larger than.
pub(crate) const BODY_LIMIT: &str = "body size limit exceeded";

impl Fetch {
    pub(crate) fn new(job: &Job, timeout_ms: i64) -> Self {
        Self {
            http: job.http.clone(),
            accept: negotiate::accept(&job.protocols, job.escaping),
            encoding: if job.compression { "gzip" } else { "identity" },
            timeout_ms,
            body_bytes: job.limits.body_bytes,
            tls: Mutex::default(),
            open: None,
        }
    }

    /// Asks once; the whole has the time of the target. The body is written into `room`.
    pub(crate) async fn get(&mut self, url: &str, room: Vec<u8>) -> Result<Answer, String> {
        let limit = Duration::from_millis(self.timeout_ms.unsigned_abs());
        let answer = tokio::time::timeout(limit, self.follow(url, room)).await;
        let answer = answer.unwrap_or_else(|_| Err("context deadline exceeded".to_owned()));
        if answer.is_err() {
            // What is left of an answer would be taken for the next one.
            self.open = None;
        }
        answer.map_err(|why| format!("Get \"{url}\": {why}"))
    }

    async fn follow(&mut self, url: &str, room: Vec<u8>) -> Result<Answer, String> {
        let mut uri: Uri = url.parse().map_err(|error| format!("{error}"))?;
        let first = origin(&uri)?;
        for _ in 0..=MAX_REDIRECTS {
            let own = origin(&uri)? == first;
            let response = self.ask(&uri, own).await?;
            let status = response.status();
            if status.is_redirection() && self.http.follow_redirects {
                let to = response
                    .headers()
                    .get(LOCATION)
                    .and_then(|to| to.to_str().ok());
                let to = to.ok_or_else(|| format!("{status} response missing Location header"))?;
                uri = joined(&uri, to)?;
                continue;
            }
            if status != StatusCode::OK {
                return Err(format!("server returned HTTP status {status}"));
            }
            return self.read(response, room).await;
        }
        Err(format!("stopped after {MAX_REDIRECTS} redirects"))
    }

    async fn read(
        &self,
        response: http::Response<hyper::body::Incoming>,
        mut room: Vec<u8>,
    ) -> Result<Answer, String> {
        let text = |name: HeaderName| {
            let value = response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let gzip = text(CONTENT_ENCODING).eq_ignore_ascii_case("gzip");
        let content_type = text(CONTENT_TYPE);
        let limit = usize::try_from(self.body_bytes).unwrap_or(usize::MAX);
        let mut body = response.into_body();
        room.clear();
        // What is claimed is believed as far as it costs little.
        let claimed = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        room.reserve(claimed.min(limit).min(BELIEVED));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| error.to_string())?;
            if let Ok(data) = frame.into_data() {
                if data.len() > limit - room.len() {
                    return Err(BODY_LIMIT.to_owned());
                }
                room.extend_from_slice(&data);
            }
        }
        Ok(Answer {
            content_type,
            gzip,
            body: room,
        })
    }

    async fn ask(
        &mut self,
        uri: &Uri,
        own: bool,
    ) -> Result<http::Response<hyper::body::Incoming>, String> {
        let to = origin(uri)?;
        let path = uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned();
        let mut headers = HeaderMap::new();
        let value = |text: &str| HeaderValue::from_str(text).map_err(|error| error.to_string());
        headers.insert(
            HOST,
            value(uri.authority().map_or("", |host| host.as_str()))?,
        );
        headers.insert(ACCEPT, value(&self.accept)?);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(self.encoding));
        let agent = concat!("towpath/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        let seconds = self.timeout_ms as f64 / 1000.0;
        headers.insert(
            "x-prometheus-scrape-timeout-seconds",
            value(&seconds.to_string())?,
        );
        if own {
            self.credentials(&mut headers).await?;
        }
        // A kept connection may have been closed by the other side; then a new one is tried.
        for fresh in [false, true] {
            let kept = self.open.take().filter(|open| !fresh && open.to == to);
            let kept = kept.filter(|open| !open.sender.is_closed());
            let reused = kept.is_some();
            let mut open = match kept {
                Some(open) => open,
                None => self.dial(uri, &to).await?,
            };
            let mut request = Request::new(Empty::new());
            *request.uri_mut() = path.parse().map_err(|error| format!("{error}"))?;
            *request.headers_mut() = headers.clone();
            let ready = open.sender.ready().await;
            let sent = match ready {
                Ok(()) => open.sender.send_request(request).await,
                Err(error) => Err(error),
            };
            match sent {
                Ok(response) => {
                    self.open = Some(open);
                    return Ok(response);
                }
                Err(error) if reused && !fresh => tracing::trace!(%error, "kept connection"),
                Err(error) => return Err(error.to_string()),
            }
        }
        Err("no connection".to_owned())
    }

    async fn credentials(&self, headers: &mut HeaderMap) -> Result<(), String> {
        let secret = |text: &str| {
            let mut value = HeaderValue::from_str(text).map_err(|_| "malformed credential")?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        };
        if let Some(basic) = &self.http.basic_auth {
            let user = self
                .given(Some(&basic.username), basic.username_file.as_ref())
                .await?;
            let password = self
                .given(Some(&basic.password), basic.password_file.as_ref())
                .await?;
            let pair = STANDARD.encode(format!("{user}:{password}"));
            headers.insert(AUTHORIZATION, secret(&format!("Basic {pair}"))?);
        }
        if let Some(own) = &self.http.authorization {
            let kind = own
                .r#type
                .as_deref()
                .filter(|kind| !kind.is_empty())
                .unwrap_or("Bearer");
            let file = own.credentials_file.as_ref();
            let token = self.given(own.credentials.as_ref(), file).await?;
            headers.insert(AUTHORIZATION, secret(&format!("{kind} {token}"))?);
        }
        for (name, value) in &self.http.headers {
            let name: HeaderName = name
                .parse()
                .map_err(|_| format!("malformed header {name}"))?;
            headers.append(name, secret(value)?);
        }
        Ok(())
    }

    async fn given(&self, text: Option<&String>, file: Option<&String>) -> Result<String, String> {
        match file.filter(|file| !file.is_empty()) {
            Some(file) => {
                let path = self.http.directory.join(file);
                let read = tokio::task::spawn_blocking(move || text_of(&path)).await;
                read.unwrap_or_else(|error| Err(error.to_string()))
            }
            None => Ok(text.cloned().unwrap_or_default()),
        }
    }

    async fn dial(&self, uri: &Uri, to: &str) -> Result<Open, String> {
        let host = uri
            .host()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned();
        let https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let found = tokio::net::lookup_host((host.as_str(), port)).await;
        let found = found.map_err(|error| format!("dial tcp: lookup {host}: {error}"))?;
        let mut last = format!("dial tcp: lookup {host}: no such host");
        for address in found {
            if self.http.guarded && !reachable(address.ip()) {
                last = format!("dial tcp {address}: targets of the cluster may not be there");
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return self.shake_hands(stream, &host, https, to).await;
                }
                Err(error) => last = format!("dial tcp {address}: {error}"),
            }
        }
        Err(last)
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        host: &str,
        https: bool,
        to: &str,
    ) -> Result<Open, String> {
        if !https {
            return open(stream, to).await;
        }
        let config = self.trust().await?;
        let name = match self
            .http
            .tls
            .server_name
            .as_deref()
            .filter(|name| !name.is_empty())
        {
            Some(name) => name.to_owned(),
            None => host.to_owned(),
        };
        let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
        let connector = tokio_rustls::TlsConnector::from(config);
        let stream = connector.connect(name, stream).await;
        open(stream.map_err(|error| format!("tls: {error}"))?, to).await
    }

    async fn trust(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.tls.lock().clone() {
            return Ok(config);
        }
        let (tls, directory) = (self.http.tls.clone(), self.http.directory.clone());
        let read = tokio::task::spawn_blocking(move || trust(&tls, &directory)).await;
        let config = Arc::new(read.unwrap_or_else(|error| Err(error.to_string()))?);
        *self.tls.lock() = Some(Arc::clone(&config));
        Ok(config)
    }
}

async fn open<S>(stream: S, to: &str) -> Result<Open, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(|error| error.to_string())?;
    let task = towpath_daemon::spawn("scrape connection", async move {
        let _ = connection.await;
    });
    Ok(Open {
        to: to.to_owned(),
        sender,
        task,
    })
}

/// Scheme, host and port, as one text.
pub(crate) fn origin(uri: &Uri) -> Result<String, String> {
    let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err("unsupported protocol scheme".to_owned());
    };
    let port = match (uri.port_u16(), scheme) {
        (Some(port), "http" | "https") => port,
        (None, "http") => 80,
        (None, "https") => 443,
        _ => return Err(format!("unsupported protocol scheme {scheme:?}")),
    };
    Ok(format!("{scheme}://{}:{port}", host.to_ascii_lowercase()))
}

/// Where a redirect leads; whole addresses and paths, which is what servers send.
pub(crate) fn joined(from: &Uri, to: &str) -> Result<Uri, String> {
    let text = if to.contains("://") {
        to.to_owned()
    } else {
        let authority = from.authority().map_or("", |host| host.as_str());
        let scheme = from.scheme_str().unwrap_or("http");
        let folder = from
            .path()
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        match to.strip_prefix("//") {
            Some(rest) => format!("{scheme}://{rest}"),
            None if to.starts_with('/') => format!("{scheme}://{authority}{to}"),
            None => format!("{scheme}://{authority}{folder}/{to}"),
        }
    };
    text.parse()
        .map_err(|error| format!("Location {to:?}: {error}"))
}

/// Whether users of the cluster may have something asked there: not at the machine itself, and
/// not where clouds keep the credentials of machines.
pub(crate) fn reachable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !(address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_broadcast()
                || address.octets()[0] == 0)
        }
        IpAddr::V6(address) => {
            if let Some(inner) = address.to_ipv4_mapped().or_else(|| address.to_ipv4()) {
                return !address.is_loopback() && reachable(IpAddr::V4(inner));
            }
            let metadata = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
            !(address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_unicast_link_local()
                || address == metadata)
        }
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    let bytes = towpath_stdx::bounded::read_file(path, MAX_FILE_BYTES)
        .map_err(|error| format!("read {}: {error}", path.display()))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{} is no text", path.display()))?;
    Ok(text.trim().to_owned())
}

pub(crate) fn trust(tls: &Tls, directory: &Path) -> Result<ClientConfig, String> {
    let pem = |text: &Option<String>, file: &Option<String>| -> Result<Option<String>, String> {
        match (text, file.as_deref().filter(|file| !file.is_empty())) {
            (Some(text), _) if !text.is_empty() => Ok(Some(text.clone())),
            (_, Some(file)) => text_of(&directory.join(file)).map(Some),
            _ => Ok(None),
        }
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if tls.insecure_skip_verify {
        let anyone = Arc::new(Anyone(provider));
        builder.dangerous().with_custom_certificate_verifier(anyone)
    } else {
        let mut roots = RootCertStore::empty();
        match pem(&tls.ca, &tls.ca_file)? {
            Some(text) => {
                for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
                    let certificate = certificate.map_err(|error| format!("ca: {error}"))?;
                    roots
                        .add(certificate)
                        .map_err(|error| format!("ca: {error}"))?;
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs().certs;
                roots.add_parsable_certificates(found);
            }
        }
        builder.with_root_certificates(roots)
    };
    match (
        pem(&tls.cert, &tls.cert_file)?,
        pem(&tls.key, &tls.key_file)?,
    ) {
        (Some(certificates), Some(key)) => {
            let chain = CertificateDer::pem_slice_iter(certificates.as_bytes());
            let chain: Result<Vec<_>, _> = chain.collect();
            let chain = chain.map_err(|error| format!("cert: {error}"))?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
            let key = key.map_err(|error| format!("key: {error}"))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| error.to_string())
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_of_the_cluster_may_not_reach() {
        for text in [
            "127.0.0.1",
            "127.8.9.1",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "255.255.255.255",
            "ff02::1",
            "::127.0.0.1",
        ] {
            assert!(!reachable(text.parse().unwrap()), "{text}");
        }
        for text in [
            "10.1.2.3",
            "192.168.0.1",
            "8.8.8.8",
            "fd12::1",
            "2001:db8::1",
        ] {
            assert!(reachable(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn redirects_lead() {
        let from: Uri = "http://a:1/x/y?z".parse().unwrap();
        let to = |to: &str| joined(&from, to).unwrap().to_string();
        assert_eq!(to("/m"), "http://a:1/m");
        assert_eq!(to("m"), "http://a:1/x/m");
        assert_eq!(to("https://b/m"), "https://b/m");
        assert_eq!(to("//b/m"), "http://b/m");
        assert_eq!(origin(&from).unwrap(), "http://a:1");
        assert!(origin(&"ftp://a/".parse().unwrap()).is_err());
    }
}
