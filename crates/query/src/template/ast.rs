//! What a template is made of. Nodes print themselves the way Go's do: errors quote them.

use std::fmt::{Display, Formatter, Result};

use crate::promql::quote;

/// A part of a template and where it starts, as a byte of the text.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Text(String),
    /// `{{pipeline}}`
    Action(Box<Node>),
    If(Branch),
    With(Branch),
    Range(Branch),
    /// `{{template "name" pipeline}}`
    Template(String, Option<Box<Node>>),
    Break,
    Continue,
    /// Only while parsing.
    End,
    /// Only while parsing.
    Else,
    Pipe(Pipe),
    Command(Vec<Node>),
    Identifier(String),
    Variable(Vec<String>),
    Field(Vec<String>),
    Chain(Box<Node>, Vec<String>),
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    /// As it was written, and what it says.
    String(String, String),
}

#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) pipe: Box<Node>,
    pub(super) list: Vec<Node>,
    pub(super) otherwise: Option<Vec<Node>>,
}

#[derive(Clone, Debug)]
pub(super) struct Pipe {
    pub(super) assign: bool,
    pub(super) variables: Vec<String>,
    /// Each a [`Kind::Command`].
    pub(super) commands: Vec<Node>,
}

/// A number under every type that can hold it.
#[derive(Clone, Debug, Default)]
pub(super) struct Number {
    pub(super) text: String,
    pub(super) int: Option<i64>,
    pub(super) uint: Option<u64>,
    pub(super) float: Option<f64>,
}

impl Node {
    /// The pipe this is. Only asked of nodes that are one.
    pub(super) fn pipe(&self) -> Option<&Pipe> {
        match &self.kind {
            Kind::Pipe(pipe) => Some(pipe),
            _ => None,
        }
    }
}

/// Whether there is nothing but space.
pub(super) fn is_empty(nodes: &[Node]) -> bool {
    nodes
        .iter()
        .all(|node| matches!(&node.kind, Kind::Text(text) if text.trim().is_empty()))
}

fn write_list(f: &mut Formatter<'_>, nodes: &[Node]) -> Result {
    nodes.iter().try_for_each(|node| node.fmt(f))
}

fn write_branch(f: &mut Formatter<'_>, name: &str, branch: &Branch) -> Result {
    write!(f, "{{{{{name} {}}}}}", branch.pipe)?;
    write_list(f, &branch.list)?;
    if let Some(otherwise) = &branch.otherwise {
        f.write_str("{{else}}")?;
        write_list(f, otherwise)?;
    }
    f.write_str("{{end}}")
}

fn write_operand(f: &mut Formatter<'_>, node: &Node) -> Result {
    match node.kind {
        Kind::Pipe(_) => write!(f, "({node})"),
        _ => node.fmt(f),
    }
}

impl Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.kind {
            Kind::Text(text) => f.write_str(text),
            Kind::Action(pipe) => write!(f, "{{{{{pipe}}}}}"),
            Kind::If(branch) => write_branch(f, "if", branch),
            Kind::With(branch) => write_branch(f, "with", branch),
            Kind::Range(branch) => write_branch(f, "range", branch),
            Kind::Template(name, None) => write!(f, "{{{{template {}}}}}", quote(name)),
            Kind::Template(name, Some(pipe)) => {
                write!(f, "{{{{template {} {pipe}}}}}", quote(name))
            }
            Kind::Break => f.write_str("{{break}}"),
            Kind::Continue => f.write_str("{{continue}}"),
            Kind::End => f.write_str("{{end}}"),
            Kind::Else => f.write_str("{{else}}"),
            Kind::Pipe(pipe) => {
                if !pipe.variables.is_empty() {
                    let sign = if pipe.assign { "=" } else { ":=" };
                    write!(f, "{} {sign} ", pipe.variables.join(", "))?;
                }
                for (at, command) in pipe.commands.iter().enumerate() {
                    if at > 0 {
                        f.write_str(" | ")?;
                    }
                    command.fmt(f)?;
                }
                Ok(())
            }
            Kind::Command(args) => {
                for (at, arg) in args.iter().enumerate() {
                    if at > 0 {
                        f.write_str(" ")?;
                    }
                    write_operand(f, arg)?;
                }
                Ok(())
            }
            Kind::Identifier(name) => f.write_str(name),
            Kind::Variable(names) => f.write_str(&names.join(".")),
            Kind::Field(names) => names.iter().try_for_each(|name| write!(f, ".{name}")),
            Kind::Chain(node, names) => {
                write_operand(f, node)?;
                names.iter().try_for_each(|name| write!(f, ".{name}"))
            }
            Kind::Dot => f.write_str("."),
            Kind::Nil => f.write_str("nil"),
            Kind::Bool(value) => write!(f, "{value}"),
            Kind::Number(number) => f.write_str(&number.text),
            Kind::String(written, _) => f.write_str(written),
        }
    }
}
