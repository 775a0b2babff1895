//! `docker/build-push-action`: the context goes to the server's builder, its log comes back.

use super::http::segment;
use super::pack;
use super::patience::{Failure, Patience, ready};
use super::step::Context;
use crate::job::Event;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt, TryStreamExt};
use reqwest::Method;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use tokio::io::AsyncBufReadExt;
use towpath_kit::kinds::{BuiltImage, Finding};

// Where builds are posted, and the header for what no log of requests may show.
const BUILDS_PATH: &str = "/api/v1/builds";
const SECRETS_HEADER: &str = "towpath-build-secrets";
const LIMIT_EVENT_BYTES: usize = 1 << 20;

fn map(lines: Vec<String>, what: &str) -> Result<BTreeMap<String, String>, String> {
    lines
        .into_iter()
        .map(|line| {
            let pair = line
                .split_once('=')
                .map(|(k, v)| (k.trim().to_string(), v.to_string()));
            pair.ok_or_else(|| format!("{what} {line:?} is not NAME=VALUE"))
        })
        .collect()
}

fn tags(context: &Context<'_>) -> Vec<String> {
    context
        .lines("tags")
        .iter()
        .flat_map(|l| {
            l.split(',')
                .map(|t| t.trim().to_string())
                .collect::<Vec<_>>()
        })
        .filter(|t| !t.is_empty())
        .collect()
}

// What the step's inputs ask of the builder.
struct Parameters {
    dockerfile: String,
    target: String,
    args: BTreeMap<String, String>,
    secrets: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    tags: Vec<String>,
}

fn parameters(context: &Context<'_>, push: bool) -> Result<Parameters, String> {
    Ok(Parameters {
        dockerfile: context.input("file").to_string(),
        target: context.input("target").to_string(),
        args: map(context.lines("build-args"), "build-args")?,
        secrets: map(context.lines("secrets"), "secrets")?,
        labels: map(context.lines("labels"), "labels")?,
        tags: if push { tags(context) } else { Vec::new() },
    })
}

pub(super) async fn build_push(context: &mut Context<'_>) -> Result<(), String> {
    let push = context.flag("push", false) || context.flag("load", false);
    let mut parameters = parameters(context, push)?;
    if push && parameters.tags.is_empty() {
        return Err("push needs at least one of tags".into());
    }
    let below = match context.input("context") {
        "" => ".",
        text => text,
    };
    if below.contains("://") {
        return Err(format!(
            "context {below:?}: only directories of the workspace are supported; check it out first"
        ));
    }
    let dir = context.places.workspace.join(below);
    let dir = dir
        .canonicalize()
        .map_err(|e| format!("context {}: {e}", dir.display()))?;
    parameters.dockerfile = dockerfile(context, &dir, &parameters.dockerfile)?;
    for value in parameters.secrets.values() {
        context.sink.add_mask(value);
    }
    let archive = context
        .places
        .temp
        .join(format!("context-{}.tar", context.number));
    let bytes = pack_context(&dir, &parameters.dockerfile, &archive).await?;
    context.log(&format!("Context: {bytes} bytes"));
    let (digest, image_bytes) = post(context, &parameters, &archive).await?;
    let _ = std::fs::remove_file(&archive);
    context.log(&format!("Image {digest}, {image_bytes} bytes"));
    context.output("digest", digest.clone());
    context.output("imageid", digest.clone());
    if push {
        report(context, &parameters.tags, &digest).await;
    }
    let metadata = serde_json::json!({
        "containerimage.digest": digest,
        "image.name": parameters.tags.join(","),
    });
    context.output("metadata", metadata.to_string());
    Ok(())
}

// `file` counts from the workspace, the builder wants it relative to the context.
fn dockerfile(context: &Context<'_>, dir: &Path, file: &str) -> Result<String, String> {
    if file.is_empty() {
        return Ok("Dockerfile".into());
    }
    let path = context.places.workspace.join(file);
    let path = path
        .canonicalize()
        .map_err(|e| format!("file {}: {e}", path.display()))?;
    let below = path
        .strip_prefix(dir)
        .map_err(|_| format!("file {file:?} is outside the context"))?;
    Ok(below.to_string_lossy().into_owned())
}

