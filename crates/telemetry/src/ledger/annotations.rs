//! Changes as Grafana draws annotations: `GET /api/v1/changes/annotations?from=&to=&namespace=` for
//! data sources that read JSON, and the same by `POST` with the body of Grafana's JSON data
//! sources (`{"range": {"from": "…", "to": "…"}, "annotation": {"query": "<namespace>"}}`). Times
//! are milliseconds since the epoch, as Grafana's `${__from}` and `${__to}` are.

use super::routes::Served;
use super::{Change, ChangeKind};
use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

/// Markers beyond these hide what they explain.
const LIMIT: usize = 500;
const HOUR_MS: i64 = 3_600_000;

/// A marker.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Annotation {
    id: String,
    time: i64,
    time_end: i64,
    is_region: bool,
    title: String,
    text: String,
    tags: Vec<String>,
}

fn annotation(change: Change) -> Annotation {
    let kind = serde_json::to_value(change.kind).unwrap_or_default();
    let mut tags = vec![kind.as_str().unwrap_or_default().to_string()];
    tags.push(change.object.namespace.clone());
    for (name, value) in [("by", &change.by), ("release", &change.release)] {
        if !value.is_empty() {
            tags.push(format!("{name}:{value}"));
        }
    }
    if let Some(short) = change.commit.get(..12) {
        tags.push(format!("commit:{short}"));
    }
    tags.retain(|tag| !tag.is_empty());
    let mut text = change.words;
    if !change.by.is_empty() {
        text = format!("{text}, by {}", change.by);
    }
    Annotation {
        id: change.id,
        time: change.at,
        time_end: change.at,
        is_region: false,
        title: change.object.to_string(),
        text,
        tags,
    }
}

#[derive(Deserialize)]
pub(super) struct Asked {
    from: Option<i64>,
    to: Option<i64>,
    #[serde(default)]
    namespace: String,
}

#[derive(Deserialize)]
struct Range {
    from: String,
    to: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Of {
    query: String,
}

#[derive(Deserialize)]
pub(super) struct Posted {
    range: Range,
    #[serde(default)]
    annotation: Of,
}

pub(super) async fn get(
    State(served): State<Served>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Response {
    let to = asked.to.unwrap_or_else(|| served.now());
    let from = asked.from.unwrap_or(to.saturating_sub(HOUR_MS));
    answer(&served, &headers, from, to, &asked.namespace).await
}

pub(super) async fn post(
    State(served): State<Served>,
    headers: HeaderMap,
    Json(posted): Json<Posted>,
) -> Response {
    let time = |text: &str| text.parse::<jiff::Timestamp>().map(|t| t.as_millisecond());
    let (Ok(from), Ok(to)) = (time(&posted.range.from), time(&posted.range.to)) else {
        let body = serde_json::json!({ "code": 400, "message": "the range has no times" });
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    };
    answer(&served, &headers, from, to, &posted.annotation.query).await
}

async fn answer(
    served: &Served,
    headers: &HeaderMap,
    from: i64,
    to: i64,
    namespace: &str,
) -> Response {
    if let Err(refusal) = served.door.pass(headers, "get").await {
        return *refusal;
    }
    match served.ledger.between(from, to, namespace, LIMIT).await {
        Ok(changes) => {
            // Runs end all the time and change nothing that runs.
            let shown = changes.into_iter().filter(|c| c.kind != ChangeKind::Run);
            Json(shown.map(annotation).collect::<Vec<_>>()).into_response()
        }
        Err(error) => {
            let body = serde_json::json!({ "code": 500, "message": error.to_string() });
            (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Object;

    #[test]
    fn a_change_is_a_marker() {
        let made = annotation(Change {
            id: "deployments/web@7".into(),
            at: 5,
            object: Object::new("Deployment", "shop", "web"),
            by: "ann".into(),
            commit: "4f2c91e06b1d5a".into(),
            words: "image of main: a → b".into(),
            ..Change::default()
        });
        let shown = serde_json::to_value(made).expect("JSON");
        let expected = serde_json::json!({
            "id": "deployments/web@7", "time": 5, "timeEnd": 5, "isRegion": false,
            "title": "Deployment shop/web", "text": "image of main: a → b, by ann",
            "tags": ["deploy", "shop", "by:ann", "commit:4f2c91e06b1d"],
        });
        assert_eq!(shown, expected);
    }
}
