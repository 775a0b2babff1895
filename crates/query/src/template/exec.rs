//! Templates over values. Where an error is said to be is Go's choice: the node looked at last.

use super::ast::{Branch, Kind, Node};
use super::functions::{Function, Functions, Kind as Takes};
use super::parse::{Tree, place};
use super::value::{Member, Of, Value};
use super::{Error, Limits, MissingKey, Templates, builtins, print, time};
use crate::promql::quote;

/// How deep lists and maps may nest that functions make.
const MAX_VALUE_DEPTH: usize = 100;

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

/// What walking a node led to.
enum Flow {
    On,
    Break,
    Continue,
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
    run: &'a mut Run,
}

/// What is left of the limits, and what was written.
pub(super) struct Run {
    limits: Limits,
    steps: u64,
    out: String,
}

/// What a function can do beside looking at its arguments.
pub struct Call<'r, 'f> {
    templates: &'r Templates,
    functions: &'r Functions<'f>,
    depth: usize,
    run: &'r mut Run,
}

impl Call<'_, '_> {
    /// What a template of the same set makes of a value.
    ///
    /// # Errors
    /// There is none, or it fails.
    pub fn template(&mut self, name: &str, data: &Value) -> Result<String, String> {
        let before = std::mem::take(&mut self.run.out);
        let result = execute(
            self.templates,
            self.functions,
            name,
            data,
            self.depth + 1,
            self.run,
        );
        let made = std::mem::replace(&mut self.run.out, before);
        result.map(|()| made).map_err(|e| e.message)
    }

    /// Accounts for work that is not seen from outside.
    ///
    /// # Errors
    /// The template has worked enough.
    pub fn charge(&mut self, steps: u64) -> Result<(), String> {
        self.run.charge(steps)
    }

    /// How many bytes a text may have.
    pub fn limit(&self) -> usize {
        self.run.limits.bytes
    }
}

impl Run {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            steps: limits.steps,
            limits,
            out: String::new(),
        }
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    fn charge(&mut self, steps: u64) -> Result<(), String> {
        match self.steps.checked_sub(steps) {
            Some(rest) => {
                self.steps = rest;
                Ok(())
            }
            None => Err(format!(
                "the template takes more than {} steps",
                self.limits.steps
            )),
        }
    }

    fn write(&mut self, text: &str) -> Result<(), String> {
        if self.out.len() + text.len() > self.limits.bytes {
            return Err(format!(
                "the text is longer than {} bytes",
                self.limits.bytes
            ));
        }
        self.out.push_str(text);
        self.charge(text.len() as u64 / 64)
    }
}

/// Runs a template of a set; what it wrote is in `run`.
pub(super) fn execute(
    templates: &Templates,
    functions: &Functions<'_>,
    name: &str,
    data: &Value,
    depth: usize,
    run: &mut Run,
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
        run,
    };
    if depth >= state.run.limits.depth {
        let limit = state.run.limits.depth;
        return state.fail(format!("exceeded maximum template depth ({limit})"));
    }
    state.walk_list(&dot.into(), &tree.root).map(|_| ())
}

