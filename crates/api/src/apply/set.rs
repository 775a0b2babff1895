//! Sets of field paths: what a manager owns, in memory and as `FieldsV1`.

use serde_json::{Map, Value};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// One step of a path. The order is that of `FieldsV1`: names, keys, values, indexes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// A field of an object.
    Field(Box<str>),
    /// The list item with these key fields, sorted by name.
    Key(Vec<(Box<str>, Scalar)>),
    /// The item of a set.
    Value(Scalar),
    /// The item at a position.
    Index(usize),
}

/// A scalar that can be ordered: numbers, text, booleans, the rest.
#[derive(Debug, Clone)]
pub struct Scalar(Value);

impl Scalar {
    /// Wraps a value.
    pub fn new(value: Value) -> Self {
        Scalar(value)
    }

    /// The value.
    pub fn value(&self) -> &Value {
        &self.0
    }

    fn rank(&self) -> u8 {
        match self.0 {
            Value::Number(_) => 0,
            Value::String(_) => 1,
            Value::Bool(_) => 2,
            Value::Array(_) => 3,
            Value::Object(_) => 4,
            Value::Null => 5,
        }
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scalar {}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scalar {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Value::String(a), Value::String(b)) => a.cmp(b),
            (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => a
                    .as_f64()
                    .unwrap_or_default()
                    .total_cmp(&b.as_f64().unwrap_or_default()),
            },
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (a, b) if self.rank() == other.rank() => a.to_string().cmp(&b.to_string()),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    member: bool,
    children: Set,
}

/// A set of paths. A path can be a member and have members beneath it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set {
    nodes: BTreeMap<Element, Node>,
}

