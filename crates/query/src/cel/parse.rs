//! From tokens to a tree, by precedence climbing. Nesting is bounded, so that neither parsing nor
//! anything that walks the tree can exhaust the stack.

use super::ast::{Call, Entry, Expr, Field, Id, Item, Kind};
use super::lex::{self, Placed, Token};
use super::macros;
use super::value::Value;
use super::{Issue, Source};
use std::sync::Arc;

/// How deep an expression may nest.
pub(crate) const DEPTH: u32 = 96;
/// How high a tree may be: chains of operators and selections add to nesting.
const HEIGHT: u16 = 192;
/// Longest expression in characters, as upstream.
const SOURCE_CHARS: usize = 100_000;
/// Nodes of one expression after expansion of macros.
const NODES: u32 = 200_000;

const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

pub(crate) struct Parser {
    tokens: Vec<Placed>,
    at: usize,
    depth: u32,
    next: Id,
}

pub(crate) type Parsed<T> = Result<T, Issue>;

/// Reads one expression.
pub(crate) fn parse(source: &Source) -> Parsed<(Expr, Id)> {
    if source.chars.len() > SOURCE_CHARS {
        return Err(Issue::new(
            0,
            format!(
                "expression code point size exceeds limit: size: {}, limit {SOURCE_CHARS}",
                source.chars.len()
            ),
        ));
    }
    let tokens = lex::tokens(&source.chars).map_err(|e| Issue::new(e.at, e.message))?;
    let mut parser = Parser {
        tokens,
        at: 0,
        depth: 0,
        next: 1,
    };
    let expr = parser.expr()?;
    if *parser.peek() != Token::End {
        return Err(parser.unexpected());
    }
    Ok((expr, parser.next))
}

fn too_deep(at: u32) -> Issue {
    Issue::new(at, format!("expression recursion limit exceeded: {DEPTH}"))
}

/// Nodes below this one, counted on the longest way.
fn height(kind: &Kind) -> u16 {
    let most = |parts: &mut dyn Iterator<Item = &Expr>| parts.map(|e| e.height).max().unwrap_or(0);
    1 + match kind {
        Kind::Const(_) | Kind::Ident(_) => 0,
        Kind::Select { operand, .. } => operand.height,
        Kind::Call(call) => most(&mut call.target.iter().chain(&call.args)),
        Kind::List(items) => most(&mut items.iter().map(|item| &item.value)),
        Kind::Map(entries) => most(&mut entries.iter().flat_map(|e| [&e.key, &e.value])),
        Kind::Struct(_, fields) => most(&mut fields.iter().map(|f| &f.value)),
        Kind::Fold(fold) => most(
            &mut [
                &fold.range,
                &fold.init,
                &fold.condition,
                &fold.step,
                &fold.result,
            ]
            .into_iter(),
        ),
    }
}

impl Parser {
    /// A new node.
    pub(crate) fn node(&mut self, at: u32, kind: Kind) -> Parsed<Expr> {
        if self.next > NODES {
            return Err(Issue::new(at, "expression has too many parts"));
        }
        let height = height(&kind);
        if height > HEIGHT {
            return Err(too_deep(at));
        }
        let id = self.next;
        self.next += 1;
        Ok(Expr {
            id,
            at,
            height,
            kind,
        })
    }

