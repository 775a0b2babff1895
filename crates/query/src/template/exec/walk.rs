//! Lists of nodes: what is written, which branch is taken, how often a loop runs.

use super::{Got, State, Val, element};
use crate::promql::quote;
use crate::template::ast::{Branch, Kind, Node};
use crate::template::print;
use crate::template::value::Value;

/// What walking a node led to.
pub(super) enum Flow {
    On,
    Break,
    Continue,
}

impl<'a> State<'a, '_> {
    pub(super) fn walk_list(&mut self, dot: &Val, nodes: &'a [Node]) -> Got<Flow> {
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
                let written = self.budget.write(text);
                self.told(written)?;
            }
            Kind::Action(pipe) => {
                let value = self.pipeline(dot, pipe)?;
                if pipe.pipe().is_none_or(|pipe| pipe.variables.is_empty()) {
                    self.node = Some(node);
                    let text = print::printed(&value.value);
                    let written = self.budget.write(&text);
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
        let shown = || print::print(std::slice::from_ref(&value));
        let rounds: Box<dyn Iterator<Item = (Value, Val)> + '_> = match &value {
            Value::Int(_) | Value::Duration(_) if variables > 1 => {
                return self.fail(format_args!(
                    "can't use {} to iterate over more than one variable",
                    shown()
                ));
            }
            Value::Int(count) => {
                Box::new((0..*count).map(|at| (Value::Missing, Value::Int(at).into())))
            }
            Value::Duration(count) => {
                Box::new((0..*count).map(|at| (Value::Missing, Value::Duration(at).into())))
            }
            Value::List(list) => {
                let items = list.items.iter().enumerate();
                Box::new(items.map(|(at, item)| (Value::Int(at as i64), element(item, list.of))))
            }
            Value::Map(map) => {
                let entries = map.entries.iter();
                Box::new(
                    entries.map(|(key, item)| (Value::text(key.as_str()), element(item, map.of))),
                )
            }
            Value::Missing | Value::Nil => Box::new(std::iter::empty()),
            _ => return self.fail(format_args!("range can't iterate over {}", shown())),
        };
        let mut ran = false;
        for (key, item) in rounds {
            ran = true;
            if !self.iteration(key.into(), item, branch)? {
                break;
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

    fn template(&mut self, dot: &Val, name: &str, pipe: Option<&'a Node>) -> Got<()> {
        let Some(tree) = self.templates.tree(name) else {
            return self.fail(format_args!("template {} not defined", quote(name)));
        };
        self.check_depth(self.depth + 1)?;
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
            budget: &mut *self.budget,
        };
        inner.walk_list(&data, &tree.root).map(|_| ())
    }
}
