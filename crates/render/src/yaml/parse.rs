//! Text to nodes, within budgets.

use super::{Map, Node, Place, Scalar, Value, resolve, resolve_11};
use crate::Finding;
use granit_parser::{Event, Options, Parser, ScalarStyle, Span};
use std::collections::HashMap;

/// Budgets of one parse.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of input.
    pub bytes: usize,
    /// Nodes, those that aliases expand to included.
    pub nodes: usize,
    /// Nesting.
    pub depth: usize,
    /// Read `yes`, `on`, `n`, … as truth values.
    pub words_are_bools: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 16 << 20,
            nodes: 2_000_000,
            depth: 100,
            words_are_bools: false,
        }
    }
}

const RULE: &str = "yaml/syntax";

/// All documents of a text; empty ones are null nodes.
pub fn parse(text: &str, limits: Limits) -> Result<Vec<Node>, Finding> {
    if text.len() > limits.bytes {
        return Err(Finding::error(
            "yaml/too-large",
            format!("more than {} bytes of YAML", limits.bytes),
        ));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut builder = Builder {
        limits,
        used: 0,
        anchors: HashMap::new(),
        documents: Vec::new(),
        open: Vec::new(),
    };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => builder.take(event, &span)?,
            Err(error) => {
                let place = place_of(error.marker().line(), error.marker().col());
                let words = error.info();
                let words = if words.is_empty() {
                    "not valid YAML".into()
                } else {
                    words
                };
                return Err(Finding::error(RULE, words).at(place.line, place.column));
            }
        }
    }
    Ok(builder.documents)
}

fn place_of(line: usize, column: usize) -> Place {
    Place {
        line: line.max(1) as u32,
        column: column as u32 + 1,
    }
}

// A collection whose end has not come yet.
struct Open {
    value: Value,
    at: Place,
    anchor: usize,
    key: Option<(String, Place)>,
    merges: Vec<Node>,
    size: usize,
}

