//! What an expression may name, and what becomes of it once it is read.

use super::ast::Expr;
use super::check::{self, Checked};
use super::functions::{self, Overload};
use super::types::{Object, Type};
use super::{Estimate, Outcome, Shape, Variables};
use super::{estimate, eval, fold, parse};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Variables and messages with their types.
#[derive(Debug, Clone, Default)]
pub struct Env {
    variables: HashMap<Arc<str>, Type>,
    messages: HashMap<Arc<str>, Arc<Object>>,
}

/// A mistake and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Characters before it.
    pub at: u32,
    /// What is wrong.
    pub message: String,
}

impl Issue {
    pub(crate) fn new(at: u32, message: impl Into<String>) -> Self {
        Issue {
            at,
            message: message.into(),
        }
    }
}

/// Why an expression was refused; displayed with lines and columns as upstream does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issues {
    source: Vec<char>,
    /// Every mistake, in the order of their places.
    pub found: Vec<Issue>,
    /// The expression is well formed, but constants in it have no meaning; there is no place.
    pub unplaced: bool,
}

/// Most mistakes that are told of one expression.
const TOLD: usize = 100;

impl fmt::Display for Issues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (true, Some(issue)) = (self.unplaced, self.found.first()) {
            return f.write_str(&issue.message);
        }
        for (number, issue) in self.found.iter().take(TOLD).enumerate() {
            let at = (issue.at as usize).min(self.source.len());
            let before = &self.source[..at];
            let line = before.iter().filter(|c| **c == '\n').count() + 1;
            let begin = before
                .iter()
                .rposition(|c| *c == '\n')
                .map_or(0, |place| place + 1);
            let column = at - begin;
            let text: String = self.source[begin..]
                .iter()
                .take_while(|c| **c != '\n')
                .map(|c| if *c == '\t' { ' ' } else { *c })
                .collect();
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(
                f,
                "ERROR: <input>:{line}:{}: {}\n | {text}\n | {}^",
                column + 1,
                issue.message,
                ".".repeat(column)
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for Issues {}

/// The text of an expression.
pub(crate) struct Source {
    pub(crate) chars: Vec<char>,
}

/// A checked expression.
#[derive(Debug, Clone)]
pub struct Program {
    pub(crate) expr: Arc<Expr>,
    /// With what is constant computed.
    pub(crate) folded: Arc<Expr>,
    pub(crate) checked: Arc<Checked>,
    output: Type,
}

impl Env {
    /// Without any variables.
    pub fn new() -> Self {
        Env::default()
    }

    /// With one more variable.
    pub fn with(mut self, name: &str, kind: Type) -> Self {
        self.variables.insert(name.into(), kind);
        self
    }

    /// Without a variable.
    pub fn without(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    /// With one more message that expressions may make. One without fields takes any, and so do
    /// those of its fields: with `Object` there are `Object.spec` and `Object.spec.template`.
    pub fn with_message(mut self, name: &str, object: Arc<Object>) -> Self {
        self.messages.insert(name.into(), object);
        self
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&Type> {
        self.variables.get(name)
    }

    pub(crate) fn message(&self, name: &str) -> Option<Arc<Object>> {
        if let Some(known) = self.messages.get(name) {
            return Some(known.clone());
        }
        let (root, _) = name.split_once('.')?;
        let open = self.messages.get(root)?.fields.is_empty();
        open.then(|| {
            Arc::new(Object {
                name: name.to_string(),
                ..Object::default()
            })
        })
    }

    /// Overloads of a function, where it is known here.
    pub(crate) fn overloads(&self, function: &str) -> Option<&'static [Arc<Overload>]> {
        let patches = self.messages.contains_key("JSONPatch");
        functions::overloads(function).filter(|_| patches || function != "jsonpatch.escapeKey")
    }

    /// Reads and checks an expression.
    pub fn compile(&self, text: &str) -> Result<Program, Issues> {
        let source = Source {
            chars: text.chars().collect(),
        };
        let refused = |source: Source, mut found: Vec<Issue>| {
            found.sort_by_key(|issue| issue.at);
            Err(Issues {
                source: source.chars,
                found,
                unplaced: false,
            })
        };
        let (mut expr, nodes) = match parse::parse(&source) {
            Ok(parsed) => parsed,
            Err(issue) => return refused(source, vec![issue]),
        };
        let (checked, issues) = check::check(self, &mut expr, nodes);
        if !issues.is_empty() {
            return refused(source, issues);
        }
        let output = checked.types[expr.id as usize].clone();
        let mut folded = expr.clone();
        if let Err(why) = fold::run(&mut folded) {
            return Err(Issues {
                source: source.chars,
                found: vec![Issue::new(0, why)],
                unplaced: true,
            });
        }
        Ok(Program {
            expr: Arc::new(expr),
            folded: Arc::new(folded),
            checked: Arc::new(checked),
            output,
        })
    }
}

impl Program {
    pub(crate) fn empty() -> Self {
        let expr = Arc::new(Expr {
            id: 0,
            at: 0,
            height: 1,
            kind: super::ast::Kind::Const(super::Value::Null),
        });
        Program {
            expr: expr.clone(),
            folded: expr,
            checked: Arc::default(),
            output: Type::Dyn,
        }
    }

    /// Type of the result.
    pub fn output(&self) -> &Type {
        &self.output
    }

    /// Whether a variable is named anywhere.
    pub fn names(&self, variable: &str) -> bool {
        let mut found = false;
        self.expr.each(&mut |node| {
            if let super::ast::Kind::Ident(name) = &node.kind {
                found |= &**name == variable;
            }
        });
        found
    }

    /// Evaluates within a budget of steps.
    pub fn eval(&self, variables: &dyn Variables, limit: u64) -> Outcome {
        eval::run(self, variables, limit)
    }

    /// The least and the most it can cost, given the shapes of its variables.
    pub fn estimate(&self, shapes: &[(&str, &Shape)]) -> Estimate {
        estimate::run(self, shapes)
    }
}
