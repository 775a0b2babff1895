//! The tree of an expression: macros are expanded, every node has a number and a place.

use super::value::Value;
use std::sync::Arc;

/// Number of a node; types, overloads and sizes are kept by it.
pub(crate) type Id = u32;

/// One node.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) id: Id,
    /// Place in the source, in characters.
    pub(crate) at: u32,
    /// Nodes on the longest way down, this one included.
    pub(crate) height: u16,
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Const(Value),
    Ident(Arc<str>),
    Select {
        operand: Box<Expr>,
        field: Arc<str>,
        /// Only asks whether the field is there.
        test: bool,
    },
    Call(Box<Call>),
    List(Vec<Item>),
    Map(Vec<Entry>),
    Struct(Arc<str>, Vec<Field>),
    Fold(Box<Fold>),
}

/// A function or operator with its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) function: Arc<str>,
    pub(crate) target: Option<Expr>,
    pub(crate) args: Vec<Expr>,
}

/// An element of a list; an optional one is left out when it holds nothing.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// An entry of a map.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Expr,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// A field of a message.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: Arc<str>,
    pub(crate) at: u32,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// A comprehension.
#[derive(Debug, Clone)]
pub(crate) struct Fold {
    pub(crate) range: Expr,
    pub(crate) var: Arc<str>,
    pub(crate) second: Option<Arc<str>>,
    pub(crate) accumulator: Arc<str>,
    pub(crate) init: Expr,
    pub(crate) condition: Expr,
    pub(crate) step: Expr,
    pub(crate) result: Expr,
}

impl Expr {
    /// The dotted name a chain of selections spells, if it is one.
    pub(crate) fn qualified_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.to_string()),
            Kind::Select {
                operand,
                field,
                test: false,
            } => {
                let mut name = operand.qualified_name()?;
                name.push('.');
                name.push_str(field);
                Some(name)
            }
            _ => None,
        }
    }

    /// Calls `visit` with every node, parents first.
    pub(crate) fn each<'a>(&'a self, visit: &mut impl FnMut(&'a Expr)) {
        visit(self);
        match &self.kind {
            Kind::Const(_) | Kind::Ident(_) => {}
            Kind::Select { operand, .. } => operand.each(visit),
            Kind::Call(call) => {
                if let Some(target) = &call.target {
                    target.each(visit);
                }
                call.args.iter().for_each(|arg| arg.each(visit));
            }
            Kind::List(items) => items.iter().for_each(|item| item.value.each(visit)),
            Kind::Map(entries) => {
                for entry in entries {
                    entry.key.each(visit);
                    entry.value.each(visit);
                }
            }
            Kind::Struct(_, fields) => fields.iter().for_each(|f| f.value.each(visit)),
            Kind::Fold(fold) => {
                for part in [
                    &fold.range,
                    &fold.init,
                    &fold.condition,
                    &fold.step,
                    &fold.result,
                ] {
                    part.each(visit);
                }
            }
        }
    }
}
