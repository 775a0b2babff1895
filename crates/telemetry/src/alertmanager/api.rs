//! API version 2: nine operations, and what probes ask.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Extension, Path, RawQuery, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use towpath_alerting::alertmanager::{Alert, Muted, SilenceError, SilenceState, parse_matchers};
use towpath_kit::traits::Principal;
use towpath_query::promql::Matcher;

use super::wire::{self, PostedAlert, PostedSilence};
use super::{Alertmanager, Refusal};
use crate::door::Door;

/// No request is larger.
const BODY_BYTES: usize = 16 << 20;

type Own = State<Arc<Alertmanager>>;

impl Alertmanager {
    /// The routes, under `/alertmanager` and `/api/v1/receivers`. Who asks is checked by `door`:
    /// reading wants the right to read signals; alerts, silences and messages that test receivers
    /// that to create them, ending a silence that to delete them; health wants nothing.
    pub fn router(self: &Arc<Self>, door: Door) -> Router {
        let api = Router::new()
            .route("/alertmanager/api/v2/status", get(status))
            .route("/alertmanager/api/v2/receivers", get(receivers))
            .route(
                "/alertmanager/api/v2/silences",
                get(silences).post(post_silence),
            )
            .route(
                "/alertmanager/api/v2/silence/{id}",
                get(silence).delete(delete_silence),
            )
            .route("/alertmanager/api/v2/alerts", get(alerts).post(post_alerts))
            .route("/alertmanager/api/v2/alerts/groups", get(groups))
            .route("/alertmanager/-/reload", post(reload))
            .route("/api/v1/receivers", get(super::status::receivers))
            .route("/api/v1/receivers/{name}/test", post(super::status::test))
            .layer(DefaultBodyLimit::max(BODY_BYTES))
            .layer(axum::middleware::from_fn_with_state(door, pass))
            .with_state(Arc::clone(self));
        Router::new()
            .route("/alertmanager/-/ready", get(|| async { "OK" }))
            .route("/alertmanager/-/healthy", get(|| async { "OK" }))
            .merge(api)
    }
}

async fn pass(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let verb = match *request.method() {
        Method::GET | Method::HEAD => "get",
        Method::DELETE => "delete",
        _ => "create",
    };
    match door.pass(request.headers(), verb).await {
        Ok(principal) => {
            // Who asks, for what is noted in the ledger.
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(refusal) => refusal.map(Body::new),
    }
}

fn fault(status: StatusCode, message: impl Into<String>) -> Response {
    (status, axum::Json(Value::String(message.into()))).into_response()
}

fn bad(message: impl Into<String>) -> Response {
    fault(StatusCode::BAD_REQUEST, message)
}

/// The parameters of a question, decoded.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(raw: Option<&str>) -> Result<Self, String> {
        let mut out = Vec::new();
        for pair in raw.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            out.push((decoded(name)?, decoded(value)?));
        }
        Ok(Self(out))
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let some = self.0.iter().filter(move |(n, _)| n == name);
        some.map(|(_, value)| value.as_str())
    }

    fn flag(&self, name: &str) -> bool {
        self.all(name).last() != Some("false")
    }

    fn matchers(&self) -> Result<Vec<Matcher>, String> {
        let each = self.all("filter").map(parse_matchers);
        Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
    }
}

fn decoded(text: &str) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next(), bytes.next()].map(|d| d.unwrap_or(b'?'));
                let digits = std::str::from_utf8(&digits).unwrap_or("?");
                u8::from_str_radix(digits, 16).map_err(|_| format!("invalid escape %{digits}"))?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).map_err(|_| "a parameter is not UTF-8".to_owned())
}

