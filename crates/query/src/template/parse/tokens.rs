//! Tokens, with up to three of them put back, and faults told at the one that was read last.

use super::super::Error;
use super::super::lex::{Kind as Tok, Token};
use super::{Parsed, Parser, place};

impl Parser<'_> {
    pub(super) fn next(&mut self) -> Token {
        if self.peeked > 0 {
            self.peeked -= 1;
        } else {
            self.tokens[0] = self.lexer.next();
        }
        self.tokens[self.peeked].clone()
    }

    pub(super) fn backup(&mut self) {
        self.peeked += 1;
    }

    pub(super) fn backup2(&mut self, first: Token) {
        self.tokens[1] = first;
        self.peeked = 2;
    }

    pub(super) fn backup3(&mut self, first: Token, second: Token) {
        self.tokens[1] = second;
        self.tokens[2] = first;
        self.peeked = 3;
    }

    pub(super) fn peek(&mut self) -> &Token {
        if self.peeked == 0 {
            self.peeked = 1;
            self.tokens[0] = self.lexer.next();
        }
        &self.tokens[self.peeked - 1]
    }

    pub(super) fn next_non_space(&mut self) -> Token {
        loop {
            let token = self.next();
            if token.kind != Tok::Space {
                return token;
            }
        }
    }

    pub(super) fn peek_non_space(&mut self) -> Token {
        let token = self.next_non_space();
        self.backup();
        token
    }

    pub(super) fn error<T>(&self, message: impl std::fmt::Display) -> Parsed<T> {
        let token = &self.tokens[0];
        let (_, column) = place(&self.text, token.at);
        Err(Error {
            message: format!("template: {}:{}: {message}", self.parse_name, token.line),
            line: token.line,
            column,
        })
    }

    pub(super) fn expect(&mut self, kinds: &[Tok], context: &str) -> Parsed<Token> {
        let token = self.next_non_space();
        if kinds.contains(&token.kind) {
            return Ok(token);
        }
        self.unexpected(&token, context)
    }

    pub(super) fn unexpected<T>(&self, token: &Token, context: &str) -> Parsed<T> {
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
}