async fn pack_context(dir: &Path, dockerfile: &str, to: &Path) -> Result<u64, String> {
    let ignored = ignored(dir, dockerfile)?;
    let (dir, to) = (dir.to_path_buf(), to.to_path_buf());
    let keep = [
        PathBuf::from(dockerfile),
        PathBuf::from(".dockerignore"),
        PathBuf::from(format!("{dockerfile}.dockerignore")),
    ];
    let work = move || -> std::io::Result<u64> {
        let mut builder = tar::Builder::new(std::io::BufWriter::new(std::fs::File::create(&to)?));
        // Not every reader knows the sparse form.
        builder.sparse(false);
        builder.follow_symlinks(false);
        for entry in walkdir::WalkDir::new(&dir).min_depth(1).sort_by_file_name() {
            let entry = entry.map_err(std::io::Error::other)?;
            let Ok(name) = entry.path().strip_prefix(&dir) else {
                continue;
            };
            let odd = name
                .components()
                .any(|c| !matches!(c, Component::Normal(_)));
            if odd
                || (!keep.contains(&name.to_path_buf())
                    && ignored.iter().any(|i| name.starts_with(i)))
            {
                continue;
            }
            let kind = entry.file_type();
            if kind.is_dir() || kind.is_file() || kind.is_symlink() {
                builder.append_path_with_name(entry.path(), name)?;
            }
        }
        let file = builder
            .into_inner()?
            .into_inner()
            .map_err(|e| e.into_error())?;
        Ok(file.metadata()?.len())
    };
    pack::blocking(work)
        .await
        .map_err(|e| format!("pack the context: {e}"))
}

// The builder applies `.dockerignore` whole. Here only plain names without wildcard are left
// out, and only where no `!` takes anything back, so that big directories are not sent.
fn ignored(dir: &Path, dockerfile: &str) -> Result<Vec<PathBuf>, String> {
    let own = dir.join(format!("{dockerfile}.dockerignore"));
    let path = if own.is_file() {
        own
    } else {
        dir.join(".dockerignore")
    };
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let bytes = towpath_stdx::bounded::read_file(&path, 1 << 20)
        .map_err(|e| format!("read {}: {e}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .collect();
    if lines.iter().any(|l| l.starts_with('!')) {
        return Ok(Vec::new());
    }
    let plain = |l: &&str| !l.contains(['*', '?', '[', '\\']) && !l.split('/').any(|s| s == "..");
    Ok(lines
        .into_iter()
        .filter(plain)
        .map(|l| PathBuf::from(l.trim_matches('/').trim_start_matches("./")))
        .filter(|p| p.as_os_str() != "." && !p.as_os_str().is_empty())
        .collect())
}

// The same build again gives the same image, and what is done is in the cache.
async fn post(
    context: &Context<'_>,
    parameters: &Parameters,
    archive: &Path,
) -> Result<(String, u64), String> {
    let mut patience = Patience::new();
    loop {
        match try_post(context, parameters, archive).await {
            Ok(built) => return Ok(built),
            Err(failure) => patience.after(failure).await?,
        }
        context.log("The server went away during the build; building again.");
    }
}

async fn try_post(
    context: &Context<'_>,
    parameters: &Parameters,
    archive: &Path,
) -> Result<(String, u64), Failure> {
    let query = query(context, parameters);
    let secrets = serde_json::to_vec(&parameters.secrets)
        .map_err(|e| Failure::Final(format!("encode the build's secrets: {e}")))?;
    let secrets = STANDARD.encode(secrets);
    if query.len().max(secrets.len()) > 60_000 {
        let words = "build arguments and labels, or secrets, are together too large";
        return Err(Failure::Final(words.into()));
    }
    let file = tokio::fs::File::open(archive)
        .await
        .map_err(|e| Failure::Final(format!("open {}: {e}", archive.display())))?;
    let body =
        reqwest::Body::wrap_stream(tokio_util::io::ReaderStream::with_capacity(file, 256 << 10));
    let response = context
        .server
        .request(Method::POST, &format!("{BUILDS_PATH}{query}"))
        .header(SECRETS_HEADER, secrets)
        .header(http::header::CONTENT_TYPE, "application/x-tar")
        .body(body)
        .send()
        .await
        .map_err(|e| Failure::of(BUILDS_PATH, &e))?;
    let response = ready(BUILDS_PATH, response)?;
    if !response.status().is_success() {
        let answer = super::http::checked_bytes(BUILDS_PATH, response).await;
        answer.map_err(Failure::Final)?;
        let words = format!("server {BUILDS_PATH}: unexpected answer");
        return Err(Failure::Final(words));
    }
    let stream = response
        .bytes_stream()
        .map_err(std::io::Error::other)
        .boxed();
    let mut reader = tokio::io::BufReader::new(tokio_util::io::StreamReader::new(stream));
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = tokio::io::AsyncReadExt::take(&mut reader, LIMIT_EVENT_BYTES as u64);
        let n = limited
            .read_until(b'\n', &mut line)
            .await
            .map_err(|e| Failure::Broken(format!("server {BUILDS_PATH}: {e}")))?;
        if n == 0 {
            let words = "the server ended the build without a result";
            return Err(Failure::Broken(words.into()));
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let event: Value = serde_json::from_slice(&line)
            .map_err(|e| Failure::Final(format!("the builder's answer is no JSON: {e}")))?;
        if let Some(end) = take(context, &event) {
            return end.map_err(Failure::Final);
        }
    }
}

// Everything but the secrets.
fn query(context: &Context<'_>, parameters: &Parameters) -> String {
    let mut out = format!(
        "?repository={}/{}",
        segment(&context.job.namespace),
        segment(&context.job.repository)
    );
    let mut add = |key: &str, value: &str| out.push_str(&format!("&{key}={}", segment(value)));
    add("dockerfile", &parameters.dockerfile);
    if !parameters.target.is_empty() {
        add("target", &parameters.target);
    }
    parameters.tags.iter().for_each(|tag| add("tag", tag));
    parameters
        .args
        .iter()
        .for_each(|(k, v)| add("arg", &format!("{k}={v}")));
    parameters
        .labels
        .iter()
        .for_each(|(k, v)| add("label", &format!("{k}={v}")));
    if let Some(epoch) = context.job.commit_time {
        add("epoch", &epoch.to_string());
    }
    out
}

// One line of the answer: log, result or failure; `Some` ends the build.
fn take(context: &Context<'_>, event: &Value) -> Option<Result<(String, u64), String>> {
    let text = |key: &str| event.get(key).and_then(Value::as_str);
    let number = |key: &str| event.get(key).and_then(Value::as_u64).unwrap_or(0);
    if let Some(digest) = text("digest") {
        context.log(&format!(
            "{} of {} steps from the cache",
            number("cached"),
            number("steps")
        ));
        return Some(Ok((digest.to_string(), number("bytes"))));
    }
    if let Some(line) = text("log") {
        context.log(line);
        return None;
    }
    let message = text("error")?;
    let findings = event.get("findings").cloned().unwrap_or_default();
    for finding in serde_json::from_value::<Vec<Finding>>(findings).unwrap_or_default() {
        let place = format!("{}:{}:{}", finding.file, finding.line, finding.column);
        context.log(&format!(
            "##[error]{place}: {} {}",
            finding.message, finding.hint
        ));
        context.sink.annotate(context.number, finding);
    }
    Some(Err(message.to_string()))
}

/// `name:tag` without the tag; a colon in the host is none.
fn split_tag(reference: &str) -> (String, String) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name.to_string(), tag.to_string()),
        _ => (reference.to_string(), "latest".to_string()),
    }
}

