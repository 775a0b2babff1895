//! WATCH: a cursor on the store's event ring, turned into lines of JSON.
//!
//! Starts after a revision (exclusive), or with what is there: as ADDED events, and with
//! `sendInitialEvents` followed by a bookmark that says that they are complete. A watch holds no
//! buffer of its own: one that cannot follow is told 410 and ends.

use crate::accept::{Form, Media};
use crate::body::{self, Answer, Body};
use crate::conversion;
use crate::core::{Call, Core};
use crate::filter::Filter;
use crate::form::Shown;
use crate::kinds::Kinds;
use crate::read;
use crate::route::Target;
use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use towpath_api::protobuf;
use towpath_api::status::{self, Failure};
use towpath_store::{Event, Rec, Watch};

const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
const CHUNK_BYTES: usize = 64 << 10;
const EVENTS: usize = 256;

struct State {
    core: Arc<Core>,
    /// What was served when the watch looked last, and word of changes of it.
    kinds: Arc<Kinds>,
    served: tokio::sync::watch::Receiver<()>,
    watch: Watch,
    filter: Filter,
    /// The whole of the filter, where objects must be converted before it can be looked at.
    by_value: Option<Filter>,
    shown: Shown,
    initial: VecDeque<Arc<Rec>>,
    /// Revision of the bookmark that ends the initial events.
    initial_end: Option<u64>,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    backlog: VecDeque<Arc<Event>>,
    done: bool,
}

pub(crate) fn serve(call: Call, target: Target) -> Answer {
    let shown = Shown::of(&call, &target)?;
    let media = shown.wanted.media;
    let mut filter = Filter::new(&target, &call.query)?;
    let mut by_value = None;
    if !filter.is_everything() && !conversion::selects_as_stored(&target.resource) {
        let of_place = filter.of_place();
        by_value = Some(std::mem::replace(&mut filter, of_place));
    }
    let query = &call.query;
    let send_initial = query
        .get("sendInitialEvents")
        .map(|_| query.is("sendInitialEvents"));
    let bookmarks = query.is("allowWatchBookmarks");
    crate::list_options::check(query, true)?;
    let from = crate::list_options::revision(query)?.filter(|from| *from > 0);
    let state = call.core.store.snapshot();
    if let Some(from) = from.filter(|from| *from > state.revision()) {
        return Err(status::too_large_resource_version(from, state.revision()));
    }
    let (start, initial) = match (send_initial, from) {
        (Some(true), _) | (None, None) => {
            // A watch of one name was made one object's for authorization.
            let whole = Target {
                name: String::new(),
                ..target.clone()
            };
            (
                state.revision(),
                read::select(&state, &whole, &filter, None, 0).0,
            )
        }
        (Some(false), None) => (state.revision(), Vec::new()),
        (_, Some(from)) => (from, Vec::new()),
    };
    let seconds = query
        .number("timeoutSeconds")?
        .filter(|s| *s > 0)
        .unwrap_or_else(|| {
            let mut byte = [0u8];
            call.core.random.fill(&mut byte);
            // Spread, so that not all clients come back at once.
            1800 + u64::from(byte[0]) * 7
        });
    let now = Instant::now();
    let mut byte = [0u8];
    call.core.random.fill(&mut byte);
    let state = State {
        watch: call.core.store.watch(&target.resource.table, start),
        kinds: call.core.kinds.load_full(),
        served: call.core.served.subscribe(),
        core: call.core.clone(),
        filter,
        by_value,
        shown,
        initial: initial.into(),
        initial_end: (send_initial == Some(true)).then_some(start),
        bookmarks,
        next_bookmark: now + BOOKMARK_EVERY - Duration::from_millis(u64::from(byte[0]) * 20),
        deadline: now + Duration::from_secs(seconds.min(24 * 3600)),
        backlog: VecDeque::new(),
        done: false,
    };
    let lines = stream::unfold(state, |mut state| async move {
        let bytes = state.next().await?;
        Some((Ok(bytes), state))
    });
    let kind = match media {
        Media::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        _ => "application/json",
    };
    Ok(body::response(200, kind, Body::stream(lines)))
}

