//! Rules that change labels of targets and of samples, as Prometheus has them.

use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;
use towpath_query::go_regex;
use towpath_query::promql::quote;

use super::md5::md5;

/// Largest program of an expression, in bytes.
const REGEX_BYTES: usize = 1 << 20;

/// Labels while they are changed; none with an empty value.
pub type Set = BTreeMap<String, String>;

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Sets a label to the replacement.
    #[default]
    Replace,
    /// Drops what does not match.
    Keep,
    /// Drops what matches.
    Drop,
    /// Drops what does not equal the target label.
    KeepEqual,
    /// Drops what equals the target label.
    DropEqual,
    /// Sets a label to a hash modulo a number.
    HashMod,
    /// Copies labels to other names.
    LabelMap,
    /// Takes labels away whose names match.
    LabelDrop,
    /// Takes labels away whose names do not match.
    LabelKeep,
    /// Sets a label to the value in lower case.
    Lowercase,
    /// Sets a label to the value in upper case.
    Uppercase,
}

impl Action {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::KeepEqual => "keepequal",
            Self::DropEqual => "dropequal",
            Self::HashMod => "hashmod",
            Self::LabelMap => "labelmap",
            Self::LabelDrop => "labeldrop",
            Self::LabelKeep => "labelkeep",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
        }
    }

    fn of(text: &str) -> Option<Self> {
        use Action::{
            Drop, DropEqual, HashMod, Keep, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase,
            Replace, Uppercase,
        };
        let all = [
            Replace, Keep, Drop, KeepEqual, DropEqual, HashMod, LabelMap, LabelDrop, LabelKeep,
            Lowercase, Uppercase,
        ];
        let lower = text.to_lowercase();
        all.into_iter().find(|action| action.name() == lower)
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::of(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("unknown relabel action {}", quote(&text)))
        })
    }
}

/// A rule as a configuration writes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    /// Labels whose values are joined.
    pub source_labels: Option<Vec<String>>,
    /// Between the values; `;` unless said otherwise.
    pub separator: Option<String>,
    /// What the joined values have to match; anything unless said otherwise.
    pub regex: Option<String>,
    /// Of `hashmod`.
    pub modulus: Option<u64>,
    /// The label that is set.
    pub target_label: Option<String>,
    /// What it is set to; `$1` unless said otherwise.
    pub replacement: Option<String>,
    /// What the rule does.
    pub action: Action,
}

/// A rule, checked.
#[derive(Clone, Debug)]
pub struct Rule {
    /// As it stands in the configuration.
    written: Written,
    source: Vec<String>,
    separator: String,
    regex: Regex,
    /// The regular expression takes anything as it is.
    anything: bool,
    modulus: u64,
    target: String,
    replacement: String,
    action: Action,
}

