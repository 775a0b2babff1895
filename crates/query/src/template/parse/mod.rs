//! Templates from their text. The order of looks ahead is that of Go's parser, since errors name
//! the line of the token that was read last.

mod action;
mod pipeline;
mod tokens;

use std::sync::Arc;

use super::Error;
use super::ast::{Kind, Node, is_empty};
use super::lex::{Delimiters, Kind as Tok, Lexer, Token};
use crate::promql::{quote, unquote};

/// How deep parentheses and blocks may nest.
pub const MAX_NESTING: usize = 100;

/// One template as it was parsed.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) name: String,
    /// The name that was given to the text it came from.
    pub(super) parse_name: Arc<str>,
    pub(super) text: Arc<str>,
    pub(super) root: Vec<Node>,
}

pub(super) struct Parser<'a> {
    parse_name: Arc<str>,
    text: Arc<str>,
    lexer: Lexer<'a>,
    known: &'a dyn Fn(&str) -> bool,
    tokens: [Token; 3],
    peeked: usize,
    variables: Vec<String>,
    action_line: usize,
    range_depth: usize,
    depth: usize,
    trees: Vec<Tree>,
}

type Parsed<T> = Result<T, Error>;

/// The place of a byte: line from 1, column from 0, as Go counts.
pub(super) fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line = 1 + before.iter().filter(|b| **b == b'\n').count();
    let start = before
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |p| p + 1);
    (line, before.len() - start)
}

/// The templates that a text defines, itself last; `known` says which functions there are.
pub(super) fn parse(
    name: &str,
    text: &str,
    delimiters: &Delimiters,
    known: &dyn Fn(&str) -> bool,
) -> Parsed<Vec<Tree>> {
    let nothing = Token {
        kind: Tok::Eof,
        at: 0,
        text: String::new(),
        line: 1,
    };
    let mut lexer = Lexer::new(text, delimiters);
    lexer.break_ok = !known("break");
    lexer.continue_ok = !known("continue");
    let mut parser = Parser {
        parse_name: name.into(),
        text: text.into(),
        lexer,
        known,
        tokens: [nothing.clone(), nothing.clone(), nothing],
        peeked: 0,
        variables: vec!["$".to_owned()],
        action_line: 0,
        range_depth: 0,
        depth: 0,
        trees: Vec::new(),
    };
    let root = parser.top()?;
    parser.add(name.to_owned(), root)?;
    Ok(parser.trees)
}

impl Parser<'_> {
    fn add(&mut self, name: String, root: Vec<Node>) -> Parsed<()> {
        let tree = Tree {
            name,
            parse_name: self.parse_name.clone(),
            text: self.text.clone(),
            root,
        };
        match self.trees.iter_mut().find(|t| t.name == tree.name) {
            None => self.trees.push(tree),
            Some(known) if is_empty(&known.root) => *known = tree,
            Some(_) if is_empty(&tree.root) => {}
            Some(_) => {
                let name = quote(&tree.name);
                return self.error(format_args!(
                    "template: multiple definition of template {name}"
                ));
            }
        }
        Ok(())
    }

    fn top(&mut self) -> Parsed<Vec<Node>> {
        let mut root = Vec::new();
        while self.peek().kind != Tok::Eof {
            if self.peek().kind == Tok::LeftDelim {
                let delim = self.next();
                if self.next_non_space().kind == Tok::Define {
                    self.definition()?;
                    continue;
                }
                self.backup2(delim);
            }
            let node = self.text_or_action()?;
            match node.kind {
                Kind::End | Kind::Else => {
                    return self.error(format_args!("unexpected {node}"));
                }
                _ => root.push(node),
            }
        }
        Ok(root)
    }

    /// A template within has variables and loops of its own.
    fn apart<T>(&mut self, body: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let range_depth = std::mem::take(&mut self.range_depth);
        let action_line = std::mem::take(&mut self.action_line);
        let out = body(self)?;
        self.variables = variables;
        self.range_depth = range_depth;
        self.action_line = action_line;
        Ok(out)
    }

    fn definition(&mut self) -> Parsed<()> {
        const CONTEXT: &str = "define clause";
        self.apart(|parser| {
            let token = parser.expect(&[Tok::String, Tok::RawString], CONTEXT)?;
            let name = parser.unquoted(&token)?;
            parser.expect(&[Tok::RightDelim], CONTEXT)?;
            let (root, end) = parser.item_list()?;
            if !matches!(end.kind, Kind::End) {
                return parser.error(format_args!("unexpected {end} in {CONTEXT}"));
            }
            parser.add(name, root)
        })
    }

    fn unquoted(&self, token: &Token) -> Parsed<String> {
        match unquote(&token.text) {
            Some(text) => Ok(text),
            None => self.error("invalid syntax"),
        }
    }

    fn nested<T>(&mut self, body: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_NESTING {
            return self.error("max expression depth exceeded");
        }
        self.depth += 1;
        let out = body(self)?;
        self.depth -= 1;
        Ok(out)
    }

    fn item_list(&mut self) -> Parsed<(Vec<Node>, Node)> {
        self.nested(|parser| {
            let mut list = Vec::new();
            while parser.peek_non_space().kind != Tok::Eof {
                let node = parser.text_or_action()?;
                match node.kind {
                    Kind::End | Kind::Else => return Ok((list, node)),
                    _ => list.push(node),
                }
            }
            parser.error("unexpected EOF")
        })
    }
}

fn node(at: usize, kind: Kind) -> Node {
    Node { at, kind }
}
