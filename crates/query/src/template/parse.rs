//! Templates from their text. The order of looks ahead is that of Go's parser, since errors name
//! the line of the token that was read last.

use std::sync::Arc;

use super::ast::{Branch, Kind, Node, Pipe, is_empty};
use super::lex::{Delimiters, Kind as Tok, Lexer, Token};
use super::{Error, number};
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
    fn next(&mut self) -> Token {
        if self.peeked > 0 {
            self.peeked -= 1;
        } else {
            self.tokens[0] = self.lexer.next();
        }
        self.tokens[self.peeked].clone()
    }

    fn backup(&mut self) {
        self.peeked += 1;
    }

    fn backup2(&mut self, first: Token) {
        self.tokens[1] = first;
        self.peeked = 2;
    }

    fn backup3(&mut self, first: Token, second: Token) {
        self.tokens[1] = second;
        self.tokens[2] = first;
        self.peeked = 3;
    }

    fn peek(&mut self) -> &Token {
        if self.peeked == 0 {
            self.peeked = 1;
            self.tokens[0] = self.lexer.next();
        }
        &self.tokens[self.peeked - 1]
    }

    fn next_non_space(&mut self) -> Token {
        loop {
            let token = self.next();
            if token.kind != Tok::Space {
                return token;
            }
        }
    }

    fn peek_non_space(&mut self) -> Token {
        let token = self.next_non_space();
        self.backup();
        token
    }

    fn error<T>(&self, message: impl std::fmt::Display) -> Parsed<T> {
        let token = &self.tokens[0];
        let (_, column) = place(&self.text, token.at);
        Err(Error {
            message: format!("template: {}:{}: {message}", self.parse_name, token.line),
            line: token.line,
            column,
        })
    }

    fn expect(&mut self, kinds: &[Tok], context: &str) -> Parsed<Token> {
        let token = self.next_non_space();
        if kinds.contains(&token.kind) {
            return Ok(token);
        }
        self.unexpected(&token, context)
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Parsed<T> {
        if token.kind != Tok::Error {
            return self.error(format_args!("unexpected {token} in {context}"));
        }
        let mut extra = String::new();
        if self.action_line != 0 && self.action_line != token.line {
            let (name, line) = (&self.parse_name, self.action_line);
            extra = match token.text.ends_with(" action") {
                true => format!(" started at {name}:{line}"),
                false => format!(" in action started at {name}:{line}"),
            };
        }
        self.error(format_args!("{token}{extra}"))
    }

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

    fn text_or_action(&mut self) -> Parsed<Node> {
        let token = self.next_non_space();
        match token.kind {
            Tok::Text => Ok(node(token.at, Kind::Text(token.text))),
            Tok::LeftDelim => {
                self.action_line = token.line;
                let action = self.action()?;
                self.action_line = 0;
                Ok(action)
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Parsed<Node> {
        let token = self.next_non_space();
        match token.kind {
            Tok::Block => return self.block(),
            Tok::Break | Tok::Continue => return self.leap(&token),
            Tok::Else => return self.otherwise(),
            Tok::End => {
                let token = self.expect(&[Tok::RightDelim], "end")?;
                return Ok(node(token.at, Kind::End));
            }
            Tok::If => return self.branch("if").map(|(at, b)| node(at, Kind::If(b))),
            Tok::Range => return self.branch("range").map(|(at, b)| node(at, Kind::Range(b))),
            Tok::With => return self.branch("with").map(|(at, b)| node(at, Kind::With(b))),
            Tok::Template => return self.template(),
            _ => {}
        }
        self.backup();
        let at = self.peek().at;
        let pipe = self.pipeline("command", Tok::RightDelim)?;
        Ok(node(at, Kind::Action(Box::new(pipe))))
    }

    fn leap(&mut self, word: &Token) -> Parsed<Node> {
        let name = format!("{{{{{}}}}}", word.text);
        let token = self.next_non_space();
        if token.kind != Tok::RightDelim {
            return self.unexpected(&token, &name);
        }
        if self.range_depth == 0 {
            return self.error(format_args!("{name} outside {{{{range}}}}"));
        }
        Ok(node(
            word.at,
            match word.kind {
                Tok::Break => Kind::Break,
                _ => Kind::Continue,
            },
        ))
    }

    fn otherwise(&mut self) -> Parsed<Node> {
        let peek = self.peek_non_space();
        if matches!(peek.kind, Tok::If | Tok::With) {
            return Ok(node(peek.at, Kind::Else));
        }
        let token = self.expect(&[Tok::RightDelim], "else")?;
        Ok(node(token.at, Kind::Else))
    }

    fn branch(&mut self, context: &str) -> Parsed<(usize, Branch)> {
        let variables = self.variables.len();
        let pipe = self.pipeline(context, Tok::RightDelim)?;
        let loops = usize::from(context == "range");
        self.range_depth += loops;
        let (list, next) = self.item_list()?;
        self.range_depth -= loops;
        let mut otherwise = None;
        if matches!(next.kind, Kind::Else) {
            let chained = match self.peek().kind {
                Tok::If => context == "if",
                Tok::With => context == "with",
                _ => false,
            };
            if chained {
                self.next();
                // The end of this one is that of the other.
                let (at, branch) = self.nested(|parser| parser.branch(context))?;
                let kind = match context {
                    "if" => Kind::If(branch),
                    _ => Kind::With(branch),
                };
                otherwise = Some(vec![node(at, kind)]);
            } else {
                let (list, next) = self.item_list()?;
                if !matches!(next.kind, Kind::End) {
                    return self.error(format_args!("expected end; found {next}"));
                }
                otherwise = Some(list);
            }
        }
        self.variables.truncate(variables);
        Ok((
            pipe.at,
            Branch {
                pipe: Box::new(pipe),
                list,
                otherwise,
            },
        ))
    }

    fn block(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, Tok::RightDelim)?;
        let (root, end) = self.apart(Self::item_list)?;
        if !matches!(end.kind, Kind::End) {
            return self.error(format_args!("unexpected {end} in {CONTEXT}"));
        }
        self.add(name.clone(), root)?;
        Ok(node(token.at, Kind::Template(name, Some(Box::new(pipe)))))
    }

    fn template(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "template clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let mut pipe = None;
        if self.next_non_space().kind != Tok::RightDelim {
            self.backup();
            pipe = Some(Box::new(self.pipeline(CONTEXT, Tok::RightDelim)?));
        }
        Ok(node(token.at, Kind::Template(name, pipe)))
    }

    fn template_name(&mut self, token: &Token, context: &str) -> Parsed<String> {
        match token.kind {
            Tok::String | Tok::RawString => self.unquoted(token),
            _ => self.unexpected(token, context),
        }
    }

    fn pipeline(&mut self, context: &str, end: Tok) -> Parsed<Node> {
        let at = self.peek_non_space().at;
        let mut pipe = Pipe {
            assign: false,
            variables: Vec::new(),
            commands: Vec::new(),
        };
        self.declarations(context, &mut pipe)?;
        loop {
            let token = self.next_non_space();
            match token.kind {
                kind if kind == end => {
                    self.check_pipeline(&pipe, context)?;
                    return Ok(node(at, Kind::Pipe(pipe)));
                }
                Tok::Bool
                | Tok::CharConstant
                | Tok::Complex
                | Tok::Dot
                | Tok::Field
                | Tok::Identifier
                | Tok::Number
                | Tok::Nil
                | Tok::RawString
                | Tok::String
                | Tok::Variable
                | Tok::LeftParen => {
                    self.backup();
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(&token, context),
            }
        }
    }

    fn declarations(&mut self, context: &str, pipe: &mut Pipe) -> Parsed<()> {
        loop {
            let variable = self.peek_non_space();
            if variable.kind != Tok::Variable {
                return Ok(());
            }
            self.next();
            let adjacent = self.peek().clone();
            let next = self.peek_non_space();
            if matches!(next.kind, Tok::Assign | Tok::Declare) {
                pipe.assign = next.kind == Tok::Assign;
                self.next_non_space();
                pipe.variables.push(variable.text.clone());
                self.variables.push(variable.text);
                return Ok(());
            }
            if next.kind == Tok::Char && next.text == "," {
                self.next_non_space();
                pipe.variables.push(variable.text.clone());
                self.variables.push(variable.text);
                if context == "range" && pipe.variables.len() < 2 {
                    match self.peek_non_space().kind {
                        Tok::Variable | Tok::RightDelim | Tok::RightParen => continue,
                        _ => return self.error("range can only initialize variables"),
                    }
                }
                return self.error(format_args!("too many declarations in {context}"));
            }
            match adjacent.kind {
                Tok::Space => self.backup3(variable, adjacent),
                _ => self.backup2(variable),
            }
            return Ok(());
        }
    }

    fn check_pipeline(&self, pipe: &Pipe, context: &str) -> Parsed<()> {
        if pipe.commands.is_empty() {
            return self.error(format_args!("missing value for {context}"));
        }
        for (at, command) in pipe.commands.iter().enumerate().skip(1) {
            let Kind::Command(args) = &command.kind else {
                continue;
            };
            if let Some(
                Kind::Bool(_) | Kind::Dot | Kind::Nil | Kind::Number(_) | Kind::String(..),
            ) = args.first().map(|arg| &arg.kind)
            {
                let stage = at + 1;
                return self.error(format_args!(
                    "non executable command in pipeline stage {stage}"
                ));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Parsed<Node> {
        let at = self.peek_non_space().at;
        let mut args = Vec::new();
        loop {
            self.peek_non_space();
            if let Some(operand) = self.operand()? {
                args.push(operand);
            }
            let token = self.next();
            match token.kind {
                Tok::Space => continue,
                Tok::RightDelim | Tok::RightParen => self.backup(),
                Tok::Pipe => {}
                _ => return self.unexpected(&token, "operand"),
            }
            break;
        }
        if args.is_empty() {
            return self.error("empty command");
        }
        Ok(node(at, Kind::Command(args)))
    }

    fn operand(&mut self) -> Parsed<Option<Node>> {
        let Some(term) = self.term()? else {
            return Ok(None);
        };
        if self.peek().kind != Tok::Field {
            return Ok(Some(term));
        }
        let at = self.peek().at;
        let mut names = Vec::new();
        while self.peek().kind == Tok::Field {
            names.push(self.next().text[1..].to_owned());
        }
        let kind = match term.kind {
            Kind::Field(mut own) => {
                own.append(&mut names);
                Kind::Field(own)
            }
            Kind::Variable(mut own) => {
                own.append(&mut names);
                Kind::Variable(own)
            }
            Kind::Bool(_) | Kind::String(..) | Kind::Number(_) | Kind::Nil | Kind::Dot => {
                let term = quote(&term.to_string());
                return self.error(format_args!("unexpected . after term {term}"));
            }
            _ => Kind::Chain(Box::new(term), names),
        };
        Ok(Some(node(at, kind)))
    }

    fn term(&mut self) -> Parsed<Option<Node>> {
        let token = self.next_non_space();
        let kind = match token.kind {
            Tok::Identifier => {
                if !(self.known)(&token.text) {
                    let name = quote(&token.text);
                    return self.error(format_args!("function {name} not defined"));
                }
                Kind::Identifier(token.text)
            }
            Tok::Dot => Kind::Dot,
            Tok::Nil => Kind::Nil,
            Tok::Variable => {
                if !self.variables.contains(&token.text) {
                    let name = quote(&token.text);
                    return self.error(format_args!("undefined variable {name}"));
                }
                Kind::Variable(vec![token.text])
            }
            Tok::Field => Kind::Field(vec![token.text[1..].to_owned()]),
            Tok::Bool => Kind::Bool(token.text == "true"),
            Tok::CharConstant | Tok::Number => {
                let parsed = match token.kind {
                    Tok::Number => number::parse(&token.text),
                    _ => number::parse_char(&token.text),
                };
                match parsed {
                    Ok(number) => Kind::Number(number),
                    Err(message) => return self.error(message),
                }
            }
            Tok::Complex => {
                let text = quote(&token.text);
                return self.error(format_args!("complex numbers are not supported: {text}"));
            }
            Tok::LeftParen => {
                return self
                    .nested(|parser| parser.pipeline("parenthesized pipeline", Tok::RightParen))
                    .map(Some);
            }
            Tok::String | Tok::RawString => {
                let text = self.unquoted(&token)?;
                Kind::String(token.text, text)
            }
            _ => {
                self.backup();
                return Ok(None);
            }
        };
        Ok(Some(node(token.at, kind)))
    }
}

fn node(at: usize, kind: Kind) -> Node {
    Node { at, kind }
}
