//! Functions that templates may call: what they take, and who answers.

use std::collections::HashMap;

use super::ast::{Kind as NodeKind, Node};
use super::exec::Call;
use super::value::Value;

/// What a function takes, as Go would declare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `interface {}`: anything; what is missing comes as nil.
    Any,
    /// `reflect.Value`: anything as it is.
    Raw,
    /// `string`
    Text,
    /// `int`
    Int,
    /// `float64`
    Float,
    /// `bool`
    Bool,
    /// `[]string`
    Texts,
    /// A list of anything.
    List,
    /// A map.
    Map,
    /// An object, a time or a span with this type name.
    Named(&'static str),
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Raw => "reflect.Value",
            Self::Text => "string",
            Self::Int => "int",
            Self::Float => "float64",
            Self::Bool => "bool",
            Self::Texts => "[]string",
            Self::List => "[]interface {}",
            Self::Map => "map[string]interface {}",
            Self::Named(name) => name,
        }
    }

    pub(super) fn can_be_nil(self) -> bool {
        !matches!(self, Self::Text | Self::Int | Self::Float | Self::Bool)
    }

    pub(super) fn takes(self, value: &Value) -> bool {
        match self {
            Self::Any | Self::Raw => true,
            Self::List => matches!(value, Value::List(_)),
            Self::Map => matches!(value, Value::Map(_)),
            kind => value.type_name() == kind.name(),
        }
    }

    /// The value of a constant where this is wanted.
    pub(super) fn constant(self, node: &Node) -> Result<Value, String> {
        let expected = |what: &str| Err(format!("expected {what}; found {node}"));
        match (self, &node.kind) {
            (Self::Text, NodeKind::String(_, text)) => Ok(Value::text(text.as_str())),
            (Self::Text, _) => expected("string"),
            (Self::Int, NodeKind::Number(number)) if number.int.is_some() => {
                Ok(Value::Int(number.int.unwrap_or(0)))
            }
            (Self::Int, _) => expected("integer"),
            (Self::Float, NodeKind::Number(number)) if number.float.is_some() => {
                Ok(Value::Float(number.float.unwrap_or(0.0)))
            }
            (Self::Float, _) => expected("float"),
            (Self::Bool, NodeKind::Bool(truth)) => Ok(Value::Bool(*truth)),
            (Self::Bool, _) => expected("bool"),
            (kind, _) => Err(format!(
                "can't handle {node} for arg of type {}",
                kind.name()
            )),
        }
    }
}

type Body<'a> = dyn Fn(&mut Call<'_, '_>, &[Value]) -> Result<Value, String> + 'a;

/// A function: what it takes, and what answers. Arguments are what [`Kind`] says when it is
/// called; what is nil comes as [`Value::Nil`].
pub struct Function<'a> {
    pub(super) takes: &'static [Kind],
    /// What it takes any number of, behind the others.
    pub(super) rest: Option<Kind>,
    pub(super) body: Box<Body<'a>>,
}

/// Functions by their names.
#[derive(Default)]
pub struct Functions<'a>(pub(super) HashMap<&'static str, Function<'a>>);

impl<'a> Functions<'a> {
    /// None but the built-in ones.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function, in place of another one of that name.
    pub fn add(
        &mut self,
        name: &'static str,
        takes: &'static [Kind],
        rest: Option<Kind>,
        body: impl Fn(&mut Call<'_, '_>, &[Value]) -> Result<Value, String> + 'a,
    ) {
        let body = Box::new(body);
        self.0.insert(name, Function { takes, rest, body });
    }

    /// Whether there is a function of this name, the built-in ones included.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name) || super::builtins::NAMES.contains(&name)
    }
}
