//! What every request passes, whichever door it came in by: route, authenticate, impersonate,
//! authorize ([`serve`]), then the handler of its verb with a [`Call`].

mod identity;
mod rights;
mod serve;

pub(crate) use identity::check_credential;
pub(crate) use rights::{denied_component, may_create};
pub(crate) use serve::serve;

use crate::admission;
use crate::aggregation;
use crate::audit::{Audit, Draft};
use crate::fairness::Fairness;
use crate::kinds::Kinds;
use crate::paging::Pages;
use crate::pki::Pki;
use crate::rbac::{Ask, Rbac};
use crate::route::Query;
use crate::sealed::Keys;
use crate::token::Tokens;
use arc_swap::ArcSwap;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, Method};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;
use towpath_daemon::CancellationToken;
use towpath_kit::traits::{NodePages, PodStreams, Principal, ResourceFigures};
use towpath_stdx::{Clock, Random};
use towpath_store::{Store, Table};

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
    pub(crate) node_pages: RwLock<Option<Arc<dyn NodePages>>>,
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
