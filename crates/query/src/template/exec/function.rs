//! Functions: whether they get what they take, and what they make of it.

use super::{Call, Got, State, Val};
use crate::promql::quote;
use crate::template::ast::{Kind, Node};
use crate::template::builtins;
use crate::template::functions::{Function, Functions, Kind as Takes};
use crate::template::value::Value;

impl<'a> State<'a, '_> {
    pub(super) fn function(
        &mut self,
        dot: &Val,
        word: &'a Node,
        node: &'a Node,
        name: &str,
        args: &'a [Node],
        last: Option<Val>,
    ) -> Got<Val> {
        self.node = Some(word);
        self.step()?;
        let functions: &'a Functions<'_> = self.functions;
        let own: Option<&'a Function<'_>> = functions.0.get(name);
        let signature = match own {
            Some(function) => Some((function.takes, function.rest)),
            None => builtins::signature(name),
        };
        let Some((takes, rest)) = signature else {
            return self.fail(format_args!("{} is not a defined function", quote(name)));
        };
        let count = args.len() + usize::from(last.is_some());
        match rest {
            None => self.expect_count(name, takes.len(), count)?,
            Some(_) if count < takes.len() => {
                let (want, got) = (takes.len(), args.len());
                return self.fail(format_args!(
                    "wrong number of args for {name}: want at least {want} got {got}"
                ));
            }
            Some(_) => {}
        }
        if own.is_none() && (name == "and" || name == "or") {
            return self.logic(dot, name == "or", args, last);
        }
        let kind = |at: usize| takes.get(at).copied().or(rest).unwrap_or(Takes::Any);
        let mut values = Vec::with_capacity(count);
        for (at, arg) in args.iter().enumerate() {
            values.push(self.argument(dot, kind(at), arg)?);
        }
        if let Some(last) = last {
            values.push(self.valid(last, kind(args.len()))?);
        }
        let made = match own {
            Some(function) => {
                let mut call = Call {
                    templates: self.templates,
                    functions,
                    depth: self.depth,
                    budget: &mut *self.budget,
                };
                (function.body)(&mut call, &values)
            }
            None => match (name, &values[..]) {
                ("call", [value, ..]) if !value.is_nothing() => Err(format!(
                    "non-function {} of type {}",
                    args.first().map_or(String::new(), Node::to_string),
                    value.type_name()
                )),
                _ => builtins::call(name, &values, self.budget.limits.bytes),
            },
        };
        let value = self.made(node, name, made)?;
        // What `index` finds in a map or list of anything still stands where anything could.
        let boxed = own.is_none() && name == "index";
        Ok(Val { value, boxed })
    }

    pub(super) fn expect_count(&self, name: &str, want: usize, got: usize) -> Got<()> {
        match want == got {
            true => Ok(()),
            false => self.fail(format_args!(
                "wrong number of args for {name}: want {want} got {got}"
            )),
        }
    }

    /// A result of a function, within the limits.
    pub(super) fn made(
        &mut self,
        node: &'a Node,
        name: &str,
        made: Result<Value, String>,
    ) -> Got<Value> {
        let checked = made.and_then(|value| self.budget.take(&value).map(|()| value));
        match checked {
            Ok(value) => Ok(value),
            Err(message) => {
                self.node = Some(node);
                self.fail(format_args!("error calling {name}: {message}"))
            }
        }
    }

    fn logic(&mut self, dot: &Val, or: bool, args: &'a [Node], last: Option<Val>) -> Got<Val> {
        let mut value = Value::Missing;
        for arg in args {
            value = self.argument(dot, Takes::Raw, arg)?;
            if value.truth() == or {
                return Ok(value.into());
            }
        }
        Ok(last.unwrap_or_else(|| value.into()))
    }

    pub(super) fn argument(&mut self, dot: &Val, takes: Takes, node: &'a Node) -> Got<Value> {
        self.node = Some(node);
        let value = match &node.kind {
            Kind::Dot => dot.clone(),
            Kind::Nil if takes == Takes::Raw => return Ok(Value::Missing),
            Kind::Nil if takes.can_be_nil() => return Ok(Value::Nil),
            Kind::Nil => {
                return self.fail(format_args!("cannot assign nil to {}", takes.name()));
            }
            Kind::Field(_) => self.access(dot, node, std::slice::from_ref(node), None)?,
            Kind::Variable(_) | Kind::Chain(..) => self.access(dot, node, &[], None)?,
            Kind::Pipe(_) => self.pipeline(dot, node)?,
            Kind::Identifier(name) => self.function(dot, node, node, name, &[], None)?,
            _ if matches!(takes, Takes::Any | Takes::Raw) => {
                return self.constant(node).map(|val| val.value);
            }
            _ => {
                let constant = takes.constant(node);
                return self.told(constant);
            }
        };
        self.valid(value, takes)
    }

    /// A value as an argument.
    fn valid(&self, val: Val, takes: Takes) -> Got<Value> {
        match &val.value {
            Value::Missing if takes == Takes::Raw => Ok(Value::Missing),
            Value::Missing if takes.can_be_nil() => Ok(Value::Nil),
            Value::Missing => self.fail(format_args!("invalid value; expected {}", takes.name())),
            Value::Nil if matches!(takes, Takes::Any | Takes::Raw) => Ok(Value::Nil),
            value if takes.takes(value) => Ok(val.value),
            value => self.fail(format_args!(
                "wrong type for value; expected {}; got {}",
                takes.name(),
                value.type_name()
            )),
        }
    }
}
