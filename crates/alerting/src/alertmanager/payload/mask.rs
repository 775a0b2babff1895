//! Secrets of a message, and texts without them.

use serde_json::{Map, Value};

const HIDDEN: &str = "<secret>";

/// Secrets that went into a message.
#[derive(Clone, Default)]
pub struct Mask(Vec<String>);

impl Mask {
    pub(super) fn add(&mut self, secret: &str) {
        let secret = secret.trim();
        if !secret.is_empty() && !self.0.iter().any(|known| known == secret) {
            self.0.push(secret.to_owned());
            // The longest first, so that none is left in part.
            self.0.sort_by_key(|known| std::cmp::Reverse(known.len()));
        }
    }

    /// An address whose path lets whoever knows it in.
    pub(super) fn add_url(&mut self, url: &str) {
        self.add(url);
        let path = url
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('/'));
        if let Some((_, path)) = path.filter(|(_, path)| path.len() >= 6) {
            self.add(path);
        }
        let user = url
            .split_once("://")
            .and_then(|(_, rest)| rest.split('/').next()?.rsplit_once('@'));
        if let Some((user, _)) = user {
            self.add(user);
        }
    }

    /// A text without secrets.
    pub fn text(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for secret in &self.0 {
            if out.contains(secret.as_str()) {
                out = out.replace(secret.as_str(), HIDDEN);
            }
        }
        out
    }

    /// A value whose texts and names are without secrets.
    pub fn json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.json(item)).collect(),
            Value::Object(map) => {
                let pairs = map.iter().map(|(k, v)| (self.text(k), self.json(v)));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }
}
