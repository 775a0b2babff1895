//! Cuts a template into text and the tokens of its actions.
//!
//! As in Go, nothing is a fault here: what cannot be read is a token of its own, so that the parser
//! says what it was about when it met it.

use crate::promql::quote;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Error,
    Bool,
    Char,
    CharConstant,
    Complex,
    Assign,
    Declare,
    Eof,
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    // Words with a meaning, from here on.
    Block,
    Break,
    Continue,
    Dot,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

impl Kind {
    fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            "block" => Self::Block,
            "break" => Self::Break,
            "continue" => Self::Continue,
            "define" => Self::Define,
            "else" => Self::Else,
            "end" => Self::End,
            "if" => Self::If,
            "nil" => Self::Nil,
            "range" => Self::Range,
            "template" => Self::Template,
            "with" => Self::With,
            _ => return None,
        })
    }

    fn is_word(self) -> bool {
        matches!(
            self,
            Self::Block
                | Self::Break
                | Self::Continue
                | Self::Dot
                | Self::Define
                | Self::Else
                | Self::End
                | Self::If
                | Self::Nil
                | Self::Range
                | Self::Template
                | Self::With
        )
    }
}

/// A token: what it is, where it starts, what it says, and the line it starts on.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: usize,
    pub(super) text: String,
    pub(super) line: usize,
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            Kind::Eof => f.write_str("EOF"),
            Kind::Error => f.write_str(&self.text),
            kind if kind.is_word() => write!(f, "<{}>", self.text),
            _ if self.text.len() > 10 => {
                let start: String = self.text.chars().take(10).collect();
                write!(f, "{}...", quote(&start))
            }
            _ => f.write_str(&quote(&self.text)),
        }
    }
}

/// The marks around an action.
#[derive(Clone, Debug)]
pub(super) struct Delimiters {
    pub(super) left: String,
    pub(super) right: String,
}

pub(super) struct Lexer<'a> {
    input: &'a str,
    delimiters: &'a Delimiters,
    at: usize,
    start: usize,
    line: usize,
    start_line: usize,
    paren_depth: i64,
    inside: bool,
    /// Whether `break` and `continue` are words, which they are unless there are functions so
    /// named.
    pub(super) break_ok: bool,
    pub(super) continue_ok: bool,
}

/// What a state of the lexer leads to.
enum Next {
    Token(Token),
    Text,
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn has_left_trim(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 2 && bytes[0] == b'-' && is_space(bytes[1] as char)
}

fn has_right_trim(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 2 && is_space(bytes[0] as char) && bytes[1] == b'-'
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|b| *b == b'\n').count()
}

/// A character as `%#U` writes it.
fn unicode(c: Option<char>) -> String {
    match c {
        // Go's end of file is -1.
        None => "U+FFFFFFFFFFFFFFFF".to_owned(),
        Some(c) if c.is_control() => format!("U+{:04X}", c as u32),
        Some(c) => format!("U+{:04X} '{c}'", c as u32),
    }
}

impl<'a> Lexer<'a> {
    pub(super) fn new(input: &'a str, delimiters: &'a Delimiters) -> Self {
        Self {
            input,
            delimiters,
            at: 0,
            start: 0,
            line: 1,
            start_line: 1,
            paren_depth: 0,
            inside: false,
            break_ok: true,
            continue_ok: true,
        }
    }

