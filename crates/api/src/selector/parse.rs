//! The grammar of label selectors in query strings: words and signs first, then requirements.
//! What is found where is told as upstream tells it, because people read it in `kubectl`.

use super::Error;
use super::label::{Label, Operator, Requirement};
use crate::field::quote;
use crate::names;
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Sign(&'a str),
    Word(&'a str),
    End,
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Token::Sign(text) | Token::Word(text) => text,
            Token::End => "",
        }
    }

    /// Whether a key or `!` may stand here.
    fn begins(self) -> bool {
        matches!(self, Token::Word(_) | Token::Sign("!"))
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_sign(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '<' | '>')
}

struct Tokens<'a>(&'a str);

impl<'a> Tokens<'a> {
    fn split(&mut self, at: usize) -> &'a str {
        let (token, rest) = self.0.split_at(at);
        self.0 = rest;
        token
    }

    fn peek(&self) -> Token<'a> {
        Tokens(self.0).next()
    }

    fn next(&mut self) -> Token<'a> {
        self.0 = self.0.trim_start_matches(is_space);
        let Some(first) = self.0.chars().next() else {
            return Token::End;
        };
        if is_sign(first) {
            let double = self.0.starts_with("==") || self.0.starts_with("!=");
            return Token::Sign(self.split(if double { 2 } else { 1 }));
        }
        let end = self.0.find(|c| is_space(c) || is_sign(c));
        Token::Word(self.split(end.unwrap_or(self.0.len())))
    }
}

/// Parses `a=b,c!=d,e in (f,g),h,!i,j>1`.
pub(super) fn parse(text: &str) -> Result<Label, Error> {
    let mut tokens = Tokens(text);
    let mut requirements = Vec::new();
    loop {
        match tokens.peek() {
            Token::End => break,
            token if token.begins() => {}
            other => {
                return Err(Error::List(format!(
                    "found '{}', expected: !, identifier, or 'end of string'",
                    other.text()
                )));
            }
        }
        requirements.push(requirement(&mut tokens).map_err(Error::Label)?);
        match tokens.next() {
            Token::End => break,
            Token::Sign(",") if tokens.peek().begins() => {}
            Token::Sign(",") => {
                let found = tokens.peek().text();
                let why = format!("found '{found}', expected: identifier after ','");
                return Err(Error::List(why));
            }
            other => {
                let found = other.text();
                let why = format!("found '{found}', expected: ',' or 'end of string'");
                return Err(Error::List(why));
            }
        }
    }
    Ok(Label::of(requirements))
}

fn requirement(tokens: &mut Tokens<'_>) -> Result<Requirement, String> {
    let negated = tokens.peek() == Token::Sign("!");
    if negated {
        tokens.next();
    }
    let key = match tokens.next() {
        Token::Word(key) => key,
        other => return Err(format!("found '{}', expected: identifier", other.text())),
    };
    let wrong = names::qualified_name(key);
    if !wrong.is_empty() {
        let why = wrong.join("; ");
        return Err(format!("<nil>: Invalid value: {}: {why}", quote(key)));
    }
    let only_key = matches!(tokens.peek(), Token::End | Token::Sign(","));
    if negated || only_key {
        let operator = if negated {
            Operator::Missing
        } else {
            Operator::Exists
        };
        return Ok(Requirement {
            key: key.into(),
            operator,
            values: Vec::new(),
        });
    }
    let sign = tokens.next().text();
    let values = match sign {
        "in" | "notin" => list(tokens)?,
        "=" | "==" | "!=" | ">" | "<" => BTreeSet::from([one(tokens)?]),
        other => {
            return Err(format!(
                "found '{other}', expected: in, notin, =, ==, !=, gt, lt"
            ));
        }
    };
    let mut wrong = Vec::new();
    let number = values.first().and_then(|value| value.parse::<i64>().ok());
    if matches!(sign, ">" | "<") && number.is_none() {
        let value = quote(values.first().copied().unwrap_or_default());
        wrong.push(format!("values[0]: Invalid value: {value}: for 'Gt', 'Lt' operators, the value must be an integer"));
    }
    for (at, value) in values.iter().enumerate() {
        let found = names::label_value(value);
        if !found.is_empty() {
            let (value, why) = (quote(value), found.join("; "));
            wrong.push(format!(
                "values[{at}][{key}]: Invalid value: {value}: {why}"
            ));
        }
    }
    match wrong.as_slice() {
        [] => {}
        [one] => return Err(one.clone()),
        several => return Err(format!("[{}]", several.join(", "))),
    }
    let number = number.unwrap_or_default();
    let operator = match sign {
        "!=" | "notin" => Operator::NotIn,
        ">" => Operator::Greater(number),
        "<" => Operator::Less(number),
        _ => Operator::In,
    };
    let is_list = matches!(operator, Operator::In | Operator::NotIn);
    Ok(Requirement {
        key: key.into(),
        operator,
        values: match is_list {
            true => values.into_iter().map(str::to_string).collect(),
            false => Vec::new(),
        },
    })
}

/// The value after a sign; none is the empty one.
fn one<'a>(tokens: &mut Tokens<'a>) -> Result<&'a str, String> {
    if matches!(tokens.peek(), Token::End | Token::Sign(",")) {
        return Ok("");
    }
    match tokens.next() {
        Token::Word(value) => Ok(value),
        other => Err(format!("found '{}', expected: identifier", other.text())),
    }
}

/// `(a,b)`, whose values may be empty.
fn list<'a>(tokens: &mut Tokens<'a>) -> Result<BTreeSet<&'a str>, String> {
    match tokens.next() {
        Token::Sign("(") => {}
        other => return Err(format!("found '{}' expected: '('", other.text())),
    }
    match tokens.peek() {
        Token::Word(_) | Token::Sign("," | ")") => {}
        other => {
            let found = other.text();
            return Err(format!("found '{found}', expected: ',', ')' or identifier"));
        }
    }
    let mut values = BTreeSet::new();
    let mut empty = true;
    loop {
        match tokens.next() {
            Token::Word(value) => {
                values.insert(value);
                empty = false;
                match tokens.peek() {
                    Token::Sign("," | ")") => {}
                    other => {
                        let found = other.text();
                        return Err(format!("found '{found}', expected: ',' or ')'"));
                    }
                }
            }
            Token::Sign(",") => {
                if empty || matches!(tokens.peek(), Token::Sign("," | ")")) {
                    values.insert("");
                }
                empty = matches!(tokens.peek(), Token::Sign(")"));
            }
            Token::Sign(")") => {
                if values.is_empty() {
                    values.insert("");
                }
                return Ok(values);
            }
            other => {
                let found = other.text();
                return Err(format!("found '{found}', expected: ',', or identifier"));
            }
        }
    }
}
