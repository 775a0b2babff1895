//! The way of a request to the handler of its verb.

use super::identity::{authenticate, impersonate};
use super::rights::{ask, authorize, path_ask};
use super::{Call, Core};
use crate::accept;
use crate::aggregation;
use crate::audit::{self, About, Draft};
use crate::body::{self, Answer, Body, Incoming};
use crate::fairness;
use crate::route::{self, Query, Route, Target};
use crate::{
    crd, delete, discovery, health, keys, metrics, proxy, read, reviews, streams, sub, watch, wire,
    write,
};
use futures::future::BoxFuture;
use http::header::{ACCEPT, RETRY_AFTER, UPGRADE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use std::sync::Arc;
use std::time::Duration;
use towpath_api::status::{self, Failure};
use towpath_kit::traits::Principal;

const BODY_DEADLINE: Duration = Duration::from_secs(60);

/// Answers a request. `given` is the principal of a caller in this process or of a verified
/// client certificate; without it the request's own credential counts.
pub(crate) fn serve(
    core: Arc<Core>,
    request: Request<Incoming>,
    given: Option<Principal>,
) -> BoxFuture<'static, Response<Body>> {
    Box::pin(async move {
        let Ok(_slot) = core.in_flight.clone().try_acquire_owned() else {
            return body::failure(&status::too_many_requests(
                "Too many requests, please try again later.",
                1,
            ));
        };
        match handle(core.clone(), request, given).await {
            Ok(answer) => answer,
            Err(failure) => body::failure(&failure),
        }
    })
}

async fn handle(core: Arc<Core>, request: Request<Incoming>, given: Option<Principal>) -> Answer {
    let (parts, incoming) = request.into_parts();
    let draft = Arc::new(core.audit.begin(&parts));
    let client = wire::Client::of(&parts);
    let audit = core.audit.clone();
    let answer = understand(core, parts, incoming, given, draft.clone()).await;
    let mut answer = answer.unwrap_or_else(|failure| body::failure(&failure));
    audit.answered(draft, &mut answer);
    Ok(wire::finish(client, answer).await)
}

async fn understand(
    core: Arc<Core>,
    mut parts: Parts,
    incoming: Incoming,
    given: Option<Principal>,
    draft: Arc<Draft>,
) -> Answer {
    let who = match given {
        Some(principal) => principal,
        None => authenticate(&core, &parts.headers)?,
    };
    let principal = impersonate(&core, who.clone(), &parts.headers)?;
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let path = parts.uri.path().to_string();
    let routed = find_route(&core, &parts.method, &path, &query)?;
    let upgrade = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
    let Parts {
        method, headers, ..
    } = parts;
    let call = Call {
        core,
        principal,
        method,
        headers,
        query,
        path,
        raw_query: parts.uri.query().unwrap_or_default().to_string(),
        notes: Arc::default(),
        draft: draft.clone(),
    };
    let acting_as = (who != call.principal).then_some(&call.principal);
    let about = about(&call, &routed);
    let running = call.core.requests.begin(&about);
    call.core.audit.understood(&draft, &who, acting_as, about);
    let notes = call.notes.clone();
    draft.notes(&notes);
    let pass = seat(&call, &routed).await;
    let (answer, uids) = match &pass {
        Ok(Some(pass)) => {
            let uids = pass.uids();
            let uids = (uids.0.to_string(), uids.1.to_string());
            (dispatch(call, routed, incoming, upgrade).await, uids)
        }
        Ok(None) => (
            dispatch(call, routed, incoming, upgrade).await,
            Default::default(),
        ),
        Err(refused) => {
            let uids = refused.uids();
            (Ok(busy()), (uids.0.to_string(), uids.1.to_string()))
        }
    };
    let mut answer = answer.unwrap_or_else(|failure| body::failure(&failure));
    running.end(answer.status());
    for (name, uid) in [(FLOW_SCHEMA, &uids.0), (PRIORITY_LEVEL, &uids.1)] {
        if let (false, Ok(value)) = (uid.is_empty(), HeaderValue::from_str(uid)) {
            answer.headers_mut().insert(name, value);
        }
    }
    body::warn(&mut answer, &notes.warnings());
    Ok(answer)
}

const FLOW_SCHEMA: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const PRIORITY_LEVEL: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

// A place among the requests that run now; streams need none.
async fn seat(call: &Call, routed: &Route) -> Result<Option<fairness::Pass>, fairness::Refused> {
    let ask = match routed {
        Route::Objects(target) if streams::is_stream(target) || proxy::is_proxy(target) => {
            return Ok(None);
        }
        Route::Remote(_) if call.headers.contains_key(UPGRADE) => return Ok(None),
        Route::Objects(target) => ask(target),
        Route::Remote(remote) => remote.ask(),
        _ => path_ask(call),
    };
    let (core, state) = (&call.core, call.core.store.snapshot());
    core.fairness.enter(&state, &call.principal, &ask).await
}

fn busy() -> Response<Body> {
    let mut answer = body::text(429, "Too many requests, please try again later.\n");
    let soon = HeaderValue::from_static("1");
    answer.headers_mut().insert(RETRY_AFTER, soon);
    answer
}