async fn status(State(own): Own) -> Response {
    let dispatcher = own.dispatcher.lock();
    let config = dispatcher.config();
    let names = config.receivers.iter().map(|r| json!({"name": r.name}));
    // The file itself may hold secrets; JSON is YAML too.
    let shown = json!({
        "route": wire::route(&config.route),
        "receivers": names.collect::<Vec<_>>(),
    });
    let version = &own.settings.version;
    axum::Json(json!({
        "cluster": {"name": "", "peers": [], "status": "disabled"},
        "config": {"original": shown.to_string()},
        "uptime": wire::time(own.started_at),
        "versionInfo": {
            "branch": "", "buildDate": "", "buildUser": "", "goVersion": "", "revision": "",
            "version": version,
        },
    }))
    .into_response()
}

async fn receivers(State(own): Own) -> Response {
    let dispatcher = own.dispatcher.lock();
    let receivers = dispatcher.config().receivers.iter();
    let names: Vec<Value> = receivers.map(|r| json!({"name": r.name})).collect();
    axum::Json(names).into_response()
}

async fn silences(State(own): Own, RawQuery(raw): RawQuery) -> Response {
    let wanted = Query::read(raw.as_deref()).and_then(|query| query.matchers());
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(why) => return bad(why),
    };
    let now = own.now();
    let dispatcher = own.dispatcher.lock();
    let mut found: Vec<_> = dispatcher
        .silences()
        .filter(|silence| {
            wanted.iter().all(|m| {
                let mut own = silence.matchers.iter();
                own.any(|(name, _, value)| *name == m.name && m.matches(value))
            })
        })
        .collect();
    let rank = |state| match state {
        SilenceState::Active => 0,
        SilenceState::Pending => 1,
        SilenceState::Expired => 2,
    };
    found.sort_by_key(|s| (rank(s.state(now)), s.ends_at));
    let found: Vec<Value> = found.into_iter().map(|s| wire::silence(s, now)).collect();
    axum::Json(found).into_response()
}