impl State {
    // The next chunk of whole lines; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        while !self.done && out.len() < CHUNK_BYTES && !self.initial.is_empty() {
            if let Some(rec) = self.initial.pop_front() {
                self.line(&mut out, "ADDED", &rec, rec.revision).await;
            }
        }
        if self.initial.is_empty()
            && let Some(revision) = self.initial_end.take()
            && self.bookmarks
        {
            self.bookmark(&mut out, revision, true);
        }
        while out.is_empty() {
            if self.done {
                return None;
            }
            self.wait(&mut out).await;
        }
        Some(out.into())
    }

    // Objects of a definition that has changed may have another form: the client begins anew.
    fn look(&mut self) {
        let kinds = self.core.kinds.load();
        if Arc::ptr_eq(&kinds, &self.kinds) {
            return;
        }
        self.kinds = kinds.clone();
        let was = &self.shown.resource;
        let Some(custom) = &was.custom else { return };
        let now = kinds.resource(&was.group, &was.version, &was.plural);
        match now.and_then(|now| Some((now, now.custom.as_ref()?))) {
            Some((now, present)) if present.generation == custom.generation => {
                self.shown.resource = now.clone();
            }
            _ => self.done = true,
        }
    }

    async fn wait(&mut self, out: &mut Vec<u8>) {
        self.look();
        if self.done {
            return;
        }
        if self.backlog.is_empty() {
            match self.watch.ready(EVENTS) {
                Ok(events) => self.backlog.extend(events),
                Err(gone) => {
                    let text =
                        format!("too old resource version: {} ({})", gone.asked, gone.oldest);
                    self.fail(out, &status::expired(text));
                    return;
                }
            }
        }
        if !self.backlog.is_empty() {
            while out.len() < CHUNK_BYTES {
                let Some(event) = self.backlog.pop_front() else {
                    return;
                };
                self.event(out, &event).await;
                if self.done {
                    return;
                }
            }
            return;
        }
        let until = if self.bookmarks {
            self.deadline.min(self.next_bookmark)
        } else {
            self.deadline
        };
        tokio::select! {
            () = self.core.closing.cancelled() => self.done = true,
            () = self.watch.changed() => {}
            Ok(()) = self.served.changed() => {}
            () = tokio::time::sleep_until(until) => {
                let now = Instant::now();
                self.done = now >= self.deadline;
                self.next_bookmark = now + BOOKMARK_EVERY;
                // All up to the published revision was looked at: the cursor stands there.
                match self.watch.ready(EVENTS) {
                    Ok(events) if events.is_empty() => {
                        if self.bookmarks {
                            self.bookmark(out, self.watch.cursor(), false);
                        }
                    }
                    Ok(events) => {
                        self.backlog.extend(events);
                        self.done = false;
                    }
                    Err(_) => {}
                }
            }
        }
    }

    async fn event(&mut self, out: &mut Vec<u8>, event: &Event) {
        let (was, is) = (event.old.as_ref(), event.new.as_ref());
        let was = was.filter(|rec| self.filter.matches(rec));
        let is = is.filter(|rec| self.filter.matches(rec));
        let (mut was, mut is) = (was, is);
        if self.by_value.is_some() {
            if let Some(rec) = was
                && !self.selected(out, rec).await
            {
                was = None;
            }
            if let Some(rec) = is
                && !self.selected(out, rec).await
            {
                is = None;
            }
            if self.done {
                return;
            }
        }
        let (kind, rec) = match (was, is) {
            (None, Some(new)) => ("ADDED", new),
            (Some(_), Some(new)) => ("MODIFIED", new),
            (Some(old), None) => ("DELETED", old),
            (None, None) => return,
        };
        self.line(out, kind, rec, event.revision).await;
    }

    // Whether the object, as it is shown, is one that is watched.
    async fn selected(&mut self, out: &mut Vec<u8>, rec: &Rec) -> bool {
        let Some(filter) = &self.by_value else {
            return true;
        };
        match conversion::show(&self.core, &self.shown.resource, rec).await {
            Ok(object) => filter.matches_shown(&object),
            Err(failure) => {
                self.fail(out, &failure);
                false
            }
        }
    }

    async fn line(&mut self, out: &mut Vec<u8>, kind: &str, rec: &Rec, revision: u64) {
        let resource = &self.shown.resource;
        let whole = self.shown.wanted.form == Form::Object;
        let as_stored = whole && conversion::is_as_stored(resource, rec);
        let object = match as_stored {
            true => None,
            false => match conversion::show_at(&self.core, resource, rec, revision).await {
                Ok(object) => Some(object),
                Err(failure) => return self.fail(out, &failure),
            },
        };
        if let (Some(filter), Some(object), "ADDED") = (&self.by_value, &object, kind)
            && !filter.matches_shown(object)
        {
            return;
        }
        match object {
            None => self.put(out, kind, |out| rec.write_at(revision, out)),
            Some(object) => {
                let object = self.shown.event_object(&self.core, object);
                self.put(out, kind, |out| write(out, &object));
            }
        }
    }

    // One event with an object in JSON: a line, or a frame with the object in protobuf.
    fn put(&mut self, out: &mut Vec<u8>, kind: &str, object: impl FnOnce(&mut Vec<u8>)) {
        if self.shown.wanted.media == Media::Protobuf {
            let mut json = Vec::new();
            object(&mut json);
            match protobuf::encode(&json) {
                Ok(bytes) => out.extend_from_slice(&protobuf::watch_event(kind, &bytes)),
                Err(error) => {
                    tracing::error!(%error, "an event cannot be written as protobuf");
                    self.done = true;
                }
            }
            return;
        }
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        object(out);
        out.extend_from_slice(b"}\n");
    }

    fn bookmark(&mut self, out: &mut Vec<u8>, revision: u64, initial_end: bool) {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = self.shown.bookmark(&self.core, metadata);
        self.put(out, "BOOKMARK", |out| write(out, &object));
    }

    fn fail(&mut self, out: &mut Vec<u8>, failure: &Failure) {
        self.put(out, "ERROR", |out| write(out, &failure.to_value()));
        self.done = true;
    }
}

fn write(out: &mut Vec<u8>, value: &Value) {
    // Writing JSON into memory cannot fail.
    let _ = serde_json::to_writer(out, value);
}