impl<'a> State<'a, '_> {
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

    fn told<T>(&self, result: Result<T, String>) -> Got<T> {
        match result {
            Ok(value) => Ok(value),
            Err(message) => self.fail(message),
        }
    }

    fn step(&mut self) -> Got<()> {
        let charged = self.run.charge(1);
        self.told(charged)
    }

    fn walk_list(&mut self, dot: &Val, nodes: &'a [Node]) -> Got<Flow> {
        for node in nodes {
            match self.walk(dot, node)? {
                Flow::On => {}
                flow => return Ok(flow),
            }
        }
        Ok(Flow::On)
    }

    fn walk(&mut self, dot: &Val, node: &'a Node) -> Got<Flow> {
        self.node = Some(node);
        self.step()?;
        match &node.kind {
            Kind::Text(text) => {
                let written = self.run.write(text);
                self.told(written)?;
            }
            Kind::Action(pipe) => {
                let value = self.pipeline(dot, pipe)?;
                if pipe.pipe().is_none_or(|pipe| pipe.variables.is_empty()) {
                    self.node = Some(node);
                    let text = print::printed(&value.value);
                    let written = self.run.write(&text);
                    self.told(written)?;
                }
            }
            Kind::If(branch) => return self.condition(dot, branch, false),
            Kind::With(branch) => return self.condition(dot, branch, true),
            Kind::Range(branch) => return self.range(dot, branch),
            Kind::Template(name, pipe) => self.template(dot, name, pipe.as_deref())?,
            Kind::Break => return Ok(Flow::Break),
            Kind::Continue => return Ok(Flow::Continue),
            _ => return self.fail(format_args!("unknown node: {node}")),
        }
        Ok(Flow::On)
    }

    fn condition(&mut self, dot: &Val, branch: &'a Branch, with: bool) -> Got<Flow> {
        let mark = self.variables.len();
        let value = self.pipeline(dot, &branch.pipe)?;
        let flow = if value.value.truth() {
            let dot = if with { &value } else { dot };
            self.walk_list(dot, &branch.list)?
        } else if let Some(otherwise) = &branch.otherwise {
            self.walk_list(dot, otherwise)?
        } else {
            Flow::On
        };
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn range(&mut self, dot: &Val, branch: &'a Branch) -> Got<Flow> {
        let mark = self.variables.len();
        let value = self.pipeline(dot, &branch.pipe)?.value.plain();
        let variables = branch.pipe.pipe().map_or(0, |pipe| pipe.variables.len());
        let mut ran = false;
        match &value {
            Value::Int(_) | Value::Duration(_) if variables > 1 => {
                let shown = print::print(std::slice::from_ref(&value));
                return self.fail(format_args!(
                    "can't use {shown} to iterate over more than one variable"
                ));
            }
            Value::Int(count) | Value::Duration(count) => {
                for at in 0..*count {
                    ran = true;
                    let item = Val::from(match value {
                        Value::Int(_) => Value::Int(at),
                        _ => Value::Duration(at),
                    });
                    if !self.iteration(Value::Missing.into(), item, branch)? {
                        break;
                    }
                }
            }
            Value::List(list) => {
                for (at, item) in list.items.iter().enumerate() {
                    ran = true;
                    let item = element(item, list.of);
                    if !self.iteration(Value::Int(at as i64).into(), item, branch)? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (key, item) in &map.entries {
                    ran = true;
                    let key = Value::text(key.as_str());
                    if !self.iteration(key.into(), element(item, map.of), branch)? {
                        break;
                    }
                }
            }
            Value::Missing | Value::Nil => {}
            value => {
                let shown = print::print(std::slice::from_ref(value));
                return self.fail(format_args!("range can't iterate over {shown}"));
            }
        }
        let mut flow = Flow::On;
        if !ran && let Some(otherwise) = &branch.otherwise {
            flow = self.walk_list(dot, otherwise)?;
            // A break in the other branch ends the loop it is written in, as in Go.
            if matches!(flow, Flow::Break) {
                flow = Flow::On;
            }
        }
        self.variables.truncate(mark);
        Ok(flow)
    }

    /// One round; whether there may be another.
    fn iteration(&mut self, key: Val, item: Val, branch: &'a Branch) -> Got<bool> {
        self.step()?;
        let mark = self.variables.len();
        if let Some(pipe) = branch.pipe.pipe() {
            match (&pipe.variables[..], pipe.assign) {
                ([], _) => {}
                ([one], true) => self.assign(one, item.clone())?,
                ([first, second, ..], true) => {
                    self.assign(first, key)?;
                    self.assign(second, item.clone())?;
                }
                ([_], false) => self.variables[mark - 1].1 = item.clone(),
                (_, false) => {
                    self.variables[mark - 1].1 = item.clone();
                    self.variables[mark - 2].1 = key;
                }
            }
        }
        let flow = self.walk_list(&item, &branch.list)?;
        self.variables.truncate(mark);
        Ok(!matches!(flow, Flow::Break))
    }

    fn assign(&mut self, name: &str, value: Val) -> Got<()> {
        match self.variables.iter_mut().rev().find(|(n, _)| *n == name) {
            Some((_, held)) => {
                *held = value;
                Ok(())
            }
            None => self.fail(format_args!("undefined variable: {name}")),
        }
    }

    fn template(&mut self, dot: &Val, name: &str, pipe: Option<&'a Node>) -> Got<()> {
        let Some(tree) = self.templates.tree(name) else {
            return self.fail(format_args!("template {} not defined", quote(name)));
        };
        let limit = self.run.limits.depth;
        if self.depth + 1 >= limit {
            return self.fail(format_args!("exceeded maximum template depth ({limit})"));
        }
        let data = match pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Value::Missing.into(),
        };
        let mut inner = State {
            templates: self.templates,
            functions: self.functions,
            tree,
            node: self.node,
            variables: vec![("$", data.clone())],
            depth: self.depth + 1,
            run: &mut *self.run,
        };
        inner.walk_list(&data, &tree.root).map(|_| ())
    }

    fn pipeline(&mut self, dot: &Val, node: &'a Node) -> Got<Val> {
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

    fn not_a_function(&self, args: &[Node], last: &Option<Val>) -> Got<()> {
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
    fn constant(&mut self, node: &'a Node) -> Got<Val> {
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

    /// Fields of the dot, of a variable or of a pipeline.
    fn access(
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
        match &receiver.value {
            Value::Missing if strict => {
                return self.fail(format_args!("nil data; no entry for key {}", quote(name)));
            }
            Value::Missing => return Ok(Value::Missing.into()),
            Value::Nil => {
                return self.fail(format_args!("nil pointer evaluating {type_name}.{name}"));
            }
            value => {
                let member = match value {
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
                        return self.method(dot, name, node, args, last, value, wanted);
                    }
                    None => {}
                }
            }
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
        if count != wanted {
            return self.fail(format_args!(
                "wrong number of args for {name}: want {wanted} got {count}"
            ));
        }
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

    /// A result of a function, within the limits.
    fn made(&mut self, node: &'a Node, name: &str, made: Result<Value, String>) -> Got<Value> {
        let checked = made.and_then(|value| {
            let size = value.size(MAX_VALUE_DEPTH);
            let size = size.ok_or("the value nests too deep")?;
            self.run.charge(size as u64)?;
            match value.as_str() {
                Some(text) if text.len() > self.run.limits.bytes => Err(format!(
                    "the text is longer than {} bytes",
                    self.run.limits.bytes
                )),
                _ => Ok(value),
            }
        });
        match checked {
            Ok(value) => Ok(value),
            Err(message) => {
                self.node = Some(node);
                self.fail(format_args!("error calling {name}: {message}"))
            }
        }
    }

    fn function(
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
        if rest.is_some() {
            if count < takes.len() {
                let (want, got) = (takes.len(), args.len());
                return self.fail(format_args!(
                    "wrong number of args for {name}: want at least {want} got {got}"
                ));
            }
        } else if count != takes.len() {
            let want = takes.len();
            return self.fail(format_args!(
                "wrong number of args for {name}: want {want} got {count}"
            ));
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
                    run: &mut *self.run,
                };
                (function.body)(&mut call, &values)
            }
            None => match (name, &values[..]) {
                ("call", [value, ..]) if !value.is_nothing() => Err(format!(
                    "non-function {} of type {}",
                    args.first().map_or(String::new(), Node::to_string),
                    value.type_name()
                )),
                _ => builtins::call(name, &values, self.run.limits.bytes),
            },
        };
        let value = self.made(node, name, made)?;
        // What `index` finds in a map or list of anything still stands where anything could.
        let boxed = own.is_none() && name == "index";
        Ok(Val { value, boxed })
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

    fn argument(&mut self, dot: &Val, takes: Takes, node: &'a Node) -> Got<Value> {
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

fn element(value: &Value, of: Of) -> Val {
    Val {
        value: value.clone(),
        boxed: of == Of::Any,
    }
}
