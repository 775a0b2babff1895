//! A source of lines in memory.

use towpath_query::logql::{Direction, LogSource, Row, Scanned, Selection, Sink};
use towpath_query::promql::Labels;

/// One line with its time in nanoseconds and its own labels.
pub(super) struct Line {
    pub(super) at: i64,
    pub(super) metadata: Vec<(String, String)>,
    pub(super) text: String,
}

/// Streams with their lines.
#[derive(Default)]
pub(super) struct Scene(pub(super) Vec<(Labels, Vec<Line>)>);

impl LogSource for Scene {
    fn scan(&self, selection: &Selection<'_>, sink: &mut dyn Sink) -> Result<Scanned, String> {
        for (at, (labels, lines)) in self.0.iter().enumerate() {
            let matches = |m: &towpath_query::promql::Matcher| m.matches(labels.get(&m.name));
            if !selection.matchers.iter().all(matches) {
                continue;
            }
            let order: Box<dyn Iterator<Item = &Line>> = match selection.direction {
                Direction::Forward => Box::new(lines.iter()),
                Direction::Backward => Box::new(lines.iter().rev()),
            };
            for line in order {
                if line.at < selection.start || line.at >= selection.end {
                    continue;
                }
                let metadata: Vec<(&str, &str)> = line
                    .metadata
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()))
                    .collect();
                let holds = |text: &str| {
                    line.text.contains(text) || metadata.iter().any(|(_, v)| v.contains(text))
                };
                // A needle must never cost a line that passes.
                let wanted = selection.needles.iter().all(|needle| match &needle.label {
                    Some(label) => !labels.get(label).is_empty() || holds(&needle.text),
                    None => line.text.contains(&needle.text),
                });
                if !wanted {
                    continue;
                }
                let row = Row {
                    at: line.at,
                    line: &line.text,
                    metadata: &metadata,
                };
                if sink.row(at as u64, labels, row).is_break() {
                    return Ok(Scanned::default());
                }
            }
        }
        Ok(Scanned::default())
    }
}
