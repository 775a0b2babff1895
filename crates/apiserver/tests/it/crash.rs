//! Random clients over a few keys, the server killed under them again and again: nothing that was
//! acknowledged is lost, nothing appears that nobody asked for, revisions never go back, and every
//! answer fits one order of all writes that real time allows.
//!
//! The killed process says what it is about to do and what it was answered; a line that was
//! written before the kill reaches the parent, so the lines are the history.

use crate::harness::{Server, admin, send};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tower_service::Service;
use towpath_apiserver::{ApiServer, Config};

const DIRECTORY: &str = "TOWPATH_CRASH_DIR";
const GENERATION: &str = "TOWPATH_CRASH_GENERATION";
const FROM: &str = "TOWPATH_CRASH_FROM";
const KILLS: &str = "TOWPATH_CRASH_KILLS";
const CLIENTS: u64 = 6;
const KEYS: u64 = 64;
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Small, seeded, good enough to choose with.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("\n{line}\n").as_bytes());
    let _ = out.flush();
}

fn number(text: &Value) -> u64 {
    text.as_str().and_then(|t| t.parse().ok()).unwrap_or(0)
}

fn revision(object: &Value) -> u64 {
    number(&object["metadata"]["resourceVersion"])
}

/// Not a test of its own: the process that is killed.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let variable = |name| {
        std::env::var(name)
            .ok()
            .and_then(|v: String| v.parse().ok())
            .unwrap_or(0u64)
    };
    let (generation, from) = (variable(GENERATION), variable(FROM));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        let api = ApiServer::open(Config::new(Path::new(&dir)))
            .await
            .expect("server");
        let state = list(&api).await;
        say(&format!("list {state}"));
        // Zero would ask for the present state first, in no order of revisions.
        let from = if from == 0 { first(&state) } else { from };
        let clients = (0..CLIENTS).map(|client| work(&api, generation, client));
        tokio::join!(follow(&api, from), futures::future::join_all(clients));
    });
}

async fn call(api: &ApiServer, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let bytes = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(bytes)))
        .expect("request");
    send(api.service(admin()), request).await
}

// `<revision> <key>=<value>@<revision>…`
async fn list(api: &ApiServer) -> String {
    let (_, list) = call(api, Method::GET, MAPS, &Value::Null).await;
    let mut text = revision(&list).to_string();
    for item in list["items"].as_array().into_iter().flatten() {
        if let Some(value) = item["data"]["v"].as_str() {
            let name = item["metadata"]["name"].as_str().unwrap_or_default();
            text += &format!(" {name}={value}@{}", revision(item));
        }
    }
    text
}

fn first(state: &str) -> u64 {
    let word = state.split(' ').next().unwrap_or_default();
    word.parse().expect("revision")
}

async fn follow(api: &ApiServer, from: u64) {
    let mut from = from;
    loop {
        let query = format!("{MAPS}?watch=1&resourceVersion={from}");
        let request = Request::builder()
            .uri(query)
            .body(Full::new(Bytes::new()))
            .expect("request");
        let mut service = api.service(admin());
        let mut body = service.call(request).await.expect("answer").into_body();
        let mut rest = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            rest.extend_from_slice(&frame.into_data().unwrap_or_default());
            while let Some(at) = rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = rest.drain(..=at).collect();
                let event: Value = serde_json::from_slice(&line).expect("JSON");
                let object = &event["object"];
                match event["type"].as_str().unwrap_or_default() {
                    "ERROR" => assert_eq!(object["code"], 410, "{event}"),
                    "BOOKMARK" => {}
                    kind => {
                        let name = object["metadata"]["name"].as_str().unwrap_or_default();
                        if let Some(value) = object["data"]["v"].as_str() {
                            say(&format!("event {kind} {name} {value} {}", revision(object)));
                        }
                    }
                }
            }
        }
        // Too old after a restart: start from a list, as every client does.
        let state = list(api).await;
        from = first(&state);
        say(&format!("relist {state}"));
    }
}

