//! `actions/checkout`: the run's commit from this server's git, with the job's token.

use super::step::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::{Component, Path};

// A server that is killed in the middle of a fetch is back before the third.
const FETCHES: u32 = 3;

pub(super) async fn run(context: &mut Context<'_>) -> Result<(), String> {
    let below = Path::new(context.input("path"));
    if below.is_absolute()
        || below
            .components()
            .any(|c| matches!(c, Component::ParentDir))
    {
        return Err(format!(
            "path {:?} is not inside the workspace",
            context.input("path")
        ));
    }
    let dir = context.places.workspace.join(below);
    let depth: u32 = match context.input("fetch-depth") {
        "" => 1,
        text => text
            .parse()
            .map_err(|_| format!("fetch-depth {text:?} is not a number"))?,
    };
    let github = |key: &str| {
        let value = context.job.contexts.get("github").and_then(|g| g.get(key));
        value
            .and_then(|v| v.as_str())
            .unwrap_or_default()
            .to_string()
    };
    let wanted = match context.input("ref") {
        "" => github("sha"),
        text => text.to_string(),
    };
    if wanted.starts_with('-') || wanted.contains([' ', ':', '\0', '\n']) {
        return Err(format!("ref {wanted:?} is not a valid ref"));
    }
    let url = format!(
        "{}/git/{}/{}.git",
        context.server.base(),
        context.job.namespace,
        context.job.repository
    );
    std::fs::create_dir_all(&dir).map_err(|e| format!("create {}: {e}", dir.display()))?;
    let auth = authorization(context);
    if context.flag("clean", true) && dir.join(".git").exists() {
        context.run("git", &["clean", "-ffdx"], &[], &dir).await?;
    }
    context
        .run(
            "git",
            &["init", "--quiet", "--initial-branch=main"],
            &[],
            &dir,
        )
        .await?;
    // A directory that was checked out before has the remote already.
    let set = context
        .run("git", &["config", "remote.origin.url", &url], &[], &dir)
        .await;
    set?;
    context
        .run(
            "git",
            &[
                "config",
                "remote.origin.fetch",
                "+refs/heads/*:refs/remotes/origin/*",
            ],
            &[],
            &dir,
        )
        .await?;
    fetch_patiently(context, &dir, &wanted, depth, &auth).await?;
    let commit = if depth == 0 && !is_sha(&wanted) {
        resolve(context, &dir, &wanted).await?
    } else {
        "FETCH_HEAD".into()
    };
    let commit = if depth == 0 && is_sha(&wanted) {
        wanted.clone()
    } else {
        commit
    };
    context
        .run(
            "git",
            &["checkout", "--quiet", "--force", "--detach", &commit],
            &[],
            &dir,
        )
        .await?;
    let ref_name = github("ref");
    if let Some(branch) = ref_name
        .strip_prefix("refs/heads/")
        .filter(|_| context.input("ref").is_empty())
    {
        context
            .run(
                "git",
                &["checkout", "--quiet", "--force", "-B", branch],
                &[],
                &dir,
            )
            .await?;
    }
    if context.flag("persist-credentials", true) {
        persist(context, &dir, &auth).await?;
    }
    let head = git_ask(context, &dir, &["rev-parse", "HEAD"]).await?;
    let title = git_ask(context, &dir, &["log", "-1", "--format=%s"]).await?;
    context.log(&format!("HEAD is now {head} {title}"));
    context.output("ref", wanted);
    context.output("commit", head);
    Ok(())
}

fn is_sha(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

// The token travels in the environment of git, never in an argument or a file of the workspace.
fn authorization(context: &Context<'_>) -> Vec<(String, String)> {
    let basic = STANDARD.encode(format!("x-access-token:{}", context.job.token));
    context.sink.add_mask(&basic);
    let pair = |k: &str, v: &str| (k.to_string(), v.to_string());
    vec![
        pair("GIT_CONFIG_COUNT", "1"),
        pair(
            "GIT_CONFIG_KEY_0",
            &format!("http.{}/.extraheader", context.server.base()),
        ),
        pair(
            "GIT_CONFIG_VALUE_0",
            &format!("AUTHORIZATION: basic {basic}"),
        ),
        pair("GIT_TERMINAL_PROMPT", "0"),
        pair("NO_PROXY", "*"),
        pair("no_proxy", "*"),
    ]
}

// git does not tell whether it was refused or cut off, so a failure is believed once it comes
// from a server that answers before and after.
async fn fetch_patiently(
    context: &Context<'_>,
    dir: &Path,
    wanted: &str,
    depth: u32,
    auth: &[(String, String)],
) -> Result<(), String> {
    let mut failed = Ok(());
    for _ in 0..FETCHES {
        if failed.is_err() {
            context.server.wait_until_there().await?;
            context.log("Trying again.");
        }
        failed = fetch(context, dir, wanted, depth, auth).await;
        if failed.is_ok() || context.limits.cancel.is_cancelled() {
            break;
        }
    }
    failed
}

async fn fetch(
    context: &Context<'_>,
    dir: &Path,
    wanted: &str,
    depth: u32,
    auth: &[(String, String)],
) -> Result<(), String> {
    let depth_option = format!("--depth={depth}");
    let mut args = vec!["fetch", "--quiet", "--no-recurse-submodules", "--force"];
    args.push(if depth == 0 || context.flag("fetch-tags", false) {
        "--tags"
    } else {
        "--no-tags"
    });
    if depth > 0 {
        args.push(&depth_option);
    }
    args.extend(["--end-of-options", "origin"]);
    if depth == 0 {
        args.push("+refs/heads/*:refs/remotes/origin/*");
    } else {
        args.push(wanted);
    }
    context.run("git", &args, auth, dir).await
}

async fn resolve(context: &Context<'_>, dir: &Path, wanted: &str) -> Result<String, String> {
    let short = wanted.strip_prefix("refs/heads/").unwrap_or(wanted);
    for candidate in [
        format!("refs/remotes/origin/{short}"),
        format!("refs/tags/{short}"),
        wanted.to_string(),
    ] {
        let commit = format!("{candidate}^{{commit}}");
        let found = git_ask(
            context,
            dir,
            &[
                "rev-parse",
                "--verify",
                "--quiet",
                "--end-of-options",
                &commit,
            ],
        )
        .await;
        if let Some(sha) = found.ok().filter(|s| is_sha(s)) {
            return Ok(sha);
        }
    }
    Err(format!("ref {wanted:?} was not found"))
}

async fn git_ask(context: &Context<'_>, dir: &Path, args: &[&str]) -> Result<String, String> {
    let dir = dir.to_string_lossy();
    let mut all = vec!["-C", &dir];
    all.extend(args);
    context.ask("git", &all).await
}

// Later steps may fetch and push too: git finds the header in a file outside the workspace, so
// that it never gets into an artifact or an image.
async fn persist(
    context: &Context<'_>,
    dir: &Path,
    auth: &[(String, String)],
) -> Result<(), String> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = context.places.temp.join("git-credentials.config");
    let header = &auth[2].1;
    let text = format!(
        "[http \"{}/\"]\n\textraheader = {header}\n",
        context.server.base()
    );
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options
        .open(&path)
        .and_then(|mut f| std::io::Write::write_all(&mut f, text.as_bytes()));
    written.map_err(|e| format!("write {}: {e}", path.display()))?;
    context
        .run(
            "git",
            &["config", "--local", "include.path", &path.to_string_lossy()],
            &[],
            dir,
        )
        .await
}
