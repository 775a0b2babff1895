//! `pods/…/proxy` and `services/…/proxy`: requests passed on to what listens in a pod. Links and
//! redirects of the answer that begin at the root are led back through here. `nodes/…/proxy` leads
//! to the pages of this process's own node.

mod html;
mod node;

use crate::admission;
use crate::body::{self, Answer, Body, Incoming};
use crate::core::Call;
use crate::front::body_stream;
use crate::outbound::{self, Place, Running};
use crate::read;
use crate::record;
use crate::route::Target;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1::SendRequest;
use serde_json::Value;
use std::time::Duration;
use towpath_api::status::{self, Failure};
use towpath_store::Snapshot;

const DIAL: Duration = Duration::from_secs(10);
/// A server that does not begin to answer is given up.
const ANSWER: Duration = Duration::from_secs(60);
/// A page longer than this is passed on with its links as they are.
const PAGE_BYTES: usize = 4 << 20;

pub(crate) fn is_proxy(target: &Target) -> bool {
    let resource = &target.resource;
    let leads_on = ["pods", "services", "nodes"];
    target.subresource == "proxy" && leads_on.iter().any(|plural| resource.is("", plural))
}

/// Passes a request on.
pub(crate) async fn serve(call: Call, target: Target, incoming: Incoming) -> Answer {
    admission::connect(&call, &target).await?;
    let named = Named::read(&target)?;
    if target.resource.is("", "nodes") {
        return node::serve(&call, &target, &named).await;
    }
    let state = call.core.store.snapshot();
    let (host, port) = match target.resource.is("", "pods") {
        true => pod(&call, &target, &named)?,
        false => service(&state, &target, &named)?,
    };
    let (prefix, rest) = split(&call.path, IN_NAMESPACE);
    if rest.is_empty() && matches!(call.method, Method::GET | Method::HEAD) {
        return Ok(to_root(&call));
    }
    let place = Place {
        url: String::new(),
        name: host.clone(),
        path: behind(rest, &call.raw_query),
        host,
        port,
    };
    let request = request(&call, &place, incoming)?;
    let dialled = tokio::time::timeout(DIAL, dial(&place, named.encrypted));
    let (mut sender, running) = match dialled.await {
        Ok(Ok(dialled)) => dialled,
        Ok(Err(why)) => return Err(unreachable(&why)),
        Err(_) => {
            let why = format!("dial tcp {}:{}: i/o timeout", place.host, place.port);
            return Err(unreachable(&why));
        }
    };
    let answer = match tokio::time::timeout(ANSWER, sender.send_request(request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(unreachable(&error.to_string())),
        Err(_) => return Err(unreachable("no answer in time")),
    };
    back(answer, running, prefix).await
}

fn unreachable(why: &str) -> Failure {
    status::unavailable(format!("error trying to reach service: {why}"))
}

async fn dial(place: &Place, encrypted: bool) -> Result<(SendRequest<Incoming>, Running), String> {
    match encrypted {
        // Whose certificate it is cannot be known.
        true => outbound::dial(place, outbound::unverified(None)?).await,
        false => outbound::dial_plain(place).await,
    }
}

/// The name in the path: `name`, `name:port` or `https:name:port`.
struct Named<'a> {
    encrypted: bool,
    name: &'a str,
    port: &'a str,
}

impl<'a> Named<'a> {
    fn read(target: &'a Target) -> Result<Self, Failure> {
        let parts: Vec<&str> = target.name.split(':').collect();
        let (scheme, name, port) = match parts[..] {
            [name] => ("", name, ""),
            [name, port] => ("", name, port),
            [scheme, name, port] => (scheme, name, port),
            _ => ("?", "", ""),
        };
        if !matches!(scheme, "" | "http" | "https") || name.is_empty() {
            let kind = target.resource.kind.to_lowercase();
            return Err(status::bad_request(format!(
                "invalid {kind} request {:?}",
                target.name
            )));
        }
        Ok(Self {
            encrypted: scheme == "https",
            name,
            port,
        })
    }

    fn usual_port(&self) -> u16 {
        if self.encrypted { 443 } else { 80 }
    }
}