async fn work(api: &ApiServer, generation: u64, client: u64) {
    let mut dice = Dice((generation + 1) * 1_000_003 + client * 7919 + 1);
    for turn in 0u64.. {
        let key = format!("k{}", dice.roll(KEYS));
        let path = format!("{MAPS}/{key}");
        let id = format!("{generation}.{client}.{turn}");
        let (kind, expected) = match dice.roll(10) {
            0..3 => ("create", 0),
            3 => ("get", 0),
            roll => {
                say(&format!("try {id}g {key} get 0"));
                let (code, found) = call(api, Method::GET, &path, &Value::Null).await;
                answered(&format!("{id}g"), code, &found);
                if code != 200 {
                    continue;
                }
                (if roll < 8 { "update" } else { "delete" }, revision(&found))
            }
        };
        say(&format!("try {id} {key} {kind} {expected}"));
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": key, "resourceVersion": (expected > 0).then(|| expected.to_string())},
            "data": {"v": id},
        });
        let (code, answer) = match kind {
            "create" => call(api, Method::POST, MAPS, &object).await,
            "update" => call(api, Method::PUT, &path, &object).await,
            "delete" => {
                let options = json!({"preconditions": {"resourceVersion": expected.to_string()}});
                call(api, Method::DELETE, &path, &options).await
            }
            _ => call(api, Method::GET, &path, &Value::Null).await,
        };
        answered(&id, code, &answer);
    }
}

fn answered(id: &str, code: u16, answer: &Value) {
    let value = answer["data"]["v"].as_str().unwrap_or("-");
    say(&format!("ack {id} {code} {} {value}", revision(answer)));
}

struct Op {
    key: String,
    kind: String,
    expected: u64,
    /// Highest revision that anybody had been told before.
    floor: u64,
    /// Lines of the question and of the answer.
    asked: usize,
    answered: usize,
    /// Code, revision, value.
    answer: Option<(u16, u64, String)>,
}

impl Op {
    fn refused(&self) -> bool {
        self.answer.as_ref().is_some_and(|a| a.0 >= 300)
    }
}

/// What a key held from a revision on.
type Version = (u64, Option<String>);

#[derive(Default)]
struct History {
    lines: usize,
    ops: HashMap<String, Op>,
    /// Versions of each key since `base`, oldest first.
    versions: HashMap<String, Vec<Version>>,
    /// Revision of the whole state that `versions` begins with.
    base: u64,
    /// Revision of the last event.
    seen: u64,
    /// Highest revision that anybody was told.
    told: u64,
    /// Acknowledged writes whose event is still to come.
    owed: BTreeMap<u64, (String, String)>,
    /// Versions that an acknowledged deletion ended.
    ended: HashSet<(String, u64)>,
    relists: usize,
    acked: usize,
    checked: usize,
}

impl History {
    fn read(&mut self, line: &str) {
        self.lines += 1;
        let words: Vec<&str> = line.split(' ').collect();
        let at = |i: usize| words.get(i).copied().unwrap_or_default();
        let numeral = |i: usize| at(i).parse::<u64>().expect("number");
        match at(0) {
            "try" => {
                let op = Op {
                    key: at(2).into(),
                    kind: at(3).into(),
                    expected: numeral(4),
                    floor: self.told,
                    asked: self.lines,
                    answered: usize::MAX,
                    answer: None,
                };
                self.ops.insert(at(1).into(), op);
            }
            "ack" => self.answer(at(1), numeral(2) as u16, numeral(3), at(4)),
            "event" => self.event(at(1), at(2), at(3), numeral(4)),
            "list" => {
                let (revision, found) = state(&words[1..]);
                self.survived(revision, &found);
                self.begin(revision, found);
            }
            "relist" => {
                let (revision, found) = state(&words[1..]);
                self.begin(revision, found);
                self.seen = revision;
                self.owed.retain(|at, _| *at > revision);
                self.relists += 1;
            }
            _ => {}
        }
    }

    fn answer(&mut self, id: &str, code: u16, revision: u64, value: &str) {
        let lines = self.lines;
        let op = self.ops.get_mut(id).expect("answered before it was asked");
        op.answered = lines;
        op.answer = Some((code, revision, value.to_string()));
        let written = matches!(op.kind.as_str(), "create" | "update") && code < 300;
        if written {
            self.acked += 1;
            assert!(
                revision > op.floor,
                "{id} got revision {revision} after {} was told",
                op.floor
            );
            assert_eq!(value, id, "{id} was answered with another's object");
            if revision > self.seen {
                self.owed.insert(revision, (op.key.clone(), id.to_string()));
            } else if revision > self.base {
                let version = (revision, Some(id.to_string()));
                let versions = self.versions.get(&op.key);
                assert!(
                    versions.is_some_and(|v| v.contains(&version)),
                    "the event of {id}@{revision} was left out"
                );
            }
        }
        if op.kind == "delete" && code < 300 {
            self.acked += 1;
            self.ended.insert((op.key.clone(), op.expected));
        }
        self.told = self.told.max(revision);
    }

