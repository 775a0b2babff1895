//! Requests passed on to the server of another: the same method, path, query and body, with who
//! asks in headers instead of their credential. Streams and upgrades go through as they are.

use super::{Remote, Service, remotes};
use crate::body::{self, Answer, Body, Incoming};
use crate::core::{Call, Core};
use crate::front::body_stream;
use crate::outbound::{self, Place};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use towpath_api::status;
use towpath_kit::traits::Principal;
use towpath_store::Snapshot;

const DIAL: Duration = Duration::from_secs(10);
/// A server that does not begin to answer is given up.
const ANSWER: Duration = Duration::from_secs(60);
const LIST_BYTES: usize = 3 << 20;
const STREAM_BYTES: usize = 64 << 10;

/// A ready endpoint of the service; `url` is without a path.
pub(super) fn place(state: &Snapshot, service: &Service) -> Result<Place, String> {
    let (host, port) =
        outbound::endpoint(state, &service.namespace, &service.service, service.port)?;
    let shown = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.clone(),
    };
    Ok(Place {
        url: format!("https://{shown}:{port}"),
        name: format!("{}.{}.svc", service.service, service.namespace),
        path: String::new(),
        host,
        port,
    })
}

async fn dial<B>(
    core: &Core,
    place: &Place,
    service: &Service,
) -> Result<
    (
        hyper::client::conn::http1::SendRequest<B>,
        outbound::Running,
    ),
    String,
>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let shown = core.aggregation.front.shown(core);
    let shown = shown.map_err(|error| error.to_string())?;
    let config = match service.unverified {
        true => outbound::unverified(Some(&shown))?,
        false => outbound::tls(&service.bundle, Some(&shown))?,
    };
    let dialled = outbound::dial(place, config);
    match tokio::time::timeout(DIAL, dialled).await {
        Ok(dialled) => dialled,
        Err(_) => Err(format!(
            "dial tcp {}:{}: i/o timeout",
            place.host, place.port
        )),
    }
}

// Tells the other server who asks; what the client says of it is nothing.
fn identify(headers: &mut HeaderMap, who: &Principal) {
    let given: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            name.starts_with("x-remote-") || name.starts_with("impersonate-")
        })
        .cloned()
        .collect();
    for name in given {
        headers.remove(name);
    }
    headers.remove(AUTHORIZATION);
    let mut add = |name: &str, value: &str| {
        let name = HeaderName::from_bytes(name.to_lowercase().as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    };
    add("X-Remote-User", &who.name);
    if !who.uid.is_empty() {
        add("X-Remote-Uid", &who.uid);
    }
    for group in &who.groups {
        add("X-Remote-Group", group);
    }
    for (key, values) in &who.extra {
        for value in values {
            add(&format!("X-Remote-Extra-{}", escape(key)), value);
        }
    }
}

