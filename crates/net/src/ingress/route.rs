//! Which backend a request belongs to: a pure function of Ingress objects, host and path.
//!
//! Hosts: exact before wildcard (one label) before any. Paths: `Exact` before `Prefix`, longer
//! before shorter; a prefix matches whole elements. Where rules of two objects are equal the
//! older object wins, as the Ingress documentation asks.

use k8s_openapi::api::networking::v1::{Ingress, IngressBackend};
use std::sync::Arc;
use towpath_kit::cache::Key;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    pub(crate) service: Key,
    pub(crate) port: BackendPort,
}

/// A service port by number or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BackendPort {
    Number(u16),
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Exact(String),
    /// `*.example.com` without the star.
    Wildcard(String),
    Any,
}

#[derive(Clone, Debug)]
struct Route {
    host: Host,
    exact: bool,
    /// Without a trailing slash for prefixes; empty matches everything.
    path: String,
    backend: Backend,
}

/// All routes, most specific first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    routes: Vec<Route>,
    default: Option<Backend>,
}

/// Whether an Ingress is for us: class `towpath` or none, in the field or the old annotation.
pub(crate) fn is_ours(ingress: &Ingress) -> bool {
    let class = ingress
        .spec
        .as_ref()
        .and_then(|spec| spec.ingress_class_name.as_deref());
    let old = ingress
        .metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get("kubernetes.io/ingress.class"))
        .map(String::as_str);
    class.or(old).is_none_or(|class| class == super::CLASS)
}

fn backend(namespace: &str, of: &IngressBackend) -> Option<Backend> {
    let service = of.service.as_ref()?;
    let port = service.port.as_ref()?;
    let port = match (port.number, &port.name) {
        (Some(number), _) => BackendPort::Number(u16::try_from(number).ok()?),
        (None, Some(name)) => BackendPort::Name(name.clone()),
        (None, None) => return None,
    };
    Some(Backend {
        service: Key::new(namespace, service.name.clone()),
        port,
    })
}

impl Routes {
    /// Routes of all given objects.
    pub(crate) fn of(ingresses: &[Arc<Ingress>]) -> Self {
        let mut ordered: Vec<&Arc<Ingress>> = ingresses.iter().collect();
        ordered.sort_by_cached_key(|ingress| {
            let made = ingress
                .metadata
                .creation_timestamp
                .as_ref()
                .map(|time| time.0.to_string());
            (made, Key::of(ingress.as_ref()))
        });
        let mut all = Self::default();
        for ingress in ordered {
            let namespace = ingress.metadata.namespace.as_deref().unwrap_or_default();
            let Some(spec) = &ingress.spec else { continue };
            if all.default.is_none() {
                all.default = spec
                    .default_backend
                    .as_ref()
                    .and_then(|of| backend(namespace, of));
            }
            for rule in spec.rules.iter().flatten() {
                let host = match rule.host.as_deref().unwrap_or_default() {
                    "" => Host::Any,
                    host => match host.strip_prefix('*') {
                        Some(rest) => Host::Wildcard(rest.to_ascii_lowercase()),
                        None => Host::Exact(host.to_ascii_lowercase()),
                    },
                };
                for path in rule.http.iter().flat_map(|http| &http.paths) {
                    let Some(backend) = backend(namespace, &path.backend) else {
                        continue;
                    };
                    let exact = path.path_type == "Exact";
                    let text = path.path.as_deref().unwrap_or_default();
                    let text = if exact {
                        text
                    } else {
                        text.trim_end_matches('/')
                    };
                    all.routes.push(Route {
                        host: host.clone(),
                        exact,
                        path: text.into(),
                        backend,
                    });
                }
            }
        }
        // Stable: equal ones stay in the order of their objects' age.
        all.routes.sort_by_key(|route| {
            let host = match &route.host {
                Host::Exact(_) => (0, 0),
                Host::Wildcard(rest) => (1, usize::MAX - rest.len()),
                Host::Any => (2, 0),
            };
            (host, !route.exact, usize::MAX - route.path.len())
        });
        all
    }

    /// The backend of a request. `host` may carry a port.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<&Backend> {
        let host = without_port(host).to_ascii_lowercase();
        let route = self.routes.iter().find(|route| {
            let host_fits = match &route.host {
                Host::Exact(own) => *own == host,
                Host::Wildcard(rest) => host
                    .strip_suffix(rest.as_str())
                    .is_some_and(|label| !label.is_empty() && !label.contains('.')),
                Host::Any => true,
            };
            host_fits && path_fits(route, path)
        });
        route.map(|route| &route.backend).or(self.default.as_ref())
    }
}

fn path_fits(route: &Route, path: &str) -> bool {
    if route.exact {
        return route.path == path;
    }
    path.strip_prefix(route.path.as_str())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || route.path.is_empty())
}

/// The host of a `Host` header.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ingress(name: &str, made: &str, spec: serde_json::Value) -> Arc<Ingress> {
        let metadata = json!({"name": name, "namespace": "demo", "creationTimestamp": made});
        let object = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec});
        Arc::new(serde_json::from_value(object).expect("ingress"))
    }

    fn path(path: &str, kind: &str, service: &str) -> serde_json::Value {
        json!({"path": path, "pathType": kind, "backend": {"service": {"name": service, "port": {"number": 80}}}})
    }

    #[test]
    fn the_most_specific_rule_wins() {
        let one = ingress(
            "one",
            "2026-01-01T00:00:00Z",
            json!({
                "rules": [
                    {"host": "a.example.com", "http": {"paths": [
                        path("/", "Prefix", "root"),
                        path("/foo", "Prefix", "foo"),
                        path("/foo/bar/", "Prefix", "bar"),
                        path("/foo", "Exact", "exact"),
                    ]}},
                    {"host": "*.example.com", "http": {"paths": [path("/", "Prefix", "wild")]}},
                    {"http": {"paths": [path("/any", "ImplementationSpecific", "any")]}},
                ],
            }),
        );
        let two = ingress(
            "two",
            "2026-01-02T00:00:00Z",
            json!({
                "defaultBackend": {"service": {"name": "fallback", "port": {"name": "http"}}},
                "rules": [{"host": "a.example.com", "http": {"paths": [path("/foo", "Exact", "younger")]}}],
            }),
        );
        let routes = Routes::of(&[two, one]);
        for (host, path, expected) in [
            ("a.example.com", "/", "root"),
            ("A.Example.com:8081", "/foo/", "foo"),
            ("a.example.com", "/foobar", "root"),
            ("a.example.com", "/foo", "exact"),
            ("a.example.com", "/foo/bar", "bar"),
            ("a.example.com", "/foo/bar/baz", "bar"),
            ("b.example.com", "/x", "wild"),
            ("b.c.example.com", "/x", "fallback"),
            ("b.c.example.com", "/any/x", "any"),
            ("example.com", "/", "fallback"),
            ("[::1]:80", "/", "fallback"),
        ] {
            let found = routes.find(host, path).map(|b| b.service.name.as_str());
            assert_eq!(found, Some(expected), "{host} {path}");
        }
        assert_eq!(Routes::default().find("x", "/"), None);
    }

    #[test]
    fn class_decides_whose_it_is() {
        for (spec, ours) in [
            (json!({}), true),
            (json!({"ingressClassName": "towpath"}), true),
            (json!({"ingressClassName": "nginx"}), false),
        ] {
            assert_eq!(is_ours(&ingress("x", "2026-01-01T00:00:00Z", spec)), ours);
        }
    }
}
