//! From method, path and query to what is asked for.

use crate::aggregation::Remote;
use crate::kinds::{Kinds, Resource};
use http::Method;
use std::sync::Arc;
use towpath_api::status::{self, Failure};

/// Query parameters, decoded, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|p| !p.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key, true), decode(value, true))
        });
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    }

    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    }

    /// A flag: present and neither `0` nor `false`.
    pub(crate) fn is(&self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|v| v != "0" && !v.eq_ignore_ascii_case("false"))
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>, Failure> {
        self.get(key)
            .filter(|v| !v.is_empty())
            .map(|v| v.parse())
            .transpose()
            .map_err(|_| {
                status::bad_request(format!(
                    "invalid value for query parameter {key}: {:?}",
                    self.get(key).unwrap_or_default()
                ))
            })
    }
}

/// Percent-decoding; malformed escapes stay as they are.
pub(crate) fn decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |c: Option<&u8>| c.and_then(|c| (*c as char).to_digit(16));
        match bytes[at] {
            b'%' => match (hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
                (Some(high), Some(low)) => {
                    out.push((high << 4 | low) as u8);
                    at += 2;
                }
                _ => out.push(b'%'),
            },
            b'+' if plus_is_space => out.push(b' '),
            other => out.push(other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A request for objects.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) resource: Arc<Resource>,
    /// Empty for cluster scope and for all namespaces.
    pub(crate) namespace: String,
    /// Empty for a collection.
    pub(crate) name: String,
    /// Empty for the object itself.
    pub(crate) subresource: String,
    pub(crate) verb: &'static str,
}

/// What a path means.
pub(crate) enum Route {
    Objects(Target),
    /// `/api`, `/apis`, `/apis/<group>`, `/apis/<group>/<version>`.
    Discovery(Vec<String>),
    /// Another server answers for the group and version.
    Remote(Remote),
    /// Anything else, e.g. `/version`.
    Other,
    /// Looks like an API path but names nothing that is served.
    Unknown,
}

/// The path as RBAC's non-resource rules see it, and its meaning.
pub(crate) fn route(
    kinds: &Kinds,
    method: &Method,
    path: &str,
    query: &Query,
) -> Result<Route, Failure> {
    let parts: Vec<String> = path
        .split('/')
        .filter(|p| !p.is_empty())
        .map(|p| decode(p, false))
        .collect();
    let (group, version, rest) = match parts.first().map(String::as_str) {
        Some("api") if parts.len() > 2 => ("", parts[1].as_str(), &parts[2..]),
        Some("apis") if parts.len() > 3 => (parts[1].as_str(), parts[2].as_str(), &parts[3..]),
        Some("api" | "apis") => return Ok(Route::Discovery(parts)),
        _ => return Ok(Route::Other),
    };
    // The old form of a watch: a path of its own.
    let (old_watch, rest) = match rest {
        [first, more @ ..] if first == "watch" && !more.is_empty() => (true, more),
        rest => (false, rest),
    };
    let (namespace, rest) = match rest {
        // `namespaces/x`, `namespaces/x/status` and `…/finalize` are about the namespace itself.
        [first, name, more @ ..]
            if first == "namespaces"
                && !more.is_empty()
                && !(more.len() == 1 && is_namespace_part(&more[0], group)) =>
        {
            (name.as_str(), more)
        }
        rest => ("", rest),
    };
    let [plural, rest @ ..] = rest else {
        return Ok(Route::Unknown);
    };
    let Some(resource) = kinds.resource(group, version, plural) else {
        return Ok(Route::Unknown);
    };
    let mut name = rest.first().cloned().unwrap_or_default();
    let subresource = rest.get(1).cloned().unwrap_or_default();
    let tail = rest.get(2..).map(|tail| tail.join("/")).unwrap_or_default();
    if !tail.is_empty() && subresource != "proxy" {
        return Ok(Route::Unknown);
    }
    // A cluster-scoped resource below a namespace, or an object without its namespace.
    let misplaced = match resource.namespaced {
        true => namespace.is_empty() && !name.is_empty(),
        false => !namespace.is_empty(),
    };
    if misplaced {
        return Ok(Route::Unknown);
    }
    let unknown = !subresource.is_empty() && resource.subresource(&subresource).is_none();
    // A custom resource that lacks the part is answered as if the object were not there.
    if unknown && !resource.is_custom() {
        return Ok(Route::Unknown);
    }
    let collection = name.is_empty();
    let wants_watch = old_watch || query.is("watch");
    if let (true, true, Some(only)) = (
        collection,
        wants_watch,
        query.get("fieldSelector").and_then(single_name),
    ) {
        // For authorization a watch of one name is a watch of that object.
        name = only;
    }
    let verb = match *method {
        Method::GET | Method::HEAD if wants_watch && subresource.is_empty() => "watch",
        Method::GET | Method::HEAD if collection => "list",
        Method::GET | Method::HEAD => "get",
        Method::OPTIONS if subresource == "proxy" => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if collection => "deletecollection",
        Method::DELETE => "delete",
        _ => {
            return Err(status::no_such_method());
        }
    };
    // Across namespaces objects are read only.
    let misplaced = match verb {
        "create" => subresource.is_empty() && !collection,
        "update" | "patch" => collection,
        _ => false,
    };
    let across = resource.namespaced && namespace.is_empty();
    if misplaced || across && matches!(verb, "create" | "deletecollection") {
        return Err(status::no_such_method());
    }
    Ok(Route::Objects(Target {
        resource: resource.clone(),
        namespace: namespace.to_string(),
        name,
        subresource,
        verb,
    }))
}

