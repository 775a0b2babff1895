//! The HTTP proxy: one request in, one to an endpoint, bodies streamed both ways.

use super::route::{Backend, BackendPort, Routes, without_port};
use crate::model::Model;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, Uri, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use parking_lot::RwLock;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use towpath_daemon::CancellationToken;

type Payload = BoxBody<Bytes, hyper::Error>;

const CONNECTIONS: usize = 4096;
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const HEADER_LIMIT: Duration = Duration::from_secs(30);
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const TRIES: usize = 3;

/// Proxies by the current routes and endpoints.
pub(crate) struct Proxy {
    model: Arc<RwLock<Model>>,
    routes: Arc<RwLock<Routes>>,
    client: Client<HttpConnector, Payload>,
    turn: AtomicUsize,
}

impl Proxy {
    pub(crate) fn new(model: Arc<RwLock<Model>>, routes: Arc<RwLock<Routes>>) -> Arc<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_LIMIT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(32)
            .build(connector);
        Arc::new(Self {
            model,
            routes,
            client,
            turn: AtomicUsize::new(0),
        })
    }

    /// Accepts until cancelled.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener, cancel: CancellationToken) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(permit) = connections.clone().acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                () = cancel.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors: wait for some to be given back.
                    tracing::warn!(%error, "ingress accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (proxy, cancel) = (self.clone(), cancel.clone());
            towpath_daemon::spawn("ingress connection", async move {
                proxy.connection(stream, from, cancel).await;
                drop(permit);
            });
        }
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        from: SocketAddr,
        cancel: CancellationToken,
    ) {
        let _ = stream.set_nodelay(true);
        let service = service_fn(move |request| {
            let proxy = self.clone();
            async move { Ok::<_, Infallible>(proxy.answer(request, from.ip()).await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_LIMIT);
        let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(serving);
        let result = tokio::select! {
            result = serving.as_mut() => result,
            () = cancel.cancelled() => {
                serving.as_mut().graceful_shutdown();
                tokio::time::timeout(Duration::from_secs(5), serving).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = result {
            tracing::debug!(%from, error, "ingress connection");
        }
    }

    async fn answer(&self, request: Request<Incoming>, from: IpAddr) -> Response<Payload> {
        let host = match request.uri().authority() {
            Some(authority) => authority.as_str().to_string(),
            None => header_text(request.headers(), &header::HOST),
        };
        let backend = self
            .routes
            .read()
            .find(&host, request.uri().path())
            .cloned();
        let Some(backend) = backend else {
            let text = format!(
                "No Ingress has a rule for {}{}.",
                without_port(&host),
                request.uri().path()
            );
            return page(StatusCode::NOT_FOUND, &text);
        };
        let (known, endpoints) = self.endpoints(&backend);
        if endpoints.is_empty() {
            let text = if known {
                format!("Service {} has no ready endpoint.", backend.service)
            } else {
                format!(
                    "The Ingress names service {} with a port that does not exist.",
                    backend.service
                )
            };
            return page(StatusCode::SERVICE_UNAVAILABLE, &text);
        }
        self.forward(request, &host, from, &backend, &endpoints)
            .await
    }

    // Whether the service port exists, and where it leads.
    fn endpoints(&self, backend: &Backend) -> (bool, Vec<(Ipv4Addr, u16)>) {
        let model = self.model.read();
        let Some(service) = model.service(&backend.service) else {
            return (false, Vec::new());
        };
        let port = service.ports.iter().find(|port| match &backend.port {
            BackendPort::Number(number) => port.port == *number,
            BackendPort::Name(name) => port.name == *name,
        });
        match port {
            Some(port) => (
                true,
                model
                    .endpoints(&backend.service, port)
                    .into_iter()
                    .collect(),
            ),
            None => (false, Vec::new()),
        }
    }

    async fn forward(
        &self,
        mut request: Request<Incoming>,
        host: &str,
        from: IpAddr,
        backend: &Backend,
        endpoints: &[(Ipv4Addr, u16)],
    ) -> Response<Payload> {
        let upgrade = requested_upgrade(request.headers());
        let client_side = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        let (mut head, body) = request.into_parts();
        let path = head
            .uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_string();
        rewrite(&mut head.headers, host, from, upgrade.as_ref());
        // A request without a body can be sent again to another endpoint.
        let repeatable = body.is_end_stream();
        let mut body = Some(body.boxed());
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut tries = if repeatable {
            TRIES.min(endpoints.len())
        } else {
            1
        };
        for number in 0.. {
            let (address, port) = endpoints[(first + number) % endpoints.len()];
            let Ok(uri) = format!("http://{address}:{port}{path}").parse::<Uri>() else {
                return page(StatusCode::BAD_REQUEST, "The path is malformed.");
            };
            let payload = match body.take() {
                Some(body) => body,
                None => empty(),
            };
            let mut outgoing = Request::new(payload);
            *outgoing.method_mut() = head.method.clone();
            *outgoing.uri_mut() = uri;
            *outgoing.version_mut() = Version::HTTP_11;
            *outgoing.headers_mut() = head.headers.clone();
            tries -= 1;
            match tokio::time::timeout(ANSWER_LIMIT, self.client.request(outgoing)).await {
                Ok(Ok(response)) => return deliver(response, client_side),
                Ok(Err(error)) if error.is_connect() && tries > 0 => {
                    tracing::debug!(%address, port, %error, "ingress tries the next endpoint");
                }
                Ok(Err(error)) => {
                    tracing::debug!(%address, port, %error, "ingress");
                    let text = format!("Service {} did not answer as HTTP.", backend.service);
                    return page(StatusCode::BAD_GATEWAY, &text);
                }
                Err(_) => {
                    let text = format!(
                        "Service {} did not answer within {} s.",
                        backend.service,
                        ANSWER_LIMIT.as_secs()
                    );
                    return page(StatusCode::GATEWAY_TIMEOUT, &text);
                }
            }
        }
        page(StatusCode::BAD_GATEWAY, "No endpoint was left to try.")
    }
}

fn deliver(
    mut response: Response<Incoming>,
    client_side: Option<hyper::upgrade::OnUpgrade>,
) -> Response<Payload> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client_side) = client_side else {
            return page(
                StatusCode::BAD_GATEWAY,
                "The service switched protocols unasked.",
            );
        };
        let server_side = hyper::upgrade::on(&mut response);
        towpath_daemon::spawn("ingress upgrade", async move {
            let (Ok(client), Ok(server)) = tokio::join!(client_side, server_side) else {
                return;
            };
            let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    } else {
        drop_hop_headers(response.headers_mut());
    }
    response.map(BodyExt::boxed)
}

fn header_text(headers: &HeaderMap, name: &HeaderName) -> String {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_string()
}

fn requested_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let connection = header_text(headers, &header::CONNECTION).to_ascii_lowercase();
    let asks = connection.split(',').any(|word| word.trim() == "upgrade");
    asks.then(|| headers.get(header::UPGRADE).cloned())
        .flatten()
}

// Headers that belong to one connection, RFC 9110 section 7.6.1.
fn drop_hop_headers(headers: &mut HeaderMap) {
    let named = header_text(headers, &header::CONNECTION);
    for name in named
        .split(',')
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
    {
        headers.remove(name);
    }
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
    ] {
        headers.remove(name);
    }
}

fn rewrite(headers: &mut HeaderMap, host: &str, from: IpAddr, upgrade: Option<&HeaderValue>) {
    let trailers = header_text(headers, &header::TE).contains("trailers");
    drop_hop_headers(headers);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    // The client's own words about who it is are not passed on: whoever reads these headers
    // trusts them.
    let from = from.to_string();
    set("host", host);
    set("x-forwarded-for", &from);
    set("x-real-ip", &from);
    set("x-forwarded-host", host);
    set("x-forwarded-proto", "http");
    headers.remove("forwarded");
}

fn empty() -> Payload {
    Full::new(Bytes::new())
        .map_err(|never| match never {})
        .boxed()
}

fn page(status: StatusCode, text: &str) -> Response<Payload> {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            c => escaped.push(c),
        }
    }
    let title = status.canonical_reason().unwrap_or("Error");
    let number = status.as_u16();
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{number} {title}</title>\
         <body><h1>{number} {title}</h1><p>{escaped}</p><p>Towpath ingress</p></body></html>\n"
    );
    let full = Full::new(Bytes::from(body))
        .map_err(|never| match never {})
        .boxed();
    let mut response = Response::new(full);
    *response.status_mut() = status;
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    response
}
