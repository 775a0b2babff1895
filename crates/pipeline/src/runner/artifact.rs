//! `actions/upload-artifact` and `actions/download-artifact`.

use super::files::{Search, find, searches};
use super::http::{checked_bytes, segment};
use super::pack;
use super::step::Context;
use reqwest::Method;
use std::path::{Path, PathBuf};

fn url(context: &Context<'_>, name: &str) -> String {
    format!(
        "/api/v1/runs/{}/{}/artifacts/{}",
        context.job.namespace,
        context.job.run,
        segment(name)
    )
}

pub(super) async fn upload(context: &mut Context<'_>) -> Result<(), String> {
    let name = match context.input("name") {
        "" => "artifact",
        name => name,
    };
    if name.contains(['"', ':', '<', '>', '|', '*', '?', '\r', '\n', '\\', '/']) || name.len() > 200
    {
        return Err(format!(
            "artifact name {name:?} has characters that are not allowed"
        ));
    }
    let hidden = context.flag("include-hidden-files", false);
    let (wanted, unwanted) = searches(
        context.input("path"),
        &context.places.workspace,
        context.home(),
    );
    let mut files: Vec<PathBuf> = Vec::new();
    for search in &wanted {
        files.extend(find(search, &unwanted, hidden)?);
    }
    files.sort();
    files.dedup();
    if files.is_empty() {
        let message = format!("no files were found at {:?}", context.input("path"));
        return match context.input("if-no-files-found") {
            "error" => Err(message),
            "ignore" => {
                context.log(&message);
                Ok(())
            }
            _ => {
                context.sink.warning(context.number, &message);
                Ok(())
            }
        };
    }
    let root = common_root(&wanted, &files);
    let count = files.len();
    let named = files
        .into_iter()
        .map(|f| {
            let relative = f
                .strip_prefix(&root)
                .map(Path::to_path_buf)
                .unwrap_or_else(|_| f.clone());
            (f, relative)
        })
        .collect();
    let archive = context
        .places
        .temp
        .join(format!("artifact-{}.tar.zst", context.number));
    let bytes = pack::pack(named, archive.clone()).await?;
    let overwrite = if context.flag("overwrite", false) {
        "?overwrite=true"
    } else {
        ""
    };
    let path = format!("{}{overwrite}", url(context, name));
    let response = context.server.upload(Method::PUT, &path, &archive).await?;
    let answer = checked_bytes(&path, response).await?;
    let _ = std::fs::remove_file(&archive);
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
    let digest = answer
        .get("digest")
        .and_then(|d| d.as_str())
        .unwrap_or_default()
        .to_string();
    context.log(&format!(
        "Artifact {name}: {count} files, {bytes} bytes, {digest}"
    ));
    context.output("artifact-id", name.to_string());
    context.output("artifact-digest", digest);
    Ok(())
}

// Like the original: one path keeps what is below it, several keep what they do not share.
fn common_root(searches: &[Search], files: &[PathBuf]) -> PathBuf {
    let base = |search: &Search| {
        if search.root.is_dir() {
            search.root.clone()
        } else {
            search
                .root
                .parent()
                .map(Path::to_path_buf)
                .unwrap_or_default()
        }
    };
    let mut roots = searches.iter().map(base);
    let Some(first) = roots.next() else {
        return PathBuf::new();
    };
    let shared = roots.fold(first, |a, b| {
        a.components()
            .zip(b.components())
            .take_while(|(x, y)| x == y)
            .map(|(x, _)| x)
            .collect()
    });
    if files.iter().all(|f| f.starts_with(&shared)) {
        shared
    } else {
        PathBuf::from("/")
    }
}

pub(super) async fn download(context: &mut Context<'_>) -> Result<(), String> {
    let below = match context.input("path") {
        "" => context.places.workspace.clone(),
        path if path == "~" || path.starts_with("~/") => {
            Path::new(context.home()).join(path.trim_start_matches("~").trim_start_matches('/'))
        }
        path => context.places.workspace.join(path),
    };
    let name = context.input("name").to_string();
    if !name.is_empty() {
        one(context, &name, &below).await?;
    } else {
        let list = format!(
            "/api/v1/runs/{}/{}/artifacts",
            context.job.namespace, context.job.run
        );
        let answer = context
            .server
            .json(Method::GET, &list, None)
            .await?
            .unwrap_or_default();
        let pattern = match context.input("pattern") {
            "" => "**",
            pattern => pattern,
        };
        let pattern = crate::glob::Patterns::new([pattern])?;
        let names: Vec<String> = answer
            .get("artifacts")
            .and_then(|a| a.as_array())
            .into_iter()
            .flatten()
            .filter_map(|a| a.get("name").and_then(|n| n.as_str()).map(str::to_string))
            .filter(|n| pattern.matches(n))
            .collect();
        context.log(&format!("{} artifacts", names.len()));
        let merge = context.flag("merge-multiple", false);
        for name in names {
            let target = if merge {
                below.clone()
            } else {
                below.join(&name)
            };
            one(context, &name, &target).await?;
        }
    }
    context.output("download-path", below.to_string_lossy());
    Ok(())
}

async fn one(context: &Context<'_>, name: &str, into: &Path) -> Result<(), String> {
    let archive = context
        .places
        .temp
        .join(format!("download-{}.tar.zst", context.number));
    if !context
        .server
        .download(&url(context, name), &archive)
        .await?
    {
        return Err(format!("this run has no artifact {name:?}"));
    }
    std::fs::create_dir_all(into).map_err(|e| format!("create {}: {e}", into.display()))?;
    let base = into.to_path_buf();
    let count = pack::unpack(archive.clone(), move |path| {
        Some((base.clone(), path.to_path_buf()))
    })
    .await?;
    let _ = std::fs::remove_file(&archive);
    context.log(&format!(
        "Artifact {name}: {count} files to {}",
        into.display()
    ));
    Ok(())
}
