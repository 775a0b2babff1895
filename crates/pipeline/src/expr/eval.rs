//! Evaluation: a pure function of tree, contexts and budget.

use super::functions;
use super::parse::{Expr, Operator};
use super::value::Value;
use std::sync::Arc;

/// Most bytes that values made by one evaluation may take together.
const LIMIT_BYTES: usize = 10 << 20;

/// How earlier steps, or needed jobs, ended; what the status functions answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// One failed.
    pub failed: bool,
    /// The run or job is being cancelled.
    pub cancelled: bool,
    /// One was skipped or cancelled, so `success()` does not hold although none failed.
    pub incomplete: bool,
}

/// Answers `hashFiles(patterns…)`.
pub type HashFiles<'a> = &'a dyn Fn(&[String]) -> Result<String, String>;

/// What an expression can see.
#[derive(Clone)]
pub struct Scope<'a> {
    /// Object of contexts by name.
    pub contexts: &'a Value,
    /// For the status functions.
    pub status: Status,
    /// For `hashFiles`; `None` where there is no workspace.
    pub hash_files: Option<HashFiles<'a>>,
}

impl<'a> Scope<'a> {
    /// A scope without workspace.
    pub fn new(contexts: &'a Value, status: Status) -> Self {
        Self {
            contexts,
            status,
            hash_files: None,
        }
    }
}

pub(super) struct Machine<'a> {
    pub(super) scope: &'a Scope<'a>,
    pub(super) spent: usize,
}

/// Evaluates a tree.
pub fn eval(expr: &Expr, scope: &Scope<'_>) -> Result<Value, String> {
    Machine { scope, spent: 0 }.eval(expr)
}

impl Machine<'_> {
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), String> {
        self.spent += bytes;
        if self.spent > LIMIT_BYTES {
            return Err(format!(
                "the expression needs more than {LIMIT_BYTES} bytes"
            ));
        }
        Ok(())
    }

    pub(super) fn eval(&mut self, expr: &Expr) -> Result<Value, String> {
        Ok(match expr {
            Expr::Null => Value::Null,
            Expr::Bool(value) => Value::Bool(*value),
            Expr::Number(value) => Value::Number(*value),
            Expr::Text(text) => Value::text(text),
            Expr::Context(name, _) => self.scope.contexts.get(name),
            Expr::Index(base, index) => {
                let starred = matches!(**base, Expr::Star(_));
                let base = self.eval(base)?;
                let index = self.eval(index)?;
                self.index(&base, &index, starred)?
            }
            Expr::Star(base) => {
                let base = self.eval(base)?;
                self.star(&base)?
            }
            Expr::Not(inner) => Value::Bool(!self.eval(inner)?.truthy()),
            Expr::Binary(op, left, right) => self.binary(*op, left, right)?,
            Expr::Call(name, arguments, _) => functions::call(self, name, arguments)?,
        })
    }

    // After a `.*`, an index applies to every element.
    fn index(&mut self, base: &Value, index: &Value, starred: bool) -> Result<Value, String> {
        if starred && let Value::Array(items) = base {
            let found: Vec<Value> = items
                .iter()
                .map(|i| pick(i, index))
                .filter(|v| !matches!(v, Value::Null))
                .collect();
            self.spend(found.len() * 16)?;
            return Ok(Value::Array(Arc::new(found)));
        }
        Ok(pick(base, index))
    }

    fn star(&mut self, base: &Value) -> Result<Value, String> {
        let items: Vec<Value> = match base {
            Value::Array(items) => items.to_vec(),
            Value::Object(entries) => entries.iter().map(|(_, v)| v.clone()).collect(),
            _ => Vec::new(),
        };
        self.spend(items.len() * 16)?;
        Ok(Value::Array(Arc::new(items)))
    }

    fn binary(&mut self, op: Operator, left: &Expr, right: &Expr) -> Result<Value, String> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let left = self.eval(left)?;
        match op {
            Operator::And if !left.truthy() => return Ok(left),
            Operator::Or if left.truthy() => return Ok(left),
            _ => {}
        }
        let right = self.eval(right)?;
        Ok(match op {
            Operator::And | Operator::Or => right,
            Operator::Equal => Value::Bool(left.loosely_equals(&right)),
            Operator::NotEqual => Value::Bool(!left.loosely_equals(&right)),
            Operator::Less => Value::Bool(left.order(&right) == Some(Less)),
            Operator::LessEqual => Value::Bool(matches!(left.order(&right), Some(Less | Equal))),
            Operator::Greater => Value::Bool(left.order(&right) == Some(Greater)),
            Operator::GreaterEqual => {
                Value::Bool(matches!(left.order(&right), Some(Greater | Equal)))
            }
        })
    }
}

fn pick(base: &Value, index: &Value) -> Value {
    match (base, index) {
        (Value::Array(items), Value::Number(_) | Value::Text(_)) => {
            let number = index.to_number();
            if number >= 0.0 {
                items.get(number as usize).cloned().unwrap_or(Value::Null)
            } else {
                Value::Null
            }
        }
        (Value::Object(_), Value::Text(key)) => base.get(key),
        (Value::Object(_), Value::Number(_)) => base.get(&index.to_text()),
        _ => Value::Null,
    }
}
