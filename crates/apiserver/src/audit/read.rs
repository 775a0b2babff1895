//! `GET /audit`: the latest events, the newest first. `user`, `verb`, `resource`, `namespace`,
//! `name` and `code` choose, `components=false` leaves out what the server's own components did,
//! `limit` (100, at most 1000) bounds.

use super::log::{CURRENT, older};
use crate::body::{self, Answer};
use crate::core::Call;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use towpath_api::status;

/// Group of the server's own components.
const COMPONENTS: &str = "system:towpath";
const LIMIT: u64 = 100;
const LIMIT_MAX: u64 = 1000;

pub(crate) async fn serve(call: &Call) -> Answer {
    let limit = call.query.number("limit")?.unwrap_or(LIMIT).min(LIMIT_MAX) as usize;
    let components = call.query.get("components") != Some("false");
    let fields = [
        ("user", "/user/username"),
        ("verb", "/verb"),
        ("resource", "/objectRef/resource"),
        ("namespace", "/objectRef/namespace"),
        ("name", "/objectRef/name"),
        ("code", "/responseStatus/code"),
    ]
    .into_iter()
    .filter_map(|(key, pointer)| Some((pointer, call.query.get(key)?.to_string())))
    .collect();
    let wanted = Wanted { fields, components };
    let audit = &call.core.audit;
    audit.flush().await;
    let directory = audit.directory();
    let work = move || latest(&directory, &wanted, limit);
    let items = tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| status::internal("reading the audit log panicked"))?;
    let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": items});
    Ok(body::json(200, &list))
}

/// Which events.
struct Wanted {
    /// Where in the event, and what must stand there.
    fields: Vec<(&'static str, String)>,
    /// Also those of the server's own components.
    components: bool,
}

fn latest(directory: &Path, wanted: &Wanted, limit: usize) -> Vec<Value> {
    let mut files = older(directory).unwrap_or_default();
    files.push(directory.join(CURRENT));
    let mut items = Vec::new();
    for file in files.iter().rev() {
        // One that was rotated away meanwhile is gone.
        let Ok(file) = File::open(file) else { continue };
        let mut last = VecDeque::new();
        for line in BufReader::new(file).lines().map_while(Result::ok) {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event.is_object() && wanted.matches(&event) {
                last.push_back(event);
                if last.len() > limit - items.len() {
                    last.pop_front();
                }
            }
        }
        items.extend(last.into_iter().rev());
        if items.len() >= limit {
            break;
        }
    }
    items
}

impl Wanted {
    fn matches(&self, event: &Value) -> bool {
        let own = || {
            let groups = event.pointer("/user/groups").and_then(Value::as_array);
            groups.is_some_and(|groups| groups.iter().any(|g| g == COMPONENTS))
        };
        self.fields
            .iter()
            .all(|(pointer, text)| match event.pointer(pointer) {
                Some(Value::String(found)) => found == text,
                Some(found) => found.to_string().as_str() == text.as_str(),
                None => text.is_empty(),
            })
            && (self.components || !own())
    }
}
