//! The language of upstream's test scripts.

use regex::Regex;
use towpath_query::promql::{Labels, Notated, parse_duration, parse_series};

pub(super) enum Command {
    Clear,
    Load {
        step: i64,
        converted: bool,
        series: Vec<(Labels, Vec<Notated>)>,
    },
    Eval(Box<Eval>),
}

#[derive(Default)]
pub(super) struct Eval {
    pub(super) line: usize,
    pub(super) query: String,
    /// The time of an instant query.
    pub(super) at: i64,
    /// Start, end and step of a range query.
    pub(super) range: Option<(i64, i64, i64)>,
    /// Times of the samples expected of a range vector.
    pub(super) expect_range: Option<(i64, i64, i64)>,
    pub(super) ordered: bool,
    pub(super) fail: Option<Pattern>,
    pub(super) warn: Vec<Pattern>,
    pub(super) info: Vec<Pattern>,
    pub(super) no_warn: bool,
    pub(super) no_info: bool,
    pub(super) string: Option<String>,
    pub(super) scalar: Option<f64>,
    pub(super) series: Vec<(Labels, Vec<Notated>)>,
}

pub(super) enum Pattern {
    Any,
    /// There is one, and nothing is said about others.
    Some,
    Message(String),
    Regex(Regex),
}

impl Pattern {
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any | Self::Some => true,
            Self::Message(message) => message == text,
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

fn ms(text: &str) -> i64 {
    parse_duration(text.trim()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub(super) fn parse(source: &str) -> Vec<Command> {
    let lines: Vec<&str> = source
        .lines()
        .map(str::trim)
        .map(|line| if line.starts_with('#') { "" } else { line })
        .collect();
    let load = Regex::new(r"^load(?:_(with_nhcb))?\s+(.+?)$").unwrap();
    let mut out = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        at += 1;
        if line.is_empty() {
            continue;
        }
        let body: Vec<&str> = lines[at..]
            .iter()
            .take_while(|line| !line.is_empty())
            .copied()
            .collect();
        let word = line.split_whitespace().next().unwrap_or("").to_lowercase();
        if word == "clear" {
            out.push(Command::Clear);
        } else if word.starts_with("load") {
            let parts = load.captures(line).expect("a load line");
            let series = body
                .iter()
                .map(|line| parse_series(line).unwrap_or_else(|error| panic!("{line}: {error}")));
            let series = series.collect();
            out.push(Command::Load {
                step: ms(&parts[2]),
                converted: parts.get(1).is_some(),
                series,
            });
            at += body.len();
        } else {
            let (eval, used) = parse_eval(line, at, &body);
            out.push(Command::Eval(Box::new(eval)));
            at += used;
        }
    }
    out
}

/// An evaluation, and how many lines it takes beside the first.
fn parse_eval(line: &str, number: usize, body: &[&str]) -> (Eval, usize) {
    let instant =
        Regex::new(r"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)$");
    let range = Regex::new(
        r"^eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)$",
    );
    let mut eval = Eval {
        line: number,
        ..Eval::default()
    };
    let modifier = if let Some(parts) = instant.unwrap().captures(line) {
        eval.at = ms(&parts[2]);
        parts[3].clone_into(&mut eval.query);
        parts.get(1).map(|m| m.as_str().to_owned())
    } else {
        let parts = range
            .unwrap()
            .captures(line)
            .unwrap_or_else(|| panic!("bad line: {line}"));
        eval.range = Some((ms(&parts[2]), ms(&parts[3]), ms(&parts[4])));
        parts[5].clone_into(&mut eval.query);
        parts.get(1).map(|m| m.as_str().to_owned())
    };
    match modifier.as_deref() {
        Some("ordered") => eval.ordered = true,
        Some("fail") => eval.fail = Some(Pattern::Any),
        Some("warn") => eval.warn.push(Pattern::Some),
        Some("info") => eval.info.push(Pattern::Some),
        _ => {}
    }
    for (at, line) in body.iter().enumerate() {
        if let Some(message) = line.strip_prefix("expected_fail_message") {
            eval.fail = Some(Pattern::Message(message.trim().to_owned()));
            return (eval, at + 1);
        }
        if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
            eval.fail = Some(Pattern::Regex(Regex::new(pattern.trim()).unwrap()));
            return (eval, at + 1);
        }
        if let Some(range) = line.strip_prefix("expect range vector") {
            let words: Vec<&str> = range.split_whitespace().collect();
            eval.expect_range = Some((ms(words[1]), ms(words[3]), ms(words[5])));
        } else if let Some(text) = line.strip_prefix("expect string") {
            let text = text.trim();
            eval.string = Some(super::extract::literal(text).expect("a literal").0);
        } else if let Some(what) = line.strip_prefix("expect ") {
            expect(&mut eval, what.trim());
        } else if let Ok(value) = line.parse::<f64>() {
            eval.scalar = Some(value);
            return (eval, at + 1);
        } else {
            let series = parse_series(line);
            eval.series
                .push(series.unwrap_or_else(|error| panic!("{line}: {error}")));
        }
    }
    (eval, body.len())
}

fn expect(eval: &mut Eval, what: &str) {
    let (word, rest) = what.split_once(char::is_whitespace).unwrap_or((what, ""));
    let rest = rest.trim();
    let pattern = if let Some(message) = rest.strip_prefix("msg:") {
        Pattern::Message(message.trim().to_owned())
    } else if let Some(regex) = rest.strip_prefix("regex:") {
        Pattern::Regex(Regex::new(regex.trim()).unwrap())
    } else {
        Pattern::Any
    };
    match word {
        "ordered" => eval.ordered = true,
        "fail" => eval.fail = Some(pattern),
        "warn" => eval.warn.push(pattern),
        "info" => eval.info.push(pattern),
        "no_warn" => eval.no_warn = true,
        "no_info" => eval.no_info = true,
        other => panic!("unknown expectation {other}"),
    }
}