fn pod(call: &Call, target: &Target, named: &Named<'_>) -> Result<(String, u16), Failure> {
    let one = Target {
        name: named.name.into(),
        ..target.clone()
    };
    let pod = record::decode(&*read::find(call, &one)?);
    let address = pod["status"]["podIP"].as_str().unwrap_or_default();
    if !is_reachable(address) {
        return Err(status::bad_request("address not allowed"));
    }
    let first = || {
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        containers
            .filter_map(|c| c["ports"][0]["containerPort"].as_u64())
            .next()
    };
    let port = match named.port {
        "" => first().unwrap_or(u64::from(named.usual_port())),
        port => port.parse().unwrap_or(0),
    };
    match u16::try_from(port) {
        Ok(port) if port > 0 => Ok((address.to_string(), port)),
        _ => Err(status::bad_request(format!(
            "invalid pod request {:?}",
            target.name
        ))),
    }
}

// The server must not be led to itself.
fn is_reachable(address: &str) -> bool {
    match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(ip)) => {
            !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified() && !ip.is_multicast()
        }
        Ok(std::net::IpAddr::V6(ip)) => {
            !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast()
        }
        Err(_) => false,
    }
}

fn service(state: &Snapshot, target: &Target, named: &Named<'_>) -> Result<(String, u16), Failure> {
    let name = named.name;
    let key = towpath_store::key(&target.namespace, name);
    let found = state.get("services", &key).map(|rec| record::decode(rec));
    let Some(object) = found else {
        return Err(status::not_found("", "services", name));
    };
    let mut wanted = named.port.to_string();
    if let Ok(number) = named.port.parse::<u64>() {
        let ports = object["spec"]["ports"].as_array().into_iter().flatten();
        let mut ports = ports.filter(|port| port["port"].as_u64() == Some(number));
        let Some(port) = ports.next() else {
            return Err(status::unavailable(format!(
                "no service port {number} found for service {name:?}"
            )));
        };
        wanted = port["name"].as_str().unwrap_or_default().to_string();
    }
    for rec in state.range("discovery.k8s.io/endpointslices", &target.namespace, None) {
        if rec.meta.label("kubernetes.io/service-name") != Some(name) {
            continue;
        }
        if let Some((address, port)) = endpoint(&record::decode(rec), &wanted)
            && is_reachable(&address)
        {
            return Ok((address, port));
        }
    }
    Err(status::unavailable(format!(
        "no endpoints available for service {name:?}"
    )))
}

// A ready endpoint's address and the number of the named port.
fn endpoint(slice: &Value, wanted: &str) -> Option<(String, u16)> {
    let ports = slice["ports"].as_array().into_iter().flatten();
    let mut ports = ports.filter(|port| port["name"].as_str().unwrap_or_default() == wanted);
    let port = u16::try_from(ports.next()?["port"].as_u64()?).ok()?;
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let mut ready = endpoints.filter(|e| e["conditions"]["ready"] != false);
    let address = ready.find_map(|e| e["addresses"][0].as_str())?;
    Some((address.to_string(), port))
}

// Segments of `/api/v1/namespaces/<namespace>/<plural>/<name>/proxy`.
const IN_NAMESPACE: usize = 7;

// What of a path leads here, so many segments, and what is behind.
fn split(path: &str, leading: usize) -> (&str, &str) {
    let (mut segments, mut inside) = (0, false);
    for (at, c) in path.char_indices() {
        match (c, inside) {
            ('/', true) if segments == leading => return path.split_at(at),
            ('/', _) => inside = false,
            (_, false) => {
                inside = true;
                segments += 1;
            }
            _ => {}
        }
    }
    (path, "")
}

fn behind(rest: &str, query: &str) -> String {
    let rest = if rest.is_empty() { "/" } else { rest };
    match query {
        "" => rest.to_string(),
        query => format!("{rest}?{query}"),
    }
}

fn to_root(call: &Call) -> Response<Body> {
    let mut answer = body::text(301, "");
    let query = match call.raw_query.as_str() {
        "" => String::new(),
        query => format!("?{query}"),
    };
    if let Ok(place) = HeaderValue::from_str(&format!("{}/{query}", call.path)) {
        answer.headers_mut().insert(LOCATION, place);
    }
    answer
}

