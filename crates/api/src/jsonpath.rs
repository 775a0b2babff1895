//! JSONPath as printer columns and `kubectl` use it: fields, indexes, slices, wildcards, recursive
//! descent, unions and filters.

use serde_json::Value;
use std::cmp::Ordering;

/// Longest expression and most steps that are read.
const MAX_BYTES: usize = 4096;
/// Most values an evaluation carries from one step to the next.
const MAX_VALUES: usize = 100_000;

/// Why a text is no path.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("JSONPath {path:?} at {at}: {why}")]
pub struct Error {
    path: String,
    at: usize,
    why: &'static str,
}

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Wildcard,
    Recursive,
    Union(Vec<Pick>),
    Filter(Box<Filter>),
}

#[derive(Debug, Clone, PartialEq)]
enum Pick {
    Field(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>, i64),
}

#[derive(Debug, Clone, PartialEq)]
struct Filter {
    left: Operand,
    test: Option<(Compare, Operand)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Path(Path),
    Literal(Value),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Path {
    /// Parses `.a.b[0]['c']`, with or without `{}` around and `$` before it.
    pub fn parse(text: &str) -> Result<Path, Error> {
        let inner = text.trim();
        let inner = inner
            .strip_prefix('{')
            .and_then(|t| t.strip_suffix('}'))
            .unwrap_or(inner);
        let mut parser = Parser {
            text: inner,
            at: 0,
            depth: 0,
        };
        if inner.len() > MAX_BYTES {
            return Err(parser.error("too long"));
        }
        parser.eat("$");
        let path = parser.path(false)?;
        if parser.at < inner.len() {
            return Err(parser.error("unexpected character"));
        }
        Ok(path)
    }

    /// All values the path leads to.
    pub fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        let mut found = vec![value];
        for step in &self.0 {
            let mut next = Vec::new();
            for value in found {
                step.apply(value, &mut next);
                if next.len() > MAX_VALUES {
                    break;
                }
            }
            found = next;
        }
        found
    }

    /// The first value, where there is one.
    pub fn first<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.find(value).into_iter().next()
    }
}

impl Step {
    fn apply<'v>(&self, value: &'v Value, out: &mut Vec<&'v Value>) {
        match self {
            Step::Field(name) => out.extend(value.get(name)),
            Step::Wildcard => children(value, out),
            Step::Recursive => descend(value, out, 0),
            Step::Union(picks) => picks.iter().for_each(|pick| pick.apply(value, out)),
            Step::Filter(filter) => {
                let mut items = Vec::new();
                children(value, &mut items);
                out.extend(items.into_iter().filter(|item| filter.holds(item)));
            }
        }
    }
}

fn children<'v>(value: &'v Value, out: &mut Vec<&'v Value>) {
    match value {
        Value::Array(items) => out.extend(items),
        Value::Object(map) => out.extend(map.values()),
        _ => {}
    }
}

fn descend<'v>(value: &'v Value, out: &mut Vec<&'v Value>, depth: usize) {
    if depth > 128 || out.len() > MAX_VALUES {
        return;
    }
    out.push(value);
    let mut below = Vec::new();
    children(value, &mut below);
    below
        .into_iter()
        .for_each(|value| descend(value, out, depth + 1));
}

impl Pick {
    fn apply<'v>(&self, value: &'v Value, out: &mut Vec<&'v Value>) {
        match self {
            Pick::Field(name) => out.extend(value.get(name)),
            Pick::Index(index) => {
                if let Value::Array(items) = value {
                    let at = if *index < 0 {
                        *index + items.len() as i64
                    } else {
                        *index
                    };
                    out.extend(usize::try_from(at).ok().and_then(|at| items.get(at)));
                }
            }
            Pick::Slice(from, to, step) => {
                let Value::Array(items) = value else { return };
                let length = items.len() as i64;
                let place = |at: i64| {
                    if at < 0 {
                        (at + length).max(0)
                    } else {
                        at.min(length)
                    }
                };
                let (from, to) = (place(from.unwrap_or(0)), place(to.unwrap_or(length)));
                let step = usize::try_from((*step).max(1)).unwrap_or(1);
                if from < to {
                    out.extend(items[from as usize..to as usize].iter().step_by(step));
                }
            }
        }
    }
}

