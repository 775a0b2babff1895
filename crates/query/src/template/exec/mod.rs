//! Templates over values. Where an error is said to be is Go's choice: the node looked at last.
//!
//! One [`State`] runs one template. Its work is told apart by what it looks at: lists of nodes in
//! `walk`, pipelines and constants in `pipeline`, fields and variables in `access`, functions and
//! their arguments in `function`. Templates within templates draw on one `budget`.

mod access;
mod budget;
mod function;
mod pipeline;
mod walk;

pub use budget::Call;

use super::ast::Node;
use super::functions::Functions;
use super::parse::{Tree, place};
use super::value::{Of, Value};
use super::{Error, Limits, Templates};
use crate::promql::quote;
use budget::Budget;

/// A value, and whether it stands where anything could: Go tells such a value's type apart.
#[derive(Clone)]
struct Val {
    value: Value,
    boxed: bool,
}

impl From<Value> for Val {
    fn from(value: Value) -> Self {
        Self {
            value,
            boxed: false,
        }
    }
}

/// Why there is no value: an error, told.
type Got<T> = Result<T, Error>;

struct State<'a, 'f> {
    templates: &'a Templates,
    functions: &'a Functions<'f>,
    tree: &'a Tree,
    node: Option<&'a Node>,
    variables: Vec<(&'a str, Val)>,
    depth: usize,
    budget: &'a mut Budget,
}

/// What a template of a set makes of a value.
pub(super) fn run(
    templates: &Templates,
    functions: &Functions<'_>,
    name: &str,
    data: &Value,
    limits: Limits,
) -> Got<String> {
    let mut budget = Budget::new(limits);
    execute(templates, functions, name, data, 0, &mut budget)?;
    Ok(budget.out)
}

/// Runs a template of a set; what it wrote is in `budget`.
fn execute(
    templates: &Templates,
    functions: &Functions<'_>,
    name: &str,
    data: &Value,
    depth: usize,
    budget: &mut Budget,
) -> Got<()> {
    let Some(tree) = templates.tree(name) else {
        return Err(Error::plain(format!(
            "template: no template {} associated with template {}",
            quote(name),
            quote(&templates.name)
        )));
    };
    let dot = match data {
        Value::Nil => Value::Missing,
        data => data.clone(),
    };
    let mut state = State {
        templates,
        functions,
        tree,
        node: None,
        variables: vec![("$", dot.clone().into())],
        depth,
        budget,
    };
    state.check_depth(depth)?;
    state.walk_list(&dot.into(), &tree.root).map(|_| ())
}

impl State<'_, '_> {
    fn fail<T>(&self, message: impl std::fmt::Display) -> Got<T> {
        let name = &self.tree.name;
        let Some(node) = self.node else {
            return Err(Error::plain(format!("template: {name}: {message}")));
        };
        let (line, column) = place(&self.tree.text, node.at);
        let file = &self.tree.parse_name;
        let mut context = node.to_string();
        if context.len() > 10_000 {
            context = context.chars().take(10_000).collect();
        }
        Err(Error {
            message: format!(
                "template: {file}:{line}:{column}: executing {} at <{context}>: {message}",
                quote(name)
            ),
            line,
            column,
        })
    }

    fn check_depth(&self, depth: usize) -> Got<()> {
        let limit = self.budget.limits.depth;
        if depth < limit {
            return Ok(());
        }
        self.fail(format_args!("exceeded maximum template depth ({limit})"))
    }

    fn told<T>(&self, result: Result<T, String>) -> Got<T> {
        match result {
            Ok(value) => Ok(value),
            Err(message) => self.fail(message),
        }
    }

    fn step(&mut self) -> Got<()> {
        let charged = self.budget.charge(1);
        self.told(charged)
    }
}

/// What a list or map holds, which in one of anything stands where anything could.
fn element(value: &Value, of: Of) -> Val {
    Val {
        value: value.clone(),
        boxed: of == Of::Any,
    }
}