    fn rest(&self) -> &'a str {
        &self.input[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn token(&mut self, kind: Kind) -> Token {
        let token = Token {
            kind,
            at: self.start,
            text: self.input[self.start..self.at].to_owned(),
            line: self.start_line,
        };
        self.start = self.at;
        self.start_line = self.line;
        token
    }

    fn ignore(&mut self) {
        self.line += newlines(&self.input[self.start..self.at]);
        self.start = self.at;
        self.start_line = self.line;
    }

    fn error(&mut self, text: String) -> Token {
        let token = Token {
            kind: Kind::Error,
            at: self.start,
            text,
            line: self.start_line,
        };
        self.start = 0;
        self.at = 0;
        self.input = "";
        token
    }

    fn accept(&mut self, valid: &str) -> bool {
        let found = self.peek().is_some_and(|c| valid.contains(c));
        if found {
            self.bump();
        }
        found
    }

    fn accept_run(&mut self, valid: &str) {
        while self.accept(valid) {}
    }

    pub(super) fn next(&mut self) -> Token {
        if self.inside {
            return self.inside_action();
        }
        loop {
            match self.text() {
                Next::Token(token) => return token,
                Next::Text => {}
            }
        }
    }

    fn text(&mut self) -> Next {
        if let Some(found) = self.rest().find(&self.delimiters.left) {
            if found > 0 {
                self.at += found;
                let after = self.at + self.delimiters.left.len();
                let mut trim = 0;
                if has_left_trim(&self.input[after..]) {
                    let text = &self.input[self.start..self.at];
                    trim = text.len() - text.trim_end_matches(is_space).len();
                }
                self.at -= trim;
                self.line += newlines(&self.input[self.start..self.at]);
                let token = self.token(Kind::Text);
                self.at += trim;
                self.ignore();
                if !token.text.is_empty() {
                    return Next::Token(token);
                }
            }
            return self.left_delim();
        }
        self.at = self.input.len();
        if self.at > self.start {
            self.line += newlines(&self.input[self.start..self.at]);
            return Next::Token(self.token(Kind::Text));
        }
        Next::Token(self.token(Kind::Eof))
    }

    fn at_right_delim(&self) -> Option<bool> {
        let rest = self.rest();
        if has_right_trim(rest) && rest[2..].starts_with(&self.delimiters.right) {
            return Some(true);
        }
        rest.starts_with(&self.delimiters.right).then_some(false)
    }

    fn left_delim(&mut self) -> Next {
        self.at += self.delimiters.left.len();
        let marker = if has_left_trim(self.rest()) { 2 } else { 0 };
        if self.rest()[marker..].starts_with("/*") {
            self.at += marker;
            self.ignore();
            return self.comment();
        }
        let token = self.token(Kind::LeftDelim);
        self.inside = true;
        self.at += marker;
        self.ignore();
        self.paren_depth = 0;
        Next::Token(token)
    }

    fn comment(&mut self) -> Next {
        self.at += 2;
        let Some(end) = self.rest().find("*/") else {
            return Next::Token(self.error("unclosed comment".to_owned()));
        };
        self.at += end + 2;
        let Some(trim) = self.at_right_delim() else {
            let text = "comment ends before closing delimiter".to_owned();
            return Next::Token(self.error(text));
        };
        self.line += newlines(&self.input[self.start..self.at]);
        self.token(Kind::Text);
        if trim {
            self.at += 2;
        }
        self.at += self.delimiters.right.len();
        if trim {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start_matches(is_space).len();
        }
        self.ignore();
        Next::Text
    }

    fn right_delim(&mut self, trim: bool) -> Token {
        if trim {
            self.at += 2;
            self.ignore();
        }
        self.at += self.delimiters.right.len();
        let token = self.token(Kind::RightDelim);
        if trim {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start_matches(is_space).len();
            self.ignore();
        }
        self.inside = false;
        token
    }

    fn inside_action(&mut self) -> Token {
        if let Some(trim) = self.at_right_delim() {
            return match self.paren_depth {
                0 => self.right_delim(trim),
                _ => self.error("unclosed left paren".to_owned()),
            };
        }
        let Some(c) = self.peek() else {
            return self.error("unclosed action".to_owned());
        };
        if is_space(c) {
            return self.space();
        }
        if c == '+' || c == '-' || c.is_ascii_digit() {
            return self.number();
        }
        if c != '.' && is_alphanumeric(c) {
            return self.identifier();
        }
        self.bump();
        match c {
            '=' => self.token(Kind::Assign),
            ':' => match self.bump() {
                Some('=') => self.token(Kind::Declare),
                _ => self.error("expected :=".to_owned()),
            },
            '|' => self.token(Kind::Pipe),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string"),
            '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant"),
            '`' => loop {
                match self.bump() {
                    None => break self.error("unterminated raw quoted string".to_owned()),
                    Some('`') => break self.token(Kind::RawString),
                    Some(_) => {}
                }
            },
            '$' => self.field_or_variable(Kind::Variable),
            '.' => {
                let next = self.rest().bytes().next();
                if next.is_some_and(|b| !b.is_ascii_digit()) {
                    return self.field_or_variable(Kind::Field);
                }
                self.at -= 1;
                self.number()
            }
            '(' => {
                self.paren_depth += 1;
                self.token(Kind::LeftParen)
            }
            ')' => {
                self.paren_depth -= 1;
                if self.paren_depth < 0 {
                    return self.error("unexpected right paren".to_owned());
                }
                self.token(Kind::RightParen)
            }
            c if c.is_ascii() && !c.is_ascii_control() => self.token(Kind::Char),
            c => {
                let what = unicode(Some(c));
                self.error(format!("unrecognized character in action: {what}"))
            }
        }
    }

    fn space(&mut self) -> Token {
        let mut count = 0;
        while self.peek().is_some_and(is_space) {
            self.bump();
            count += 1;
        }
        // A mark that trims starts with a space, which is then no space of its own.
        let last = &self.input[self.at - 1..];
        if has_right_trim(last) && last[2..].starts_with(&self.delimiters.right) {
            self.at -= 1;
            if last.starts_with('\n') {
                self.line -= 1;
            }
            if count == 1 {
                return self.right_delim(true);
            }
        }
        self.token(Kind::Space)
    }

    fn at_terminator(&self) -> bool {
        match self.peek() {
            None | Some('.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(c) if is_space(c) => true,
            Some(_) => self.rest().starts_with(&self.delimiters.right),
        }
    }

    fn identifier(&mut self) -> Token {
        while self.peek().is_some_and(is_alphanumeric) {
            self.bump();
        }
        if !self.at_terminator() {
            let what = unicode(self.peek());
            return self.error(format!("bad character {what}"));
        }
        let word = &self.input[self.start..self.at];
        let kind = match Kind::of_word(word) {
            Some(Kind::Break) if !self.break_ok => Kind::Identifier,
            Some(Kind::Continue) if !self.continue_ok => Kind::Identifier,
            Some(kind) => kind,
            None if word == "true" || word == "false" => Kind::Bool,
            None => Kind::Identifier,
        };
        self.token(kind)
    }

    fn field_or_variable(&mut self, kind: Kind) -> Token {
        if self.at_terminator() {
            return self.token(match kind {
                Kind::Variable => Kind::Variable,
                _ => Kind::Dot,
            });
        }
        while self.peek().is_some_and(is_alphanumeric) {
            self.bump();
        }
        if !self.at_terminator() {
            let what = unicode(self.peek());
            return self.error(format!("bad character {what}"));
        }
        self.token(kind)
    }

    fn quoted(&mut self, end: char, kind: Kind, unterminated: &str) -> Token {
        loop {
            match self.bump() {
                Some('\\') => {
                    if matches!(self.bump(), None | Some('\n')) {
                        return self.error(unterminated.to_owned());
                    }
                }
                None | Some('\n') => return self.error(unterminated.to_owned()),
                Some(c) if c == end => return self.token(kind),
                Some(_) => {}
            }
        }
    }

    fn number(&mut self) -> Token {
        if !self.scan_number() {
            return self.bad_number();
        }
        if matches!(self.peek(), Some('+' | '-')) {
            if !self.scan_number() || !self.input[..self.at].ends_with('i') {
                return self.bad_number();
            }
            return self.token(Kind::Complex);
        }
        self.token(Kind::Number)
    }

    fn bad_number(&mut self) -> Token {
        let text = quote(&self.input[self.start..self.at]);
        self.error(format!("bad number syntax: {text}"))
    }

    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        if digits.len() == 11 && self.accept("eE") {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        if digits.len() == 23 && self.accept("pP") {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        self.accept("i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.bump();
            return false;
        }
        true
    }
}
