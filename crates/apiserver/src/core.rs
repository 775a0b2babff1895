//! The one pipeline every request takes, whichever door it came in by: route, authenticate,
//! impersonate, authorize, then the handler of its verb.

use crate::accept;
use crate::admission;
use crate::aggregation;
use crate::audit::{self, About, Audit, Draft};
use crate::body::{self, Answer, Body, Incoming};
use crate::components;
use crate::fairness::{self, Fairness};
use crate::kinds::Kinds;
use crate::pki::Pki;
use crate::rbac::{Ask, Rbac};
use crate::route::{self, Query, Route, Target};
use crate::sealed::Keys;
use crate::token::Tokens;
use crate::{
    crd, delete, discovery, health, keys, metrics, node_authorizer, paging::Pages, proxy, read,
    reviews, streams, sub, watch, wire, write,
};
use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, UPGRADE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use towpath_api::status::{self, Denied, Failure};
use towpath_daemon::CancellationToken;
use towpath_kit::traits::{Credential, PodStreams, Principal, ResourceFigures};
use towpath_stdx::{Clock, Random};
use towpath_store::{Store, Table};

const BODY_DEADLINE: Duration = Duration::from_secs(60);
/// Requests at a time, those included that wait for a seat ([`crate::fairness`]); watches and
/// streams do not count once they have begun.
const IN_FLIGHT: usize = 8192;

/// Facts about this server that handlers need.
pub(crate) struct Settings {
    pub(crate) service_cidr: (IpAddr, u8),
    pub(crate) node_ports: (u16, u16),
}

/// Everything handlers share.
pub(crate) struct Core {
    pub(crate) store: Store,
    pub(crate) kinds: ArcSwap<Kinds>,
    /// Says that `kinds` has changed.
    pub(crate) served: tokio::sync::watch::Sender<()>,
    /// The definitions that `kinds` shows.
    pub(crate) definitions: parking_lot::Mutex<Table>,
    pub(crate) rbac: Rbac,
    pub(crate) tokens: Tokens,
    pub(crate) pki: Pki,
    /// Keys of what is sealed on disk.
    pub(crate) seals: Arc<Keys>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) requests: crate::requests::Requests,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) settings: Settings,
    pub(crate) streams: RwLock<Option<Arc<dyn PodStreams>>>,
    pub(crate) figures: RwLock<Option<Arc<dyn ResourceFigures>>>,
    pub(crate) pages: Pages,
    pub(crate) admission: admission::Shared,
    pub(crate) aggregation: aggregation::Shared,
    pub(crate) fairness: Fairness,
    pub(crate) closing: CancellationToken,
    pub(crate) in_flight: Arc<Semaphore>,
}

impl Core {
    pub(crate) fn slots() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(IN_FLIGHT))
    }
}

/// One authenticated, routed request.
pub(crate) struct Call {
    pub(crate) core: Arc<Core>,
    pub(crate) principal: Principal,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Query,
    pub(crate) path: String,
    /// The query as it came in.
    pub(crate) raw_query: String,
    /// What the answer says beside itself.
    pub(crate) notes: Arc<Notes>,
    /// The audit event in the making.
    pub(crate) draft: Arc<Draft>,
}

/// Remarks made while a request is handled.
#[derive(Default)]
pub(crate) struct Notes {
    warnings: parking_lot::Mutex<Vec<String>>,
    annotations: parking_lot::Mutex<BTreeMap<String, String>>,
}

impl Notes {
    /// Texts for the client's user, each once.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.lock().clone()
    }

    /// Annotations of the request's audit event.
    pub(crate) fn annotations(&self) -> BTreeMap<String, String> {
        self.annotations.lock().clone()
    }
}

impl Call {
    /// Tells the client's user something, as a header of the answer.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut warnings = self.notes.warnings.lock();
        if !text.is_empty() && !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// Adds an annotation to the request's audit event.
    pub(crate) fn annotate(&self, key: impl Into<String>, value: impl Into<String>) {
        self.notes
            .annotations
            .lock()
            .insert(key.into(), value.into());
    }

    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> &str {
        self.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    }

    pub(crate) fn content_type(&self) -> &str {
        self.header(CONTENT_TYPE)
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
    }

    /// `fieldManager`, or the program's name from its user agent.
    pub(crate) fn manager(&self) -> String {
        match self.query.get("fieldManager").filter(|m| !m.is_empty()) {
            Some(manager) => manager.to_string(),
            None => {
                let agent = self.header(USER_AGENT);
                let name = agent.split('/').next().unwrap_or_default();
                let name = if name.is_empty() {
                    self.principal.name.as_str()
                } else {
                    name
                };
                name.chars().filter(|c| !c.is_control()).take(128).collect()
            }
        }
    }

    /// Whether the principal may also do this.
    pub(crate) fn may(&self, ask: &Ask<'_>) -> bool {
        self.core
            .rbac
            .allowed(&self.core.store.snapshot(), &self.principal, ask)
    }
}

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

fn authenticate(core: &Core, headers: &HeaderMap) -> Result<Principal, Failure> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        return Ok(Principal::anonymous());
    };
    let credential = header
        .to_str()
        .ok()
        .and_then(Credential::from_header)
        .ok_or_else(status::unauthorized)?;
    check_credential(core, &credential).ok_or_else(status::unauthorized)
}

