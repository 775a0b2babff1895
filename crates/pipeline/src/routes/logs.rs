//! Step logs: plain text, one line of the log per line, from any line, followed live.

use super::{Failure, internal, not_found, query_values, seen_run};
use crate::logs::{AttemptKey, read_at, read_from};
use crate::pipeline::Inner;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, header};
use std::path::PathBuf;
use std::sync::Arc;
use towpath_kit::cache::Key;
use towpath_kit::kinds::Run;

const CHUNK_BYTES: usize = 256 << 10;

/// `GET …/steps/{n}/log?from=<line>&follow=1&attempt=<n>`.
pub(super) async fn step(
    State(inner): State<Arc<Inner>>,
    Path((namespace, run, job, step)): Path<(String, String, String, u32)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let found = seen_run(&inner, &headers, &namespace, &run).await?;
    let number = |key: &str| {
        query_values(query.as_deref(), key)
            .first()
            .and_then(|v| v.parse::<u64>().ok())
    };
    let from = number("from").unwrap_or(1);
    let follow = number("follow") == Some(1)
        || query_values(query.as_deref(), "follow")
            .first()
            .is_some_and(|f| f == "true");
    let attempt = number("attempt").map_or(found.spec.attempt, |a| a as u32);
    let status = found.status.clone().unwrap_or_default();
    let known = status.jobs.iter().find(|j| j.id == job);
    if attempt == found.spec.attempt
        && !known.is_some_and(|j| j.steps.iter().any(|s| s.number == step))
    {
        return Err(not_found(format!(
            "step {step} of job {job} of run {namespace}/{run}"
        )));
    }
    let path = kept(&inner, &namespace, &run, attempt, &job, step)
        .ok_or_else(|| not_found(format!("job {job}")))?;
    let reader = Reader {
        inner: inner.clone(),
        key: Key::new(&namespace, &run),
        job,
        step,
        path,
        offset: 0,
        from: Some(from),
        follow: follow && attempt == found.spec.attempt,
    };
    let changed = inner.logs.watch(&namespace, &run);
    let stream =
        futures::stream::try_unfold((reader, changed), |(mut reader, mut changed)| async move {
            let chunk = reader.next(&mut changed).await?;
            Ok::<_, std::io::Error>(chunk.map(|c| (c, (reader, changed))))
        });
    Response::builder()
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(header::CACHE_CONTROL, "no-store")
        .header("x-content-type-options", "nosniff")
        .body(Body::from_stream(stream))
        .map_err(internal)
}

// A job that succeeded in an earlier attempt and was not run again has its log there.
fn kept(
    inner: &Inner,
    namespace: &str,
    run: &str,
    attempt: u32,
    job: &str,
    step: u32,
) -> Option<PathBuf> {
    let path = |attempt: u32| {
        let key = AttemptKey {
            namespace: namespace.into(),
            run: run.into(),
            attempt,
        };
        inner.logs.path(&key, job, step)
    };
    let own = path(attempt)?;
    let earlier = (1..attempt.min(51))
        .rev()
        .filter_map(path)
        .find(|p| p.exists());
    Some(if own.exists() {
        own
    } else {
        earlier.unwrap_or(own)
    })
}

struct Reader {
    inner: Arc<Inner>,
    key: Key,
    job: String,
    step: u32,
    path: PathBuf,
    offset: u64,
    from: Option<u64>,
    follow: bool,
}

impl Reader {
    // The next lines; `None` at the end, which a followed log has when its step has ended.
    async fn next(
        &mut self,
        changed: &mut tokio::sync::watch::Receiver<u64>,
    ) -> std::io::Result<Option<Bytes>> {
        loop {
            // Asked before reading: what came in between is read in the next round.
            let over = !self.follow || self.is_over();
            changed.borrow_and_update();
            let bytes = self.read().await?;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
            if over {
                return Ok(None);
            }
            // Nobody left who could wake this: then there is nothing more to come.
            if changed.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    async fn read(&mut self) -> std::io::Result<Bytes> {
        let (path, from, offset) = (self.path.clone(), self.from, self.offset);
        let work = move || match from {
            Some(from) => read_from(&path, from, CHUNK_BYTES),
            None => read_at(&path, offset, CHUNK_BYTES),
        };
        let result = tokio::task::spawn_blocking(work)
            .await
            .map_err(std::io::Error::other)?;
        match result {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Bytes::new()),
            Err(error) => Err(error),
            Ok((bytes, _)) if bytes.is_empty() => Ok(Bytes::new()),
            Ok((bytes, end)) => {
                self.from = None;
                self.offset = end;
                Ok(bytes.into())
            }
        }
    }

    fn is_over(&self) -> bool {
        let Some(run) = self.inner.runs().get(&self.key) else {
            return true;
        };
        ended(&run, &self.job, self.step)
    }
}

fn ended(run: &Run, job: &str, step: u32) -> bool {
    let status = run.status.clone().unwrap_or_default();
    if status.attempt != run.spec.attempt {
        return false;
    }
    if status.phase.is_final() {
        return true;
    }
    let Some(job) = status.jobs.iter().find(|j| j.id == job) else {
        return true;
    };
    job.phase.is_final()
        || job
            .steps
            .iter()
            .any(|s| s.number == step && s.phase.is_final())
}
