//! `notifications` and `notifications/live`: what the server tells its users of itself, as a list
//! and as a stream of events.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use parking_lot::Mutex;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use towpath_stdx::{Clock, SystemClock};

use super::fault::Fault;
use super::json::{self, Object};
use super::reply::Reply;
use super::{Api, Call};

/// Upstream's words for a configuration that cannot be used.
pub(crate) const RELOAD_FAILED: &str = "Configuration reload has failed.";
/// Those who listen at a time, as upstream.
const LISTENERS_MAX: usize = 16;
/// Notices that a listener may be behind.
const BEHIND_MAX: usize = 16;

/// One thing to tell.
#[derive(Clone, Debug)]
struct Notice {
    text: &'static str,
    /// Since when, nanoseconds since the epoch.
    since_ns: u64,
    /// Whether it still holds.
    holds: bool,
}

impl Notice {
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = Object::begin(out);
        object.text("text", self.text);
        json::time(object.field("date"), Some(self.since_ns));
        object.raw("active", self.holds);
        object.end();
    }

    fn event(&self) -> Bytes {
        let mut out = b"data: ".to_vec();
        self.write(&mut out);
        out.extend_from_slice(b"\n\n");
        out.into()
    }
}

struct Shared {
    hold: Mutex<Vec<Notice>>,
    changes: broadcast::Sender<Notice>,
    places: Arc<Semaphore>,
}

/// What is to be told at present. Cheap to clone.
#[derive(Clone)]
pub struct Notices(Arc<Shared>);

impl Default for Notices {
    fn default() -> Self {
        Self(Arc::new(Shared {
            hold: Mutex::default(),
            changes: broadcast::channel(BEHIND_MAX).0,
            places: Arc::new(Semaphore::new(LISTENERS_MAX)),
        }))
    }
}

impl Notices {
    /// Says whether something holds; told once when it begins and once when it ends.
    pub(crate) fn set(&self, text: &'static str, holds: bool) {
        let mut all = self.0.hold.lock();
        let known = all.iter().position(|own| own.text == text);
        let told = match (known, holds) {
            (None, true) => {
                let now = SystemClock.since_epoch().as_nanos();
                let notice = Notice {
                    text,
                    since_ns: u64::try_from(now).unwrap_or(u64::MAX),
                    holds,
                };
                all.push(notice.clone());
                notice
            }
            (Some(at), false) => Notice {
                holds,
                ..all.remove(at)
            },
            _ => return,
        };
        // Nobody listens, most of the time.
        let _ = self.0.changes.send(told);
    }
}

/// What holds now.
pub(super) fn list(call: &Call, reply: &mut Reply) -> Result<(), Fault> {
    let all = call.api.targets.notices().0.hold.lock().clone();
    json::list(reply.data(), &all, |out, notice| notice.write(out));
    Ok(())
}

struct Listener {
    first: VecDeque<Notice>,
    changes: broadcast::Receiver<Notice>,
    _place: OwnedSemaphorePermit,
}

/// What holds now and everything that changes, event by event.
pub(super) async fn live(State(api): State<Arc<Api>>) -> Response {
    let shared = api.targets.notices().0;
    let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
        return StatusCode::NO_CONTENT.into_response();
    };
    let listener = {
        let all = shared.hold.lock();
        Listener {
            changes: shared.changes.subscribe(),
            first: all.iter().cloned().collect(),
            _place: place,
        }
    };
    let events = futures::stream::unfold(listener, |mut listener| async move {
        loop {
            if let Some(notice) = listener.first.pop_front() {
                return Some((Ok::<_, std::io::Error>(notice.event()), listener));
            }
            match listener.changes.recv().await {
                Ok(notice) => listener.first.push_back(notice),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, Body::from_stream(events)).into_response()
}
