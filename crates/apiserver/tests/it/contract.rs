//! The contract with clients: scripts of requests under `tests/corpus/contract/<topic>/`, one
//! file per behaviour. What must be answered stands beside each (`.answers`, a line of JSON per
//! request) and comes only from the real kube-apiserver: `BLESS=1` records it there, `BLESS=new`
//! only where nothing is recorded. Our server
//! is held to the recording in every run, the real one wherever it is at hand.
//!
//! ```text
//! POST /api/v1/namespaces/${ns}/configmaps   # a request in a namespace of its own
//! > Accept: application/yaml                 # headers
//! metadata: {name: a}                        # a body in YAML, sent as JSON; `| ` = a line as it is
//! show /metadata/name                        # only these parts of the answer count
//! $name = /pointer                           # keeps a value of the answer for `${name}`
//! WATCH /api/v1/…?watch=1                    # opens a watch, `EVENTS 2` takes its next two
//! ```
//! `PATCH:merge`, `:json`, `:strategic`, `:apply` name the kind of patch; `${x*900}` is 900 times
//! x; `WAIT 200 /path` asks until that status is answered, `WAIT 201 POST /path?dryRun=All` with a
//! body, for what the real server hears of by its own watches; `SETUP POST /path` must succeed, and
//! its answer does not count.
//! `known-differences.txt` names, with reasons, where we still differ; it may only shrink.
//! `KNOWN=show` shows those differences as if they were not known.

