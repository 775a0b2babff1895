//! Selectors: anchored patterns over identity, label expressions over metadata.

use super::resource::Resource;
use super::spec::Selector;
use crate::Finding;
use regex::Regex;

/// A selector ready to match.
pub(super) struct Matcher {
    group: Pattern,
    version: Pattern,
    kind: Pattern,
    name: Pattern,
    namespace: Pattern,
    labels: Vec<Requirement>,
    annotations: Vec<Requirement>,
}

enum Pattern {
    Any,
    Exactly(String),
    Matching(Regex),
}

impl Pattern {
    fn new(text: &str) -> Result<Self, Finding> {
        if text.is_empty() {
            return Ok(Self::Any);
        }
        if text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'/'))
        {
            return Ok(Self::Exactly(text.into()));
        }
        Regex::new(&format!("^(?:{text})$"))
            .map(Self::Matching)
            .map_err(|_| {
                Finding::error(
                    "kustomize/selector",
                    format!("{text:?} is not a regular expression"),
                )
            })
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(exact) => exact == text,
            Self::Matching(pattern) => pattern.is_match(text),
        }
    }
}

impl Matcher {
    pub(super) fn new(selector: &Selector) -> Result<Self, Finding> {
        Ok(Self {
            group: Pattern::new(&selector.group)?,
            version: Pattern::new(&selector.version)?,
            kind: Pattern::new(&selector.kind)?,
            name: Pattern::new(&selector.name)?,
            namespace: Pattern::new(&selector.namespace)?,
            labels: requirements(&selector.labels)?,
            annotations: requirements(&selector.annotations)?,
        })
    }

    /// Whether the resource is meant, by its first or its present name and namespace.
    pub(super) fn selects(&self, resource: &Resource) -> bool {
        let gvk = resource.gvk();
        let (name, _, namespace) = resource.original();
        self.kind.matches(gvk.kind)
            && self.group.matches(gvk.group)
            && self.version.matches(gvk.version)
            && (self.name.matches(name) || self.name.matches(resource.name()))
            && (self.namespace.matches(namespace)
                || self.namespace.matches(resource.effective_namespace()))
            && self.fits_metadata(resource)
    }

    /// Whether one identity, present or past, is meant.
    pub(super) fn selects_identity(&self, resource: &Resource) -> bool {
        let gvk = resource.gvk();
        if !self.group.matches(gvk.group) || !self.version.matches(gvk.version) {
            return false;
        }
        let fits = |kind: &str, name: &str, namespace: &str| {
            self.kind.matches(kind) && self.name.matches(name) && self.namespace.matches(namespace)
        };
        fits(gvk.kind, resource.name(), resource.effective_namespace())
            || resource
                .previous
                .iter()
                .any(|p| fits(&p.kind, &p.name, &p.namespace))
    }

    pub(super) fn fits_metadata(&self, resource: &Resource) -> bool {
        fits(&self.labels, resource, "labels") && fits(&self.annotations, resource, "annotations")
    }

    pub(super) fn has_metadata(&self) -> bool {
        !self.labels.is_empty() || !self.annotations.is_empty()
    }
}

fn fits(requirements: &[Requirement], resource: &Resource, field: &str) -> bool {
    if requirements.is_empty() {
        return true;
    }
    let map = resource.metadata_map(field);
    requirements.iter().all(|requirement| {
        let value = map
            .iter()
            .find(|(key, _)| *key == requirement.key)
            .map(|(_, value)| *value);
        match requirement.relation {
            Relation::In => value.is_some_and(|v| requirement.values.iter().any(|w| w == v)),
            Relation::NotIn => value.is_none_or(|v| requirement.values.iter().all(|w| w != v)),
            Relation::Exists => value.is_some(),
            Relation::Absent => value.is_none(),
        }
    })
}

enum Relation {
    In,
    NotIn,
    Exists,
    Absent,
}

struct Requirement {
    key: String,
    relation: Relation,
    values: Vec<String>,
}

// `a=b,c!=d,e in (f,g),h notin (i),j,!k`
fn requirements(text: &str) -> Result<Vec<Requirement>, Finding> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0i32);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    let bad = |part: &str| {
        Finding::error(
            "kustomize/selector",
            format!("{part:?} is not a label requirement"),
        )
    };
    parts
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| requirement(part).ok_or_else(|| bad(part)))
        .collect()
}

fn requirement(part: &str) -> Option<Requirement> {
    let make = |key: &str, relation, values: &str| {
        let key = key.trim().to_string();
        let values = values.split(',').map(|v| v.trim().to_string()).collect();
        (!key.is_empty() && !key.contains(char::is_whitespace)).then_some(Requirement {
            key,
            relation,
            values,
        })
    };
    if let Some((head, list)) = part.strip_suffix(')').and_then(|p| p.split_once('(')) {
        let head = head.trim();
        if let Some(key) = head.strip_suffix(" notin") {
            return make(key, Relation::NotIn, list);
        }
        return make(head.strip_suffix(" in")?, Relation::In, list);
    }
    if let Some((key, value)) = part.split_once("!=") {
        return make(key, Relation::NotIn, value);
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return make(key, Relation::In, value);
    }
    match part.strip_prefix('!') {
        Some(key) => make(key, Relation::Absent, ""),
        None => make(part, Relation::Exists, ""),
    }
}
