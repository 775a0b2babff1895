//! YAML with places: every node and key knows its line and column, so that a finding can point
//! at what it means.
//!
//! One document, string keys, anchors and aliases; no merge keys, no duplicate keys, no tags.
//! Bytes, depth and nodes (after aliases are expanded) are bounded. `on` stays a string: scalars
//! follow the YAML 1.2 core schema.

use granit_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::HashMap;

/// Largest file that is read, bytes.
pub const LIMIT_BYTES: usize = 500 << 10;
const LIMIT_DEPTH: usize = 100;
const LIMIT_NODES: usize = 100_000;

/// 1-based line and column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

/// A value and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it starts.
    pub at: Place,
    /// What it is.
    pub kind: Kind,
}

/// Shape of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Text with the way it was written.
    Scalar {
        /// After escapes and folding.
        text: String,
        /// Without quotes: may mean a number, a boolean or nothing.
        plain: bool,
        /// `|` or `>`: the text starts on the line after `at`.
        block: bool,
    },
    /// `- a`.
    List(Vec<Node>),
    /// `a: b`, in order.
    Map(Vec<(Key, Node)>),
}

/// Key of a map entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The key.
    pub text: String,
    /// Where it starts.
    pub at: Place,
}

/// What is wrong with the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Where.
    pub at: Place,
    /// What, as one sentence.
    pub message: String,
}

/// A scalar's meaning under the core schema.
#[derive(Clone, Debug, PartialEq)]
pub enum Typed {
    /// Empty, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Integer, hex, octal or float.
    Number(f64),
    /// Anything else.
    Text(String),
}

impl Node {
    /// The scalar's text as written; `None` for lists and maps.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The scalar's meaning.
    pub fn typed(&self) -> Option<Typed> {
        match &self.kind {
            Kind::Scalar {
                text, plain: true, ..
            } => Some(core_schema(text)),
            Kind::Scalar { text, .. } => Some(Typed::Text(text.clone())),
            _ => None,
        }
    }

    /// Whether this is an empty plain scalar or `null`.
    pub fn is_null(&self) -> bool {
        self.typed() == Some(Typed::Null)
    }

    /// Entries of a map, else nothing.
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Items of a list, else nothing.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    /// Value of a key of a map.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries()
            .iter()
            .find(|(k, _)| k.text == key)
            .map(|(_, v)| v)
    }

    /// `a string`, `a list` or `a map`, for messages.
    pub fn shape(&self) -> &'static str {
        match self.kind {
            Kind::Scalar { .. } => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }

    fn count(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar { .. } => 0,
            Kind::List(items) => items.iter().map(Node::count).sum(),
            Kind::Map(entries) => entries.iter().map(|(_, v)| v.count()).sum(),
        }
    }
}

fn core_schema(text: &str) -> Typed {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Typed::Null,
        "true" | "True" | "TRUE" => return Typed::Bool(true),
        "false" | "False" | "FALSE" => return Typed::Bool(false),
        ".inf" | "+.inf" | ".Inf" => return Typed::Number(f64::INFINITY),
        "-.inf" | "-.Inf" => return Typed::Number(f64::NEG_INFINITY),
        ".nan" | ".NaN" => return Typed::Number(f64::NAN),
        _ => {}
    }
    if let Some(hex) = text.strip_prefix("0x")
        && let Ok(number) = u64::from_str_radix(hex, 16)
    {
        return Typed::Number(number as f64);
    }
    if let Some(octal) = text.strip_prefix("0o")
        && let Ok(number) = u64::from_str_radix(octal, 8)
    {
        return Typed::Number(number as f64);
    }
    let numeric = text.bytes().any(|b| b.is_ascii_digit())
        && text
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    match text.parse::<f64>() {
        Ok(number) if numeric => Typed::Number(number),
        _ => Typed::Text(text.to_string()),
    }
}

fn place(span: &Span) -> Place {
    Place {
        line: span.start.line() as u32,
        column: span.start.col() as u32 + 1,
    }
}

/// Reads one document.
pub fn read(source: &str) -> Result<Node, Problem> {
    if source.len() > LIMIT_BYTES {
        let message = format!(
            "the file has {} bytes, more than {LIMIT_BYTES}",
            source.len()
        );
        return Err(Problem {
            at: Place { line: 1, column: 1 },
            message,
        });
    }
    let mut reader = Reader {
        parser: Parser::new_from_str(source),
        anchors: HashMap::new(),
        nodes: 0,
    };
    let mut root = None;
    let mut documents = 0;
    while let Some((event, at)) = reader.next()? {
        match event {
            Event::DocumentStart(..) => {
                documents += 1;
                if documents > 1 {
                    return Err(Problem {
                        at,
                        message: "a second document in one file".into(),
                    });
                }
            }
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            event => root = Some(reader.node(event, at, 0)?),
        }
    }
    let empty = Kind::Scalar {
        text: String::new(),
        plain: true,
        block: false,
    };
    Ok(root.unwrap_or(Node {
        at: Place { line: 1, column: 1 },
        kind: empty,
    }))
}

