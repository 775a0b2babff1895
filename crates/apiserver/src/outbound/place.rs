//! Where a server of others is: by its URL, or a ready endpoint of its service, found in the
//! store's own state.

use crate::record;
use http::Uri;
use serde_json::Value;
use std::time::Duration;
use towpath_store::Snapshot;

/// Where a server of others listens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Name that its certificate must carry.
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) url: String,
}

/// Where a `clientConfig` (a `url` or a `service`) leads; `timeout` is told to the server.
pub(crate) fn place(state: &Snapshot, client: &Value, timeout: Duration) -> Result<Place, String> {
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

/// Address and port of a ready endpoint of a service.
pub(crate) fn endpoint(
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
}