    fn event(&mut self, kind: &str, key: &str, value: &str, revision: u64) {
        assert!(
            revision > self.seen,
            "event {revision} after {} was seen",
            self.seen
        );
        self.seen = revision;
        self.told = self.told.max(revision);
        if revision <= self.base {
            // Part of the state already; only a watch that went on over a restart sends it.
            return;
        }
        let versions = self.versions.entry(key.to_string()).or_default();
        let live = versions.last().is_some_and(|(_, value)| value.is_some());
        if kind == "DELETED" {
            assert!(live, "{key} was deleted twice");
            versions.push((revision, None));
        } else {
            assert_eq!(live, kind == "MODIFIED", "{kind} {key}@{revision}");
            let op = self.ops.get(value).expect("a value that nobody wrote");
            assert_eq!(op.key, key, "{value} went to another key");
            assert!(!op.refused(), "{value} was refused and is there");
            versions.push((revision, Some(value.to_string())));
        }
        if let Some(entry) = self.owed.first_entry() {
            assert!(
                *entry.key() >= revision,
                "the event of {:?}@{} was left out",
                entry.get(),
                entry.key()
            );
            if *entry.key() == revision {
                assert_eq!(entry.remove(), (key.to_string(), value.to_string()));
            }
        }
    }

    // The first state of a process against all that the one before it has said.
    fn survived(&self, revision: u64, found: &State) {
        assert!(
            revision >= self.told,
            "a state at {revision} after {} was told",
            self.told
        );
        for (key, (value, at)) in found {
            let op = self.ops.get(value).expect("a value that nobody wrote");
            assert_eq!(op.key, *key, "{value} went to another key");
            if let Some((code, told, _)) = &op.answer {
                assert!(
                    *code < 300 && told == at,
                    "{value} is there at {at}, but was answered {code} {told}"
                );
            }
            assert!(
                !self.ended.contains(&(key.clone(), *at)),
                "{key}@{at} is there after its deletion"
            );
        }
        // What was seen or acknowledged is there, or a later one, or somebody asked for its end.
        let seen = self.versions.iter().filter_map(|(key, versions)| {
            let (at, value) = versions.last()?;
            Some((key, value.as_ref()?, *at))
        });
        let owed = self.owed.iter().map(|(at, (key, value))| (key, value, *at));
        for (key, value, at) in seen.chain(owed) {
            let kept = found.get(key).is_some_and(|(_, now)| *now >= at);
            let ended = || {
                self.ops.values().any(|op| {
                    op.kind == "delete" && op.key == *key && op.expected >= at && !op.refused()
                })
            };
            assert!(
                kept || ended(),
                "{value} on {key}@{at} was acknowledged or seen, and lost"
            );
        }
    }

    // Histories begin anew with a whole state; what is not in it and was asked of a process that
    // is gone can never come.
    fn begin(&mut self, revision: u64, found: State) {
        if self.base < revision {
            self.check_answers();
        }
        self.base = revision;
        self.told = self.told.max(revision);
        self.versions = found
            .into_iter()
            .map(|(key, (value, at))| (key, vec![(at, Some(value))]))
            .collect();
    }

    fn forget_the_process(&mut self) {
        let live: HashSet<&String> = self
            .versions
            .values()
            .filter_map(|versions| versions.last()?.1.as_ref())
            .collect();
        self.ops.retain(|id, _| live.contains(id));
        self.owed.clear();
    }

