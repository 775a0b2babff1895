//! What is done to a line: stages, compiled once, run over every line.
//!
//! A stage that fails does not stop the line: it gets the label `__error__`, and what it was for is
//! left undone. Once there is an error, conditions on amounts and addresses let the line pass, so
//! that it is seen rather than lost.

mod condition;
mod format;
mod functions;
mod ip;
mod json;
mod labels;
mod line;
mod logfmt;
mod pattern;
mod value;

use std::borrow::Cow;

use regex::Regex;

use super::ast::{LabelRef, LineMatch, LineOp, LogQuery, StageNode, Unwrap};
use super::source::{Needle, Row};
use crate::promql::{Labels, Matcher};
use condition::Condition;
use format::Formats;
pub(super) use labels::LineLabels;
use line::LineTest;
use pattern::Pattern;

/// The label that names what went wrong.
pub(super) const ERROR: &str = "__error__";
/// The label that explains it.
pub(super) const ERROR_DETAILS: &str = "__error_details__";

/// The longest program a regular expression may compile to, in bytes.
const REGEX_BYTES: usize = 4 << 20;

/// A regular expression that may match anywhere.
fn regex(pattern: &str) -> Result<Regex, String> {
    crate::go_regex::anywhere(pattern, REGEX_BYTES)
}

enum Stage {
    Line(LineTest),
    Json(Vec<(String, json::Path)>),
    Logfmt(logfmt::Logfmt),
    Regexp(Regex),
    Pattern(Pattern),
    Unpack,
    Format(Formats),
    Decolorize,
    Filter(Condition),
    Drop(Vec<LabelRef>),
    Keep(Vec<LabelRef>),
    Unwrap(Unwrap),
}

/// Whether a stage can be compiled: what the parser asks.
pub(super) fn check_stage(node: &StageNode) -> Result<(), String> {
    compile(node).map(drop)
}

fn compile(node: &StageNode) -> Result<Stage, String> {
    Ok(match node {
        StageNode::Line(filter) => Stage::Line(LineTest::new(filter)?),
        StageNode::Json(fields) => Stage::Json(
            fields
                .iter()
                .map(|field| Ok((field.label.clone(), json::Path::parse(&field.from)?)))
                .collect::<Result<_, String>>()?,
        ),
        StageNode::Logfmt {
            strict,
            keep_empty,
            fields,
        } => Stage::Logfmt(logfmt::Logfmt::new(*strict, *keep_empty, fields)),
        StageNode::Regexp(text) => Stage::Regexp(named_groups(text)?),
        StageNode::Pattern(text) => Stage::Pattern(Pattern::parser(text)?),
        StageNode::Unpack => Stage::Unpack,
        StageNode::LineFormat(text) => Stage::Format(Formats::line(text)?),
        StageNode::LabelFormat(formats) => Stage::Format(Formats::labels(formats)?),
        StageNode::Decolorize => Stage::Decolorize,
        StageNode::Filter(filter) => Stage::Filter(Condition::new(filter)?),
        StageNode::Drop(labels) => Stage::Drop(labels.clone()),
        StageNode::Keep(labels) => Stage::Keep(labels.clone()),
        StageNode::Unwrap(unwrap) => Stage::Unwrap(unwrap.clone()),
    })
}

fn named_groups(text: &str) -> Result<Regex, String> {
    let regex = regex(text)?;
    let mut seen = Vec::new();
    for name in regex.capture_names().flatten() {
        if !labels::is_name(name) {
            return Err(format!("invalid extracted label name '{name}'"));
        }
        seen.push(name);
    }
    if seen.is_empty() {
        return Err("at least one named capture must be supplied".to_owned());
    }
    Ok(regex)
}

/// The stages of a query, ready to be run. Cheap to run, costly to make.
pub struct Pipeline {
    stages: Vec<Stage>,
    /// Whether labels are looked at or changed.
    labels: bool,
}

