//! Pipelines: commands one after the other, each given what the one before made, and the
//! variables that hold the result.

use super::{Got, State, Val};
use crate::template::ast::{Kind, Node};
use crate::template::value::Value;

impl<'a> State<'a, '_> {
    pub(super) fn pipeline(&mut self, dot: &Val, node: &'a Node) -> Got<Val> {
        self.node = Some(node);
        self.step()?;
        let Some(pipe) = node.pipe() else {
            return self.fail(format_args!("unknown node: {node}"));
        };
        let mut value: Option<Val> = None;
        for command in &pipe.commands {
            let made = self.command(dot, command, value)?;
            value = Some(Val::from(match made.value {
                Value::Nil => Value::Missing,
                value => value,
            }));
        }
        let value = value.unwrap_or_else(|| Value::Missing.into());
        for name in &pipe.variables {
            match pipe.assign {
                true => self.assign(name, value.clone())?,
                false => self.variables.push((name, value.clone())),
            }
        }
        Ok(value)
    }

    pub(super) fn not_a_function(&self, args: &[Node], last: &Option<Val>) -> Got<()> {
        match args {
            [first, ..] if args.len() > 1 || last.is_some() => {
                self.fail(format_args!("can't give argument to non-function {first}"))
            }
            _ => Ok(()),
        }
    }

    fn command(&mut self, dot: &Val, node: &'a Node, last: Option<Val>) -> Got<Val> {
        let Kind::Command(args) = &node.kind else {
            return self.fail(format_args!("unknown node: {node}"));
        };
        let Some(first) = args.first() else {
            return self.fail("empty command");
        };
        match &first.kind {
            Kind::Field(_) | Kind::Chain(..) | Kind::Variable(_) => {
                return self.access(dot, first, args, last);
            }
            Kind::Identifier(name) => {
                return self.function(dot, first, node, name, &args[1..], last);
            }
            Kind::Pipe(_) => {
                self.not_a_function(args, &last)?;
                return self.pipeline(dot, first);
            }
            _ => {}
        }
        self.node = Some(first);
        self.not_a_function(args, &last)?;
        match &first.kind {
            Kind::Dot => Ok(dot.clone()),
            Kind::Nil => self.fail("nil is not a command"),
            _ => self.constant(first),
        }
    }

    /// A constant where anything may stand.
    pub(super) fn constant(&mut self, node: &'a Node) -> Got<Val> {
        self.node = Some(node);
        match &node.kind {
            Kind::Bool(truth) => Ok(Value::Bool(*truth).into()),
            Kind::String(_, text) => Ok(Value::text(text.as_str()).into()),
            Kind::Number(number) => {
                let text = &number.text;
                let hex = text.starts_with("0x") || text.starts_with("0X");
                let whole = (hex && !text.contains(['p', 'P'])) || text.starts_with('\'');
                if let Some(float) = number.float
                    && !whole
                    && text.contains(['.', 'e', 'E', 'p', 'P'])
                {
                    return Ok(Value::Float(float).into());
                }
                match number.int {
                    Some(int) => Ok(Value::Int(int).into()),
                    None => self.fail(format_args!("{text} overflows int")),
                }
            }
            _ => self.fail(format_args!(
                "can't handle assignment of {node} to empty interface argument"
            )),
        }
    }

    pub(super) fn assign(&mut self, name: &str, value: Val) -> Got<()> {
        match self.variables.iter_mut().rev().find(|(n, _)| *n == name) {
            Some((_, held)) => {
                *held = value;
                Ok(())
            }
            None => self.fail(format_args!("undefined variable: {name}")),
        }
    }
}
