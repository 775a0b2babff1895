//! The parsers beside the real ones, over random bodies and damaged ones.
//!
//! Known to differ, on purpose: blanks before a name are no part of it, a label name without a
//! value is not cut into a metric name, escapes in names of described families and in labels of
//! exemplars are resolved, histograms that contradict themselves are refused when they are read, a
//! native histogram that follows a classic one of its family stays native, its exemplars are all
//! found where upstream goes on at the place it reached in the one before, and starts are found
//! wherever in the family they are told.

use base64::Engine as _;
use serde_json::{Value as Json, json};
use towpath_query::promql::ResetHint;
use towpath_telemetry::wire::{Entry, Parser, Wishes, negotiate};

use super::peer::{Dice, ask, peer};
use super::scraped::{OPEN_METRICS, PROTOBUF, TEXT, damaged, open_metrics, protobuf, text};

struct Case {
    body: Vec<u8>,
    content_type: &'static str,
    wishes: Wishes,
}

impl Case {
    fn job(&self) -> Json {
        json!({
            "body": base64::engine::general_purpose::STANDARD.encode(&self.body),
            "type": self.content_type,
            "native": self.wishes.native_histograms,
            "classic": self.wishes.classic_too,
            "start": self.wishes.hide_created,
        })
    }

    fn own(&self) -> (Vec<String>, Option<String>) {
        let format = negotiate::format(self.content_type, None).unwrap();
        let mut parser = Parser::new(&self.body, format, self.wishes);
        let mut out = Vec::new();
        loop {
            let entry = match parser.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => return (out, None),
                Err(error) => return (out, Some(error.to_string())),
            };
            out.push(match entry {
                Entry::Help(name, text) => format!("help {name} {text}"),
                Entry::Kind(name, kind) => format!("type {name} {}", kind.name()),
                Entry::Unit(name, unit) => format!("unit {name} {unit}"),
                Entry::Comment => "comment".to_owned(),
                Entry::Series | Entry::Histogram => match self.series(&mut parser) {
                    Ok(line) => line,
                    Err(error) => return (out, Some(error)),
                },
            });
        }
    }

    fn series(&self, parser: &mut Parser<'_>) -> Result<String, String> {
        let labels = parser.labels().map_err(|error| error.to_string())?;
        let point = parser.point();
        let time = |at: Option<i64>| at.map_or("-".to_owned(), |at| at.to_string());
        let value = match parser.histogram() {
            None => format!("{:016x}", point.value.to_bits()),
            Some(histogram) => {
                let hint = match histogram.hint {
                    ResetHint::Unknown => 0,
                    ResetHint::Reset => 1,
                    ResetHint::NotReset => 2,
                    ResetHint::Gauge => 3,
                };
                format!("{} {hint} {histogram}", histogram.schema)
            }
        };
        let at = time(point.at);
        let mut exemplars = Vec::new();
        parser.exemplars(i64::MIN, &mut exemplars);
        let start = if self.wishes.hide_created {
            parser.start()
        } else {
            None
        };
        let mut line = format!("{labels} {at} {value} {}", start.unwrap_or(0));
        for exemplar in exemplars {
            let at = time(Some(exemplar.at).filter(|at| *at != i64::MIN));
            let bits = exemplar.value.to_bits();
            line += &format!(" # {} {bits:016x} {at}", exemplar.labels);
        }
        Ok(line)
    }
}

/// What is known to differ in one entry.
fn bare(entry: &str, start: bool) -> String {
    let mut out = entry.to_owned();
    let (series, examples) = entry.split_once(" # ").unwrap_or((entry, ""));
    if !start && entry.starts_with('{') {
        let series = series.rsplit_once(' ').map_or(series, |(series, _)| series);
        out = format!("{series} # {examples}");
    }
    if let Some(at) = out.find("__name__=\"") {
        let from = at + "__name__=\"".len();
        let rest = out[from..].trim_start_matches([' ']).to_owned();
        let mut rest = rest.as_str();
        while let Some(shorter) = rest.strip_prefix("\\t").or_else(|| rest.strip_prefix(' ')) {
            rest = shorter;
        }
        out = out[..from].to_owned() + rest;
    }
    if let Some((series, _)) = out
        .split_once(" # ")
        .filter(|(_, labels)| labels.contains('\\'))
    {
        out = series.to_owned();
    }
    out
}

