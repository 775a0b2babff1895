//! Files of cases in `tests/corpus/logql`. With `BLESS=1` the answers are written.
//!
//! `stream {labels}` begins a stream, the indented lines below are its lines: seconds, labels of
//! the line in brackets if it has any, text. A case is a line and its answer, indented: `logs
//! <start> <end> <limit> <forward|backward> <query>`, `instant <time> <query>`, `range <start>
//! <end> <step> <query>`, `format <query>`, `fail <query>`. `#` comments.

use std::fmt::Write;
use std::path::Path;

use towpath_query::logql::{Direction, Settings, format, instant, logs, parse, parse_log, range};
use towpath_query::promql::{Labels, Value, format_number, parse_series};

use super::scene::{Line, Scene};

const SECOND: i64 = 1_000_000_000;

fn labels(text: &str) -> Labels {
    parse_series(text).expect("labels").0
}

fn line(text: &str) -> Line {
    let (at, rest) = text.split_once(' ').expect("time and text");
    let at = at.parse::<f64>().expect("seconds") * SECOND as f64;
    let (metadata, text) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once("] ").expect("closing bracket"),
        None => ("", rest),
    };
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').expect("a pair");
        (name.to_owned(), value.to_owned())
    };
    Line {
        at: at as i64,
        metadata: metadata.split_whitespace().map(pair).collect(),
        text: text.replace("\\e", "\x1b"),
    }
}

fn seconds(text: &str) -> i64 {
    (text.parse::<f64>().expect("seconds") * SECOND as f64) as i64
}

fn value_text(value: &Value) -> Vec<String> {
    match value {
        Value::Scalar(value) => vec![format!("scalar {}", format_number(*value))],
        Value::String(text) => vec![format!("string {text}")],
        Value::Vector(samples) => samples
            .iter()
            .map(|sample| format!("{} {}", sample.labels, format_number(sample.value)))
            .collect(),
        Value::Matrix(series) => series
            .iter()
            .map(|series| {
                let mut out = series.labels.to_string();
                for (at, value) in series.floats.iter() {
                    let at = at as f64 / 1000.0;
                    let _ = write!(out, " {at}={}", format_number(value));
                }
                out
            })
            .collect(),
    }
}

fn answer(case: &str, scene: &Scene) -> Result<Vec<String>, String> {
    let settings = Settings::default();
    let (kind, rest) = case.split_once(' ').expect("a case");
    match kind {
        "format" => {
            let printed = format(&parse(rest).map_err(|error| error.to_string())?);
            Ok(printed.lines().map(str::to_owned).collect())
        }
        "fail" => match parse(rest) {
            Ok(_) => Err("parsed".to_owned()),
            Err(error) => Ok(vec![error.to_string()]),
        },
        "instant" => {
            let (at, query) = rest.split_once(' ').expect("a time");
            let expr = parse(query).map_err(|error| error.to_string())?;
            let answer = instant(&expr, seconds(at), scene, &settings);
            Ok(value_text(
                &answer.map_err(|error| error.to_string())?.value,
            ))
        }
        "range" => {
            let mut parts = rest.splitn(4, ' ');
            let mut part = || parts.next().expect("start, end, step, query");
            let times = (seconds(part()), seconds(part()));
            let step = seconds(part()) / 1_000_000;
            let expr = parse(part()).map_err(|error| error.to_string())?;
            let answer = range(&expr, times, step, scene, &settings);
            Ok(value_text(
                &answer.map_err(|error| error.to_string())?.value,
            ))
        }
        "logs" => {
            let mut parts = rest.splitn(5, ' ');
            let mut part = || parts.next().expect("start, end, limit, direction, query");
            let times = (seconds(part()), seconds(part()));
            let limit = part().parse().expect("a limit");
            let direction = match part() {
                "forward" => Direction::Forward,
                "backward" => Direction::Backward,
                other => panic!("direction {other}"),
            };
            let query = parse_log(part()).map_err(|error| error.to_string())?;
            let answer = logs(&query, times, direction, limit, scene, &settings)
                .map_err(|error| error.to_string())?;
            let entry = |entry: &towpath_query::logql::LogEntry| {
                let mut out = format!("{} {}", entry.at as f64 / 1e9, entry.stream);
                if !entry.metadata.is_empty() {
                    let _ = write!(out, " +{}", entry.metadata);
                }
                if !entry.parsed.is_empty() {
                    let _ = write!(out, " ~{}", entry.parsed);
                }
                format!("{out} {}", entry.line)
            };
            Ok(answer.entries.iter().map(entry).collect())
        }
        other => panic!("unknown case {other}"),
    }
}

fn file(path: &Path, bless: bool) -> Vec<String> {
    let source = std::fs::read_to_string(path).expect("file");
    let mut scene = Scene::default();
    let mut out = String::new();
    let mut wrong = Vec::new();
    let mut lines = source.lines().peekable();
    while let Some(head) = lines.next() {
        let mut body = Vec::new();
        while let Some(text) = lines.peek().and_then(|line| line.strip_prefix("  ")) {
            body.push(text);
            lines.next();
        }
        let _ = writeln!(out, "{head}");
        if head.is_empty() || head.starts_with('#') {
            continue;
        }
        if let Some(of) = head.strip_prefix("stream ") {
            scene
                .0
                .push((labels(of), body.iter().map(|text| line(text)).collect()));
            for text in body {
                let _ = writeln!(out, "  {text}");
            }
            continue;
        }
        let got = answer(head, &scene)
            .unwrap_or_else(|error| error.lines().map(|line| format!("error: {line}")).collect());
        if got != body {
            let (got, body) = (got.join("\n  "), body.join("\n  "));
            wrong.push(format!("{head}\n got\n  {got}\n wanted\n  {body}"));
        }
        for text in got {
            let _ = writeln!(out, "  {text}");
        }
    }
    if bless {
        std::fs::write(path, out).expect("bless");
        return Vec::new();
    }
    wrong
}

#[test]
fn all() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/logql");
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(directory).expect("corpus") {
        wrong.extend(file(&entry.expect("entry").path(), bless));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
