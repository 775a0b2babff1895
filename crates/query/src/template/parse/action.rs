//! What stands between delimiters: branches, loops, blocks and calls of other templates.

use super::super::ast::{Branch, Kind, Node};
use super::super::lex::{Kind as Tok, Token};
use super::{Parsed, Parser, node};

impl Parser<'_> {
    pub(super) fn text_or_action(&mut self) -> Parsed<Node> {
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
}