    // Every answer fits some moment between its question and itself.
    fn check_answers(&mut self) {
        // Below the revision of any write that was asked for after the answer.
        let mut writes: Vec<(usize, u64)> = self
            .ops
            .values()
            .filter(|op| matches!(op.kind.as_str(), "create" | "update"))
            .filter_map(|op| Some((op.asked, op.answer.as_ref().filter(|a| a.0 < 300)?.1)))
            .filter(|(_, revision)| *revision > self.base)
            .collect();
        writes.sort_unstable();
        let ceiling = |answered: usize| {
            let from = writes.partition_point(|(asked, _)| *asked <= answered);
            writes[from..].iter().map(|w| w.1 - 1).min()
        };
        for (id, op) in &self.ops {
            let Some((code, revision, _)) = &op.answer else {
                continue;
            };
            let (Some(versions), Some(end)) = (self.versions.get(&op.key), ceiling(op.answered))
            else {
                continue;
            };
            let known = versions
                .first()
                .is_some_and(|(first, _)| *first <= op.floor);
            if !known || end > self.seen || (op.kind != "get" && *code < 300) {
                continue;
            }
            let start = versions
                .iter()
                .rposition(|(at, _)| *at <= op.floor)
                .unwrap_or(0);
            let mut possible = versions[start..]
                .iter()
                .enumerate()
                .filter(|(i, (at, _))| *i == 0 || *at <= end)
                .map(|(_, version)| version);
            let fits = match (op.kind.as_str(), code) {
                ("get", 200) => possible.any(|(at, value)| at == revision && value.is_some()),
                ("get" | "update" | "delete", 404) => possible.any(|(_, value)| value.is_none()),
                ("create", 409) => possible.any(|(_, value)| value.is_some()),
                ("update" | "delete", 409) => {
                    possible.any(|(at, value)| *at != op.expected || value.is_none())
                }
                _ => panic!("{id}: {} was answered {code}", op.kind),
            };
            assert!(
                fits,
                "{id}: {} of {} was answered {code} @{revision} between {} and {end}: {versions:?}",
                op.kind, op.key, op.floor
            );
            self.checked += 1;
        }
    }
}

type State = HashMap<String, (String, u64)>;

fn state(words: &[&str]) -> (u64, State) {
    let items = words[1..].iter().map(|word| {
        let (key, rest) = word.split_once('=').expect("key");
        let (value, at) = rest.split_once('@').expect("revision");
        let at = at.parse().expect("number");
        (key.to_string(), (value.to_string(), at))
    });
    (words[0].parse().expect("revision"), items.collect())
}

fn generation(dir: &Path, number: u64, history: &mut History, after: Duration) {
    let mut child = Command::new(std::env::current_exe().expect("own path"))
        .args(["--exact", "crash::child", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, dir)
        .env(GENERATION, number.to_string())
        .env(FROM, history.seen.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("child");
    let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let child = std::sync::Arc::new(std::sync::Mutex::new(child));
    let mut killer = None;
    for line in lines.map_while(Result::ok) {
        history.read(&line);
        if line.starts_with("list ") {
            history.forget_the_process();
            let child = child.clone();
            killer = Some(std::thread::spawn(move || {
                std::thread::sleep(after);
                let mut child = child.lock().expect("child");
                child.kill().expect("kill");
                child.wait().expect("wait")
            }));
        }
    }
    killer
        .unwrap_or_else(|| panic!("generation {number} did not start"))
        .join()
        .expect("killer");
    history.check_answers();
}

/// `TOWPATH_CRASH_KILLS` sets another number of kills.
#[test]
fn two_hundred_kills_leave_one_order_of_all_writes() {
    let kills = std::env::var(KILLS)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(200);
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut history = History::default();
    let mut dice = Dice(88_172_645_463_325_252);
    for number in 0..kills {
        let after = Duration::from_millis(2 + dice.roll(90));
        generation(dir.path(), number, &mut history, after);
    }
    eprintln!(
        "{kills} kills, {} acknowledged writes, {} answers checked, {} watches begun anew",
        history.acked, history.checked, history.relists
    );
    assert!(history.acked > kills as usize, "too little was written");
    assert!(history.checked > kills as usize, "too little was checked");
}

#[tokio::test]
async fn a_watch_goes_on_where_nothing_was_written_since() {
    let server = Server::start().await;
    let made = json!({"metadata": {"name": "one"}});
    let (_, one) = server.call(Method::POST, MAPS, &made).await;
    let server = server.restart().await;
    let path = format!("{MAPS}?watch=1&resourceVersion={}", revision(&one));
    let mut watch = server.watch(&path).await;
    let made = json!({"metadata": {"name": "two"}});
    server.call(Method::POST, MAPS, &made).await;
    let event = loop {
        match watch.next().await {
            Some(event) if event["object"]["metadata"]["name"] != "kube-root-ca.crt" => {
                break event;
            }
            Some(_) => {}
            None => panic!("the watch ended"),
        }
    };
    assert!(
        event["object"]["code"] == 410 || event["object"]["metadata"]["name"] == "two",
        "{event}"
    );
}
