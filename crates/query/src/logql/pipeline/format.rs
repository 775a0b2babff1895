//! `line_format` and `label_format`.

use super::LineLabels;
use crate::logql::ast::{LabelFormat, LabelValue};

enum Target {
    Rename { to: String, from: String },
}

/// Formats of one stage, in order.
pub(super) struct Formats(Vec<Target>);

/// Templates are refused, not passed over: a line that was not formatted looks like one that was.
fn no_templates() -> String {
    "templates in line_format and label_format are not supported yet; label_format can rename \
     labels (a=b)"
        .to_owned()
}

impl Formats {
    pub(super) fn line(_template: &str) -> Result<Self, String> {
        Err(no_templates())
    }

    pub(super) fn labels(formats: &[LabelFormat]) -> Result<Self, String> {
        let target = |format: &LabelFormat| match &format.value {
            LabelValue::Rename(from) => Ok(Target::Rename {
                to: format.label.clone(),
                from: from.clone(),
            }),
            LabelValue::Template(_) => Err(no_templates()),
        };
        Ok(Self(formats.iter().map(target).collect::<Result<_, _>>()?))
    }

    /// Changes the labels; the answer is the new line, if there is one.
    pub(super) fn run(&self, _at: i64, _line: &str, labels: &mut LineLabels) -> Option<String> {
        for Target::Rename { to, from } in &self.0 {
            let Some(value) = labels.get(from).map(str::to_owned) else {
                continue;
            };
            labels.remove(from);
            labels.set(to, value);
        }
        None
    }
}