use crate::door::{Answer, Ask, Door, Stream};
use crate::normal::{GO, Normal};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// All scripts, or those whose name contains `SCRIPT`: name and file.
fn scripts() -> Vec<(String, PathBuf)> {
    let only = std::env::var("SCRIPT").unwrap_or_default();
    let mut found = Vec::new();
    for topic in std::fs::read_dir(corpus().join("contract")).expect("corpus") {
        for file in std::fs::read_dir(topic.expect("topic").path()).expect("topic") {
            let path = file.expect("file").path();
            let name = path
                .strip_prefix(corpus().join("contract"))
                .expect("below the corpus")
                .with_extension("")
                .to_string_lossy()
                .into_owned();
            if path.extension().is_some_and(|e| e == "txt") && name.contains(&only) {
                found.push((name, path));
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn we_answer_as_recorded() {
    let known = std::fs::read_to_string(corpus().join("known-differences.txt")).expect("known");
    let mut known: BTreeSet<&str> = known
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|_| std::env::var_os("KNOWN").is_none())
        .collect();
    let scripts = scripts();
    // What upstream forgets at a start, ours shall have forgotten too.
    let Door::Own(server) = Door::own().await else {
        unreachable!("ours is ours")
    };
    let door = Door::Own(Box::new(server.restart().await));
    let mut found = Vec::new();
    for (name, path) in &scripts {
        let wrong = match play(&door, name, path).await {
            Ok(lines) => {
                keep_ours(name, &lines);
                compare(&recorded(path), &lines)
            }
            Err(error) => vec![error],
        };
        match (wrong.is_empty(), known.remove(name.as_str())) {
            (true, true) => found.push(format!("{name}: take it out of known-differences.txt")),
            (false, false) => found.push(format!("{name}\n  {}", wrong.join("\n  "))),
            _ => {}
        }
    }
    door.close().await;
    if std::env::var_os("SCRIPT").is_none() {
        found.extend(known.iter().map(|name| format!("{name}: no such script")));
        assert!(scripts.len() >= 290, "{} scripts", scripts.len());
    }
    assert!(
        found.is_empty(),
        "{} of {} scripts:\n{}",
        found.len(),
        scripts.len(),
        found.join("\n")
    );
}

#[tokio::test]
async fn the_real_server_answers_as_recorded() {
    let Some(door) = Door::peer().await else {
        assert!(
            std::env::var_os("BLESS").is_none(),
            "answers are recorded from the real kube-apiserver only"
        );
        return;
    };
    let (mut scripts, begin) = (scripts(), Instant::now());
    if std::env::var("BLESS").is_ok_and(|what| what == "new") {
        scripts.retain(|(_, path)| !path.with_extension("answers").exists());
    }
    let mut found = Vec::new();
    for (name, path) in &scripts {
        let wrong = match play(&door, name, path).await {
            Err(error) => vec![error],
            Ok(lines) if std::env::var_os("BLESS").is_some() => {
                let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
                std::fs::write(path.with_extension("answers"), text).expect("write");
                Vec::new()
            }
            Ok(lines) => compare(&recorded(path), &lines),
        };
        if !wrong.is_empty() {
            found.push(format!("{name}\n  {}", wrong.join("\n  ")));
        }
    }
    eprintln!("{} scripts in {:?}", scripts.len(), begin.elapsed());
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// `OURS=<directory>` keeps our answers, to be looked at beside those recorded.
fn keep_ours(name: &str, lines: &[Value]) {
    if let Some(directory) = std::env::var_os("OURS") {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let file = Path::new(&directory).join(name.replace('/', "_"));
        std::fs::write(file, text).expect("write");
    }
}

fn recorded(script: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(script.with_extension("answers")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

fn compare(wanted: &[Value], found: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    if wanted.len() != found.len() {
        wrong.push(format!(
            "{} answers, {} recorded",
            found.len(),
            wanted.len()
        ));
    }
    for (wanted, found) in wanted.iter().zip(found) {
        let of = wanted["of"].as_str().unwrap_or_default();
        let mut here = Vec::new();
        if found["code"] == wanted["code"] {
            difference("", found, wanted, &mut here);
            here.truncate(8);
        } else {
            let word = |answer: &Value| format!("{} {}", answer["code"], answer["body"]["message"]);
            here.push(format!("ours {}, theirs {}", word(found), word(wanted)));
        }
        wrong.extend(here.into_iter().map(|line| format!("{of}: {line}")));
    }
    wrong.truncate(if std::env::var_os("KNOWN").is_some() {
        200
    } else {
        16
    });
    wrong
}

/// Where two values differ, by pointer.
pub(crate) fn difference(at: &str, found: &Value, wanted: &Value, wrong: &mut Vec<String>) {
    match (found, wanted) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in a {
                match b.get(key) {
                    Some(other) => difference(&format!("{at}/{key}"), value, other, wrong),
                    None => wrong.push(format!("{at}/{key}: only ours: {value}")),
                }
            }
            for (key, value) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                wrong.push(format!("{at}/{key}: only theirs: {value}"));
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                difference(&format!("{at}/{index}"), a, b, wrong);
            }
        }
        (a, b) if a == b || *b == GO => {}
        (a, b) => wrong.push(format!("{at}: ours {a}, theirs {b}")),
    }
}

async fn play(door: &Door, name: &str, path: &Path) -> Result<Vec<Value>, String> {
    let script = act(door, name, path);
    let ended = tokio::time::timeout(Duration::from_secs(60), script).await;
    ended.unwrap_or_else(|_| Err("not over after a minute".into()))
}

/// Plays a script and returns its answers, made comparable.
async fn act(door: &Door, name: &str, path: &Path) -> Result<Vec<Value>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut player = Player::new(door, name, &text);
    player.namespace().await?;
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let begins = |line: &str| {
            let word = line.split([' ', ':']).next().unwrap_or_default();
            line.starts_with('$') && line.contains(" = ")
                || line.starts_with('#')
                || COMMANDS.contains(&word)
        };
        let mut body = Vec::new();
        while let Some((_, next)) = lines.next_if(|(_, next)| !begins(next)) {
            body.push(next);
        }
        player
            .step(line, &body)
            .await
            .map_err(|why| format!("line {}: {why}", number + 1))?;
    }
    player.tidy().await;
    Ok(player.answers)
}

const COMMANDS: &[&str] = &[
    "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "WATCH", "EVENTS", "WAIT", "SETUP",
];

struct Player<'a> {
    door: &'a Door,
    namespace: String,
    kept: BTreeMap<String, String>,
    normal: Normal,
    last: Value,
    watch: Option<Stream>,
    answers: Vec<Value>,
    /// Objects without a namespace that the script made.
    made: Vec<String>,
}

impl<'a> Player<'a> {
    fn new(door: &'a Door, name: &str, text: &str) -> Self {
        let namespace: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .take(50)
            .collect();
        let kept = BTreeMap::from([("ns".to_string(), namespace.clone())]);
        Self {
            door,
            namespace,
            kept,
            normal: Normal::new(text),
            last: Value::Null,
            watch: None,
            answers: Vec::new(),
            made: Vec::new(),
        }
    }