impl Rule {
    /// Checks a rule; the words of errors are upstream's.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn new(written: &Written) -> Result<Self, String> {
        let action = written.action;
        let target = written.target_label.clone().unwrap_or_default();
        let replacement = written
            .replacement
            .clone()
            .unwrap_or_else(|| "$1".to_owned());
        let regex = written.regex.as_deref().unwrap_or("(.*)");
        let name = action.name();
        let modulus = written.modulus.unwrap_or(0);
        use Action::{
            DropEqual, HashMod, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace,
            Uppercase,
        };
        if modulus == 0 && action == HashMod {
            return Err("relabel configuration for hashmod requires non-zero modulus".to_owned());
        }
        let sets = matches!(
            action,
            Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual
        );
        if sets && target.is_empty() {
            return Err(format!(
                "relabel configuration for {name} action requires 'target_label' value"
            ));
        }
        let exact = matches!(action, Lowercase | Uppercase | KeepEqual | DropEqual);
        if exact && replacement != "$1" {
            return Err(format!("'replacement' can not be set for {name} action"));
        }
        if action == LabelMap && replacement.is_empty() {
            return Err(format!("\"\" is invalid 'replacement' for {name} action"));
        }
        let separator = written.separator.clone().unwrap_or_else(|| ";".to_owned());
        let plain = modulus == 0 && separator == ";" && replacement == "$1";
        if matches!(action, DropEqual | KeepEqual) && !(plain && written.regex.is_none()) {
            return Err(format!(
                "{name} action requires only 'source_labels' and `target_label`, and no other \
                 fields"
            ));
        }
        let names_only = plain && target.is_empty() && written.source_labels.is_none();
        if matches!(action, LabelDrop | LabelKeep) && !names_only {
            return Err(format!(
                "{name} action requires only 'regex', and no other fields"
            ));
        }
        Ok(Self {
            written: written.clone(),
            source: written.source_labels.clone().unwrap_or_default(),
            separator,
            anything: written.regex.is_none(),
            regex: go_regex::whole(regex, REGEX_BYTES)
                .map_err(|why| format!("{why}: {}", quote(regex)))?,
            modulus,
            target,
            replacement,
            action,
        })
    }

    /// The rule as it stands in the configuration.
    pub(crate) fn written(&self) -> &Written {
        &self.written
    }

    /// Applies the rule; false means that the labels are dropped.
    pub(crate) fn apply(&self, set: &mut Set) -> bool {
        let value = || -> String {
            let values = self
                .source
                .iter()
                .map(|name| set.get(name).map_or("", String::as_str));
            values.collect::<Vec<_>>().join(&self.separator)
        };
        match self.action {
            Action::Keep => return self.regex.is_match(&value()),
            Action::Drop => return !self.regex.is_match(&value()),
            Action::KeepEqual => return self.target(set) == value(),
            Action::DropEqual => return self.target(set) != value(),
            Action::Replace => {
                let value = value();
                self.replace(set, &value);
            }
            Action::Lowercase => put(set, &self.target, value().to_lowercase()),
            Action::Uppercase => put(set, &self.target, value().to_uppercase()),
            Action::HashMod => {
                let digest = md5(value().as_bytes());
                let last = digest[8..]
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
                put(set, &self.target, (last % self.modulus).to_string());
            }
            Action::LabelMap => {
                let mapped: Vec<(String, String)> = set
                    .iter()
                    .filter(|(name, _)| self.regex.is_match(name))
                    .map(|(name, value)| (self.expand(&self.replacement, name), value.clone()))
                    .collect();
                for (name, value) in mapped {
                    put(set, &name, value);
                }
            }
            Action::LabelDrop => set.retain(|name, _| !self.regex.is_match(name)),
            Action::LabelKeep => set.retain(|name, _| self.regex.is_match(name)),
        }
        true
    }

    fn target<'a>(&self, set: &'a Set) -> &'a str {
        set.get(&self.target).map_or("", String::as_str)
    }

    fn replace(&self, set: &mut Set, value: &str) {
        let fixed = !self.target.contains('$') && !self.replacement.contains('$');
        if value.is_empty() && self.anything && fixed {
            put(set, &self.target, self.replacement.clone());
            return;
        }
        let Some(found) = self.regex.captures(value) else {
            return;
        };
        let target = expand(&self.target, &found);
        if target.is_empty() {
            return;
        }
        put(set, &target, expand(&self.replacement, &found));
    }

    fn expand(&self, template: &str, text: &str) -> String {
        self.regex
            .captures(text)
            .map_or_else(String::new, |found| expand(template, &found))
    }
}

fn put(set: &mut Set, name: &str, value: String) {
    if value.is_empty() {
        set.remove(name);
    } else {
        set.insert(name.to_owned(), value);
    }
}

/// A template with the groups of a match, as Go expands them: `$name`, `${name}`, `$$`; a name
/// without braces goes as far as letters, digits and underscores do; what is no group is empty.
fn expand(template: &str, found: &regex::Captures<'_>) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
            continue;
        }
        let Some((name, after)) = group(rest) else {
            out.push('$');
            rest = &rest[1..];
            continue;
        };
        let text = match number(name) {
            Some(number) => found.get(number),
            None => found.name(name),
        };
        out.push_str(text.map_or("", |text| text.as_str()));
        rest = after;
    }
    out.push_str(rest);
    out
}

fn number(name: &str) -> Option<usize> {
    let digits = name.bytes().all(|byte| byte.is_ascii_digit());
    // Leading zeros make it a name.
    let plain = name == "0" || !name.starts_with('0');
    (digits && plain).then(|| name.parse().unwrap_or(usize::MAX))
}

/// The name of a group that a text begins with, and what follows.
fn group(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('$')?;
    let (braces, inner) = match inner.strip_prefix('{') {
        Some(inner) => (true, inner),
        None => (false, inner),
    };
    let part = |c: char| c == '_' || c.is_alphanumeric();
    let end = inner.find(|c| !part(c)).unwrap_or(inner.len());
    if end == 0 {
        return None;
    }
    let (name, after) = inner.split_at(end);
    match braces {
        true => after.strip_prefix('}').map(|after| (name, after)),
        false => Some((name, after)),
    }
}

/// Applies rules in their order; false means that the labels are dropped.
pub fn apply(rules: &[Rule], set: &mut Set) -> bool {
    rules.iter().all(|rule| rule.apply(set))
}

/// Checks rules.
///
/// # Errors
/// One of them makes no sense.
pub fn rules(written: &[Written]) -> Result<Vec<Rule>, String> {
    written.iter().map(Rule::new).collect()
}
