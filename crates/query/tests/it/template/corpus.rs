//! Templates, one a line (`⏎` is a new line), with what the real package makes of them: `=>` a
//! text, `!!` an error. `## data` sets what they work on, `## missing` what missing keys stand for,
//! `## none` takes the data away. With `BLESS=1` the real package writes the expectations.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::{Case, peer, run, shown};

struct Entry {
    case: Case,
    line: usize,
    wanted: String,
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/template");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("corpus")
        .map(|entry| entry.expect("entry").path())
        .collect();
    files.sort();
    files
}

fn entries(text: &str) -> Vec<Entry> {
    let mut case = Case {
        text: String::new(),
        data: Json::Null,
        missing: String::new(),
    };
    let mut out = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((line, content)) = lines.next() {
        if let Some(data) = content.strip_prefix("## data ") {
            case.data = serde_json::from_str(data).expect("data");
            case.missing.clear();
        } else if let Some(missing) = content.strip_prefix("## missing ") {
            case.missing = missing.to_owned();
        } else if content == "## none" {
            case.data = Json::Null;
            case.missing.clear();
        } else {
            case.text = content.replace('⏎', "\n");
            let wanted = lines
                .next_if(|(_, l)| l.starts_with("=> ") || l.starts_with("!! "))
                .map_or(String::new(), |(_, l)| l.to_owned());
            out.push(Entry {
                case: case.clone(),
                line: line + 1,
                wanted,
            });
        }
    }
    out
}

#[test]
fn expectations_are_the_peers() {
    let Some(peer) = peer::find() else { return };
    let bless = std::env::var_os("BLESS").is_some();
    for file in files() {
        let text = std::fs::read_to_string(&file).expect("file");
        let entries = entries(&text);
        let cases: Vec<Case> = entries.iter().map(|e| e.case.clone()).collect();
        let answers = peer::ask(&peer, &cases);
        if bless {
            let mut told = entries.iter().zip(&answers).peekable();
            let mut made = String::new();
            for (at, line) in text.lines().enumerate() {
                if line.starts_with("=> ") || line.starts_with("!! ") {
                    continue;
                }
                made += line;
                made.push('\n');
                if let Some((_, answer)) = told.next_if(|(e, _)| e.line == at + 1) {
                    made += &shown(answer);
                    made.push('\n');
                }
            }
            std::fs::write(&file, made).expect("bless");
            continue;
        }
        for (entry, answer) in entries.iter().zip(&answers) {
            assert_eq!(
                entry.wanted,
                shown(answer),
                "{}:{}",
                file.display(),
                entry.line
            );
        }
    }
}

#[test]
fn all() {
    let mut failures = Vec::new();
    for file in files() {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let text = std::fs::read_to_string(&file).expect("file");
        for entry in entries(&text) {
            let got = shown(&run(&entry.case));
            if got != entry.wanted {
                let (text, wanted) = (&entry.case.text, &entry.wanted);
                let line = entry.line;
                failures.push(format!("{name}:{line}: {text}\n  {wanted}\n  {got}"));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