fn request(call: &Call, place: &Place, incoming: Incoming) -> Result<Request<Incoming>, Failure> {
    let mut request = Request::new(incoming);
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = place
        .path
        .parse()
        .map_err(|error| status::bad_request(format!("{}: {error}", place.path)))?;
    let headers = request.headers_mut();
    for (name, value) in &call.headers {
        let own = outbound::HOP.contains(&name.as_str())
            || name == HOST
            || name == AUTHORIZATION
            || name.as_str().starts_with("impersonate-");
        if !own {
            headers.append(name, value.clone());
        }
    }
    let shown = match place.host.contains(':') {
        true => format!("[{}]:{}", place.host, place.port),
        false => format!("{}:{}", place.host, place.port),
    };
    let mut add = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    add("host", &shown);
    add("x-forwarded-uri", &call.path);
    add("x-forwarded-proto", "https");
    let asked = call.headers.get(HOST).and_then(|host| host.to_str().ok());
    add("x-forwarded-host", asked.unwrap_or_default());
    Ok(request)
}

async fn back(answer: Response<hyper::body::Incoming>, running: Running, prefix: &str) -> Answer {
    let (parts, stream) = answer.into_parts();
    let mut out = match is_page(&parts.headers) {
        true => page(stream, &running, prefix).await?,
        false => {
            // The connection lasts as long as its answer.
            let stream = futures::StreamExt::map(body_stream(stream), move |part| {
                let _ = &running;
                part
            });
            Response::new(Body::stream(stream))
        }
    };
    *out.status_mut() = parts.status;
    let changed = is_page(&parts.headers);
    for (name, value) in &parts.headers {
        if outbound::HOP.contains(&name.as_str()) || changed && name == CONTENT_LENGTH {
            continue;
        }
        let led_back = match name == LOCATION {
            true => value
                .to_str()
                .ok()
                .and_then(|to| html::led_back(to, prefix)),
            false => None,
        };
        match led_back.and_then(|to| HeaderValue::from_str(&to).ok()) {
            Some(value) => out.headers_mut().append(name, value),
            None => out.headers_mut().append(name, value.clone()),
        };
    }
    Ok(out)
}

fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let plain = !headers.contains_key(http::header::CONTENT_ENCODING);
    plain && kind.is_some_and(|kind| kind.starts_with("text/html"))
}

async fn page(
    stream: hyper::body::Incoming,
    running: &Running,
    prefix: &str,
) -> Result<Response<Body>, Failure> {
    let _ = running;
    let read = Limited::new(stream, PAGE_BYTES).collect().await;
    let bytes: Bytes = read
        .map_err(|error| unreachable(&error.to_string()))?
        .to_bytes();
    Ok(Response::new(match std::str::from_utf8(&bytes) {
        Ok(text) => Body::from(html::rewritten(text, prefix).into_bytes()),
        Err(_) => Body::from(bytes),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths() {
        let base = "/api/v1/namespaces/proxy-1/pods/https:b:443/proxy";
        for rest in ["", "/", "/c/proxy/d"] {
            let path = format!("{base}{rest}");
            assert_eq!(split(&path, IN_NAMESPACE), (base, rest));
        }
        assert_eq!(behind("", ""), "/");
        assert_eq!(behind("", "a=b"), "/?a=b");
        assert_eq!(behind("/c", "a=b"), "/c?a=b");
    }

    #[test]
    fn endpoints_by_the_name_of_their_port() {
        let slice = json!({
            "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": false}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": true}},
            ],
        });
        assert_eq!(endpoint(&slice, "b"), Some(("10.0.0.2".into(), 2)));
        assert_eq!(endpoint(&slice, "c"), None);
    }

    #[test]
    fn the_server_is_not_led_to_itself() {
        for address in ["", "127.0.0.1", "169.254.169.254", "0.0.0.0", "::1", "x"] {
            assert!(!is_reachable(address), "{address}");
        }
        assert!(is_reachable("10.1.2.3"));
    }
}
