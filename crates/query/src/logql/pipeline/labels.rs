//! The labels of a line while it passes the stages.

use super::{ERROR, ERROR_DETAILS};
use crate::promql::Labels;

/// Where a label comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::logql) enum Category {
    /// The stream.
    Stream,
    /// The line's own labels, sent beside it.
    Metadata,
    /// A stage.
    Parsed,
}

#[derive(Clone, Debug)]
struct Label {
    name: String,
    value: String,
    category: Category,
    /// Whether a parser found it: the first one of a name counts.
    extracted: bool,
}

/// Labels in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(in crate::logql) struct LineLabels(Vec<Label>);

impl LineLabels {
    pub(super) fn new(stream: &Labels, metadata: &[(&str, &str)]) -> Self {
        let mut out = Vec::with_capacity(16);
        let own = |name: &str| metadata.iter().any(|(other, _)| *other == name);
        for (name, value) in stream.iter().filter(|(name, _)| !own(name)) {
            out.push(Label {
                name: name.to_owned(),
                value: value.to_owned(),
                category: Category::Stream,
                extracted: false,
            });
        }
        for (name, value) in metadata {
            out.push(Label {
                name: (*name).to_owned(),
                value: (*value).to_owned(),
                category: Category::Metadata,
                extracted: false,
            });
        }
        Self(out)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|label| label.name == name)?;
        Some(&found.value)
    }

    /// The value, empty if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|label| (&*label.name, &*label.value))
    }

    /// Adds what a parser found. A label that was there before keeps its value: the new one gets
    /// the suffix `_extracted`. Of a name that is found twice the first one counts.
    pub(super) fn extract(&mut self, name: &str, value: &str) {
        let mut name = sanitized(name);
        if name.is_empty() {
            return;
        }
        match self.0.iter().find(|label| label.name == name) {
            Some(label) if label.extracted => return,
            Some(_) => {
                name.push_str("_extracted");
                if self.0.iter().any(|label| label.name == name) {
                    return;
                }
            }
            None => {}
        }
        self.0.push(Label {
            name,
            value: value.to_owned(),
            category: Category::Parsed,
            extracted: true,
        });
    }

    /// Sets a label whatever it was.
    pub(super) fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|label| label.name == name) {
            Some(label) => {
                label.value = value;
                label.category = Category::Parsed;
            }
            None => self.0.push(Label {
                name: name.to_owned(),
                value,
                category: Category::Parsed,
                extracted: false,
            }),
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|label| label.name != name);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&str, &str) -> bool) {
        self.0.retain(|label| keep(&label.name, &label.value));
    }

    /// Notes an error; the first one stays.
    pub(super) fn fail(&mut self, kind: &str, details: &str) {
        if !self.has_error() {
            self.set(ERROR, kind.to_owned());
            self.set(ERROR_DETAILS, details.to_owned());
        }
    }

    pub(super) fn has_error(&self) -> bool {
        self.0.iter().any(|label| label.name == ERROR)
    }

    /// The error, if there is one.
    pub(in crate::logql) fn error(&self) -> Option<&str> {
        self.get(ERROR)
    }

    /// All labels together, those of which `keep` holds.
    pub(in crate::logql) fn joined(&self, keep: impl Fn(&str) -> bool) -> Labels {
        self.iter().filter(|(name, _)| keep(name)).collect()
    }

    /// The labels by where they come from.
    pub(super) fn split(self) -> [Labels; 3] {
        let of = |category: Category| {
            let labels = self.0.iter().filter(|label| label.category == category);
            labels
                .map(|label| (label.name.as_str(), label.value.as_str()))
                .collect::<Labels>()
        };
        [
            of(Category::Stream),
            of(Category::Metadata),
            of(Category::Parsed),
        ]
    }

    pub(super) fn into_pairs(self) -> Vec<(String, String)> {
        let pairs = self.0.into_iter();
        pairs.map(|label| (label.name, label.value)).collect()
    }
}

/// Whether a text is a label name as it stands.
pub(super) fn is_name(text: &str) -> bool {
    crate::promql::is_plain_label(text)
}

/// A text as a label name: what is not allowed becomes `_`.
pub(super) fn sanitized(text: &str) -> String {
    let text = text.trim();
    if is_name(text) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 1);
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        out.push('_');
    }
    out.extend(text.chars().map(|c| {
        if c == '_' || c.is_ascii_alphanumeric() {
            c
        } else {
            '_'
        }
    }));
    out
}
