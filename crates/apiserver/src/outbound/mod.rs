//! HTTPS to servers of others: webhooks of admission and conversion, and aggregated API servers.
//! The server must prove its name by the authority that its configuration gives.

mod place;
mod trust;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
pub(crate) use place::{Place, endpoint, place};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::error::Error;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
pub(crate) use trust::{Shown, tls, unverified};

/// Headers that concern one connection only.
pub(crate) const HOP: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A connection that lasts as long as this does, unless it is let go.
pub(crate) struct Running(Option<tokio::task::JoinHandle<()>>);

impl Running {
    /// From now on the connection ends when its other side does (after an upgrade).
    pub(crate) fn let_go(mut self) {
        self.0.take();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Connects; the caller bounds the time.
pub(crate) async fn dial<B>(
    place: &Place,
    config: ClientConfig,
) -> Result<(SendRequest<B>, Running), String>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let stream = connect(place).await?;
    let name = ServerName::try_from(place.name.clone()).map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| format!("tls: {error}"))?;
    shake_hands(stream).await
}

/// The same without encryption.
pub(crate) async fn dial_plain<B>(place: &Place) -> Result<(SendRequest<B>, Running), String>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    shake_hands(connect(place).await?).await
}

async fn connect(place: &Place) -> Result<TcpStream, String> {
    let dialled = TcpStream::connect((place.host.as_str(), place.port)).await;
    let stream =
        dialled.map_err(|error| format!("dial tcp {}:{}: {error}", place.host, place.port))?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn shake_hands<S, B>(stream: S) -> Result<(SendRequest<B>, Running), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let task = towpath_daemon::spawn("outbound connection", async move {
        let _ = connection.with_upgrades().await;
    });
    Ok((sender, Running(Some(task))))
}

/// Sends a review and gives the answer's body, at most `limit` bytes of it. The caller bounds the
/// time; however this ends, the connection ends with it.
pub(crate) async fn post(
    place: &Place,
    config: ClientConfig,
    agent: &str,
    body: Vec<u8>,
    limit: usize,
) -> Result<Bytes, String> {
    send(place, config, agent, body, limit)
        .await
        .map_err(|why| format!("Post {:?}: {why}", place.url))
}

async fn send(
    place: &Place,
    config: ClientConfig,
    agent: &str,
    body: Vec<u8>,
    limit: usize,
) -> Result<Bytes, String> {
    let text = |error: &dyn Error| error.to_string();
    let (mut sender, _running) = dial(place, config).await?;
    let request = Request::post(&place.path)
        .header(header::HOST, &place.name)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, */*")
        .header(header::USER_AGENT, agent)
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| text(&error))?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| text(&error))?;
    let code = answer.status();
    let limited = Limited::new(answer.into_body(), limit);
    let bytes = limited
        .collect()
        .await
        .map_err(|error| error.to_string())?
        .to_bytes();
    match code.is_success() {
        true => Ok(bytes),
        false => {
            let start: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
            Err(format!("the server answered {code}: {}", start.trim()))
        }
    }
}
