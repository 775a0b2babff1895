//! Expressions with what the real server's libraries make of them: `tests/peers/cel` writes the
//! lines behind each expression, this test reads them.
//!
//! `=> value | type | cost n | max n` is a value, `!! error | cost n | max n` an evaluation that
//! fails, `!? ...` an expression that is refused. `## schema`, `## self` and `## old` set the scene,
//! `## none` clears it.

use crate::scene::{Scene, shape, show};
use std::path::{Path, PathBuf};
use towpath_query::cel::{CALL_LIMIT, Value};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/cel")
}

/// What the files say is still what the real libraries say; with `BLESS=1` it is written.
#[test]
#[allow(clippy::disallowed_methods)] // the peer is a program of its own
fn expectations_are_the_peers() {
    let Some(peer) = towpath_testkit::peer("cel") else {
        return;
    };
    let bless = std::env::var_os("BLESS").is_some();
    let scratch = std::env::temp_dir().join(format!("towpath-cel-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).expect("scratch");
    let mut stale = Vec::new();
    for entry in std::fs::read_dir(directory()).expect("corpus") {
        let file = entry.expect("entry").path();
        let copy = scratch.join(file.file_name().expect("a name"));
        std::fs::copy(&file, &copy).expect("copy");
        let status = std::process::Command::new(&peer)
            .arg(&copy)
            .status()
            .expect("peer");
        assert!(status.success(), "{}", file.display());
        let made = std::fs::read(&copy).expect("made");
        if bless {
            std::fs::write(&file, made).expect("bless");
        } else if made != std::fs::read(&file).expect("file") {
            stale.push(file);
        }
    }
    std::fs::remove_dir_all(&scratch).expect("clean");
    assert!(
        stale.is_empty(),
        "stale, run cargo xtask bless towpath-query: {stale:?}"
    );
}

#[test]
fn all() {
    let mut files: Vec<_> = std::fs::read_dir(directory())
        .expect("corpus")
        .map(|entry| entry.expect("entry").path())
        .collect();
    files.sort();
    let only = std::env::var("CASE").unwrap_or_default();
    let (mut failures, mut count) = (Vec::new(), 0);
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if !name.contains(&only) {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("file");
        run(&name, &text, &mut failures, &mut count);
    }
    assert!(
        failures.is_empty(),
        "{} of {count} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

fn run(name: &str, text: &str, failures: &mut Vec<String>, count: &mut usize) {
    let mut scene = Scene::default();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        if let Some(schema) = line.strip_prefix("## schema ") {
            let schema = serde_json::from_str(schema).expect("schema");
            scene = Scene {
                shape: shape(&schema, true, "selfType"),
                variables: Vec::new(),
            };
        } else if let Some((variable, object)) = line
            .strip_prefix("## ")
            .and_then(|rest| rest.split_once(' '))
        {
            let json = serde_json::from_str(object).expect("object");
            let shape = scene.shape.as_ref().expect("a schema comes first");
            let value = Value::of_shape(&json, shape);
            let variable = if variable == "self" {
                "self"
            } else {
                "oldSelf"
            };
            scene.variables.retain(|(known, _)| *known != variable);
            scene.variables.push((variable, value));
        } else if line == "## none" {
            scene = Scene::default();
        } else if !line.is_empty() && !line.starts_with("# ") {
            let Some((_, wanted)) = lines.next_if(|(_, l)| {
                l.starts_with("=> ") || l.starts_with("!! ") || l.starts_with("!? ")
            }) else {
                failures.push(format!(
                    "{name}:{}: nothing is expected of {line}",
                    number + 1
                ));
                continue;
            };
            *count += 1;
            let found = evaluate(&scene, &line.replace("\\n ", "\n "));
            if !same(wanted, &found) {
                failures.push(format!(
                    "{name}:{}: {line}\n  wanted {wanted}\n  found  {found}",
                    number + 1
                ));
            }
        }
    }
}

/// Words of the parser's own are not compared, nor are those of Go's libraries behind `parse`.
fn same(wanted: &str, found: &str) -> bool {
    let plain = |text: &str| {
        let mut text = text.to_string();
        for words in ["ParseAddr(", "error parsing regexp: "] {
            if let Some(at) = text.find(words) {
                let tail = text.rfind(" | cost").map(|tail| text[tail..].to_string());
                text.truncate(at);
                text.push_str(&tail.unwrap_or_default());
            }
        }
        text
    };
    if plain(wanted) == plain(found) {
        return true;
    }
    if wanted.starts_with("!? ") && found.starts_with("!? ") {
        let syntax = |text: &str| text.contains("Syntax error");
        return syntax(wanted) && syntax(found);
    }
    false
}

fn evaluate(scene: &Scene, expression: &str) -> String {
    let program = match scene.env().compile(expression) {
        Ok(program) => program,
        Err(issues) => return format!("!? {}", issues.to_string().replace('\n', "\\n")),
    };
    let shapes: Vec<_> = ["self", "oldSelf"]
        .into_iter()
        .filter_map(|name| Some((name, &**scene.shape.as_ref()?)))
        .collect();
    let most = match program.estimate(&shapes).max {
        u64::MAX => "unbounded".to_string(),
        most => most.to_string(),
    };
    let outcome = program.eval(scene, CALL_LIMIT);
    let tail = format!("cost {} | max {most}", outcome.cost);
    match outcome.result {
        Ok(value) => format!("=> {} | {} | {tail}", show(&value), program.output()),
        Err(error) => format!("!! {} | {tail}", error.to_string().replace('\n', "\\n")),
    }
}
