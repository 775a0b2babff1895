//! The audit log: who asked for what, on whose behalf, and what came of it, in upstream's
//! `audit.k8s.io/v1` form.
//!
//! A [`Draft`] goes along with a request and learns as the request is understood; its end is an
//! event, where the [`policy`] wants one.

mod authors;
mod log;
pub(crate) mod policy;
mod read;

use crate::body::Body;
use crate::core::Notes;
use crate::token;
pub(crate) use authors::Recent;
use bytes::Bytes;
use http::request::Parts;
use http::{Response, Uri, header};
use log::{Bounds, Log};
use parking_lot::Mutex;
pub(crate) use policy::About;
use policy::{Decision, Level, Policy, Stage};
pub(crate) use read::serve;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use towpath_api::protobuf;
use towpath_kit::listen::Peer;
use towpath_kit::traits::Principal;
use towpath_stdx::{Clock, Random};

/// A policy of the user's own, in the data directory.
const POLICY_FILE: &str = "audit-policy.yaml";
const DIRECTORY: &str = "audit";
/// A larger event loses its bodies, as upstream's truncation does.
const EVENT_BYTES: usize = 256 << 10;
const BOUNDS: Bounds = Bounds {
    file_bytes: 32 << 20,
    files: 10,
};

/// Decides what is recorded, and records it.
pub(crate) struct Audit {
    policy: Policy,
    log: Log,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// Who wrote last what.
    pub(crate) authors: Arc<Recent>,
}

impl Audit {
    /// With the policy in the data directory, or the standard one; the error names the file.
    pub(crate) fn open(
        data: &Path,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, (PathBuf, String)> {
        let file = data.join(POLICY_FILE);
        let policy = match std::fs::read_to_string(&file) {
            Ok(text) => Policy::read(&text).map_err(|why| (file, why))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Policy::standard(),
            Err(error) => return Err((file, error.to_string())),
        };
        Ok(Self {
            policy,
            log: Log::start(data.join(DIRECTORY), BOUNDS),
            clock,
            random,
            authors: Arc::default(),
        })
    }

    /// Begins with what is known before anything is understood.
    pub(crate) fn begin(&self, parts: &Parts) -> Draft {
        Draft {
            received: self.clock.since_epoch(),
            uri: parts.uri.clone(),
            agent: parts.headers.get(header::USER_AGENT).cloned(),
            peer: parts.extensions.get::<Peer>().map(|peer| peer.0),
            authors: self.authors.clone(),
            known: Mutex::default(),
        }
    }

    /// The request is understood: from here on the policy's decision is known.
    pub(crate) fn understood(
        &self,
        draft: &Draft,
        who: &Principal,
        acting_as: Option<&Principal>,
        about: About,
    ) {
        let decision = self.policy.decide(who, &about);
        let received =
            decision.level > Level::None && !decision.omit.contains(&Stage::RequestReceived);
        {
            let mut known = draft.known.lock();
            known.decided = true;
            if decision.level > Level::None {
                known.id = towpath_stdx::id::uuid(&*self.random);
                known.who = who.clone();
                known.acting_as = acting_as.cloned();
                known.about = about;
                draft.note_author(&known);
            }
            known.decision = decision;
        }
        if received {
            self.event(draft, Stage::RequestReceived, None, None);
        }
    }

    /// The answer is there. A stream's event of its end is made when it ends.
    pub(crate) fn answered(self: &Arc<Self>, draft: Arc<Draft>, answer: &mut Response<Body>) {
        if !draft.known.lock().decided {
            // Turned away before anything was understood.
            let about = About {
                path: draft.uri.path().into(),
                ..About::default()
            };
            self.understood(&draft, &Principal::default(), None, about);
        }
        let level = draft.known.lock().decision.level;
        if level == Level::None {
            return;
        }
        let code = answer.status().as_u16();
        let failed = (code >= 400).then(|| answer.body().whole()).flatten();
        let whole = answer.body().whole();
        if whole.is_none() {
            self.event(&draft, Stage::ResponseStarted, Some(code), None);
            let audit = self.clone();
            let end = move || audit.event(&draft, Stage::ResponseComplete, Some(code), None);
            answer.body_mut().at_end(end);
            return;
        }
        let shown = if level == Level::RequestResponse {
            whole
        } else {
            failed
        };
        self.event(&draft, Stage::ResponseComplete, Some(code), shown);
    }

    fn event(&self, draft: &Draft, stage: Stage, code: Option<u16>, body: Option<Bytes>) {
        let known = draft.known.lock();
        if known.decision.omit.contains(&stage) {
            return;
        }
        let mut event = known.event(draft, stage, code, body);
        event["stageTimestamp"] = self.clock.rfc3339_micro().into();
        let mut line = serde_json::to_vec(&event).unwrap_or_default();
        if line.len() > EVENT_BYTES {
            event["annotations"]["audit.k8s.io/truncated"] = "true".into();
            for body in ["requestObject", "responseObject"] {
                event[body] = Value::Null;
            }
            line = serde_json::to_vec(&event).unwrap_or_default();
        }
        line.push(b'\n');
        self.log.line(line);
    }

    /// Waits until all events so far are in the file.
    pub(crate) async fn flush(&self) {
        self.log.flush().await;
    }

    /// The log's numbers, in the form of metrics.
    pub(crate) fn metrics(&self) -> String {
        let counts = &self.log.counts;
        let mut text = String::new();
        for (name, help, number) in [
            (
                "apiserver_audit_event_total",
                "Events written.",
                &counts.written,
            ),
            (
                "towpath_audit_dropped_total",
                "Events lost as the queue was full.",
                &counts.dropped,
            ),
            (
                "apiserver_audit_error_total",
                "Events lost as the log could not be written.",
                &counts.failed,
            ),
        ] {
            let number = number.load(Ordering::Relaxed);
            text.push_str(&format!(
                "# HELP {name} {help}\n# TYPE {name} counter\n{name} {number}\n"
            ));
        }
        text
    }

    fn directory(&self) -> Arc<Path> {
        self.log.directory.clone()
    }
}

/// A request on its way.
pub(crate) struct Draft {
    received: Duration,
    uri: Uri,
    agent: Option<http::HeaderValue>,
    peer: Option<IpAddr>,
    authors: Arc<Recent>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    decided: bool,
    decision: Decision,
    id: String,
    who: Principal,
    acting_as: Option<Principal>,
    about: About,
    body: Option<Value>,
    notes: Option<Arc<Notes>>,
}

impl Draft {
    /// Remarks that become annotations.
    pub(crate) fn notes(&self, notes: &Arc<Notes>) {
        self.known.lock().notes = Some(notes.clone());
    }