    /// A new call of a global function or an operator.
    pub(crate) fn call(&mut self, at: u32, function: &str, args: Vec<Expr>) -> Parsed<Expr> {
        self.node(
            at,
            Kind::Call(Box::new(Call {
                function: function.into(),
                target: None,
                args,
            })),
        )
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at].token
    }

    fn place(&self) -> u32 {
        self.tokens[self.at].at
    }

    // The end is never passed: it is the last token.
    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].token.clone();
        if token != Token::End {
            self.at += 1;
        }
        token
    }

    fn is(&self, mark: &str) -> bool {
        matches!(self.peek(), Token::Mark(found) if *found == mark)
    }

    fn take(&mut self, mark: &str) -> Option<u32> {
        let at = self.place();
        self.is(mark).then(|| {
            self.at += 1;
            at
        })
    }

    fn expect(&mut self, mark: &str) -> Parsed<u32> {
        match self.take(mark) {
            Some(at) => Ok(at),
            None => Err(self.unexpected()),
        }
    }

    fn unexpected(&self) -> Issue {
        let what = match self.peek() {
            Token::End => "'<EOF>'".to_string(),
            Token::Mark(mark) => format!("'{mark}'"),
            Token::Ident(name) => format!("'{name}'"),
            Token::Int(text) | Token::Uint(text) | Token::Float(text) => format!("'{text}'"),
            Token::Text(_) | Token::Bytes(_) => "string".to_string(),
        };
        Issue::new(
            self.place(),
            format!("Syntax error: mismatched input {what}"),
        )
    }

    fn expr(&mut self) -> Parsed<Expr> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(too_deep(self.place()));
        }
        let condition = self.or()?;
        let result = match self.take("?") {
            None => Ok(condition),
            Some(at) => {
                let yes = self.or()?;
                self.expect(":")?;
                let no = self.expr()?;
                self.call(at, "_?_:_", vec![condition, yes, no])
            }
        };
        self.depth -= 1;
        result
    }

    /// `||` above `&&` above the other operators; both chains are made in one place, so that a
    /// level of nesting takes few frames.
    fn or(&mut self) -> Parsed<Expr> {
        let mut outer = (Vec::new(), Vec::new());
        loop {
            let mut inner = (vec![self.binary(0)?], Vec::new());
            while let Some(at) = self.take("&&") {
                inner.1.push(at);
                inner.0.push(self.binary(0)?);
            }
            let term = self.balanced("_&&_", inner.0, &inner.1)?;
            outer.0.push(term);
            match self.take("||") {
                Some(at) => outer.1.push(at),
                None => break,
            }
        }
        self.balanced("_||_", outer.0, &outer.1)
    }

    /// A chain of one operator as a tree of small depth, split as upstream splits it.
    fn balanced(&mut self, function: &str, mut terms: Vec<Expr>, places: &[u32]) -> Parsed<Expr> {
        if terms.len() == 1 {
            return terms
                .pop()
                .ok_or_else(|| Issue::new(0, "Syntax error: no term"));
        }
        let middle_place = places.len() / 2;
        let right = terms.split_off(middle_place + 1);
        let left = self.balanced(function, terms, &places[..middle_place])?;
        let right = self.balanced(function, right, &places[middle_place + 1..])?;
        self.call(places[middle_place], function, vec![left, right])
    }

    /// Comparison, sums, products: the higher the tighter.
    fn operator(&self) -> Option<(u8, &'static str)> {
        let Token::Mark(mark) = self.peek() else {
            return None;
        };
        Some(match *mark {
            "<" => (1, "_<_"),
            "<=" => (1, "_<=_"),
            ">" => (1, "_>_"),
            ">=" => (1, "_>=_"),
            "==" => (1, "_==_"),
            "!=" => (1, "_!=_"),
            "in" => (1, "@in"),
            "+" => (2, "_+_"),
            "-" => (2, "_-_"),
            "*" => (3, "_*_"),
            "/" => (3, "_/_"),
            "%" => (3, "_%_"),
            _ => return None,
        })
    }

    fn binary(&mut self, above: u8) -> Parsed<Expr> {
        let mut left = self.unary()?;
        while let Some((level, function)) = self.operator().filter(|(level, _)| *level > above) {
            let at = self.place();
            self.at += 1;
            let right = self.binary(level)?;
            left = self.call(at, function, vec![left, right])?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let at = self.place();
        let mut count = 0;
        if self.is("!") {
            while self.take("!").is_some() {
                count += 1;
            }
            let operand = self.member()?;
            return match count % 2 {
                0 => Ok(operand),
                _ => self.call(at, "!_", vec![operand]),
            };
        }
        while self.take("-").is_some() {
            count += 1;
        }
        let number = matches!(self.peek(), Token::Int(_) | Token::Float(_));
        if count == 1 && number {
            // The last sign is the literal's own.
            self.at -= 1;
            count -= 1;
        }
        let operand = self.member()?;
        match count % 2 {
            0 => Ok(operand),
            _ => self.call(at, "-_", vec![operand]),
        }
    }

    fn member(&mut self) -> Parsed<Expr> {
        let mut operand = self.primary()?;
        loop {
            if let Some(at) = self.take(".") {
                let optional = self.take("?").is_some();
                let Token::Ident(name) = self.peek().clone() else {
                    return Err(self.unexpected());
                };
                self.at += 1;
                if optional {
                    let field = self.node(at, Kind::Const(Value::String(name)))?;
                    operand = self.call(at, "_?._", vec![operand, field])?;
                } else if let Some(open) = self.take("(") {
                    let args = self.arguments(")")?;
                    operand = macros::expand(self, open, &name, Some(operand), args)?;
                } else {
                    operand = self.node(
                        at,
                        Kind::Select {
                            operand: Box::new(operand),
                            field: name,
                            test: false,
                        },
                    )?;
                }
            } else if let Some(at) = self.take("[") {
                let optional = self.take("?").is_some();
                let index = self.expr()?;
                self.expect("]")?;
                let function = if optional { "_[?_]" } else { "_[_]" };
                operand = self.call(at, function, vec![operand, index])?;
            } else {
                return Ok(operand);
            }
        }
    }

    fn arguments(&mut self, close: &str) -> Parsed<Vec<Expr>> {
        let mut args = Vec::new();
        if self.take(close).is_some() {
            return Ok(args);
        }
        loop {
            args.push(self.expr()?);
            if self.take(",").is_none() {
                self.expect(close)?;
                return Ok(args);
            }
        }
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let at = self.place();
        match self.peek().clone() {
            Token::Mark("(") => {
                self.at += 1;
                let inner = self.expr()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Mark("[") => self.list(at),
            Token::Mark("{") => self.map(at),
            Token::Mark(".") => {
                self.at += 1;
                self.name(at, ".")
            }
            Token::Ident(_) => self.name(at, ""),
            _ => self.literal(at),
        }
    }

    fn name(&mut self, at: u32, prefix: &str) -> Parsed<Expr> {
        if let Some(name) = self.message_name() {
            return self.message(&name);
        }
        let place = self.place();
        let Token::Ident(name) = self.next() else {
            self.at = self.at.saturating_sub(1);
            return Err(self.unexpected());
        };
        if RESERVED.contains(&&*name) {
            return Err(Issue::new(place, format!("reserved identifier: {name}")));
        }
        if let Some(open) = self.take("(") {
            let args = self.arguments(")")?;
            return macros::expand(self, open, &name, None, args);
        }
        match prefix {
            "" => self.node(at, Kind::Ident(name)),
            prefix => self.node(place, Kind::Ident(format!("{prefix}{name}").into())),
        }
    }

    /// `a.b.C` where a brace follows: the name of a message; consumed only then.
    fn message_name(&mut self) -> Option<String> {
        let mut at = self.at;
        let mut name = String::new();
        loop {
            let Token::Ident(part) = &self.tokens.get(at)?.token else {
                return None;
            };
            name.push_str(part);
            at += 1;
            match self.tokens.get(at)?.token {
                Token::Mark(".") => name.push('.'),
                Token::Mark("{") => break,
                _ => return None,
            }
            at += 1;
        }
        self.at = at;
        Some(name)
    }

    fn message(&mut self, name: &str) -> Parsed<Expr> {
        let at = self.expect("{")?;
        let mut fields = Vec::new();
        while !self.is("}") {
            let optional = self.take("?").is_some();
            let Token::Ident(field) = self.peek().clone() else {
                return Err(self.unexpected());
            };
            self.at += 1;
            let colon = self.expect(":")?;
            let value = self.expr()?;
            fields.push(Field {
                name: field,
                at: colon,
                value,
                optional,
            });
            if self.take(",").is_none() {
                break;
            }
        }
        self.expect("}")?;
        self.node(at, Kind::Struct(name.into(), fields))
    }

    fn list(&mut self, at: u32) -> Parsed<Expr> {
        self.at += 1;
        let mut items = Vec::new();
        if self.is(",") {
            self.at += 1;
        }
        while !self.is("]") {
            let optional = self.take("?").is_some();
            let value = self.expr()?;
            items.push(Item { value, optional });
            if self.take(",").is_none() {
                break;
            }
        }
        self.expect("]")?;
        self.node(at, Kind::List(items))
    }

    fn map(&mut self, at: u32) -> Parsed<Expr> {
        self.at += 1;
        let mut entries = Vec::new();
        if self.is(",") {
            self.at += 1;
        }
        while !self.is("}") {
            let optional = self.take("?").is_some();
            let key = self.expr()?;
            self.expect(":")?;
            let value = self.expr()?;
            entries.push(Entry {
                key,
                value,
                optional,
            });
            if self.take(",").is_none() {
                break;
            }
        }
        self.expect("}")?;
        self.node(at, Kind::Map(entries))
    }

    fn literal(&mut self, at: u32) -> Parsed<Expr> {
        let negative = self.take("-").is_some();
        let value = match self.next() {
            Token::Int(text) => Value::Int(
                int(&text, negative).ok_or_else(|| Issue::new(at, "invalid int literal"))?,
            ),
            Token::Uint(text) if !negative => Value::Uint(
                match text.strip_prefix("0x") {
                    Some(hex) => u64::from_str_radix(hex, 16),
                    None => text.parse(),
                }
                .map_err(|_| Issue::new(at, "invalid uint literal"))?,
            ),
            Token::Float(text) => {
                let number: f64 = text
                    .parse()
                    .map_err(|_| Issue::new(at, "invalid double literal"))?;
                if number.is_infinite() {
                    return Err(Issue::new(at, "invalid double literal"));
                }
                Value::Double(if negative { -number } else { number })
            }
            Token::Text(text) if !negative => Value::String(text.into()),
            Token::Bytes(bytes) if !negative => Value::Bytes(bytes.into()),
            Token::Mark("true") if !negative => Value::Bool(true),
            Token::Mark("false") if !negative => Value::Bool(false),
            Token::Mark("null") if !negative => Value::Null,
            Token::End => return Err(self.unexpected()),
            _ => {
                self.at -= 1;
                return Err(self.unexpected());
            }
        };
        self.node(at, Kind::Const(value))
    }
}

fn int(text: &str, negative: bool) -> Option<i64> {
    let number: i128 = match text.strip_prefix("0x") {
        Some(hex) => i128::from_str_radix(hex, 16).ok()?,
        None => text.parse().ok()?,
    };
    i64::try_from(if negative { -number } else { number }).ok()
}

/// The name a variable of a macro has.
pub(crate) fn simple_name(expr: &Expr) -> Option<Arc<str>> {
    match &expr.kind {
        Kind::Ident(name) => Some(name.clone()),
        _ => None,
    }
}
