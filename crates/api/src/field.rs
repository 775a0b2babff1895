//! Findings about a field of an object, in upstream's words.
//!
//! The texts are part of the API: clients match on them and tests compare them, so the formats
//! follow `k8s.io/apimachinery/pkg/util/validation/field`.

use serde_json::Value;
use std::fmt;

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A reference to something that is not there.
    NotFound,
    /// The field must be given.
    Required,
    /// The value must be unique.
    Duplicate,
    /// The value breaks a rule.
    Invalid,
    /// The value is not one of those allowed.
    NotSupported,
    /// The value is well formed but not permitted here.
    Forbidden,
    /// Too many bytes or characters.
    TooLong,
    /// Too many items.
    TooMany,
    /// Too few items.
    TooFew,
    /// The value has another type than the schema says.
    TypeInvalid,
}

impl ErrorKind {
    /// The machine-readable cause in a `Status`.
    pub fn reason(self) -> &'static str {
        match self {
            ErrorKind::NotFound => "FieldValueNotFound",
            ErrorKind::Required => "FieldValueRequired",
            ErrorKind::Duplicate => "FieldValueDuplicate",
            ErrorKind::Invalid => "FieldValueInvalid",
            ErrorKind::NotSupported => "FieldValueNotSupported",
            ErrorKind::Forbidden => "FieldValueForbidden",
            ErrorKind::TooLong => "FieldValueTooLong",
            ErrorKind::TooMany => "FieldValueTooMany",
            ErrorKind::TooFew => "FieldValueTooFew",
            ErrorKind::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn text(self) -> &'static str {
        match self {
            ErrorKind::NotFound => "Not found",
            ErrorKind::Required => "Required value",
            ErrorKind::Duplicate => "Duplicate value",
            ErrorKind::Invalid | ErrorKind::TypeInvalid => "Invalid value",
            ErrorKind::NotSupported => "Unsupported value",
            ErrorKind::Forbidden => "Forbidden",
            ErrorKind::TooLong => "Too long",
            ErrorKind::TooMany => "Too many",
            ErrorKind::TooFew => "Too few",
        }
    }

    fn shows_value(self) -> bool {
        !matches!(
            self,
            ErrorKind::Required | ErrorKind::Forbidden | ErrorKind::TooLong
        )
    }
}

/// One finding: which field, what is wrong, with which value.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// The class of the finding.
    pub kind: ErrorKind,
    /// Path of the field, as in `spec.containers[0].name`.
    pub field: String,
    /// The value that was given, where it is shown.
    pub value: Value,
    /// What would be right.
    pub detail: String,
    /// The value is left out of the text, because it is large.
    pub hides_value: bool,
}

impl FieldError {
    fn new(
        kind: ErrorKind,
        field: impl Into<String>,
        value: Value,
        detail: impl Into<String>,
    ) -> Self {
        FieldError {
            kind,
            field: field.into(),
            value,
            detail: detail.into(),
            hides_value: false,
        }
    }

    /// A missing field.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Required, field, Value::Null, detail)
    }

    /// A value that breaks a rule.
    pub fn invalid(
        field: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(ErrorKind::Invalid, field, value.into(), detail)
    }

    /// A value of another type.
    pub fn type_invalid(
        field: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(ErrorKind::TypeInvalid, field, value.into(), detail)
    }

    /// A value that must not occur twice.
    pub fn duplicate(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(ErrorKind::Duplicate, field, value.into(), "")
    }

    /// A name that leads nowhere.
    pub fn not_found(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(ErrorKind::NotFound, field, value.into(), "")
    }

    /// A value outside a closed list.
    pub fn unsupported(
        field: impl Into<String>,
        value: impl Into<Value>,
        supported: &[&str],
    ) -> Self {
        let names: Vec<String> = supported.iter().map(|name| quote(name)).collect();
        let detail = if names.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", names.join(", "))
        };
        Self::new(ErrorKind::NotSupported, field, value.into(), detail)
    }

    /// A value that is not permitted in this state.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, field, Value::Null, detail)
    }

    /// More bytes than allowed.
    pub fn too_long(field: impl Into<String>, max_bytes: usize) -> Self {
        let unit = if max_bytes == 1 { "byte" } else { "bytes" };
        Self::new(
            ErrorKind::TooLong,
            field,
            Value::Null,
            format!("may not be more than {max_bytes} {unit}"),
        )
    }

    /// More items than allowed.
    pub fn too_many(field: impl Into<String>, actual: usize, max: usize) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        Self::new(
            ErrorKind::TooMany,
            field,
            actual.into(),
            format!("must have at most {max} {unit}"),
        )
    }

    /// Everything after the path.
    pub fn body(&self) -> String {
        let mut text = self.kind.text().to_string();
        if self.kind.shows_value() && !self.hides_value {
            text.push_str(": ");
            text.push_str(&shown(&self.value));
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }

    /// The same finding beneath `prefix`.
    pub fn beneath(mut self, prefix: &str) -> Self {
        self.field = match self.field.as_str() {
            "" => prefix.to_string(),
            field if field.starts_with('[') || prefix.is_empty() => format!("{prefix}{field}"),
            field => format!("{prefix}.{field}"),
        };
        self
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

/// Several findings as upstream joins them: alone as is, else in brackets; repeated ones once.
pub fn aggregate(errors: &[FieldError]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in errors.iter().map(FieldError::to_string) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        // Go escapes these wherever it writes JSON.
        other => other
            .to_string()
            .replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026"),
    }
}

/// A text in Go's double quotes (`%q`).
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                out.push_str(&format!("\\x{:02x}", c as u32))
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `path.name`, or `name` at the root.
pub fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_string()
    } else {
        format!("{path}.{name}")
    }
}