struct Reader<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    // The next event that is data.
    fn next(&mut self) -> Result<Option<(Event<'a>, Place)>, Problem> {
        loop {
            match self.parser.next() {
                None => return Ok(None),
                Some(Err(error)) => {
                    let mark = error.marker();
                    let at = Place {
                        line: mark.line().max(1) as u32,
                        column: mark.col() as u32 + 1,
                    };
                    return Err(Problem {
                        at,
                        message: error.info(),
                    });
                }
                Some(Ok((event, span))) => {
                    let known = matches!(
                        event,
                        Event::StreamStart
                            | Event::StreamEnd
                            | Event::DocumentStart(..)
                            | Event::DocumentEnd
                            | Event::Alias(_)
                            | Event::Scalar(..)
                            | Event::SequenceStart(..)
                            | Event::SequenceEnd
                            | Event::MappingStart(..)
                            | Event::MappingEnd
                    );
                    if known {
                        return Ok(Some((event, place(&span))));
                    }
                }
            }
        }
    }

    fn inner(&mut self, at: Place) -> Result<(Event<'a>, Place), Problem> {
        self.next()?.ok_or_else(|| Problem {
            at,
            message: "the text ends too early".into(),
        })
    }

    fn spend(&mut self, nodes: usize, at: Place) -> Result<(), Problem> {
        self.nodes += nodes;
        if self.nodes > LIMIT_NODES {
            return Err(Problem {
                at,
                message: format!("more than {LIMIT_NODES} values"),
            });
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, at: Place, depth: usize) -> Result<Node, Problem> {
        if depth > LIMIT_DEPTH {
            return Err(Problem {
                at,
                message: format!("nested deeper than {LIMIT_DEPTH}"),
            });
        }
        self.spend(1, at)?;
        let (anchor, kind) = match event {
            Event::Alias(id) => {
                let target = self.anchors.get(&id).cloned();
                let target = target.ok_or_else(|| Problem {
                    at,
                    message: "the alias stands inside its own anchor".into(),
                })?;
                self.spend(target.count(), at)?;
                return Ok(Node { at, ..target });
            }
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                (
                    anchor,
                    Kind::Scalar {
                        text: text.into_owned(),
                        plain,
                        block,
                    },
                )
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.inner(at)? {
                        (Event::SequenceEnd, _) => break,
                        (event, at) => items.push(self.node(event, at, depth + 1)?),
                    }
                }
                (anchor, Kind::List(items))
            }
            Event::MappingStart(_, anchor, _) => (anchor, Kind::Map(self.entries(at, depth)?)),
            _ => {
                return Err(Problem {
                    at,
                    message: "a value was expected here".into(),
                });
            }
        };
        let node = Node { at, kind };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn entries(&mut self, start: Place, depth: usize) -> Result<Vec<(Key, Node)>, Problem> {
        let mut entries = Vec::new();
        let mut seen = HashMap::new();
        loop {
            let (event, at) = self.inner(start)?;
            let text = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(text, ..) => text.into_owned(),
                Event::Alias(id) => match self.anchors.get(&id).and_then(Node::text) {
                    Some(text) => text.to_string(),
                    None => {
                        return Err(Problem {
                            at,
                            message: "a key must be a string".into(),
                        });
                    }
                },
                _ => {
                    return Err(Problem {
                        at,
                        message: "a key must be a string".into(),
                    });
                }
            };
            if text == "<<" {
                return Err(Problem {
                    at,
                    message: "merge keys (<<) are not supported".into(),
                });
            }
            if let Some(first) = seen.insert(text.clone(), at) {
                let message = format!("key {text:?} is already set on line {}", first.line);
                return Err(Problem { at, message });
            }
            let (event, value_at) = self.inner(at)?;
            let mut value = self.node(event, value_at, depth + 1)?;
            // An empty value has no place of its own; its key's is the helpful one.
            if value.text() == Some("") && value.at.line != at.line {
                value.at = at;
            }
            entries.push((Key { text, at }, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_values_and_aliases_have_places() {
        let node = read("on: push\njobs:\n  a: &x\n    k: [1, 'b']\n  b: *x\n").unwrap();
        assert_eq!(node.get("on").unwrap().text(), Some("push"));
        let jobs = node.get("jobs").unwrap();
        let list = jobs.get("a").unwrap().get("k").unwrap();
        assert_eq!(list.items()[0].typed(), Some(Typed::Number(1.0)));
        assert_eq!(list.items()[1].typed(), Some(Typed::Text("b".into())));
        assert_eq!(
            list.items()[1].at,
            Place {
                line: 4,
                column: 12
            }
        );
        assert_eq!(jobs.entries()[1].0.at, Place { line: 5, column: 3 });
        assert_eq!(jobs.get("b").unwrap().get("k").unwrap(), list);
    }

    #[test]
    fn problems_have_places() {
        let problem = read("a: 1\nb: 2\na: 3\n").unwrap_err();
        assert_eq!((problem.at.line, problem.at.column), (3, 1));
        assert!(read("a: [1\nb: 2").is_err());
        assert!(read("a: 1\n---\nb: 2\n").is_err());
        assert!(read(&format!("{}1", "[".repeat(200))).is_err());
    }

    #[test]
    fn alias_bombs_are_stopped() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let refs = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
        }
        assert!(read(&text).unwrap_err().message.contains("more than"));
    }
}