pub(crate) fn check_credential(core: &Core, credential: &Credential) -> Option<Principal> {
    let token = match credential {
        Credential::Bearer(token) => token,
        Credential::Basic { password, .. } => password,
    };
    let state = core.store.snapshot();
    // Minted tokens and service accounts' alike; audiences are those of this server.
    core.tokens
        .check(token.reveal_secret(), &[], &state)
        .map(|checked| checked.principal)
}

fn impersonate(
    core: &Core,
    principal: Principal,
    headers: &HeaderMap,
) -> Result<Principal, Failure> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
            .to_string()
    };
    let all = |name: &str| -> Vec<String> {
        headers
            .get_all(name)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .map(str::to_string)
            .collect()
    };
    let user = text("impersonate-user");
    let groups = all("impersonate-group");
    let extras: Vec<(String, Vec<String>)> = headers
        .keys()
        .filter_map(|name| {
            let key = name.as_str().strip_prefix("impersonate-extra-")?;
            Some((route::decode(key, false), all(name.as_str())))
        })
        .collect();
    if user.is_empty() {
        if groups.is_empty() && extras.is_empty() {
            return Ok(principal);
        }
        return Err(status::bad_request(
            "requested impersonation without impersonating a user",
        ));
    }
    let state = core.store.snapshot();
    let check = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        let ask = Ask {
            verb: "impersonate",
            group,
            resource,
            subresource,
            namespace,
            name,
            path: "",
        };
        match core.rbac.allowed(&state, &principal, &ask) {
            true => Ok(()),
            false => Err(deny(&principal, &ask)),
        }
    };
    const AUTHENTICATION: &str = "authentication.k8s.io";
    let mut target = Principal {
        name: user.clone(),
        ..Principal::default()
    };
    match user
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'))
    {
        Some((namespace, name)) => {
            check("", "serviceaccounts", "", namespace, name)?;
            target.groups = crate::token::account(namespace, name, "").groups;
        }
        None => check("", "users", "", "", &user)?,
    }
    for group in &groups {
        check("", "groups", "", "", group)?;
    }
    let uid = text("impersonate-uid");
    if !uid.is_empty() {
        check(AUTHENTICATION, "uids", "", "", &uid)?;
        target.uid = uid;
    }
    for (key, values) in extras {
        for value in &values {
            check(AUTHENTICATION, "userextras", &key, "", value)?;
        }
        target.extra.insert(key, values);
    }
    if !groups.is_empty() {
        target.groups = groups;
    }
    let sign = if target.name == "system:anonymous" {
        "system:unauthenticated"
    } else {
        "system:authenticated"
    };
    if !target.groups.iter().any(|group| group == sign) {
        target.groups.push(sign.into());
    }
    Ok(target)
}

fn ask(target: &Target) -> Ask<'_> {
    Ask {
        verb: target.verb,
        group: &target.resource.group,
        resource: &target.resource.plural,
        subresource: &target.subresource,
        // A namespace is in itself, for those who may act in it.
        namespace: if target.resource.is("", "namespaces") {
            &target.name
        } else {
            &target.namespace
        },
        name: &target.name,
        path: "",
    }
}

fn path_ask(call: &Call) -> Ask<'_> {
    let verb = match call.method {
        Method::GET | Method::HEAD => "get",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "options",
    };
    Ask {
        verb,
        path: &call.path,
        ..Ask::default()
    }
}

pub(crate) fn deny(principal: &Principal, ask: &Ask<'_>) -> Failure {
    status::denied(Denied {
        user: &principal.name,
        verb: ask.verb,
        group: ask.group,
        resource: ask.resource,
        subresource: ask.subresource,
        namespace: ask.namespace,
        name: ask.name,
        path: ask.path,
    })
}

fn authorize(call: &Call, ask: &Ask<'_>) -> Result<(), Failure> {
    const DECISION: &str = "authorization.k8s.io/decision";
    let state = call.core.store.snapshot();
    let fields = call.query.get("fieldSelector").unwrap_or_default();
    let as_node = node_authorizer::decide(&state, &call.principal, ask, fields);
    if let Some(Ok(())) = as_node {
        call.annotate(DECISION, "allow");
        call.annotate("authorization.k8s.io/reason", "");
        return Ok(());
    }
    if let Some(reason) = call.core.rbac.reason(&state, &call.principal, ask) {
        call.annotate(DECISION, "allow");
        call.annotate("authorization.k8s.io/reason", reason);
        return Ok(());
    }
    call.annotate(DECISION, "forbid");
    if components::is_component(&call.principal) {
        denied_component(&call.principal, ask);
    }
    let mut failure = deny(&call.principal, ask);
    if let Some(Err(why)) = as_node.filter(|told| told != &Err(String::new())) {
        failure.message = format!("{}: {why}", failure.message);
    }
    Err(failure)
}

/// An apply that makes an object is a creation too.
pub(crate) fn may_create(call: &Call, target: &Target) -> Result<(), Failure> {
    let mut ask = ask(target);
    ask.verb = "create";
    authorize(call, &ask)
}

/// A component lacks a right: a fault of ours, said loudly.
pub(crate) fn denied_component(principal: &Principal, ask: &Ask<'_>) {
    tracing::error!(
        component = principal.name,
        verb = ask.verb,
        group = ask.group,
        resource = ask.resource,
        subresource = ask.subresource,
        namespace = ask.namespace,
        name = ask.name,
        path = ask.path,
        "a component was denied: its role lacks a right"
    );
}
