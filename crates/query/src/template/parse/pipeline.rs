//! Pipelines: declarations, commands and their operands.

use super::super::ast::{Kind, Node, Pipe};
use super::super::lex::Kind as Tok;
use super::super::number;
use super::{Parsed, Parser, node};
use crate::promql::quote;

impl Parser<'_> {
    pub(super) fn pipeline(&mut self, context: &str, end: Tok) -> Parsed<Node> {
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
