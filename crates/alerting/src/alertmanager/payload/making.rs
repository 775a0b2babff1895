//! What all kinds of messages are made with.

use std::cell::RefCell;

use serde_json::{Map, Value};

use super::mask::Mask;
use super::{Integration, Message, Messages};

/// Reads a file that a secret lies in.
pub(in crate::alertmanager) type Secrets<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

/// A message in the making.
pub(super) struct Making<'a> {
    pub(super) of: &'a Integration,
    pub(super) message: &'a Message,
    pub(super) messages: &'a Messages,
    pub(super) read: &'a Secrets<'a>,
    pub(super) mask: RefCell<Mask>,
}

/// The template of a name.
pub(super) fn named(name: &str) -> String {
    format!("{{{{ template \"{name}\" . }}}}")
}

/// Adds a text to an object unless it is empty.
pub(super) fn put(map: &mut Map<String, Value>, name: &str, text: String) {
    if !text.is_empty() {
        map.insert(name.to_owned(), text.into());
    }
}

impl Making<'_> {
    pub(super) fn firing(&self) -> bool {
        self.message.status() == "firing"
    }

    /// A template filled in.
    pub(super) fn fill(&self, template: &str) -> Result<String, String> {
        self.messages.text(template, self.message)
    }

    /// A field filled in, or what counts without one.
    pub(super) fn text(&self, field: &str, usual: &str) -> Result<String, String> {
        let template = match self.of.field(field).and_then(Value::as_str) {
            None => usual,
            Some(own) => own,
        };
        self.fill(template)
            .map_err(|error| format!("{field}: {error}"))
    }

    fn pair(&self, value: &str, file: &str) -> Result<String, String> {
        let secret = match (value, file) {
            ("", "") => String::new(),
            ("", file) => (self.read)(file)?.trim().to_owned(),
            (value, _) => value.to_owned(),
        };
        self.mask.borrow_mut().add(&secret);
        Ok(secret)
    }

    /// A secret that stands in a field, or in the file that the field `…_file` names.
    pub(super) fn secret(&self, field: &str) -> Result<String, String> {
        let file = self.of.text(&format!("{field}_file"));
        self.pair(self.of.text(field), file)
    }

    /// The same within an object.
    pub(super) fn secret_in(
        &self,
        map: &Map<String, Value>,
        field: &str,
    ) -> Result<String, String> {
        let text = |name: &str| map.get(name).and_then(Value::as_str).unwrap_or("");
        self.pair(text(field), text(&format!("{field}_file")))
    }

    /// An address that is a secret.
    pub(super) fn secret_url(&self, field: &str) -> Result<String, String> {
        let url = self.secret(field)?;
        self.mask.borrow_mut().add_url(&url);
        Ok(url)
    }

    /// An address with a slash at its end, or what counts without one.
    pub(super) fn base(&self, field: &str, usual: &str) -> String {
        let own = self.of.text(field);
        let url = if own.is_empty() { usual } else { own };
        format!("{}/", url.trim_end_matches('/'))
    }

    /// A value with the templates of all its texts filled in.
    pub(super) fn filled(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(template) => self.fill(template)?.into(),
            Value::Array(items) => items
                .iter()
                .map(|item| self.filled(item))
                .collect::<Result<Vec<_>, _>>()?
                .into(),
            Value::Object(map) => {
                let mut out = Map::new();
                for (name, value) in map {
                    out.insert(name.clone(), self.filled(value)?);
                }
                out.into()
            }
            value => value.clone(),
        })
    }

    /// The same, and a text that is YAML for something else becomes that: numbers, lists, maps.
    pub(super) fn typed(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(template) => {
                let text = self.fill(template)?;
                let read = crate::yaml::read::<Value>(&text);
                read.ok()
                    .filter(|v| !v.is_string())
                    .unwrap_or_else(|| text.into())
            }
            Value::Array(items) => items
                .iter()
                .map(|item| self.typed(item))
                .collect::<Result<Vec<_>, _>>()?
                .into(),
            Value::Object(map) => {
                let mut out = Map::new();
                for (name, value) in map {
                    out.insert(self.fill(name)?, self.typed(value)?);
                }
                out.into()
            }
            value => value.clone(),
        })
    }

    /// The list of a field with all filled in, where there is one.
    pub(super) fn list(&self, field: &str) -> Result<Option<Vec<Value>>, String> {
        let Some(items) = self.of.field(field).and_then(Value::as_array) else {
            return Ok(None);
        };
        let made = items.iter().map(|item| self.filled(item));
        made.collect::<Result<Vec<_>, _>>().map(Some)
    }

    /// Fields of an attachment; each says whether it is short.
    pub(super) fn short_fields(&self) -> Result<Option<Vec<Value>>, String> {
        let short = self.of.flag("short_fields", false);
        let mut made = self.list("fields")?;
        for field in made.iter_mut().flatten().filter_map(Value::as_object_mut) {
            field.entry("short").or_insert(short.into());
        }
        Ok(made)
    }
}