struct Builder {
    limits: Limits,
    used: usize,
    anchors: HashMap<usize, (Node, usize)>,
    documents: Vec<Node>,
    open: Vec<Open>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Finding> {
        let at = place_of(span.start.line(), span.start.col());
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, at)?;
                let tag = tag
                    .as_deref()
                    .and_then(|tag| tag.core_suffix().map(str::to_string));
                let kind = match (tag.as_deref(), style) {
                    (Some("str" | "binary"), _) => Scalar::Str,
                    (Some("int"), _) => Scalar::Int,
                    (Some("float"), _) => Scalar::Float,
                    (Some("bool"), _) => Scalar::Bool,
                    (Some("null"), _) => Scalar::Null,
                    (_, ScalarStyle::Plain) if self.limits.words_are_bools => resolve_11(&text),
                    (_, ScalarStyle::Plain) => resolve(&text),
                    _ => Scalar::Str,
                };
                let mut text = text.into_owned();
                if kind == Scalar::Str
                    && style == ScalarStyle::Plain
                    && !self.limits.words_are_bools
                    && let Some(full) = timestamp(&text)
                {
                    text = full;
                }
                if kind == Scalar::Bool && self.limits.words_are_bools {
                    let yes = matches!(
                        text.to_ascii_lowercase().as_str(),
                        "y" | "yes" | "on" | "true"
                    );
                    text = yes.to_string();
                }
                let plain = style == ScalarStyle::Plain;
                let node = Node {
                    value: Value::Scalar(kind, text),
                    at,
                };
                self.remember(anchor, &node, 1);
                self.place(node, plain, at, 1)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(Value::List(Vec::new()), anchor, at),
            Event::MappingStart(_, anchor, _) => self.begin(Value::Map(Map::new()), anchor, at),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id).cloned() else {
                    return Err(Finding::error(
                        RULE,
                        "an alias may not stand inside its own anchor",
                    )
                    .at(at.line, at.column));
                };
                self.count(size, at)?;
                self.place(node, false, at, size)
            }
            Event::DocumentEnd => {
                self.anchors.clear();
                if self.documents.len() > 100_000 {
                    return Err(
                        Finding::error("yaml/too-large", "more than 100,000 documents")
                            .at(at.line, at.column),
                    );
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, nodes: usize, at: Place) -> Result<(), Finding> {
        self.used += nodes;
        if self.used > self.limits.nodes {
            let message = format!(
                "more than {} nodes after aliases are expanded",
                self.limits.nodes
            );
            return Err(Finding::error("yaml/too-large", message).at(at.line, at.column));
        }
        Ok(())
    }

    fn remember(&mut self, anchor: usize, node: &Node, size: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
    }

    fn begin(&mut self, value: Value, anchor: usize, at: Place) -> Result<(), Finding> {
        self.count(1, at)?;
        if self.open.len() >= self.limits.depth {
            let message = format!("nested deeper than {} levels", self.limits.depth);
            return Err(Finding::error("yaml/too-deep", message).at(at.line, at.column));
        }
        self.open.push(Open {
            value,
            at,
            anchor,
            key: None,
            merges: Vec::new(),
            size: 1,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Finding> {
        let Some(mut open) = self.open.pop() else {
            return Ok(());
        };
        if let Value::Map(map) = &mut open.value {
            // Merge keys: what the map says itself wins, then the earlier source.
            for source in open.merges {
                for (key, value) in source.as_map().into_iter().flatten() {
                    map.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
        }
        let node = Node {
            value: open.value,
            at: open.at,
        };
        self.remember(open.anchor, &node, open.size);
        self.place(node, false, open.at, open.size)
    }

    fn place(&mut self, node: Node, plain: bool, at: Place, size: usize) -> Result<(), Finding> {
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        open.size += size;
        let map = match &mut open.value {
            Value::List(list) => {
                list.push(node);
                return Ok(());
            }
            Value::Map(map) => map,
            Value::Scalar(..) => return Ok(()),
        };
        match open.key.take() {
            None => {
                let Value::Scalar(kind, mut key) = node.value else {
                    return Err(
                        Finding::error(RULE, "a key must be a single value").at(at.line, at.column)
                    );
                };
                if kind == Scalar::Int
                    && let Some(number) = super::scalar::integer(&key)
                {
                    key = number.to_string();
                }
                if plain && key == "<<" {
                    open.key = Some(("\0<<".into(), at));
                } else if matches!(kind, Scalar::Bool | Scalar::Null) {
                    let message = format!("key {key} is no text: quote it");
                    return Err(Finding::error(RULE, message).at(at.line, at.column));
                } else if map.contains_key(&key) {
                    let message = format!("key {key:?} stands here twice");
                    return Err(
                        Finding::error("yaml/duplicate-key", message).at(at.line, at.column)
                    );
                } else {
                    open.key = Some((key, at));
                }
            }
            Some((key, _)) if key == "\0<<" => match node.value {
                Value::List(list) => open.merges.extend(list),
                _ => open.merges.push(node),
            },
            Some((key, _)) => {
                map.insert(key, node);
            }
        }
        Ok(())
    }
}

// Readers turn a plain timestamp into a time, which prints as RFC 3339.
fn timestamp(text: &str) -> Option<String> {
    if !super::scalar::is_timestamp(text) {
        return None;
    }
    let split = text.find(['T', 't', ' ']);
    let (date, clock) = split.map_or((text, "0:0:0Z"), |at| (&text[..at], &text[at + 1..]));
    let mut parts = date.split('-');
    let year = parts.next()?;
    let month: u32 = parts.next()?.parse().ok()?;
    let day: u32 = parts.next()?.parse().ok()?;
    let zone_at = clock.find(['Z', '+', '-']).unwrap_or(clock.len());
    let (clock, zone) = clock.split_at(zone_at);
    let zone = if zone.is_empty() || zone == "+00:00" {
        "Z"
    } else {
        zone
    };
    let mut parts = clock.split(':');
    let hour: u32 = parts.next()?.parse().ok()?;
    let minute: u32 = parts.next()?.parse().ok()?;
    let second = parts.next()?;
    let (second, fraction) = second.split_once('.').unwrap_or((second, ""));
    let second: u32 = second.parse().ok()?;
    let fraction = fraction.trim_end_matches('0');
    let fraction = if fraction.is_empty() {
        String::new()
    } else {
        format!(".{fraction}")
    };
    Some(format!(
        "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str) -> Node {
        parse(text, Limits::default()).expect("yaml").remove(0)
    }

    #[test]
    fn places_anchors_and_merges() {
        let node = one("a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3\n");
        assert_eq!(node.at_path(&["b", "p"]).and_then(Node::text), Some("1"));
        assert_eq!(node.at_path(&["b", "q"]).and_then(Node::text), Some("3"));
        let at = node.at_path(&["b", "q"]).expect("q").at;
        assert_eq!((at.line, at.column), (4, 6));
    }

    #[test]
    fn bombs_and_duplicates_are_refused_with_a_place() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for n in 1..9 {
            let list = vec![format!("*a{}", n - 1); 10].join(",");
            bomb.push_str(&format!("a{n}: &a{n} [{list}]\n"));
        }
        let finding = parse(&bomb, Limits::default()).expect_err("bomb");
        assert_eq!(finding.rule, "yaml/too-large");
        assert!(finding.line > 1);
        let finding = parse("a: 1\na: 2\n", Limits::default()).expect_err("duplicate");
        assert_eq!((finding.rule, finding.line), ("yaml/duplicate-key", 2));
        let deep = "[".repeat(5000);
        assert!(parse(&deep, Limits::default()).is_err());
    }

    #[test]
    fn plain_timestamps_become_times() {
        assert_eq!(
            one("a: 2020-01-02").text_at(&["a"]),
            Some("2020-01-02T00:00:00Z")
        );
        assert_eq!(one("a: '2020-01-02'").text_at(&["a"]), Some("2020-01-02"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[ -~\n\t&*{}\\[\\]:,#'\"|>-]{0,200}") {
            let _ = parse(&text, Limits::default());
        }

        #[test]
        fn what_is_written_reads_back(values in proptest::collection::vec("\\PC{0,40}", 1..6)) {
            let list = Node::from(Value::List(values.iter().map(|v| Node::string(v.clone())).collect()));
            let mut map = Map::new();
            map.insert("list".into(), list);
            for (n, value) in values.iter().enumerate() {
                map.insert(format!("k{n}{value}"), Node::string(value.clone()));
            }
            let node = Node::from(Value::Map(map));
            let text = crate::yaml::to_yaml(&node);
            let back = parse(&text, Limits::default()).map_err(|f| TestCaseError::fail(format!("{f}\n{text}")))?;
            prop_assert_eq!(back[0].to_json().as_object().map(|o| o.len()), node.to_json().as_object().map(|o| o.len()));
            prop_assert!(back[0].to_json() == node.to_json(), "{}", text);
        }
    }
}