impl Operand {
    fn value<'a>(&'a self, item: &'a Value) -> Option<&'a Value> {
        match self {
            Operand::Literal(value) => Some(value),
            Operand::Path(path) => path.first(item),
        }
    }
}

impl Filter {
    fn holds(&self, item: &Value) -> bool {
        let left = self.left.value(item);
        let Some((compare, right)) = &self.test else {
            return left.is_some();
        };
        let (Some(left), Some(right)) = (left, right.value(item)) else {
            return false;
        };
        let order = match (left, right) {
            (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (a, b) if a == b => Some(Ordering::Equal),
            _ => None,
        };
        match compare {
            Compare::Equal => order == Some(Ordering::Equal),
            Compare::NotEqual => order != Some(Ordering::Equal),
            Compare::Less => order == Some(Ordering::Less),
            Compare::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Compare::Greater => order == Some(Ordering::Greater),
            Compare::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, why: &'static str) -> Error {
        Error {
            path: self.text.chars().take(200).collect(),
            at: self.at,
            why,
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn skip(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn path(&mut self, in_filter: bool) -> Result<Path, Error> {
        let mut steps = Vec::new();
        loop {
            if self.eat("..") {
                steps.push(Step::Recursive);
                if !self.rest().starts_with('[') {
                    steps.push(self.name(in_filter)?);
                }
            } else if self.eat(".") {
                let end = self.rest().is_empty() || self.rest().starts_with('[');
                if !end {
                    steps.push(self.name(in_filter)?);
                }
            } else if self.eat("[") {
                steps.push(self.bracket()?);
            } else if steps.is_empty() && !in_filter && !self.rest().is_empty() {
                steps.push(self.name(in_filter)?);
            } else {
                return Ok(Path(steps));
            }
        }
    }

    fn name(&mut self, in_filter: bool) -> Result<Step, Error> {
        if self.eat("*") {
            return Ok(Step::Wildcard);
        }
        let mut name = String::new();
        let mut escaped = false;
        for c in self.rest().chars() {
            let stop = matches!(c, '.' | '[' | ']')
                || (in_filter && (c.is_whitespace() || "=!<>)&|".contains(c)));
            if !escaped && c == '\\' {
                escaped = true;
                self.at += 1;
                continue;
            }
            if stop && !escaped {
                break;
            }
            escaped = false;
            name.push(c);
            self.at += c.len_utf8();
        }
        if name.is_empty() {
            Err(self.error("a field name is missing"))
        } else {
            Ok(Step::Field(name))
        }
    }

    fn bracket(&mut self) -> Result<Step, Error> {
        self.skip();
        if self.eat("?(") {
            let filter = self.filter()?;
            self.skip();
            if !(self.eat(")") && self.close()) {
                return Err(self.error("the filter is not closed"));
            }
            return Ok(Step::Filter(Box::new(filter)));
        }
        if self.eat("*") {
            return if self.close() {
                Ok(Step::Wildcard)
            } else {
                Err(self.error("expected ']'"))
            };
        }
        let mut picks = Vec::new();
        loop {
            self.skip();
            picks.push(self.pick()?);
            if self.close() {
                return Ok(Step::Union(picks));
            }
            if !self.eat(",") {
                return Err(self.error("expected ',' or ']'"));
            }
        }
    }

    fn close(&mut self) -> bool {
        self.skip();
        self.eat("]")
    }

    fn pick(&mut self) -> Result<Pick, Error> {
        if let Some(text) = self.quoted()? {
            return Ok(Pick::Field(text));
        }
        let first = self.number()?;
        if !self.eat(":") {
            return first
                .map(Pick::Index)
                .ok_or_else(|| self.error("expected an index or a quoted name"));
        }
        let second = self.number()?;
        let step = if self.eat(":") {
            self.number()?.unwrap_or(1)
        } else {
            1
        };
        if step < 1 {
            return Err(self.error("the step must be positive"));
        }
        Ok(Pick::Slice(first, second, step))
    }

    fn number(&mut self) -> Result<Option<i64>, Error> {
        let length = self
            .rest()
            .bytes()
            .take_while(|c| c.is_ascii_digit() || *c == b'-')
            .count();
        if length == 0 {
            return Ok(None);
        }
        let number = self.rest()[..length]
            .parse()
            .map_err(|_| self.error("not a number"))?;
        self.at += length;
        Ok(Some(number))
    }

    fn quoted(&mut self) -> Result<Option<String>, Error> {
        let Some(quote) = self
            .rest()
            .chars()
            .next()
            .filter(|c| matches!(c, '\'' | '"'))
        else {
            return Ok(None);
        };
        self.at += 1;
        let mut text = String::new();
        let mut escaped = false;
        for c in self.rest().chars() {
            self.at += c.len_utf8();
            match c {
                '\\' if !escaped => escaped = true,
                c if c == quote && !escaped => return Ok(Some(text)),
                c => {
                    escaped = false;
                    text.push(c);
                }
            }
        }
        Err(self.error("the text is not closed"))
    }

    fn filter(&mut self) -> Result<Filter, Error> {
        self.depth += 1;
        if self.depth > 8 {
            return Err(self.error("filters are nested too deeply"));
        }
        let left = self.operand()?;
        self.skip();
        let operators = [
            ("==", Compare::Equal),
            ("!=", Compare::NotEqual),
            ("<=", Compare::LessOrEqual),
            (">=", Compare::GreaterOrEqual),
            ("<", Compare::Less),
            (">", Compare::Greater),
        ];
        let compare = operators
            .into_iter()
            .find(|(token, _)| self.eat(token))
            .map(|(_, compare)| compare);
        let test = match compare {
            Some(compare) => Some((compare, self.operand()?)),
            None => None,
        };
        self.depth -= 1;
        Ok(Filter { left, test })
    }

    fn operand(&mut self) -> Result<Operand, Error> {
        self.skip();
        if self.eat("@") {
            return self.path(true).map(Operand::Path);
        }
        if let Some(text) = self.quoted()? {
            return Ok(Operand::Literal(text.into()));
        }
        let end = self
            .rest()
            .find(|c: char| c.is_whitespace() || "=!<>)".contains(c))
            .unwrap_or(self.rest().len());
        let word = &self.rest()[..end];
        let value = serde_json::from_str(word)
            .map_err(|_| self.error("expected @, a number or a quoted text"))?;
        self.at += end;
        Ok(Operand::Literal(value))
    }
}

/// A value as `kubectl` prints it: text as is, the rest as JSON.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn find(path: &str) -> Vec<Value> {
        let value = json!({"a": {"b.c": 1, "list": [{"t": "x", "n": 1}, {"t": "y", "n": 2, "deep": {"t": "z"}}]}, "s": "v"});
        Path::parse(path)
            .unwrap()
            .find(&value)
            .into_iter()
            .cloned()
            .collect()
    }

    #[test]
    fn paths() {
        let cases = [
            (".s", json!(["v"])),
            ("{.s}", json!(["v"])),
            ("$.s", json!(["v"])),
            ("s", json!(["v"])),
            (".a['b.c']", json!([1])),
            (r".a.b\.c", json!([1])),
            (".a.list[0].t", json!(["x"])),
            (".a.list[-1].n", json!([2])),
            (".a.list[*].n", json!([1, 2])),
            (".a.list[0:1].n", json!([1])),
            (".a.list[0,1].n", json!([1, 2])),
            (r#".a.list[?(@.t=="y")].n"#, json!([2])),
            (".a.list[?(@.n > 1)].t", json!(["y"])),
            (".a.list[?(@.deep)].n", json!([2])),
            ("..t", json!(["x", "y", "z"])),
            (".missing.x", json!([])),
            (".a.list[9]", json!([])),
            (".a.list[?(@.t!='y')].n", json!([1])),
            (".a.list[?(@.deep.t=='z')].t", json!(["y"])),
        ];
        for (path, wanted) in cases {
            assert_eq!(Value::Array(find(path)), wanted, "{path}");
        }
        for bad in [
            ".a[",
            ".a[x]",
            ".a[?(@.b]",
            ".a[0:1:0]",
            ".a['x]",
            "..",
            ".a]",
        ] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
    }
}
