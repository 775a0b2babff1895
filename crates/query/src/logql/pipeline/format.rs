//! `line_format` and `label_format`.

use super::{LineLabels, functions};
use crate::logql::ast::{LabelFormat, LabelValue};
use crate::template::{Limits, MissingKey, Templates, Value};

enum Target {
    Line(Templates),
    Label(String, Templates),
    Rename { to: String, from: String },
}

/// Formats of one stage, in order.
pub(super) struct Formats(Vec<Target>);

/// What one template of one line may take.
const LIMITS: Limits = Limits {
    depth: 16,
    steps: 50_000,
    bytes: 256 << 10,
};

fn templates(text: &str) -> Result<Templates, String> {
    let mut set = Templates::new("format").missing_key(MissingKey::Zero);
    functions::with(0, "", |functions| set.add("format", text, functions))
        .map_err(|error| format!("invalid template: {}", error.message))?;
    Ok(set)
}

impl Formats {
    pub(super) fn line(template: &str) -> Result<Self, String> {
        Ok(Self(vec![Target::Line(templates(template)?)]))
    }

    pub(super) fn labels(formats: &[LabelFormat]) -> Result<Self, String> {
        let target = |format: &LabelFormat| {
            let label = format.label.clone();
            Ok(match &format.value {
                LabelValue::Rename(from) => Target::Rename {
                    to: label,
                    from: from.clone(),
                },
                LabelValue::Template(text) => Target::Label(label, templates(text)?),
            })
        };
        Ok(Self(
            formats.iter().map(target).collect::<Result<_, String>>()?,
        ))
    }

    /// Changes the labels; the answer is the new line, if there is one.
    pub(super) fn run(&self, at: i64, line: &str, labels: &mut LineLabels) -> Option<String> {
        let mut made = None;
        for target in &self.0 {
            let run = |templates: &Templates, labels: &LineLabels| {
                let data = Value::text_map(labels.iter());
                functions::with(at, line, |all| templates.run(all, &data, LIMITS))
            };
            match target {
                Target::Rename { to, from } => {
                    let Some(value) = labels.get(from).map(str::to_owned) else {
                        continue;
                    };
                    labels.remove(from);
                    labels.set(to, value);
                }
                Target::Line(templates) => match run(templates, labels) {
                    Ok(line) => made = Some(line),
                    Err(error) => labels.fail("TemplateFormatErr", &error.message),
                },
                Target::Label(label, templates) => match run(templates, labels) {
                    Ok(value) => labels.set(label, value),
                    Err(error) => labels.fail("TemplateFormatErr", &error.message),
                },
            }
        }
        made
    }
}