// The server makes the SBOM of what was pushed and keeps it as the image's referrer.
async fn report(context: &Context<'_>, tags: &[String], digest: &str) {
    let mut seen: Vec<String> = Vec::new();
    for reference in tags {
        let (name, tag) = split_tag(reference);
        if seen.contains(&name) {
            continue;
        }
        seen.push(name.clone());
        let path = format!(
            "/api/v1/runs/{}/{}/images",
            context.job.namespace,
            segment(&context.job.run)
        );
        let body = serde_json::json!({"name": name, "digest": digest});
        let sbom = match context.server.json(Method::POST, &path, Some(&body)).await {
            Ok(answer) => {
                answer.and_then(|a| a.get("sbom").and_then(|s| s.as_str()).map(str::to_string))
            }
            Err(message) => {
                context
                    .sink
                    .warning(context.number, &format!("no SBOM was made: {message}"));
                None
            }
        };
        if let Some(sbom) = &sbom {
            context.log(&format!("SBOM {sbom}"));
        }
        let image = BuiltImage {
            name,
            tag,
            digest: digest.to_string(),
            sbom,
        };
        context.sink.event(Event::Image { image });
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn tags_are_split() {
        let split = |r: &str| super::split_tag(r);
        assert_eq!(split("demo/hello:1"), ("demo/hello".into(), "1".into()));
        assert_eq!(
            split("host:5000/a"),
            ("host:5000/a".into(), "latest".into())
        );
    }
}
