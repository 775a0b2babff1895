//! HTTPS to a hook: by its URL, or to a ready endpoint of its service, found in the store's own
//! state. The server must prove its name by the hook's own authority.

use crate::record;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use towpath_store::Snapshot;

/// Largest answer.
const ANSWER_BYTES: usize = 3 << 20;

/// Where a hook listens.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    host: String,
    port: u16,
    /// Name that its certificate must carry.
    name: String,
    path: String,
    url: String,
}

/// Sends a review and gives the answer's body. The caller bounds the time.
pub(super) async fn post(
    state: &Snapshot,
    client: &Value,
    timeout: Duration,
    body: Vec<u8>,
) -> Result<Bytes, String> {
    let place = place(state, client, timeout)?;
    let config = tls(client)?;
    let url = place.url.clone();
    send(place, config, body)
        .await
        .map_err(|why| format!("Post {url:?}: {why}"))
}

async fn send(place: Place, config: ClientConfig, body: Vec<u8>) -> Result<Bytes, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let dialled = TcpStream::connect((place.host.as_str(), place.port)).await;
    let stream =
        dialled.map_err(|error| format!("dial tcp {}:{}: {error}", place.host, place.port))?;
    let _ = stream.set_nodelay(true);
    let name = ServerName::try_from(place.name.clone()).map_err(|error| text(&error))?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| format!("tls: {error}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| text(&error))?;
    let running = towpath_daemon::spawn("webhook connection", async move {
        let _ = connection.await;
    });
    // However this ends, also by the deadline around it, the connection ends with it.
    let _guard = Ended(running);
    let request = Request::post(&place.path)
        .header(header::HOST, &place.name)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, */*")
        .header(header::USER_AGENT, "kube-apiserver-admission")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| text(&error))?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| text(&error))?;
    let code = answer.status();
    let limited = Limited::new(answer.into_body(), ANSWER_BYTES);
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

struct Ended(tokio::task::JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn place(state: &Snapshot, client: &Value, timeout: Duration) -> Result<Place, String> {
    let seconds = timeout.as_secs();
    let with_timeout = |path: &str| {
        let joint = if path.contains('?') { '&' } else { '?' };
        format!("{path}{joint}timeout={seconds}s")
    };
    if let Some(url) = client["url"].as_str() {
        let uri: Uri = url
            .parse()
            .map_err(|error| format!("url {url:?}: {error}"))?;
        let host = uri.host().unwrap_or_default();
        if uri.scheme_str() != Some("https") || host.is_empty() {
            return Err(format!("url {url:?}: only https with a host is called"));
        }
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_string();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        return Ok(Place {
            port: uri.port_u16().unwrap_or(443),
            name: host.clone(),
            host,
            path: with_timeout(path),
            url: with_timeout(url),
        });
    }
    let service = &client["service"];
    let text = |key: &str| service[key].as_str().unwrap_or_default();
    let (namespace, name) = (text("namespace"), text("name"));
    if name.is_empty() {
        return Err("clientConfig has neither a url nor a service".into());
    }
    let port = service["port"].as_u64().unwrap_or(443);
    let (host, target) = endpoint(state, namespace, name, port)?;
    let path = match text("path") {
        "" => "/".to_string(),
        path if path.starts_with('/') => path.to_string(),
        path => format!("/{path}"),
    };
    let server = format!("{name}.{namespace}.svc");
    Ok(Place {
        host,
        port: target,
        url: with_timeout(&format!("https://{server}:{port}{path}")),
        name: server,
        path: with_timeout(&path),
    })
}

/// Address and port of a ready endpoint.
fn endpoint(
    state: &Snapshot,
    namespace: &str,
    name: &str,
    port: u64,
) -> Result<(String, u16), String> {
    let key = towpath_store::key(namespace, name);
    let service = state.get("services", &key);
    let service = service.map(|rec| record::decode(rec));
    let service = service.ok_or_else(|| format!("service {name:?} not found"))?;
    let number =
        |value: u64| u16::try_from(value).map_err(|_| format!("port {value} is out of range"));
    if service["spec"]["type"] == "ExternalName" {
        let host = service["spec"]["externalName"].as_str().unwrap_or_default();
        return Ok((host.to_string(), number(port)?));
    }
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let mut ports = ports.filter(|p| p["port"].as_u64() == Some(port));
    let entry = ports
        .next()
        .ok_or_else(|| format!("service {name:?} has no port {port}"))?;
    let wanted = entry["name"].as_str().unwrap_or_default();
    for rec in state.range("discovery.k8s.io/endpointslices", namespace, None) {
        if rec.meta.label("kubernetes.io/service-name") != Some(name) {
            continue;
        }
        let slice = record::decode(rec);
        let mut ports = slice["ports"].as_array().into_iter().flatten();
        let found = ports.find(|p| p["name"].as_str().unwrap_or_default() == wanted);
        let Some(target) = found.and_then(|p| p["port"].as_u64()) else {
            continue;
        };
        let endpoints = slice["endpoints"].as_array().into_iter().flatten();
        // Readiness that nobody knows counts as ready.
        let mut ready = endpoints.filter(|e| e["conditions"]["ready"] != false);
        if let Some(address) = ready.find_map(|e| e["addresses"][0].as_str()) {
            return Ok((address.to_string(), number(target)?));
        }
    }
    Err(format!("no endpoints available for service {name:?}"))
}

fn tls(client: &Value) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match client["caBundle"]
        .as_str()
        .filter(|bundle| !bundle.is_empty())
    {
        Some(bundle) => {
            let pem = STANDARD
                .decode(bundle)
                .map_err(|error| format!("caBundle: {error}"))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| format!("caBundle: {error}"))?;
                roots
                    .add(certificate)
                    .map_err(|error| format!("caBundle: {error}"))?;
            }
            if roots.is_empty() {
                return Err("caBundle holds no certificate".into());
            }
        }
        None => {
            // As upstream: without an authority of its own, those of the system.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(client: Value) -> Result<Place, String> {
        place(&Snapshot::default(), &client, Duration::from_secs(10))
    }

    #[test]
    fn urls() {
        let place = of(json!({"url": "https://[::1]:8443/a?b=c"})).expect("place");
        assert_eq!((place.host.as_str(), place.port), ("::1", 8443));
        assert_eq!(place.path, "/a?b=c&timeout=10s");
        for wrong in ["http://a/", "https:///x", "nothing"] {
            assert!(of(json!({"url": wrong})).is_err(), "{wrong}");
        }
        assert_eq!(
            of(json!({})),
            Err("clientConfig has neither a url nor a service".into())
        );
        let absent = json!({"service": {"namespace": "a", "name": "b"}});
        assert_eq!(of(absent), Err("service \"b\" not found".into()));
    }

    #[test]
    fn bundles() {
        assert!(tls(&json!({"caBundle": "%%"})).is_err());
        assert!(tls(&json!({"caBundle": STANDARD.encode("no PEM")})).is_err());
    }
}