/// What became of a line.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// The line.
    pub line: Cow<'a, str>,
    /// Its labels; `None` where no stage looks at labels, they are the stream's and its own then.
    pub(super) labels: Option<LineLabels>,
    /// The value, where a label was unwrapped.
    pub(super) value: Option<f64>,
}

impl Outcome<'_> {
    /// The labels: of the stream, of the line alone, and those stages made.
    pub fn into_labels(self, stream: &Labels, row: &Row<'_>) -> [Labels; 3] {
        match self.labels {
            Some(labels) => labels.split(),
            None => [
                stream.clone(),
                row.metadata.iter().copied().collect(),
                Labels::default(),
            ],
        }
    }
}

impl Pipeline {
    /// The pipeline of a query.
    ///
    /// # Errors
    /// A stage cannot be compiled.
    pub fn new(query: &LogQuery) -> Result<Self, String> {
        let stages = query
            .stages
            .iter()
            .map(|stage| compile(&stage.node))
            .collect::<Result<Vec<_>, _>>()?;
        let labels = stages
            .iter()
            .any(|stage| !matches!(stage, Stage::Line(_) | Stage::Decolorize));
        Ok(Self { stages, labels })
    }

    /// Runs the stages; `None` where the line does not pass.
    pub fn run<'a>(&self, stream: &Labels, row: &Row<'a>) -> Option<Outcome<'a>> {
        let mut work = Work {
            at: row.at,
            line: Cow::Borrowed(row.line),
            labels: LineLabels::default(),
            value: None,
        };
        if self.labels {
            // Tests of the raw line come first mostly; labels are not copied for lines that fail.
            let raw = self.stages.iter();
            for stage in raw.take_while(|stage| matches!(stage, Stage::Line(_))) {
                if let Stage::Line(test) = stage
                    && !test.passes(row.line)
                {
                    return None;
                }
            }
            work.labels = LineLabels::new(stream, row.metadata);
        }
        let mut leading = self.labels;
        for stage in &self.stages {
            if leading && matches!(stage, Stage::Line(_)) {
                continue;
            }
            leading = false;
            if !stage.run(&mut work) {
                return None;
            }
        }
        Some(Outcome {
            line: work.line,
            labels: self.labels.then_some(work.labels),
            value: work.value,
        })
    }
}

struct Work<'a> {
    at: i64,
    line: Cow<'a, str>,
    labels: LineLabels,
    value: Option<f64>,
}

impl Stage {
    /// Whether the line passes.
    fn run(&self, work: &mut Work<'_>) -> bool {
        match self {
            Self::Line(test) => return test.passes(&work.line),
            Self::Filter(condition) => return condition.passes(&mut work.labels),
            Self::Unwrap(unwrap) => {
                let Some(text) = work.labels.get(&unwrap.label) else {
                    return false;
                };
                match value::read(text, unwrap.conversion) {
                    Ok(value) => work.value = Some(value),
                    Err(details) => {
                        work.value = Some(0.0);
                        work.labels.fail("SampleExtractionErr", &details);
                    }
                }
                work.labels.remove(&unwrap.label);
            }
            Self::Json(fields) if fields.is_empty() => {
                if let Err(details) = json::flatten(&work.line, &mut work.labels) {
                    work.labels.fail("JSONParserErr", &details);
                }
            }
            Self::Json(fields) => {
                if let Err(details) = json::pick(&work.line, fields, &mut work.labels) {
                    work.labels.fail("JSONParserErr", &details);
                }
            }
            Self::Logfmt(parser) => {
                if let Err(details) = parser.run(&work.line, &mut work.labels) {
                    work.labels.fail("LogfmtParserErr", &details);
                }
            }
            Self::Regexp(regex) => {
                let Some(captures) = regex.captures(&work.line) else {
                    return true;
                };
                for name in regex.capture_names().flatten() {
                    if let Some(found) = captures.name(name) {
                        work.labels.extract(name, found.as_str());
                    }
                }
            }
            Self::Pattern(pattern) => pattern.extract(&work.line, &mut work.labels),
            Self::Unpack => match json::unpack(&work.line, &mut work.labels) {
                Ok(Some(line)) => work.line = Cow::Owned(line),
                Ok(None) => {}
                Err(details) => work.labels.fail("JSONParserErr", &details),
            },
            Self::Format(formats) => {
                if let Some(line) = formats.run(work.at, &work.line, &mut work.labels) {
                    work.line = Cow::Owned(line);
                }
            }
            Self::Decolorize => {
                if let Some(plain) = line::decolorized(&work.line) {
                    work.line = Cow::Owned(plain);
                }
            }
            Self::Drop(labels) => {
                for label in labels {
                    match label {
                        LabelRef::Name(name) => work.labels.remove(name),
                        LabelRef::Match(matcher) => {
                            if matches(matcher, &work.labels) {
                                work.labels.remove(&matcher.name);
                            }
                        }
                    }
                }
            }
            Self::Keep(labels) => work.labels.retain(|name, value| {
                name.starts_with("__error")
                    || labels.iter().any(|label| match label {
                        LabelRef::Name(kept) => kept == name,
                        LabelRef::Match(matcher) => matcher.name == name && matcher.matches(value),
                    })
            }),
        }
        true
    }
}

