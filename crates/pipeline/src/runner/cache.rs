//! `actions/cache` with its `restore` and `save` halves.
//!
//! An archive's entries are named `<number of the path line>/<path below it>`, so that the same
//! `path:` restores to the same places, whatever the workspace is called.

use super::files::{find, searches};
use super::http::{checked_bytes, segment};
use super::step::Context;
use super::{Post, pack};
use reqwest::Method;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

// Caches match only where their paths do.
fn version(path: &str) -> String {
    let lines: Vec<&str> = path
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    towpath_stdx::id::hex(&Sha256::digest(lines.join("\n").as_bytes()))[..16].to_string()
}

fn check_key(key: &str) -> Result<(), String> {
    if key.is_empty() || key.len() > 512 || key.contains(',') {
        return Err(format!("cache key {key:?}: 1 to 512 characters, no comma"));
    }
    Ok(())
}

fn base(context: &Context<'_>) -> String {
    format!(
        "/api/v1/runs/{}/{}/caches",
        context.job.namespace, context.job.run
    )
}

pub(super) async fn run(context: &mut Context<'_>, save_later: bool) -> Result<(), String> {
    let key = context.input("key").to_string();
    let path = context.input("path").to_string();
    check_key(&key)?;
    let mut query = format!("?key={}&version={}", segment(&key), version(&path));
    for prefix in context.lines("restore-keys") {
        query.push_str(&format!("&restore={}", segment(&prefix)));
    }
    let url = format!("{}{query}", base(context));
    let found = context.server.json(Method::GET, &url, None).await?;
    let matched = found
        .as_ref()
        .and_then(|f| f.get("key"))
        .and_then(|k| k.as_str())
        .map(str::to_string);
    let id = found
        .as_ref()
        .and_then(|f| f.get("id"))
        .and_then(|k| k.as_str())
        .map(str::to_string);
    let exact = matched
        .as_deref()
        .is_some_and(|m| m.eq_ignore_ascii_case(&key));
    context.output("cache-primary-key", key.clone());
    context.output("cache-matched-key", matched.clone().unwrap_or_default());
    context.output(
        "cache-hit",
        if matched.is_some() {
            exact.to_string()
        } else {
            String::new()
        },
    );
    if !exact && save_later {
        context.posts.push(Post::SaveCache {
            key: key.clone(),
            path: path.clone(),
        });
    }
    let (Some(matched), Some(id)) = (matched, id) else {
        if context.flag("fail-on-cache-miss", false) {
            return Err(format!("no cache for key {key}"));
        }
        context.log(&format!("No cache for key {key}"));
        return Ok(());
    };
    if context.flag("lookup-only", false) {
        context.log(&format!("Cache found: {matched}"));
        return Ok(());
    }
    restore(context, &id, &path).await?;
    context.log(&format!("Cache restored from key {matched}"));
    Ok(())
}

async fn restore(context: &Context<'_>, id: &str, path: &str) -> Result<(), String> {
    let archive = context
        .places
        .temp
        .join(format!("cache-{}.tar.zst", context.number));
    if !context
        .server
        .download(&format!("{}/{}", base(context), segment(id)), &archive)
        .await?
    {
        return Err("the cache vanished while it was fetched".into());
    }
    let (wanted, _) = searches(path, &context.places.workspace, context.home());
    let roots: Vec<PathBuf> = wanted.into_iter().map(|s| s.root).collect();
    let place = move |name: &Path| -> Option<(PathBuf, PathBuf)> {
        let mut parts = name.components();
        let number: usize = parts.next()?.as_os_str().to_str()?.parse().ok()?;
        let root = roots.get(number)?;
        let rest = parts.as_path();
        if rest == Path::new("=") {
            return Some((
                root.parent()?.to_path_buf(),
                PathBuf::from(root.file_name()?),
            ));
        }
        std::fs::create_dir_all(root).ok()?;
        Some((root.clone(), rest.to_path_buf()))
    };
    pack::unpack(archive.clone(), place).await?;
    let _ = std::fs::remove_file(&archive);
    Ok(())
}

/// Saves what `path:` names under a key.
pub(super) async fn save(context: &Context<'_>, key: &str, path: &str) -> Result<(), String> {
    check_key(key)?;
    let (wanted, unwanted) = searches(path, &context.places.workspace, context.home());
    let mut files = Vec::new();
    for (number, search) in wanted.iter().enumerate() {
        for file in find(search, &unwanted, true)? {
            let below = file.strip_prefix(&search.root).unwrap_or(Path::new(""));
            // The root may be a single file; "=" stands for itself.
            let below = if below.as_os_str().is_empty() {
                Path::new("=")
            } else {
                below
            };
            let name = Path::new(&number.to_string()).join(below);
            files.push((file, name));
        }
    }
    if files.is_empty() {
        context
            .sink
            .warning(context.number, &format!("nothing to cache at {path:?}"));
        return Ok(());
    }
    let archive = context
        .places
        .temp
        .join(format!("cache-{}.tar.zst", context.number));
    let count = files.len();
    let bytes = pack::pack(files, archive.clone()).await?;
    let url = format!(
        "{}?key={}&version={}",
        base(context),
        segment(key),
        version(path)
    );
    let response = context.server.upload(Method::PUT, &url, &archive).await?;
    let status = response.status();
    let result = checked_bytes(&url, response).await;
    let _ = std::fs::remove_file(&archive);
    if status == reqwest::StatusCode::CONFLICT {
        context.log(&format!("A cache with key {key} is there already"));
        return Ok(());
    }
    result?;
    context.log(&format!(
        "Cache saved with key {key}: {count} files, {bytes} bytes"
    ));
    Ok(())
}
