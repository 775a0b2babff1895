//! One HTTP request to a container, for probes and hooks: no pool, no redirects, a bounded answer.

use super::tls;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Port number, where it is named looked up among the container's ports.
pub(crate) fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => match name.parse() {
            Ok(number) => number,
            Err(_) => {
                let named =
                    |p: &&k8s_openapi::api::core::v1::ContainerPort| p.name.as_ref() == Some(name);
                let found = container.ports.iter().flatten().find(named);
                found
                    .map(|p| p.container_port)
                    .ok_or_else(|| format!("no port is named {name:?}"))?
            }
        },
    };
    u16::try_from(number)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| format!("port {number} is out of range"))
}

/// Connects within the time.
pub(crate) async fn connect(host: &str, port: u16, limit: Duration) -> Result<TcpStream, String> {
    let address = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    match tokio::time::timeout(limit, TcpStream::connect(&address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("dial tcp {address}: {error}")),
        Err(_) => Err(format!("dial tcp {address}: timed out after {limit:?}")),
    }
}

/// Sends the request; the status code decides. `ip` is the pod's.
pub(crate) async fn get(
    action: &HTTPGetAction,
    container: &Container,
    ip: &str,
    limit: Duration,
    agent: &str,
) -> Result<(), String> {
    let encrypted = action.scheme.as_deref() == Some("HTTPS");
    let scheme = if encrypted { "https" } else { "http" };
    let number = port(&action.port, container)?;
    let host = action
        .host
        .as_deref()
        .filter(|host| !host.is_empty())
        .unwrap_or(ip);
    let path = action
        .path
        .as_deref()
        .filter(|path| !path.is_empty())
        .unwrap_or("/");
    let path = if path.starts_with('/') {
        path.to_string()
    } else {
        format!("/{path}")
    };
    let mut request = http::Request::get(&path)
        .header("Accept", "*/*")
        .header("Connection", "close");
    let headers = action.http_headers.iter().flatten();
    let mut has = (false, false);
    for header in headers {
        has.0 |= header.name.eq_ignore_ascii_case("host");
        has.1 |= header.name.eq_ignore_ascii_case("user-agent");
        request = request.header(header.name.as_str(), header.value.as_str());
    }
    if !has.0 {
        request = request.header("Host", format!("{host}:{number}"));
    }
    if !has.1 {
        request = request.header("User-Agent", agent);
    }
    let request = request
        .body(String::new())
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let stream = connect(host, number, limit).await?;
        let status = if encrypted {
            exchange(tls::over(stream, host).await?, request).await
        } else {
            exchange(stream, request).await
        };
        status.map_err(|error| format!("Get \"{scheme}://{host}:{number}{path}\": {error}"))
    };
    match tokio::time::timeout(limit, exchange).await {
        Err(_) => Err(format!(
            "Get \"{scheme}://{host}:{number}{path}\": no answer within {limit:?}"
        )),
        Ok(Err(cause)) => Err(cause),
        Ok(Ok(200..=399)) => Ok(()),
        Ok(Ok(code)) => Err(format!("HTTP probe failed with statuscode: {code}")),
    }
}

// Only the head of the answer is read: nothing to bound.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: http::Request<String>,
) -> Result<u16, hyper::Error> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        Ok(answer.status().as_u16())
    };
    tokio::pin!(connection, answer);
    tokio::select! {
        biased;
        status = &mut answer => status,
        // A server that closes after its answer: the answer is there.
        _ = &mut connection => answer.await,
    }
}
