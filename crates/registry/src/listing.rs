//! Listings: tags, repositories, referrers. Page sizes asked for are capped before anything is
//! made for them.

use crate::access::Verb;
use crate::registry::check_digest;
use crate::routes::Call;
use crate::wire::{Answer, Code, FILTERS, Refusal};
use axum::response::Response;
use http::StatusCode;
use http::header::{CONTENT_TYPE, LINK};
use serde_json::{Value, json};
use std::ops::Bound::{Excluded, Unbounded};
use towpath_oci::manifest::INDEX;

const PAGE: usize = 1000;
const PAGE_CAP: usize = 10_000;

fn page(call: &Call<'_>) -> Result<usize, Refusal> {
    let Some(text) = call.parameter("n") else {
        return Ok(PAGE);
    };
    match text.parse::<i64>() {
        Ok(n) if n >= 0 => Ok(usize::try_from(n).unwrap_or(PAGE_CAP).min(PAGE_CAP)),
        // A number too large to read is still a number.
        Err(error) if *error.kind() == std::num::IntErrorKind::PosOverflow => Ok(PAGE_CAP),
        _ => Err(Refusal::new(Code::SizeInvalid, "n is not a number")
            .with_status(StatusCode::BAD_REQUEST)),
    }
}

// Link to what follows the last name of a full page.
fn next(path: &str, n: usize, last: &str) -> String {
    format!("<{path}?n={n}&last={last}>; rel=\"next\"")
}

pub(crate) fn tags(call: &Call<'_>, repository: &str) -> Result<Response, Refusal> {
    let n = page(call)?;
    let last = call.parameter("last").unwrap_or_default().to_string();
    let found = call.registry().repository(repository, |held| {
        let range = if last.is_empty() {
            (Unbounded, Unbounded)
        } else {
            (Excluded(last.as_str()), Unbounded)
        };
        let mut tags: Vec<String> = held
            .tags
            .range::<str, _>(range)
            .take(n + 1)
            .map(|(tag, _)| tag.clone())
            .collect();
        let more = tags.len() > n;
        tags.truncate(n);
        (tags, more)
    });
    let Some((tags, more)) = found else {
        return Err(Refusal::new(
            Code::NameUnknown,
            format!("no repository {repository}"),
        ));
    };
    let mut answer = Answer::new(StatusCode::OK);
    if let Some(last) = tags.last().filter(|_| more) {
        answer = answer.header(LINK, next(&format!("/v2/{repository}/tags/list"), n, last));
    }
    Ok(answer.json(&json!({ "name": repository, "tags": tags })))
}

/// Repositories that the caller may read.
pub(crate) fn catalog(call: &Call<'_>) -> Result<Response, Refusal> {
    let n = page(call)?;
    let last = call.parameter("last").unwrap_or_default();
    let mut names: Vec<String> = call.registry().read(|index| {
        index
            .names_after(last)
            .filter(|name| call.may(Verb::Pull, name))
            .take(n + 1)
            .cloned()
            .collect()
    });
    let more = names.len() > n;
    names.truncate(n);
    let mut answer = Answer::new(StatusCode::OK);
    if let Some(last) = names.last().filter(|_| more) {
        answer = answer.header(LINK, next("/v2/_catalog", n, last));
    }
    Ok(answer.json(&json!({ "repositories": names })))
}

/// An index of what refers to a digest; empty where nothing does.
pub(crate) fn referrers(
    call: &Call<'_>,
    repository: &str,
    digest: &str,
) -> Result<Response, Refusal> {
    check_digest(digest)?;
    let filter = call.parameter("artifactType").filter(|t| !t.is_empty());
    let manifests = call.registry().repository(repository, |held| {
        let Some(referrers) = held.referrers.get(digest) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for referrer in referrers {
            let Some(listed) = held.manifests.get(referrer) else {
                continue;
            };
            if filter.is_some_and(|wanted| listed.artifact_type.as_deref() != Some(wanted)) {
                continue;
            }
            let mut entry =
                json!({ "mediaType": listed.media_type, "digest": referrer, "size": listed.bytes });
            if let Some(artifact_type) = &listed.artifact_type {
                entry["artifactType"] = json!(artifact_type);
            }
            if let Some(annotations) = &listed.annotations {
                entry["annotations"] = json!(annotations);
            }
            found.push(entry);
        }
        found
    });
    let manifests: Vec<Value> = manifests.unwrap_or_default();
    let mut answer = Answer::new(StatusCode::OK);
    if filter.is_some() {
        answer = answer.header(FILTERS, "artifactType");
    }
    let body = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    Ok(answer
        .header(CONTENT_TYPE, INDEX)
        .body(body.to_string().into()))
}