impl Element {
    fn encode(&self) -> String {
        match self {
            Element::Field(name) => format!("f:{name}"),
            Element::Key(fields) => {
                let fields: Map<String, Value> = fields
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.0.clone()))
                    .collect();
                format!("k:{}", Value::Object(fields))
            }
            Element::Value(value) => format!("v:{}", value.0),
            Element::Index(at) => format!("i:{at}"),
        }
    }

    fn decode(text: &str) -> Option<Element> {
        let (mark, rest) = (text.get(..2)?, text.get(2..)?);
        match mark {
            "f:" => Some(Element::Field(rest.into())),
            "v:" => Some(Element::Value(Scalar(serde_json::from_str(rest).ok()?))),
            "i:" => Some(Element::Index(rest.parse().ok()?)),
            "k:" => {
                let fields: Map<String, Value> = serde_json::from_str(rest).ok()?;
                let mut fields: Vec<(Box<str>, Scalar)> = fields
                    .into_iter()
                    .map(|(name, value)| (name.into(), Scalar(value)))
                    .collect();
                fields.sort();
                Some(Element::Key(fields))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Element {
    /// As in conflict messages: `.name`, `[name="a"]`, `[="v"]`, `[0]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Field(name) => write!(f, ".{name}"),
            Element::Key(fields) => {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{name}={}", value.0))
                    .collect();
                write!(f, "[{}]", fields.join(","))
            }
            Element::Value(value) => write!(f, "[={}]", value.0),
            Element::Index(at) => write!(f, "[{at}]"),
        }
    }
}

impl Set {
    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.nodes
            .values()
            .all(|node| !node.member && node.children.is_empty())
    }

    /// Adds a path; the empty one is not kept.
    pub fn insert(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => self.nodes.entry(last.clone()).or_default().member = true,
            [first, rest @ ..] => self
                .nodes
                .entry(first.clone())
                .or_default()
                .children
                .insert(rest),
        }
    }

    /// Adds a path of field names.
    pub fn insert_fields(&mut self, names: &[&str]) {
        let path: Vec<Element> = names
            .iter()
            .map(|name| Element::Field((*name).into()))
            .collect();
        self.insert(&path);
    }

    /// Whether the one-step path is a member.
    pub fn has(&self, element: &Element) -> bool {
        self.nodes.get(element).is_some_and(|node| node.member)
    }

    /// Members beneath a step.
    pub fn beneath(&self, element: &Element) -> Option<&Set> {
        self.nodes
            .get(element)
            .map(|node| &node.children)
            .filter(|children| !children.is_empty())
    }

    /// Makes a step a member or not.
    pub fn set_member(&mut self, element: &Element, member: bool) {
        self.nodes.entry(element.clone()).or_default().member = member;
    }

    /// The steps at this level.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.nodes.keys()
    }

    /// Changes the subtree of every step at this level.
    pub fn for_each_child(&mut self, mut change: impl FnMut(&Element, &mut bool, &mut Set)) {
        for (element, node) in &mut self.nodes {
            change(element, &mut node.member, &mut node.children);
        }
    }

    /// Members of either.
    pub fn union(&self, other: &Set) -> Set {
        let mut all = self.clone();
        all.add(other);
        all
    }

    fn add(&mut self, other: &Set) {
        for (element, node) in &other.nodes {
            let mine = self.nodes.entry(element.clone()).or_default();
            mine.member |= node.member;
            mine.children.add(&node.children);
        }
    }

    /// Members of both.
    pub fn intersection(&self, other: &Set) -> Set {
        self.combine(
            other,
            |mine, theirs| mine && theirs,
            |mine, theirs| {
                theirs
                    .map(|theirs| mine.intersection(theirs))
                    .unwrap_or_default()
            },
        )
    }

    /// Members of the first that are not in the second; what lies beneath is judged on its own.
    pub fn difference(&self, other: &Set) -> Set {
        self.combine(
            other,
            |mine, theirs| mine && !theirs,
            |mine, theirs| {
                theirs
                    .map(|theirs| mine.difference(theirs))
                    .unwrap_or_else(|| mine.clone())
            },
        )
    }

    /// The first without the members of the second and everything beneath those.
    pub fn without(&self, other: &Set) -> Set {
        let mut nodes = BTreeMap::new();
        for (element, node) in &self.nodes {
            let theirs = other.nodes.get(element);
            if theirs.is_some_and(|theirs| theirs.member) {
                continue;
            }
            let children = match theirs {
                Some(theirs) => node.children.without(&theirs.children),
                None => node.children.clone(),
            };
            if node.member || !children.is_empty() {
                nodes.insert(
                    element.clone(),
                    Node {
                        member: node.member,
                        children,
                    },
                );
            }
        }
        Set { nodes }
    }

    fn combine(
        &self,
        other: &Set,
        member: impl Fn(bool, bool) -> bool,
        beneath: impl Fn(&Set, Option<&Set>) -> Set,
    ) -> Set {
        let mut nodes = BTreeMap::new();
        for (element, node) in &self.nodes {
            let theirs = other.nodes.get(element);
            let member = member(node.member, theirs.is_some_and(|node| node.member));
            let children = beneath(&node.children, theirs.map(|node| &node.children));
            if member || !children.is_empty() {
                nodes.insert(element.clone(), Node { member, children });
            }
        }
        Set { nodes }
    }

    /// Every member, as text: of each level the members first, then what is beneath.
    pub fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect(&mut String::new(), &mut found);
        found
    }

    fn collect(&self, path: &mut String, found: &mut Vec<String>) {
        for (element, _) in self.nodes.iter().filter(|(_, node)| node.member) {
            found.push(format!("{path}{element}"));
        }
        for (element, node) in &self.nodes {
            let length = path.len();
            path.push_str(&element.to_string());
            node.children.collect(path, found);
            path.truncate(length);
        }
    }

    /// As `FieldsV1`.
    pub fn encode(&self) -> Value {
        Value::Object(self.encode_map())
    }

    fn encode_map(&self) -> Map<String, Value> {
        let mut map = Map::new();
        for (element, node) in &self.nodes {
            if node.children.is_empty() {
                if node.member {
                    map.insert(element.encode(), Value::Object(Map::new()));
                }
                continue;
            }
            let mut inner = Map::new();
            if node.member {
                inner.insert(".".into(), Value::Object(Map::new()));
            }
            inner.append(&mut node.children.encode_map());
            map.insert(element.encode(), Value::Object(inner));
        }
        map
    }

    /// From `FieldsV1`; `None` where it is not in that form.
    pub fn decode(value: &Value) -> Option<Set> {
        let mut nodes = BTreeMap::new();
        for (key, value) in value.as_object()? {
            if key == "." {
                continue;
            }
            let inner = value.as_object()?;
            let children = Set::decode(value)?;
            let member = inner.is_empty() || inner.contains_key(".");
            nodes.insert(Element::decode(key)?, Node { member, children });
        }
        Some(Set { nodes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_v1_round_trips_in_order() {
        let fields = json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}, "f:set": {"v:\"x\"": {}}}});
        let set = Set::decode(&fields).unwrap();
        assert_eq!(set.encode().to_string(), fields.to_string());
        assert_eq!(set.paths()[0], ".metadata.labels");
        assert!(
            set.paths()
                .contains(&".spec.ports[port=80,protocol=\"TCP\"].port".to_string())
        );
        assert!(Set::decode(&json!({"x": {}})).is_none());
    }

    #[test]
    fn parents_and_children_are_judged_apart() {
        let set = |value| Set::decode(&value).unwrap();
        let both = set(json!({"f:a": {".": {}, "f:b": {}}}));
        let parent = set(json!({"f:a": {}}));
        assert_eq!(both.difference(&parent), set(json!({"f:a": {"f:b": {}}})));
        assert_eq!(both.intersection(&parent), parent);
        assert!(both.without(&parent).is_empty());
        assert_eq!(parent.union(&set(json!({"f:a": {"f:b": {}}}))), both);
    }
}