fn matches(matcher: &Matcher, labels: &LineLabels) -> bool {
    labels
        .get(&matcher.name)
        .is_some_and(|value| matcher.matches(value))
}

/// What every line of the result contains, as far as that can be told.
pub(super) fn needles(query: &LogQuery) -> Vec<Needle> {
    let mut out = Vec::new();
    let mut created: Vec<&str> = Vec::new();
    for stage in &query.stages {
        match &stage.node {
            StageNode::Line(filter) if filter.op == LineOp::Contains => {
                if let [LineMatch::Text(text)] = filter.any.as_slice()
                    && !text.is_empty()
                {
                    out.push(Needle {
                        text: text.clone(),
                        label: None,
                    });
                }
            }
            // From here on the line is another one.
            StageNode::LineFormat(_) | StageNode::Unpack | StageNode::Decolorize => break,
            StageNode::LabelFormat(formats) => {
                created.extend(formats.iter().map(|format| &*format.label));
            }
            StageNode::Filter(filter) => label_needles(filter, &created, &mut out),
            _ => {}
        }
    }
    out
}

fn label_needles(filter: &super::ast::LabelFilter, created: &[&str], out: &mut Vec<Needle>) {
    use super::ast::LabelFilter::{And, Paren, Text};
    match filter {
        Text(matcher)
            if matcher.op == crate::promql::MatchOp::Equal
                && matcher.value.len() >= 4
                && matcher.value.bytes().all(|b| b.is_ascii_alphanumeric())
                && !matcher.name.starts_with("__")
                && !created.contains(&&*matcher.name) =>
        {
            out.push(Needle {
                text: matcher.value.clone(),
                label: Some(matcher.name.clone()),
            });
        }
        And(a, b) => {
            label_needles(a, created, out);
            label_needles(b, created, out);
        }
        Paren(inner) => label_needles(inner, created, out),
        _ => {}
    }
}

/// The fields of a line, as `json` or else `logfmt` finds them, and which of the two did.
pub fn fields(line: &str) -> (Vec<(String, String)>, Option<&'static str>) {
    let mut labels = LineLabels::default();
    if line.trim_start().starts_with('{') && json::flatten(line, &mut labels).is_ok() {
        return (labels.into_pairs(), Some("json"));
    }
    let mut labels = LineLabels::default();
    let parser = logfmt::Logfmt::new(true, false, &[]);
    if line.contains('=') && parser.run(line, &mut labels).is_ok() {
        let pairs = labels.into_pairs();
        if !pairs.is_empty() {
            return (pairs, Some("logfmt"));
        }
    }
    (Vec::new(), None)
}
