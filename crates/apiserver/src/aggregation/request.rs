//! Which requests another server answers, and what they ask, for authorization here.

use super::{Service, remotes};
use crate::core::Core;
use crate::rbac::Ask;
use crate::route::{Query, decode};
use http::Method;
use std::sync::Arc;

/// A request for another server.
pub(crate) struct Remote {
    pub(crate) service: Arc<Service>,
    pub(crate) verb: &'static str,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// For what is about no resource.
    path: String,
}

/// The request, where its group and version are another server's.
pub(crate) fn route(core: &Core, method: &Method, path: &str, query: &Query) -> Option<Remote> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let ["apis", group, version, rest @ ..] = parts.as_slice() else {
        return None;
    };
    let remotes = remotes(core);
    if remotes.is_empty() {
        return None;
    }
    let service = remotes.get(&(decode(group, false), decode(version, false)))?;
    Some(read(service.clone(), method, path, rest, query))
}

fn read(
    service: Arc<Service>,
    method: &Method,
    path: &str,
    rest: &[&str],
    query: &Query,
) -> Remote {
    let rest: Vec<String> = rest.iter().map(|part| decode(part, false)).collect();
    let (old_watch, rest) = match rest.as_slice() {
        [first, more @ ..] if first == "watch" && !more.is_empty() => (true, more),
        rest => (false, rest),
    };
    let (namespace, rest) = match rest {
        [first, name, more @ ..] if first == "namespaces" && !more.is_empty() => {
            (name.clone(), more)
        }
        rest => (String::new(), rest),
    };
    let part = |at: usize| rest.get(at).cloned().unwrap_or_default();
    let (resource, name) = (part(0), part(1));
    let watch = old_watch || query.is("watch");
    let verb = match *method {
        _ if resource.is_empty() => match *method {
            Method::POST => "post",
            Method::PUT => "put",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "get",
        },
        Method::GET | Method::HEAD if watch => "watch",
        Method::GET | Method::HEAD if name.is_empty() => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if name.is_empty() => "deletecollection",
        Method::DELETE => "delete",
        _ => "get",
    };
    Remote {
        service,
        verb,
        resource,
        subresource: part(2),
        namespace,
        name,
        path: path.to_string(),
    }
}

impl Remote {
    pub(crate) fn ask(&self) -> Ask<'_> {
        if self.resource.is_empty() {
            return Ask {
                verb: self.verb,
                path: &self.path,
                ..Ask::default()
            };
        }
        Ask {
            verb: self.verb,
            group: &self.service.group,
            resource: &self.resource,
            subresource: &self.subresource,
            namespace: &self.namespace,
            name: &self.name,
            path: "",
        }
    }
}
