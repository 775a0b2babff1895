//! What a workload says since a change that it never said before: forms of lines, and the names of
//! errors in them.

use super::case::News;
use super::measure;
use super::proof::Proof;
use crate::ledger::Object;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use towpath_query::logql::{Direction, LogSource, Row, Selection, Sink};
use towpath_query::promql::{Labels, MatchOp, Matcher, quote};
use towpath_signals::logs::template;

/// How far back a form counts as known.
const BEFORE_MS: i64 = 24 * 3_600_000;
/// The most lines that are looked at on each side of the change.
const LINES: usize = 100_000;
/// The most forms that are told apart on each side.
const FORMS: usize = 5_000;
/// The most that are told.
const TOLD: usize = 10;
/// A form is told no longer than this.
const CHARACTERS: usize = 300;

/// Lines of logs, asked for what is new. Cheap to clone.
#[derive(Clone)]
pub struct Lines(Arc<dyn LogSource + Send + Sync>);

#[derive(Default)]
struct Form {
    count: u64,
    first: i64,
    line: String,
}

#[derive(Default)]
struct Forms {
    lines: usize,
    found: BTreeMap<String, Form>,
}

impl Sink for Forms {
    fn wants(&self, _: i64, _: i64) -> bool {
        true
    }

    fn row(&mut self, _: u64, _: &Labels, row: Row<'_>) -> ControlFlow<()> {
        self.lines += 1;
        if self.lines > LINES {
            return ControlFlow::Break(());
        }
        let form = template(row.line);
        if self.found.len() >= FORMS && !self.found.contains_key(&form) {
            return ControlFlow::Continue(());
        }
        let at = row.at.div_euclid(1_000_000);
        let known = self.found.entry(form).or_default();
        if known.count == 0 || at < known.first {
            known.first = at;
            known.line = row.line.chars().take(CHARACTERS).collect();
        }
        known.count += 1;
        ControlFlow::Continue(())
    }
}

/// Names of errors in a line: words that end in `Error` or `Exception` and begin in upper case.
fn errors(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'));
    words.filter(|word| {
        let last = word.rsplit('.').next().unwrap_or(word);
        last.len() > 5
            && last.starts_with(|c: char| c.is_ascii_uppercase())
            && (last.ends_with("Error") || last.ends_with("Exception"))
    })
}

/// How much a form sounds like trouble.
fn alarming(form: &str) -> bool {
    let low = form.to_ascii_lowercase();
    [
        "error",
        "fail",
        "exception",
        "panic",
        "fatal",
        "refused",
        "timeout",
        "no such",
        "denied",
    ]
    .iter()
    .any(|word| low.contains(word))
}

/// What is in `after` and not in `before`, what sounds like trouble first.
fn compare(before: &Forms, after: Forms, selector: &str) -> Vec<News> {
    let known_errors: BTreeSet<&str> = before
        .found
        .values()
        .flat_map(|form| errors(&form.line))
        .collect();
    let mut names: BTreeMap<String, News> = BTreeMap::new();
    let mut news = Vec::new();
    for (text, form) in after.found {
        if before.found.contains_key(&text) {
            continue;
        }
        for name in errors(&form.line).filter(|name| !known_errors.contains(name)) {
            let entry = names.entry(name.to_string()).or_insert_with(|| News {
                kind: "errorType".into(),
                text: name.to_string(),
                count: 0,
                at: form.first,
                query: Some(Proof::new(
                    "logql",
                    format!("{selector} |= {}", quote(name)),
                )),
            });
            entry.count += form.count;
            entry.at = entry.at.min(form.first);
        }
        // The longest part without a digit finds the form again.
        let fixed = text
            .split("<_>")
            .max_by_key(|part| part.len())
            .unwrap_or("");
        let query = format!("{selector} |= {}", quote(fixed.trim()));
        news.push(News {
            kind: "logTemplate".into(),
            text: text.chars().take(CHARACTERS).collect(),
            count: form.count,
            at: form.first,
            query: Some(Proof::new("logql", query)),
        });
    }
    news.sort_by_key(|new| (!alarming(&new.text), std::cmp::Reverse(new.count)));
    news.truncate(TOLD);
    let mut all: Vec<News> = names.into_values().take(TOLD).collect();
    all.extend(news);
    all
}

impl Lines {
    /// Over a store of lines.
    pub fn new(source: Arc<dyn LogSource + Send + Sync>) -> Self {
        Self(source)
    }

    /// What a workload says since `cut` that it did not say in the day before, off the reactor.
    /// Times are milliseconds since the epoch.
    ///
    /// # Errors
    /// Lines cannot be read.
    pub async fn news(&self, workload: Object, cut: i64, now: i64) -> Result<Vec<News>, String> {
        let source = self.0.clone();
        let done = tokio::task::spawn_blocking(move || look(&*source, &workload, cut, now));
        done.await.map_err(|error| error.to_string())?
    }
}

fn look(
    source: &dyn LogSource,
    workload: &Object,
    cut: i64,
    now: i64,
) -> Result<Vec<News>, String> {
    let pods = measure::pods(workload);
    let selector = format!(
        "{{namespace={},pod=~{}}}",
        quote(&workload.namespace),
        quote(&pods)
    );
    let matchers = [
        Matcher::new("namespace", MatchOp::Equal, &workload.namespace)?,
        Matcher::new("pod", MatchOp::Regex, &pods)?,
    ];
    let scan = |start: i64, end: i64, direction| -> Result<Forms, String> {
        let mut forms = Forms::default();
        let selection = Selection {
            matchers: &matchers,
            start: start.saturating_mul(1_000_000),
            end: end.saturating_mul(1_000_000),
            direction,
            needles: &[],
        };
        source.scan(&selection, &mut forms)?;
        Ok(forms)
    };
    let after = scan(cut, now, Direction::Forward)?;
    if after.found.is_empty() {
        return Ok(Vec::new());
    }
    let before = scan(cut - BEFORE_MS, cut, Direction::Backward)?;
    // Of a workload that never said anything all would be new.
    if before.found.is_empty() {
        return Ok(Vec::new());
    }
    Ok(compare(&before, after, &selector))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(lines: &[&str]) -> Forms {
        let mut forms = Forms::default();
        for (at, line) in (0..).zip(lines) {
            let row = Row {
                at,
                line,
                metadata: &[],
            };
            let _ = forms.row(0, &Labels::default(), row);
        }
        forms
    }

    #[test]
    fn only_what_was_never_said_is_told() {
        let before = forms(&["took 12ms for 7", "KeyError: a"]);
        let after = forms(&[
            "took 99ms for 8",
            "now in colour",
            "java.sql.SQLException: no such table t1",
            "KeyError: other thing",
        ]);
        let news = compare(&before, after, "{}");
        let told: Vec<(&str, &str)> = news
            .iter()
            .map(|new| (new.kind.as_str(), new.text.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("errorType", "java.sql.SQLException"),
                ("logTemplate", "KeyError: other thing"),
                ("logTemplate", "java.sql.SQLException: no such table <_>"),
                ("logTemplate", "now in colour"),
            ]
        );
    }
}