    fn note_author(&self, known: &Known) {
        let agent = self.agent.as_ref().and_then(|agent| agent.to_str().ok());
        let who = known.acting_as.as_ref().unwrap_or(&known.who);
        self.authors
            .note(who, agent.unwrap_or_default(), &known.about, self.received);
    }

    /// The request's body, kept where the policy wants it.
    pub(crate) fn body(&self, bytes: &[u8]) {
        let mut known = self.known.lock();
        if known.decision.level >= Level::Metadata && known.about.name.is_empty() {
            // The path of a creation does not name the object.
            known.about.name = match protobuf::decode(bytes) {
                Ok(object) => object["metadata"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .into(),
                Err(_) => {
                    let named = serde_json::from_slice::<Named>(bytes);
                    named.map(|n| n.metadata.name).unwrap_or_default()
                }
            };
            self.note_author(&known);
        }
        if known.decision.level >= Level::Request && !bytes.is_empty() {
            known.body = object(bytes, known.decision.omit_managed_fields);
        }
    }
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Named {
    metadata: Name,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Name {
    name: String,
}

// A body as an object; one that is neither JSON nor protobuf is left out, as upstream does with what it cannot
// encode.
fn object(bytes: &[u8], bare: bool) -> Option<Value> {
    let mut value: Value = match protobuf::decode(bytes) {
        Ok(object) => object,
        Err(_) => serde_json::from_slice(bytes).ok()?,
    };
    let metadata = value.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(metadata) = metadata.filter(|_| bare) {
        metadata.remove("managedFields");
    }
    Some(value)
}

impl Known {
    fn event(&self, draft: &Draft, stage: Stage, code: Option<u16>, body: Option<Bytes>) -> Value {
        let micro = |at: Duration| {
            let text = towpath_stdx::clock::rfc3339(at.as_secs());
            format!("{}.{:06}Z", text.trim_end_matches('Z'), at.subsec_micros())
        };
        let agent = draft.agent.as_ref().and_then(|agent| agent.to_str().ok());
        let mut event = json!({
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": format!("{:?}", self.decision.level),
            "auditID": self.id,
            "stage": format!("{stage:?}"),
            "requestURI": draft.uri.path_and_query().map_or("/", |p| p.as_str()),
            "verb": self.about.verb,
            "user": token::user_info(&self.who),
        });
        if let Some(principal) = &self.acting_as {
            event["impersonatedUser"] = token::user_info(principal);
        }
        if let Some(peer) = draft.peer {
            event["sourceIPs"] = json!([peer.to_string()]);
        }
        if let Some(agent) = agent.filter(|agent| !agent.is_empty()) {
            event["userAgent"] = agent.into();
        }
        if !self.about.resource.is_empty() {
            event["objectRef"] = self.reference();
        }
        if let Some(code) = code {
            event["responseStatus"] = json!({"metadata": {}, "code": code});
        }
        if let Some(body) = &self.body {
            event["requestObject"] = body.clone();
        }
        let answer = body.and_then(|bytes| object(&bytes, self.decision.omit_managed_fields));
        if let Some(answer) = answer {
            for key in ["status", "reason", "message"] {
                if answer["kind"] == "Status" && answer[key].is_string() {
                    event["responseStatus"][key] = answer[key].clone();
                }
            }
            if self.decision.level == Level::RequestResponse {
                event["responseObject"] = answer;
            }
        }
        event["requestReceivedTimestamp"] = micro(draft.received).into();
        let annotations = self.notes.as_ref().map(|notes| notes.annotations());
        if let Some(annotations) = annotations.filter(|a| !a.is_empty()) {
            event["annotations"] = json!(annotations);
        }
        event
    }

    fn reference(&self) -> Value {
        let mut reference = json!({"resource": self.about.resource});
        for (key, value) in [
            ("namespace", &self.about.namespace),
            ("name", &self.about.name),
            ("apiGroup", &self.about.group),
            ("apiVersion", &self.about.version),
            ("subresource", &self.about.subresource),
        ] {
            if !value.is_empty() {
                reference[key] = value.clone().into();
            }
        }
        reference
    }
}
