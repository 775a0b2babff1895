//! Commits for the UI.

use super::Front;
use super::auth::{Right, not_found};
use crate::names::{RepoName, ZERO, is_id};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use towpath_kit::traits::{CommitInfo, SourceError, SourceTree};
use towpath_stdx::clock::rfc3339;

/// Query of the list.
#[derive(Deserialize)]
pub(super) struct Page {
    #[serde(rename = "ref")]
    revision: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Commit {
    sha: String,
    parents: Vec<String>,
    author: String,
    authored_at: String,
    title: String,
    message: String,
}

#[derive(Serialize)]
struct Commits {
    items: Vec<Commit>,
}

#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    commit: Commit,
    files: Vec<String>,
    diff: String,
}

impl From<CommitInfo> for Commit {
    fn from(info: CommitInfo) -> Self {
        Self {
            sha: info.sha,
            parents: info.parents,
            author: info.author,
            authored_at: rfc3339(u64::try_from(info.authored_at).unwrap_or_default()),
            title: info.message.lines().next().unwrap_or_default().to_string(),
            message: info.message,
        }
    }
}

fn refusal(error: SourceError) -> Response {
    let status = match &error {
        SourceError::NotFound(_) => StatusCode::NOT_FOUND,
        SourceError::TooLarge(_) => StatusCode::UNPROCESSABLE_ENTITY,
        SourceError::Conflict { .. } => StatusCode::CONFLICT,
        SourceError::Git(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let body = serde_json::json!({ "error": { "message": error.to_string() } });
    (status, Json(body)).into_response()
}

/// `GET /api/v1/repos/<ns>/<repo>/commits?ref=&limit=`: newest first, first parents; at most 200.
pub(super) async fn list(
    State(front): State<Arc<Front>>,
    Path((owner, name)): Path<(String, String)>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Response {
    let name = RepoName::new(&owner, &name);
    if let Err(refusal) = front.admit(&headers, name.as_ref(), Right::Read).await {
        return refusal;
    }
    let Some(name) = name else { return not_found() };
    let revision = page.revision.unwrap_or_else(|| "HEAD".into());
    let limit = page.limit.unwrap_or(50).clamp(1, 200);
    match front.trees.log(&name.to_string(), &revision, limit).await {
        Ok(found) => Json(Commits {
            items: found.into_iter().map(Commit::from).collect(),
        })
        .into_response(),
        // A repository without a commit has no HEAD yet; that is an empty list.
        Err(SourceError::NotFound(_))
            if revision == "HEAD" && front.trees.dir(&name.to_string()).is_ok() =>
        {
            Json(Commits { items: Vec::new() }).into_response()
        }
        Err(error) => refusal(error),
    }
}

/// `GET /api/v1/repos/<ns>/<repo>/commits/<sha>`: with its paths and diff to the first parent.
pub(super) async fn show(
    State(front): State<Arc<Front>>,
    Path((owner, name, sha)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let name = RepoName::new(&owner, &name);
    if let Err(refusal) = front.admit(&headers, name.as_ref(), Right::Read).await {
        return refusal;
    }
    let Some(name) = name else { return not_found() };
    if !is_id(&sha) {
        return refusal(SourceError::NotFound(format!("commit {sha:?}")));
    }
    let repository = name.to_string();
    let read = async {
        let info = front.trees.resolve(&repository, &sha).await?;
        let parent = info
            .parents
            .first()
            .map_or(ZERO, String::as_str)
            .to_string();
        let mut files = front.trees.changed(&repository, &parent, &info.sha).await?;
        files.truncate(3000);
        let diff = front
            .trees
            .diff(&repository, &parent, &info.sha, "")
            .await?;
        Ok(Detail {
            commit: info.into(),
            files,
            diff,
        })
    };
    match read.await {
        Ok(detail) => Json(detail).into_response(),
        Err(error) => refusal(error),
    }
}
