//! Reading typed values out of a node, gathering what is wrong on the way.

use crate::Finding;
use crate::yaml::{Map, Node, Scalar, Value};

/// Gathers findings while a file is read.
pub(super) struct Reader<'a> {
    pub(super) file: &'a str,
    pub(super) findings: Vec<Finding>,
}

impl Reader<'_> {
    pub(super) fn complain(&mut self, node: &Node, rule: &'static str, message: impl Into<String>) {
        let finding = Finding::error(rule, message)
            .in_file(self.file)
            .at(node.at.line, node.at.column);
        self.findings.push(finding);
    }

    /// Fields of a map whose keys must all be known.
    pub(super) fn fields<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        known: &[&str],
    ) -> Option<&'n Map> {
        let Some(map) = node.as_map() else {
            if !node.is_null() {
                self.complain(node, "kustomize/type", format!("{what} must be a map"));
            }
            return None;
        };
        for (key, value) in map {
            if !known.contains(&key.as_str()) {
                self.complain(
                    value,
                    "kustomize/unknown-field",
                    format!("{what} has no field {key:?}"),
                );
            }
        }
        Some(map)
    }

    pub(super) fn text(&mut self, map: &Map, key: &str) -> String {
        match map.get(key) {
            None => String::new(),
            Some(node) if node.is_null() => String::new(),
            Some(node) => self.string(node, key),
        }
    }

    pub(super) fn string(&mut self, node: &Node, what: &str) -> String {
        match &node.value {
            Value::Scalar(Scalar::Null, _) => String::new(),
            Value::Scalar(Scalar::Str, text) => text.clone(),
            _ => {
                let quote = if node.is_scalar() { ": quote it" } else { "" };
                self.complain(
                    node,
                    "kustomize/type",
                    format!("{what} must be text{quote}"),
                );
                String::new()
            }
        }
    }

    pub(super) fn flag(&mut self, map: &Map, key: &str) -> bool {
        match map.get(key) {
            None => false,
            Some(Node {
                value: Value::Scalar(Scalar::Bool, text),
                ..
            }) => text == "true",
            Some(node) if node.is_null() => false,
            Some(node) => {
                self.complain(
                    node,
                    "kustomize/type",
                    format!("{key} must be true or false"),
                );
                false
            }
        }
    }

    pub(super) fn number(&mut self, map: &Map, key: &str) -> Option<i64> {
        let node = map.get(key)?;
        let number = node.to_json().as_i64();
        if number.is_none() && !node.is_null() {
            self.complain(
                node,
                "kustomize/type",
                format!("{key} must be a whole number"),
            );
        }
        number
    }

    pub(super) fn list<'n>(&mut self, map: &'n Map, key: &str) -> &'n [Node] {
        match map.get(key) {
            None => &[],
            Some(node) if node.is_null() => &[],
            Some(node) => node.as_list().unwrap_or_else(|| {
                self.complain(node, "kustomize/type", format!("{key} must be a list"));
                &[]
            }),
        }
    }

    pub(super) fn strings(&mut self, map: &Map, key: &str) -> Vec<(String, Node)> {
        let list = self.list(map, key);
        list.iter()
            .map(|node| (self.string(node, key), node.clone()))
            .collect()
    }

    pub(super) fn pairs(&mut self, map: &Map, key: &str) -> Vec<(String, String)> {
        let Some(node) = map.get(key) else {
            return Vec::new();
        };
        let Some(map) = node.as_map() else {
            if !node.is_null() {
                self.complain(
                    node,
                    "kustomize/type",
                    format!("{key} must be a map of strings"),
                );
            }
            return Vec::new();
        };
        let mut pairs: Vec<_> = map
            .iter()
            .map(|(k, v)| (k.clone(), self.string(v, k)))
            .collect();
        pairs.sort();
        pairs
    }
}