fn is_namespace_part(part: &str, group: &str) -> bool {
    group.is_empty() && matches!(part, "status" | "finalize")
}

fn single_name(selector: &str) -> Option<String> {
    let name = selector
        .strip_prefix("metadata.name=")?
        .trim_start_matches('=');
    (!name.is_empty() && !name.contains(',')).then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn show(method: Method, path: &str, query: &str) -> String {
        let kinds = Kinds::with(&BTreeMap::new(), &[]);
        match route(&kinds, &method, path, &Query::parse(query)) {
            Ok(Route::Objects(t)) => {
                format!(
                    "{} {} ns={} name={} sub={}",
                    t.verb,
                    towpath_api::status::qualified(&t.resource.group, &t.resource.plural),
                    t.namespace,
                    t.name,
                    t.subresource
                )
            }
            Ok(Route::Discovery(parts)) => format!("discovery {}", parts.join("/")),
            Ok(Route::Remote(_)) => "remote".into(),
            Ok(Route::Other) => "other".into(),
            Ok(Route::Unknown) => "unknown".into(),
            Err(failure) => failure.message,
        }
    }

    #[test]
    fn paths() {
        let cases = [
            (
                "/api/v1/namespaces/a/pods/p/log",
                "get pods ns=a name=p sub=log",
            ),
            ("/api/v1/namespaces/a", "get namespaces ns= name=a sub="),
            (
                "/api/v1/namespaces/a/status",
                "get namespaces ns= name=a sub=status",
            ),
            ("/api/v1/namespaces", "list namespaces ns= name= sub="),
            ("/api/v1/pods", "list pods ns= name= sub="),
            (
                "/apis/apps/v1/namespaces/a/deployments/d/scale",
                "get deployments.apps ns=a name=d sub=scale",
            ),
            ("/api/v1/nodes/n", "get nodes ns= name=n sub="),
            ("/api/v1/namespaces/a/nodes/n", "unknown"),
            ("/api/v1/pods/p", "unknown"),
            ("/api/v1/namespaces/a/pods/p/nonsense", "unknown"),
            ("/apis/none/v1/things", "unknown"),
            ("/apis/apps", "discovery apis/apps"),
            ("/version", "other"),
        ];
        for (path, expected) in cases {
            assert_eq!(show(Method::GET, path, ""), expected, "{path}");
        }
        assert_eq!(
            show(Method::GET, "/api/v1/pods", "watch=1"),
            "watch pods ns= name= sub="
        );
        assert_eq!(
            show(Method::DELETE, "/api/v1/namespaces/a/pods", ""),
            "deletecollection pods ns=a name= sub="
        );
    }

    #[test]
    fn percent_escapes() {
        assert_eq!(decode("a%2Fb+c%zz%", true), "a/b c%zz%");
        assert_eq!(
            Query::parse("a=1&b=x%3Dy&a=2").all("a").collect::<Vec<_>>(),
            ["1", "2"]
        );
    }
}