    async fn namespace(&self) -> Result<(), String> {
        let body = json!({"metadata": {"name": self.namespace}});
        let (code, made) = self.door.call("POST", "/api/v1/namespaces", &body).await;
        if code != 201 {
            return Err(format!("no namespace: {made}"));
        }
        let path = format!("/api/v1/namespaces/{}", self.namespace);
        for part in ["serviceaccounts/default", "configmaps/kube-root-ca.crt"] {
            self.wait(200, &Ask::new("GET", format!("{path}/{part}")))
                .await?;
        }
        Ok(())
    }

    async fn wait(&self, code: u16, ask: &Ask) -> Result<(), String> {
        let begin = Instant::now();
        loop {
            let answer = self.door.send(ask).await;
            let found = answer.code;
            if found == code {
                return Ok(());
            }
            if begin.elapsed() > Duration::from_secs(20) {
                let said = answer.value();
                return Err(format!("{ask:?}: {found} instead of {code}: {said}"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn fill(&self, text: &str) -> String {
        let mut text = text.to_string();
        for (name, value) in &self.kept {
            text = text.replace(&format!("${{{name}}}"), value);
        }
        while let Some((before, rest)) = text.split_once("${") {
            let ends = rest.match_indices('}').map(|(at, _)| at);
            let found = ends.into_iter().find_map(|at| {
                let (part, count) = rest[..at].rsplit_once('*')?;
                Some((part.repeat(count.parse().ok()?), at))
            });
            let Some((repeated, at)) = found else { break };
            text = format!("{before}{repeated}{}", &rest[at + 1..]);
        }
        text
    }

    async fn step(&mut self, line: &str, rest: &[&str]) -> Result<(), String> {
        let of = line;
        let line = &self.fill(line);
        if let Some(keep) = line.strip_prefix('$') {
            let (name, pointer) = keep.split_once(" = ").ok_or("no pointer")?;
            let value = self.last.pointer(pointer);
            let value = value.ok_or_else(|| format!("nothing at {pointer}: {}", self.last))?;
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_string);
            self.normal.keep(name, &value);
            self.kept.insert(name.into(), value);
            return Ok(());
        }
        let (word, rest_of_line) = line.split_once(' ').ok_or("not understood")?;
        match word {
            "EVENTS" => {
                let count: usize = rest_of_line.trim().parse().map_err(|_| "no number")?;
                let stream = self.watch.as_mut().ok_or("no watch")?;
                let mut events = Vec::new();
                while events.len() < count {
                    match stream.line().await {
                        Some(event) => events.push(event),
                        None => break,
                    }
                }
                self.last = events.last().cloned().unwrap_or_default();
                let parts: Vec<&str> = rest
                    .iter()
                    .filter_map(|l| l.strip_prefix("show "))
                    .collect();
                let body = self.normal.value(json!(events));
                let body = shown(&body, &parts);
                self.answers.push(json!({"of": line, "body": body}));
                Ok(())
            }
            "WAIT" => {
                let (code, what) = rest_of_line.split_once(' ').ok_or("no path")?;
                let code = code.parse().map_err(|_| "no status")?;
                let what = what.trim();
                let (method, path) = what.split_once(' ').unwrap_or(("GET", what));
                self.wait(code, &self.ask(method, path, rest)?.0).await
            }
            "WATCH" => {
                let ask = self.ask("GET", rest_of_line, rest)?.0;
                let stream = self.door.open(&ask).await;
                self.answers
                    .push(json!({"of": "WATCH", "code": stream.code}));
                self.watch = Some(stream);
                Ok(())
            }
            "SETUP" => {
                let (method, path) = rest_of_line.split_once(' ').ok_or("no path")?;
                let (ask, _) = self.ask(method, path, rest)?;
                let answer = self.door.send(&ask).await;
                self.noted(&ask, &answer).await?;
                self.last = answer.value();
                match answer.code {
                    200..300 => Ok(()),
                    code => Err(format!("{code}: {}", self.last)),
                }
            }
            method => {
                let (ask, parts) = self.ask(method, rest_of_line, rest)?;
                let answer = self.door.send(&ask).await;
                self.noted(&ask, &answer).await?;
                self.last = answer.value();
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                let told = told(&mut self.normal, of, &answer, &parts);
                self.answers.push(told);
                Ok(())
            }
        }
    }

    fn ask(&self, method: &str, path: &str, rest: &[&str]) -> Result<(Ask, Vec<String>), String> {
        let (method, kind) = method.split_once(':').unwrap_or((method, ""));
        let mut ask = Ask::new(method, path.trim());
        let content_type = match kind {
            "" => "application/json",
            "merge" => "application/merge-patch+json",
            "json" => "application/json-patch+json",
            "strategic" => "application/strategic-merge-patch+json",
            "apply" => "application/apply-patch+yaml",
            other => other,
        };
        let (mut yaml, mut raw, mut parts) = (String::new(), Vec::new(), Vec::new());
        for line in rest {
            let line = &self.fill(line);
            if let Some(header) = line.strip_prefix("> ") {
                let (name, value) = header.split_once(": ").ok_or("no header")?;
                ask = ask.header(name, value);
            } else if let Some(list) = line.strip_prefix("show ") {
                parts.extend(list.split_whitespace().map(str::to_string));
            } else if let Some(line) = line.strip_prefix("| ") {
                raw.push(line.to_string());
            } else {
                yaml.push_str(line);
                yaml.push('\n');
            }
        }
        let typed = ask
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if !yaml.trim().is_empty() {
            let value: Value = serde_saphyr::from_str(&yaml).map_err(|error| error.to_string())?;
            ask.body = value.to_string().into();
        } else if !raw.is_empty() {
            ask.body = raw.join("\n").into();
        }
        if !ask.body.is_empty() && !typed {
            ask = ask.header("content-type", content_type);
        }
        Ok((ask, parts))
    }

    /// Remembers what must go again, and waits for definitions to be served.
    async fn noted(&mut self, ask: &Ask, answer: &Answer) -> Result<(), String> {
        let value = answer.value();
        let path = ask.path.split('?').next().unwrap_or_default();
        let dry = ask.path.contains("dryRun=");
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        if answer.code != 201 || dry || name.is_empty() || path.contains("/namespaces/") {
            return Ok(());
        }
        let own = if path.ends_with(&format!("/{name}")) {
            path.to_string()
        } else {
            format!("{path}/{name}")
        };
        self.made.push(own);
        if path.contains("/customresourcedefinitions") {
            let spec = &value["spec"];
            let version = spec["versions"]
                .as_array()
                .and_then(|versions| versions.iter().find(|v| v["served"] == true));
            if let Some(version) = version {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
                let path = format!(
                    "/apis/{}/{}/{}",
                    text(&spec["group"]),
                    text(&version["name"]),
                    text(&spec["names"]["plural"])
                );
                self.wait(200, &Ask::new("GET", path)).await?;
            }
        }
        Ok(())
    }

    async fn tidy(&mut self) {
        for path in self.made.drain(..).rev() {
            self.door.call("DELETE", &path, &Value::Null).await;
        }
    }
}

fn told(normal: &mut Normal, of: &str, answer: &Answer, parts: &[&str]) -> Value {
    let mut told = json!({"of": of, "code": answer.code});
    let warnings: Vec<Value> = answer
        .headers
        .get_all("warning")
        .iter()
        .map(|value| json!(normal.text(value.to_str().unwrap_or_default())))
        .collect();
    if !warnings.is_empty() {
        let mut warnings = warnings;
        warnings.sort_by_key(Value::to_string);
        told["warnings"] = Value::Array(warnings);
    }
    for name in ["retry-after", "allow"] {
        if let Some(value) = answer.headers.get(name) {
            told[name] = json!(value.to_str().unwrap_or_default());
        }
    }
    let kind = answer
        .headers
        .get("content-type")
        .and_then(|v| v.to_str().ok());
    if kind != Some("application/json") {
        told["type"] = json!(kind);
    }
    let body = normal.value(answer.value());
    told["body"] = shown(&body, parts);
    told
}

/// The parts of a body that count.
fn shown(body: &Value, parts: &[&str]) -> Value {
    if parts.is_empty() {
        return body.clone();
    }
    if let Value::Array(items) = body {
        return items.iter().map(|item| shown(item, parts)).collect();
    }
    let pick = |part: &&str| {
        // `/items/*/metadata/name` is that part of every item.
        let value = match part.split_once("/*") {
            None => body.pointer(part).cloned(),
            Some((list, rest)) => body.pointer(list).map(|list| match list {
                Value::Array(items) => items
                    .iter()
                    .map(|item| item.pointer(rest).cloned().unwrap_or_default())
                    .collect(),
                other => other.clone(),
            }),
        };
        Some((part.to_string(), value?))
    };
    let mut kept: serde_json::Map<String, Value> = parts.iter().filter_map(pick).collect();
    if body["kind"] == "Status" {
        let told = ["code", "reason", "details"].map(|key| (key.to_string(), body[key].clone()));
        kept.extend(told);
    }
    Value::Object(kept)
}