async fn silence(State(own): Own, Path(id): Path<String>) -> Response {
    let now = own.now();
    let dispatcher = own.dispatcher.lock();
    match dispatcher.silences().find(|silence| silence.id == id) {
        Some(silence) => axum::Json(wire::silence(silence, now)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Runs what writes to disk off the reactor.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Response> {
    let done = tokio::task::spawn_blocking(work).await;
    let refused = |error: Refusal| match error {
        Refusal::Silence(SilenceError::NotFound) => {
            fault(StatusCode::NOT_FOUND, "silence not found")
        }
        Refusal::Silence(error) => bad(error.to_string()),
        Refusal::Keep(error) => fault(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    match done {
        Ok(result) => result.map_err(refused),
        Err(error) => Err(fault(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

async fn post_silence(
    State(own): Own,
    Extension(by): Extension<Principal>,
    body: Bytes,
) -> Response {
    let posted: Result<PostedSilence, _> = serde_json::from_slice(&body);
    let silence = posted.map_err(|error| error.to_string());
    let silence = match silence.and_then(PostedSilence::read) {
        Ok(silence) => silence,
        Err(why) => return bad(why),
    };
    match apart(move || own.silence(silence, &by)).await {
        Ok(id) => axum::Json(json!({"silenceID": id})).into_response(),
        Err(response) => response,
    }
}

async fn delete_silence(
    State(own): Own,
    Extension(by): Extension<Principal>,
    Path(id): Path<String>,
) -> Response {
    match apart(move || own.expire(&id, &by)).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(response) => response,
    }
}

async fn post_alerts(State(own): Own, body: Bytes) -> Response {
    let posted: Vec<PostedAlert> = match serde_json::from_slice(&body) {
        Ok(posted) => posted,
        Err(error) => return bad(error.to_string()),
    };
    let now = own.now();
    let timeout = own.dispatcher.lock().config().resolve_timeout_ms;
    let mut alerts = Vec::with_capacity(posted.len());
    let mut faults = Vec::new();
    for one in posted {
        match one.read(now, timeout) {
            Ok(alert) => alerts.push(alert),
            Err(why) => {
                own.meters.invalid();
                faults.push(why);
            }
        }
    }
    // Those that are well are taken, whatever is wrong with others.
    if own.posted(alerts) > 0 {
        let why = "too many alerts are held";
        return fault(StatusCode::TOO_MANY_REQUESTS, why);
    }
    match faults.is_empty() {
        true => StatusCode::OK.into_response(),
        false => bad(faults.join("; ")),
    }
}

/// Which alerts are wanted.
struct Wanted {
    matchers: Vec<Matcher>,
    receiver: Option<Matcher>,
    active: bool,
    silenced: bool,
    inhibited: bool,
}

impl Wanted {
    fn read(raw: Option<&str>) -> Result<Self, String> {
        let query = Query::read(raw)?;
        let receiver = query.all("receiver").last().filter(|name| !name.is_empty());
        let op = towpath_query::promql::MatchOp::Regex;
        Ok(Self {
            matchers: query.matchers()?,
            receiver: receiver
                .map(|r| Matcher::new("receiver", op, r))
                .transpose()?,
            active: query.flag("active"),
            silenced: query.flag("silenced"),
            inhibited: query.flag("inhibited"),
        })
    }

    fn takes(&self, alert: &Alert, muted: &Muted, now: i64) -> bool {
        let silenced = !muted.silenced_by.is_empty();
        let inhibited = !muted.inhibited_by.is_empty();
        !alert.resolved_at(now)
            && (self.active || silenced || inhibited)
            && (self.silenced || !silenced)
            && (self.inhibited || !inhibited)
            && self
                .matchers
                .iter()
                .all(|m| m.matches(alert.labels.get(&m.name).map_or("", String::as_str)))
    }

    fn receives(&self, name: &str) -> bool {
        self.receiver
            .as_ref()
            .is_none_or(|wanted| wanted.matches(name))
    }
}

async fn alerts(State(own): Own, RawQuery(raw): RawQuery) -> Response {
    let wanted = match Wanted::read(raw.as_deref()) {
        Ok(wanted) => wanted,
        Err(why) => return bad(why),
    };
    let done = tokio::task::spawn_blocking(move || {
        let now = own.now();
        let dispatcher = own.dispatcher.lock();
        let mut out = Vec::new();
        for alert in dispatcher.all() {
            let muted = dispatcher.muted(&alert.labels, now);
            let receivers = dispatcher.receivers(&alert.labels);
            let received = receivers.iter().any(|name| wanted.receives(name));
            if received && wanted.takes(alert, &muted, now) {
                out.push(wire::alert(alert, &muted, &receivers));
            }
        }
        out
    });
    match done.await {
        Ok(out) => axum::Json(out).into_response(),
        Err(error) => fault(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn groups(State(own): Own, RawQuery(raw): RawQuery) -> Response {
    let wanted = match Wanted::read(raw.as_deref()) {
        Ok(wanted) => wanted,
        Err(why) => return bad(why),
    };
    let done = tokio::task::spawn_blocking(move || {
        let now = own.now();
        let dispatcher = own.dispatcher.lock();
        let mut out = Vec::new();
        for group in dispatcher.groups(now) {
            if !wanted.receives(&group.receiver) {
                continue;
            }
            let mut alerts = Vec::new();
            for alert in &group.alerts {
                let mut muted = dispatcher.muted(&alert.labels, now);
                muted.muted_by = group.muted_by.clone();
                if wanted.takes(alert, &muted, now) {
                    let receivers = dispatcher.receivers(&alert.labels);
                    alerts.push(wire::alert(alert, &muted, &receivers));
                }
            }
            if !alerts.is_empty() {
                out.push(json!({
                    "alerts": alerts,
                    "labels": group.labels,
                    "receiver": {"name": group.receiver},
                }));
            }
        }
        out
    });
    match done.await {
        Ok(out) => axum::Json(out).into_response(),
        Err(error) => fault(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn reload(State(own): Own) -> Response {
    match tokio::task::spawn_blocking(move || own.reload()).await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(error)) => fault(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        Err(error) => fault(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