fn find_route(
    core: &Arc<Core>,
    method: &Method,
    path: &str,
    query: &Query,
) -> Result<Route, Failure> {
    if let Some(remote) = aggregation::route(core, method, path, query) {
        return Ok(Route::Remote(remote));
    }
    let routed = route::route(&core.kinds.load(), method, path, query)?;
    if matches!(routed, Route::Unknown) && crd::catch_up(core) {
        // A watcher of definitions may be faster than the writer that serves them.
        return route::route(&core.kinds.load(), method, path, query);
    }
    Ok(routed)
}

// What the request is about, as the audit policy sees it.
fn about(call: &Call, routed: &Route) -> About {
    match routed {
        Route::Objects(target) => {
            let ask = ask(target);
            About {
                verb: ask.verb.into(),
                group: ask.group.into(),
                version: target.resource.version.clone(),
                resource: ask.resource.into(),
                subresource: ask.subresource.into(),
                namespace: ask.namespace.into(),
                name: ask.name.into(),
                path: call.path.clone(),
            }
        }
        Route::Remote(remote) if !remote.resource.is_empty() => {
            let ask = remote.ask();
            About {
                verb: ask.verb.into(),
                group: ask.group.into(),
                version: remote.service.version.clone(),
                resource: ask.resource.into(),
                subresource: ask.subresource.into(),
                namespace: ask.namespace.into(),
                name: ask.name.into(),
                path: call.path.clone(),
            }
        }
        _ => About {
            verb: path_ask(call).verb.into(),
            path: call.path.clone(),
            ..About::default()
        },
    }
}

async fn dispatch(
    call: Call,
    routed: Route,
    incoming: Incoming,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
) -> Answer {
    match routed {
        Route::Objects(target) => {
            authorize(&call, &ask(&target))?;
            // A stream over WebSockets begins with GET, but it is no reading.
            if target.verb == "get" && streams::is_session(&target) {
                let mut more = ask(&target);
                more.verb = "create";
                authorize(&call, &more)?;
            }
            let wanted = accept::wanted(call.header(ACCEPT), &target).ok();
            let mut answer = objects(call, target, incoming, upgrade).await?;
            if let Some(wanted) = wanted {
                answer.extensions_mut().insert(wanted);
            }
            Ok(answer)
        }
        Route::Remote(remote) => {
            authorize(&call, &remote.ask())?;
            aggregation::serve(call, remote, incoming, upgrade).await
        }
        Route::Discovery(parts) => {
            authorize(&call, &path_ask(&call))?;
            discovery::serve(&call, &parts)
        }
        Route::Other => {
            authorize(&call, &path_ask(&call))?;
            if call.path.starts_with("/keys/") {
                return keys::serve(&call).await;
            }
            if let Some(path) = call.path.strip_prefix("/openapi/v3/")
                && let Some(answer) = aggregation::openapi(&call, path).await
            {
                return answer;
            }
            if call.path == "/audit" {
                return audit::serve(&call).await;
            }
            health::serve(&call)
        }
        Route::Unknown => {
            // A stranger learns nothing about what is served.
            authorize(&call, &path_ask(&call)).map_err(|_| status::no_such_resource())?;
            discovery::nothing(&call)
        }
    }
}

async fn objects(
    call: Call,
    target: Target,
    incoming: Incoming,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
) -> Answer {
    let resource = target.resource.clone();
    let supported = match target.subresource.as_str() {
        "" => resource.has_verb(target.verb),
        sub => match resource.subresource(sub) {
            Some(sub) => sub.verbs.iter().any(|verb| verb == target.verb),
            None => return Err(read::missing(&target)),
        },
    };
    if !supported {
        return Err(status::no_such_method());
    }
    if let Some(warning) = crate::deprecated::warning(&resource) {
        call.warn(warning);
    }
    if proxy::is_proxy(&target) {
        return proxy::serve(call, target, incoming).await;
    }
    if streams::is_stream(&target) {
        return streams::serve(call, target, upgrade).await;
    }
    accept::wanted(call.header(ACCEPT), &target)?;
    if resource.group == metrics::GROUP {
        return metrics::serve(&call, &target).await;
    }
    match target.verb {
        "watch" => return watch::serve(call, target),
        "list" => return read::list(&call, &target).await,
        "get" if target.subresource.is_empty() || target.subresource == "status" => {
            return read::get(&call, &target).await;
        }
        _ => {}
    }
    let bytes = body::read(incoming, BODY_DEADLINE).await?;
    call.draft.body(&bytes);
    if reviews::is_review(&resource) {
        return reviews::serve(&call, &target, &bytes).await;
    }
    match (target.verb, target.subresource.as_str()) {
        ("create", "") if resource.is("", "bindings") => {
            sub::bind_named(&call, &target, &bytes).await
        }
        ("create", "") => write::create(&call, &target, &bytes).await,
        ("update", "" | "status" | "finalize" | "ephemeralcontainers" | "resize" | "approval") => {
            write::update(&call, &target, &bytes).await
        }
        ("patch", "" | "status" | "ephemeralcontainers" | "resize" | "approval" | "scale") => {
            write::patch(&call, &target, bytes).await
        }
        ("delete", "") => delete::one(&call, &target, &bytes).await,
        ("deletecollection", _) => delete::collection(&call, &target, &bytes).await,
        _ => sub::serve(&call, &target, &bytes).await,
    }
}
