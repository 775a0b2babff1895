//! Lines as people read them: oldest first, with the labels that tell their streams apart.

use crate::commands::print::labels;
use serde_json::{Map, Value};
use towpath_stdx::clock::rfc3339;

/// A line of a stream.
pub(super) struct Line {
    /// Nanoseconds since 1970.
    pub(super) at: u64,
    labels: Map<String, Value>,
    text: String,
}

/// The lines of streams as the API has them, oldest first.
pub(super) fn of(streams: &Value) -> Vec<Line> {
    let mut out = Vec::new();
    for stream in streams.as_array().into_iter().flatten() {
        let labels = stream["stream"].as_object().cloned().unwrap_or_default();
        for value in stream["values"].as_array().into_iter().flatten() {
            let at = value[0].as_str().and_then(|text| text.parse().ok());
            out.push(Line {
                at: at.unwrap_or_default(),
                labels: labels.clone(),
                text: value[1].as_str().unwrap_or_default().to_string(),
            });
        }
    }
    out.sort_by_key(|line| line.at);
    out
}

/// What all lines have in common.
pub(super) fn common(lines: &[Line]) -> Map<String, Value> {
    let mut lines = lines.iter();
    let mut common = lines
        .next()
        .map(|line| line.labels.clone())
        .unwrap_or_default();
    for line in lines {
        common.retain(|name, value| line.labels.get(name) == Some(value));
    }
    common
}

impl Line {
    /// Its time, the labels that are not common to all, and its text; the text alone where that is
    /// wanted.
    pub(super) fn shown(&self, common: &Map<String, Value>, bare: bool) -> String {
        if bare {
            return self.text.clone();
        }
        let seconds = rfc3339(self.at / 1_000_000_000);
        let ms = self.at / 1_000_000 % 1000;
        let time = format!("{}.{ms:03}Z", seconds.trim_end_matches('Z'));
        let own = self.labels.iter();
        let mut own = own
            .filter(|(name, value)| common.get(*name) != Some(value))
            .peekable();
        match own.peek() {
            Some(_) => format!("{time} {} {}", labels(own), self.text),
            None => format!("{time} {}", self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_of_streams_are_told_apart() {
        let streams = json!([
            {"stream": {"app": "a", "pod": "one"}, "values": [["3000000", "late"], ["1000000", "first"]]},
            {"stream": {"app": "a", "pod": "two"}, "values": [["2000000", "between"]]},
        ]);
        let lines = of(&streams);
        let common = common(&lines);
        assert_eq!(labels(&common), "{app=\"a\"}");
        let shown: Vec<String> = lines.iter().map(|l| l.shown(&common, false)).collect();
        assert_eq!(
            shown,
            [
                "1970-01-01T00:00:00.001Z {pod=\"one\"} first",
                "1970-01-01T00:00:00.002Z {pod=\"two\"} between",
                "1970-01-01T00:00:00.003Z {pod=\"one\"} late",
            ]
        );
        assert_eq!(lines[0].shown(&common, true), "first");
    }
}