// A key as part of a header's name.
fn escape(key: &str) -> String {
    let mut out = String::new();
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(byte as char),
            b'!' | b'#' | b'$' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`'
            | b'|' | b'~' => out.push(byte as char),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// A read of ours, with all rights at the other server.
pub(super) async fn get(
    core: &Core,
    place: &Place,
    service: &Service,
    path: &str,
) -> Result<(u16, Bytes), String> {
    let (mut sender, _running) = dial(core, place, service).await?;
    let mut request = Request::get(path)
        .header(HOST, &place.name)
        .header(http::header::ACCEPT, "application/json")
        .body(Full::new(Bytes::new()))
        .map_err(|error| error.to_string())?;
    let who = Principal {
        name: "system:kube-aggregator".into(),
        groups: vec!["system:masters".into()],
        ..Principal::default()
    };
    identify(request.headers_mut(), &who);
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    let code = answer.status().as_u16();
    let limited = Limited::new(answer.into_body(), LIST_BYTES).collect();
    let bytes = limited.await.map_err(|error| error.to_string())?.to_bytes();
    Ok((code, bytes))
}

fn unavailable(text: &str) -> Answer {
    Ok(body::text(503, format!("{text}\n")))
}

/// Passes a request on.
pub(crate) async fn serve(
    call: Call,
    remote: Remote,
    incoming: Incoming,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
) -> Answer {
    if !remote.service.available {
        return unavailable("service unavailable");
    }
    let path = match call.raw_query.as_str() {
        "" => call.path.clone(),
        query => format!("{}?{query}", call.path),
    };
    pass(&call, &remote.service, &path, incoming, upgrade).await
}

async fn pass(
    call: &Call,
    service: &Service,
    path: &str,
    incoming: Incoming,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
) -> Answer {
    let state = call.core.store.snapshot();
    let Ok(place) = place(&state, service) else {
        return unavailable("service unavailable");
    };
    let wants_upgrade = call.headers.contains_key(UPGRADE);
    let mut request = Request::new(incoming);
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = path
        .parse()
        .map_err(|error| status::bad_request(format!("{path}: {error}")))?;
    let headers = request.headers_mut();
    for (name, value) in &call.headers {
        if !outbound::HOP.contains(&name.as_str()) && name != HOST {
            headers.append(name, value.clone());
        }
    }
    if let (true, Some(protocol)) = (wants_upgrade, call.headers.get(UPGRADE)) {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    }
    identify(headers, &call.principal);
    if let Ok(name) = HeaderValue::from_str(&place.name) {
        headers.insert(HOST, name);
    }
    let (mut sender, running) = match dial(&call.core, &place, service).await {
        Ok(dialled) => dialled,
        Err(why) => return unavailable(&format!("error trying to reach service: {why}")),
    };
    let answer = match tokio::time::timeout(ANSWER, sender.send_request(request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            return unavailable(&format!("error trying to reach service: {error}"));
        }
        Err(_) => return unavailable("error trying to reach service: no answer in time"),
    };
    let code = answer.status();
    if code == StatusCode::SWITCHING_PROTOCOLS {
        return join(answer, upgrade, running);
    }
    if code.is_redirection() && answer.headers().contains_key(http::header::LOCATION) {
        let text = "the backend attempted to redirect this request, which is not permitted";
        return Ok(body::text(502, format!("{text}\n")));
    }
    let (parts, stream) = answer.into_parts();
    let stream = body_stream(stream);
    // The connection lasts as long as its answer.
    let stream = futures::StreamExt::map(stream, move |part| {
        let _ = &running;
        part
    });
    let mut out = http::Response::new(Body::stream(stream));
    *out.status_mut() = code;
    for (name, value) in &parts.headers {
        if !outbound::HOP.contains(&name.as_str()) {
            out.headers_mut().append(name, value.clone());
        }
    }
    Ok(out)
}

// Both sides speak another protocol from here on: bytes go to and fro until one ends.
fn join(
    mut answer: http::Response<hyper::body::Incoming>,
    near: Option<hyper::upgrade::OnUpgrade>,
    running: outbound::Running,
) -> Answer {
    let Some(near) = near else {
        return Err(status::bad_request("the connection cannot be upgraded"));
    };
    let far = hyper::upgrade::on(&mut answer);
    running.let_go();
    towpath_daemon::spawn("aggregated stream", async move {
        let (Ok(near), Ok(far)) = (near.await, far.await) else {
            return;
        };
        let (mut near, mut far) = (TokioIo::new(near), TokioIo::new(far));
        let _ = tokio::io::copy_bidirectional_with_sizes(
            &mut near,
            &mut far,
            STREAM_BYTES,
            STREAM_BYTES,
        )
        .await;
    });
    let mut out = http::Response::new(Body::from(Bytes::new()));
    *out.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in answer.headers() {
        out.headers_mut().append(name, value.clone());
    }
    Ok(out)
}

/// The OpenAPI v3 document of another server's group and version, from that server.
pub(crate) async fn openapi(call: &Call, path: &str) -> Option<Answer> {
    let ["apis", group, version] = path.split('/').collect::<Vec<_>>()[..] else {
        return None;
    };
    let remotes = remotes(&call.core);
    let service: &Arc<Service> = remotes.get(&(group.to_string(), version.to_string()))?;
    if !service.available {
        return Some(unavailable("service unavailable"));
    }
    let empty = body::incoming(Full::new(Bytes::new()));
    let path = format!("/openapi/v3/{path}");
    Some(pass(call, service, &path, empty, None).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_say_who_it_is() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-remote-user", "root"),
            ("x-remote-group", "system:masters"),
            ("x-remote-extra-a", "b"),
            ("impersonate-user", "root"),
            ("authorization", "Bearer x"),
            ("accept", "text/plain"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let who = Principal {
            name: "ann".into(),
            groups: vec!["a".into(), "b".into()],
            extra: [("example.com/key".to_string(), vec!["v".to_string()])].into(),
            ..Principal::default()
        };
        identify(&mut headers, &who);
        let all = |name: &str| -> Vec<&str> {
            let values = headers.get_all(name).iter();
            values.filter_map(|v| v.to_str().ok()).collect()
        };
        assert_eq!(all("x-remote-user"), ["ann"]);
        assert_eq!(all("x-remote-group"), ["a", "b"]);
        assert_eq!(all("x-remote-extra-example.com%2fkey"), ["v"]);
        assert!(all("x-remote-extra-a").is_empty() && all("authorization").is_empty());
        assert!(all("impersonate-user").is_empty());
        assert_eq!(all("accept"), ["text/plain"]);
    }
}
