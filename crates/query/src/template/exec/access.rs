//! Fields of the dot, of variables and of pipelines, and methods, which look like fields.

use super::{Got, State, Val, element};
use crate::promql::quote;
use crate::template::ast::{Kind, Node};
use crate::template::functions::Kind as Takes;
use crate::template::value::{Member, Of, Value};
use crate::template::{MissingKey, time};

impl<'a> State<'a, '_> {
    /// Fields of the dot, of a variable or of a pipeline.
    pub(super) fn access(
        &mut self,
        dot: &Val,
        node: &'a Node,
        args: &'a [Node],
        last: Option<Val>,
    ) -> Got<Val> {
        self.node = Some(node);
        let (mut receiver, names) = match &node.kind {
            Kind::Field(names) => (dot.clone(), &names[..]),
            Kind::Variable(names) => {
                let Some((name, names)) = names.split_first() else {
                    return self.fail("undefined variable: ");
                };
                let found = self.variables.iter().rev().find(|(n, _)| n == name);
                let Some((_, value)) = found else {
                    return self.fail(format_args!("undefined variable: {name}"));
                };
                let value = value.clone();
                if names.is_empty() {
                    self.not_a_function(args, &last)?;
                    return Ok(value);
                }
                (value, names)
            }
            Kind::Chain(inner, names) => {
                if matches!(inner.kind, Kind::Nil) {
                    return self.fail(format_args!("indirection through explicit nil in {node}"));
                }
                let value = match &inner.kind {
                    Kind::Pipe(_) => self.pipeline(dot, inner)?,
                    Kind::Identifier(name) => self.function(dot, inner, inner, name, &[], None)?,
                    _ => self.access(dot, inner, &[], None)?,
                };
                (value, &names[..])
            }
            _ => return self.fail(format_args!("can't evaluate command {node}")),
        };
        let Some((end, way)) = names.split_last() else {
            return Ok(receiver);
        };
        for name in way {
            receiver = self.field(dot, name, node, &[], None, receiver)?;
        }
        self.field(dot, end, node, args.get(1..).unwrap_or(&[]), last, receiver)
    }

    fn field(
        &mut self,
        dot: &Val,
        name: &str,
        node: &'a Node,
        args: &'a [Node],
        last: Option<Val>,
        receiver: Val,
    ) -> Got<Val> {
        self.step()?;
        let type_name = match receiver.boxed {
            true => "interface {}".to_owned(),
            false => receiver.value.type_name().to_owned(),
        };
        let strict = self.templates.missing_key == MissingKey::Error;
        let has_arguments = !args.is_empty() || last.is_some();
        let member = match &receiver.value {
            Value::Missing if strict => {
                return self.fail(format_args!("nil data; no entry for key {}", quote(name)));
            }
            Value::Missing => return Ok(Value::Missing.into()),
            Value::Nil => {
                return self.fail(format_args!("nil pointer evaluating {type_name}.{name}"));
            }
            Value::Time(_) => time::Time::method(name).map(Member::Method),
            Value::Duration(_) => time::span_method(name).map(Member::Method),
            Value::Object(object) => object.member(name),
            _ => None,
        };
        match member {
            Some(Member::Field(_)) if has_arguments => {
                return self.fail(format_args!(
                    "{name} has arguments but cannot be invoked as function"
                ));
            }
            Some(Member::Field(value)) => return Ok(value.into()),
            Some(Member::Method(wanted)) => {
                return self.method(dot, name, node, args, last, &receiver.value, wanted);
            }
            None => {}
        }
        let Value::Map(map) = receiver.value.plain() else {
            return self.fail(format_args!(
                "can't evaluate field {name} in type {type_name}"
            ));
        };
        if has_arguments {
            return self.fail(format_args!("{name} is not a method but has arguments"));
        }
        if let Some(value) = map.entries.get(name) {
            return Ok(element(value, map.of));
        }
        match self.templates.missing_key {
            MissingKey::Invalid => Ok(Value::Missing.into()),
            MissingKey::Zero if map.of == Of::Text => Ok(Value::text("").into()),
            MissingKey::Zero => Ok(Val {
                value: Value::Nil,
                boxed: true,
            }),
            MissingKey::Error => {
                self.fail(format_args!("map has no entry for key {}", quote(name)))
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // those of a call in Go's evaluator
    fn method(
        &mut self,
        dot: &Val,
        name: &str,
        node: &'a Node,
        args: &'a [Node],
        last: Option<Val>,
        receiver: &Value,
        wanted: usize,
    ) -> Got<Val> {
        let count = args.len() + usize::from(last.is_some());
        self.expect_count(name, wanted, count)?;
        let mut values = Vec::with_capacity(count);
        for arg in args {
            values.push(self.argument(dot, Takes::Any, arg)?);
        }
        values.extend(last.map(|last| last.value));
        let made = match receiver {
            Value::Time(time) => time.call(name, &values),
            Value::Duration(span) => Ok(time::call_span(*span, name)),
            Value::Object(object) => object.call(name, &values),
            _ => Err(format!("{name} is not a method")),
        };
        self.made(node, name, made).map(Val::from)
    }
}