fn differs(case: &Case, theirs: &Json) -> Option<String> {
    let error = theirs["error"].as_str();
    let list = theirs["entries"].as_array().cloned().unwrap_or_default();
    let list: Vec<&str> = list_of(&list);
    let (own, own_error) = case.own();
    if error == Some("the real engine crashed") {
        return None;
    }
    if let (Some(own), None) = (&own_error, error) {
        let known = own.contains("expected equal")
            || own.contains("invalid UTF-8")
            || own.contains("valid utf8")
            || own.contains("invalid metric name or label names")
            || (case.content_type == PROTOBUF
                && ["histogram", "proto:"]
                    .iter()
                    .any(|word| own.contains(word)));
        return (!known).then(|| format!("only we fail: {own}"));
    }
    // A label without a name is refused where series are made.
    if error == Some("twice: ") {
        return None;
    }
    // What a metric has beside the part of its kind is not looked at.
    if own_error.is_none() && error.is_some_and(|error| error.starts_with("proto: ")) {
        return None;
    }
    if own_error.is_none() != error.is_none() {
        return Some(format!("{own_error:?}, they: {error:?}"));
    }
    for (own, theirs) in own.iter().zip(&list) {
        if own.contains("{count:") && theirs.contains("_count\"") {
            return None;
        }
        let described = ["help", "type", "unit"]
            .iter()
            .any(|word| theirs.starts_with(word));
        let escaped = described && theirs.contains('\\');
        let start = theirs
            .split(" # ")
            .next()
            .and_then(|line| line.rsplit(' ').next());
        let told = start
            .and_then(|start| start.parse::<i64>().ok())
            .is_some_and(|at| at > 0);
        let (own, theirs) = (bare(own, told), bare(theirs, told));
        let mut lost = theirs.split(" # ");
        let lost = own.contains("{count:") && lost.all(|part| own.contains(part));
        // Exemplars keep no labels without a value.
        let empty = theirs.contains("=\"\"");
        if own != theirs && !escaped && !lost && !empty {
            return Some(format!("{own}\n    {theirs}"));
        }
    }
    if error.is_none() && own.len() != list.len() {
        return Some(format!("{} entries, they have {}", own.len(), list.len()));
    }
    None
}

fn list_of(values: &[Json]) -> Vec<&str> {
    values.iter().filter_map(Json::as_str).collect()
}

/// How many bodies are compared.
const BODIES: &str = "TOWPATH_TEXTPARSE_BODIES";

#[test]
fn beside_the_real_parsers() {
    let Some(peer) = peer() else { return };
    let count = std::env::var(BODIES).map_or(6000, |count| count.parse().unwrap());
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut cases = Vec::new();
    for at in 0..count {
        let (body, content_type) = match at % 3 {
            0 => (text(&mut dice), TEXT),
            1 => (open_metrics(&mut dice), OPEN_METRICS),
            _ => (protobuf(&mut dice), PROTOBUF),
        };
        let broken = at % 2 == 1;
        let wishes = Wishes {
            native_histograms: dice.one_in(2),
            classic_too: dice.one_in(2),
            // Upstream looks for starts in its own order, which only matters in damaged bodies.
            hide_created: !broken && content_type == OPEN_METRICS && dice.one_in(2),
        };
        let body = match broken {
            true => damaged(&mut dice, &body, content_type != PROTOBUF),
            false => body,
        };
        cases.push(Case {
            body,
            content_type,
            wishes,
        });
    }
    let jobs: Vec<Json> = cases.iter().map(Case::job).collect();
    let answers = ask(&peer, "textparse", &jobs);
    let accepted = answers
        .iter()
        .filter(|answer| answer["error"].is_null())
        .count();
    let mut wrong = Vec::new();
    for (case, answer) in cases.iter().zip(&answers) {
        if let Some(why) = differs(case, answer) {
            let body = String::from_utf8_lossy(&case.body).into_owned();
            wrong.push(format!("{:?} {body:?}\n    {why}", case.wishes));
        }
    }
    println!(
        "{} bodies, {accepted} accepted, {} differ",
        cases.len(),
        wrong.len()
    );
    wrong.sort_by_key(String::len);
    wrong.truncate(12);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn damaged_bodies_end() {
    let mut dice = Dice(42);
    for at in 0..6000 {
        let (body, content_type) = match at % 3 {
            0 => (text(&mut dice), TEXT),
            1 => (open_metrics(&mut dice), OPEN_METRICS),
            _ => (protobuf(&mut dice), PROTOBUF),
        };
        let mut body = damaged(&mut dice, &body, false);
        if dice.one_in(4) {
            body = damaged(&mut dice, &body, false);
        }
        for hide_created in [false, true] {
            let wishes = Wishes {
                native_histograms: true,
                classic_too: true,
                hide_created,
            };
            let case = Case {
                body: body.clone(),
                content_type,
                wishes,
            };
            let (entries, _) = case.own();
            assert!(
                entries.len() <= 2 * body.len() + 8,
                "entries come from bytes"
            );
        }
    }
}
