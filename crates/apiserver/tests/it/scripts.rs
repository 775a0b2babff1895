//! Scripts under `tests/corpus/requests`: requests one after the other, and what must be true
//! of each answer.
//!
//! ```text
//! POST /api/v1/namespaces            # a request; its body follows as YAML
//! metadata: {name: a}
//! => 201                             # status of the answer
//! /metadata/name: a                  # values at JSON pointers; `~ text` = contains, `!` = absent
//! ```
//! `PATCH:merge`, `PATCH:json`, `PATCH:strategic`, `PATCH:apply` name the kind of patch;
//! `peer settles 500` waits that many milliseconds for the peer's controllers, never for us,
//! `settles 500` for both;
//! a script that begins with `# own:` is about what only this server does.
//! `as USER GROUP` impersonates a user in all requests that follow, `as -` ends that;
//! `$name = /pointer` keeps a value for later requests as `${name}`.

use crate::door::{Ask, Door};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

#[tokio::test]
async fn all() {
    check_all(async |text| {
        let door = Door::own().await;
        let result = run(&door, text).await;
        door.close().await;
        result
    })
    .await;
}

/// The same scripts against the real kube-apiserver: what they expect is what upstream answers.
#[tokio::test]
async fn all_on_the_peer() {
    let Some(door) = Door::peer().await else {
        return;
    };
    check_all(async |text| match text.starts_with("# own:") {
        true => Ok(()),
        false => run(&door, text).await,
    })
    .await;
}

async fn check_all(check: impl AsyncFn(&str) -> Result<(), String>) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/requests");
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .expect("corpus")
        .map(|e| e.expect("entry").path())
        .collect();
    files.sort();
    let only = std::env::var("SCRIPT").unwrap_or_default();
    let mut failures = Vec::new();
    for file in files
        .iter()
        .filter(|file| file.to_string_lossy().contains(&only))
    {
        let text = std::fs::read_to_string(file).expect("script");
        if let Err(failure) = check(&text).await {
            failures.push(format!(
                "{}: {failure}",
                file.file_name().unwrap_or_default().to_string_lossy()
            ));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

async fn run(door: &Door, text: &str) -> Result<(), String> {
    let mut kept: BTreeMap<String, String> = BTreeMap::new();
    let mut lines = text.lines().enumerate().peekable();
    let mut answer = (0u16, Value::Null);
    let mut who = String::new();
    while let Some((number, line)) = lines.next() {
        let line = fill(line, &kept);
        let at = number + 1;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let both = line.strip_prefix("settles ");
        let peers = line
            .strip_prefix("peer settles ")
            .filter(|_| door.is_peer());
        if let Some(milliseconds) = both.or(peers) {
            let wait = milliseconds
                .trim()
                .parse()
                .map_err(|_| format!("line {at}: not a number"))?;
            tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
            continue;
        } else if line.starts_with("peer settles ") {
            continue;
        }
        if let Some(user) = line.strip_prefix("as ") {
            who = user.trim().trim_start_matches('-').to_string();
        } else if let Some(code) = line.strip_prefix("=> ") {
            if code.trim() != answer.0.to_string() {
                return Err(format!(
                    "line {at}: status {} instead of {code}: {}",
                    answer.0, answer.1
                ));
            }
        } else if let Some((name, pointer)) = line
            .strip_prefix('$')
            .and_then(|rest| rest.split_once(" = "))
        {
            let value = answer
                .1
                .pointer(pointer)
                .ok_or_else(|| format!("line {at}: nothing at {pointer}: {}", answer.1))?;
            kept.insert(
                name.to_string(),
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_string),
            );
        } else if line.starts_with('/') || line.starts_with('!') {
            check(&line, &answer.1)
                .map_err(|why| format!("line {at}: {why}\n  in {}", answer.1))?;
        } else {
            let (method, path) = line
                .split_once(' ')
                .ok_or_else(|| format!("line {at}: not understood: {line}"))?;
            let mut body = String::new();
            while let Some((_, next)) = lines.next_if(|(_, next)| !next.starts_with("=> ")) {
                body.push_str(&fill(next, &kept));
                body.push('\n');
            }
            answer = request_as(door, &who, method, path.trim(), &body)
                .await
                .map_err(|why| format!("line {at}: {why}"))?;
        }
    }
    Ok(())
}

fn fill(line: &str, kept: &BTreeMap<String, String>) -> String {
    kept.iter().fold(line.to_string(), |line, (name, value)| {
        line.replace(&format!("${{{name}}}"), value)
    })
}

async fn request_as(
    door: &Door,
    who: &str,
    method: &str,
    path: &str,
    body: &str,
) -> Result<(u16, Value), String> {
    let (method, kind) = method.split_once(':').unwrap_or((method, ""));
    let content_type = match kind {
        "" => "application/json",
        "merge" => "application/merge-patch+json",
        "json" => "application/json-patch+json",
        "strategic" => "application/strategic-merge-patch+json",
        "apply" => "application/apply-patch+yaml",
        other => other,
    };
    let body: Value = if body.trim().is_empty() {
        Value::Null
    } else {
        serde_saphyr::from_str(body).map_err(|error| error.to_string())?
    };
    let mut ask = Ask::new(method, path);
    let mut names = who.split_whitespace();
    if let Some(user) = names.next() {
        ask = ask.header("impersonate-user", user);
    }
    for group in names {
        ask = ask.header("impersonate-group", group);
    }
    let answer = match body {
        Value::Null => door.send(&ask.header("content-type", content_type)).await,
        body => door.send(&ask.json(content_type, &body)).await,
    };
    Ok((answer.code, answer.value()))
}

fn check(line: &str, value: &Value) -> Result<(), String> {
    if let Some(pointer) = line.strip_prefix('!') {
        return match value.pointer(pointer.trim()) {
            None => Ok(()),
            Some(found) => Err(format!("{pointer} is there: {found}")),
        };
    }
    let (pointer, wanted) = line
        .split_once(": ")
        .ok_or_else(|| format!("not understood: {line}"))?;
    let found = value
        .pointer(pointer)
        .ok_or_else(|| format!("nothing at {pointer}"))?;
    if let Some(part) = wanted.strip_prefix("~ ") {
        return match found.as_str().is_some_and(|text| text.contains(part)) {
            true => Ok(()),
            false => Err(format!(
                "{pointer} is {found}, which does not contain {part:?}"
            )),
        };
    }
    let wanted: Value =
        serde_json::from_str(wanted).unwrap_or_else(|_| Value::String(wanted.to_string()));
    if *found == wanted {
        Ok(())
    } else {
        Err(format!("{pointer} is {found}, not {wanted}"))
    }
}
