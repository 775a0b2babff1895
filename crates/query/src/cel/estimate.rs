//! The most an expression can cost for any object of a shape, found without evaluating it.
//!
//! Upstream refuses rules by this number, so the rules of counting are its rules, oddities
//! included: sizes come from the schema where a value is reached by a path through it, from the
//! expression where it is made there, and are unknown, that is unbounded, otherwise.

mod library;

use super::ast::{Call, Expr, Fold, Id, Kind};
use super::env::Program;
use super::macros::RESULT;
use super::shape::Shape;
use super::types::Type;
use super::value::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// The least and the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// At least.
    pub min: u64,
    /// At most.
    pub max: u64,
}

const TRAVERSAL: f64 = 0.1;
const PATTERN: f64 = 0.25;
const UNKNOWN: Estimate = Estimate {
    min: 0,
    max: u64::MAX,
};
const ZERO: Estimate = fixed(0);
const ONE: Estimate = fixed(1);

const fn fixed(n: u64) -> Estimate {
    Estimate { min: n, max: n }
}

fn scale(n: u64, factor: f64) -> u64 {
    let scaled = (n as f64 * factor).ceil();
    if scaled >= 18_446_744_073_709_551_616.0 {
        u64::MAX
    } else {
        scaled as u64
    }
}

impl Estimate {
    fn plus(self, other: Estimate) -> Estimate {
        Estimate {
            min: self.min.saturating_add(other.min),
            max: self.max.saturating_add(other.max),
        }
    }

    fn times(self, other: Estimate) -> Estimate {
        Estimate {
            min: self.min.saturating_mul(other.min),
            max: self.max.saturating_mul(other.max),
        }
    }

    fn scaled(self, factor: f64) -> Estimate {
        Estimate {
            min: scale(self.min, factor),
            max: scale(self.max, factor),
        }
    }

    fn or(self, other: Estimate) -> Estimate {
        Estimate {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }
}

/// Sizes of what a list or map holds.
#[derive(Clone, Copy)]
struct Entries {
    list: bool,
    keys: Estimate,
    values: Estimate,
}

struct Local {
    name: Arc<str>,
    path: Vec<Arc<str>>,
    size: Option<Estimate>,
    entries: Option<Entries>,
}

/// What is known of an operand.
struct Node<'a> {
    expr: &'a Expr,
    path: Vec<Arc<str>>,
    kind: Type,
    size: Option<Estimate>,
}

struct Coster<'a> {
    program: &'a Program,
    shapes: &'a [(&'a str, &'a Shape)],
    paths: HashMap<Id, Vec<Arc<str>>>,
    sizes: HashMap<Id, Estimate>,
    entries: HashMap<Id, Entries>,
    locals: Vec<Local>,
}

pub(crate) fn run(program: &Program, shapes: &[(&str, &Shape)]) -> Estimate {
    let mut coster = Coster {
        program,
        shapes,
        paths: HashMap::new(),
        sizes: HashMap::new(),
        entries: HashMap::new(),
        locals: Vec::new(),
    };
    coster.cost(&program.expr)
}

impl Coster<'_> {
    fn kind(&self, expr: &Expr) -> &Type {
        &self.program.checked.types[expr.id as usize]
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|local| &*local.name == name)
    }

    fn path(&self, expr: &Expr) -> Vec<Arc<str>> {
        if let Kind::Ident(name) = &expr.kind
            && let Some(local) = self.local(name)
        {
            return local.path.clone();
        }
        self.paths.get(&expr.id).cloned().unwrap_or_default()
    }

    fn below(&self, expr: &Expr, step: &str) -> Vec<Arc<str>> {
        let mut path = self.path(expr);
        path.push(step.into());
        path
    }

    /// The size the schema gives to what is at a path.
    fn at(&self, path: &[Arc<str>]) -> Option<Estimate> {
        let (first, rest) = path.split_first()?;
        // Any variable stands for the same schema, as upstream has it for `self` and `oldSelf`.
        let mut shape = match self.shapes.iter().find(|(name, _)| *name == &**first) {
            Some((_, shape)) => *shape,
            None => self.shapes.first()?.1,
        };
        for step in rest {
            shape = match &**step {
                "@items" | "@values" => shape.items.as_deref()?,
                "@keys" => shape.keys.as_deref()?,
                field => shape.fields.get(field)?,
            };
        }
        Some(Estimate {
            min: 0,
            max: shape.most,
        })
    }

    fn size(&mut self, expr: &Expr) -> Option<Estimate> {
        if let Some(size) = self.sizes.get(&expr.id) {
            return Some(*size);
        }
        let written = match &expr.kind {
            Kind::Const(Value::String(text)) => Some(text.chars().count()),
            Kind::Const(Value::Bytes(bytes)) => Some(bytes.len()),
            Kind::Const(Value::Type(_)) => None,
            Kind::Const(_) => Some(1),
            Kind::List(items) => Some(items.len()),
            Kind::Map(entries) => Some(entries.len()),
            _ => None,
        };
        if let Some(size) = written {
            return Some(fixed(size as u64));
        }
        let path = self.path(expr);
        if let Some(size) = self.at(&path) {
            self.sizes.insert(expr.id, size);
            return Some(size);
        }
        if self.kind(expr).is_scalar() {
            return Some(ONE);
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name).and_then(|local| local.size),
            _ => None,
        }
    }

    fn size_or_unknown(&mut self, expr: &Expr) -> Estimate {
        self.size(expr).unwrap_or(UNKNOWN)
    }

    fn entries(&self, expr: &Expr) -> Option<Entries> {
        if let Some(entries) = self.entries.get(&expr.id) {
            return Some(*entries);
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name).and_then(|local| local.entries),
            _ => None,
        }
    }

    fn node<'e>(&mut self, expr: &'e Expr) -> Node<'e> {
        let mut path = self.path(expr);
        if path.first().is_some_and(|first| &**first == RESULT) {
            path = Vec::new();
        }
        Node {
            expr,
            path,
            kind: self.kind(expr).clone(),
            size: self.size(expr),
        }
    }

    fn of(&self, node: &Node<'_>) -> Estimate {
        node.size.or_else(|| self.at(&node.path)).unwrap_or(UNKNOWN)
    }

    fn cost(&mut self, expr: &Expr) -> Estimate {
        match &expr.kind {
            // The name of a type counts as a variable.
            Kind::Const(Value::Type(name)) => {
                self.paths.insert(expr.id, vec![name.clone()]);
                ONE
            }
            Kind::Const(_) => ZERO,
            Kind::Ident(name) => {
                let path = match self.local(name) {
                    Some(local) => local.path.clone(),
                    None => vec![name.clone()],
                };
                self.paths.insert(expr.id, path);
                ONE
            }
            Kind::Select {
                operand,
                test: true,
                ..
            } => self.cost(operand),
            Kind::Select { operand, field, .. } => {
                let mut sum = self.cost(operand);
                if matches!(
                    self.kind(operand),
                    Type::Map(..) | Type::Object(_) | Type::Library(_) | Type::Param(_)
                ) {
                    sum = sum.plus(ONE);
                }
                let path = self.below(operand, field);
                self.paths.insert(expr.id, path);
                sum
            }
            Kind::Call(call) => self.call(expr, call),
            Kind::List(items) => {
                let mut sum = ZERO;
                let mut values = Estimate {
                    min: if items.is_empty() { 0 } else { u64::MAX },
                    max: 0,
                };
                for item in items {
                    sum = sum.plus(self.cost(&item.value));
                    values = values.or(self.size_or_unknown(&item.value));
                }
                let entries = Entries {
                    list: true,
                    keys: ONE,
                    values,
                };
                self.entries.insert(expr.id, entries);
                sum.plus(fixed(10))
            }
            Kind::Map(parts) => {
                let mut sum = ZERO;
                let none = Estimate {
                    min: if parts.is_empty() { 0 } else { u64::MAX },
                    max: 0,
                };
                let mut entries = Entries {
                    list: false,
                    keys: none,
                    values: none,
                };
                for part in parts {
                    sum = sum.plus(self.cost(&part.key)).plus(self.cost(&part.value));
                    entries.keys = entries.keys.or(self.size_or_unknown(&part.key));
                    entries.values = entries.values.or(self.size_or_unknown(&part.value));
                }
                self.entries.insert(expr.id, entries);
                sum.plus(fixed(30))
            }
            Kind::Struct(_, fields) => {
                let mut sum = fixed(40);
                for field in fields {
                    sum = sum.plus(self.cost(&field.value));
                }
                sum
            }
            Kind::Fold(fold) => self.fold(expr, fold),
        }
    }

    fn iterate(&mut self, name: &Arc<str>, range: &Expr, step: &str, size: Option<Estimate>) {
        let path = self.below(range, step);
        self.locals.push(Local {
            name: name.clone(),
            path,
            size,
            entries: None,
        });
    }

    fn fold(&mut self, expr: &Expr, fold: &Fold) -> Estimate {
        let binds = matches!(&fold.range.kind, Kind::List(items) if items.is_empty())
            && matches!(fold.condition.kind, Kind::Const(Value::Bool(false)))
            && &*fold.accumulator != "__result__";
        let mut sum = self.cost(&fold.range).plus(self.cost(&fold.init));
        let local = Local {
            name: fold.accumulator.clone(),
            path: self.path(&fold.init),
            size: self.size(&fold.init),
            entries: self.entries(&fold.init),
        };
        self.locals.push(local);
        if binds {
            sum = sum.plus(self.cost(&fold.result));
            self.locals.pop();
            self.copy(expr, &fold.result);
            return sum;
        }
        let entries = self.entries(&fold.range);
        let list = match entries {
            Some(entries) => entries.list,
            None => matches!(self.kind(&fold.range), Type::List(_)),
        };
        let (keys, values) = (entries.map(|e| e.keys), entries.map(|e| e.values));
        let inner = self.locals.len();
        match (&fold.second, list) {
            (Some(second), _) => {
                let (key, value) = if list {
                    ("@indices", "@items")
                } else {
                    ("@keys", "@values")
                };
                self.iterate(&fold.var, &fold.range, key, keys);
                self.iterate(second, &fold.range, value, values);
            }
            (None, true) => self.iterate(&fold.var, &fold.range, "@items", values),
            (None, false) => self.iterate(&fold.var, &fold.range, "@keys", keys),
        }
        let step = self.cost(&fold.condition);
        let step = self.cost(&fold.step).plus(step);
        self.locals.truncate(inner);
        sum = sum.plus(self.cost(&fold.result));
        self.locals.pop();
        let count = self.size_or_unknown(&fold.range);
        match &fold.init.kind {
            Kind::Const(_) => {
                if let Some(size) = self.size(&fold.init) {
                    self.sizes.insert(expr.id, size);
                }
            }
            Kind::List(_) | Kind::Map(_) => {
                self.sizes.insert(expr.id, count);
                if let Some(entries) = self.entries(&fold.step) {
                    self.entries.insert(expr.id, entries);
                }
            }
            _ => {}
        }
        sum.plus(count.times(step))
    }

    fn copy(&mut self, to: &Expr, from: &Expr) {
        if let Some(size) = self.size(from) {
            self.sizes.insert(to.id, size);
        }
        if let Some(entries) = self.entries(from) {
            self.entries.insert(to.id, entries);
        }
    }

    fn call(&mut self, expr: &Expr, call: &Call) -> Estimate {
        if &*call.function == "dyn"
            && let [arg] = &call.args[..]
        {
            let cost = self.cost(arg).plus(ONE);
            self.copy(expr, arg);
            return cost;
        }
        let mut costs = Vec::with_capacity(call.args.len());
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            costs.push(self.cost(arg));
            args.push(self.node(arg));
        }
        let overloads = self.program.checked.overloads[expr.id as usize].clone();
        if overloads.is_empty() {
            return ZERO;
        }
        let mut sum = ZERO;
        let mut target = None;
        if let Some(on) = &call.target {
            sum = self.cost(on);
            target = Some(self.node(on));
        }
        let given = costs.iter().fold(ZERO, |sum, cost| sum.plus(*cost));
        let mut most = Estimate {
            min: u64::MAX,
            max: 0,
        };
        let mut size: Option<Estimate> = None;
        for overload in overloads {
            let (cost, result) =
                self.overload(expr, call, overload, target.as_ref(), &args, given, &costs);
            most = most.or(cost);
            if let Some(result) = result {
                size = Some(size.map_or(result, |size| size.or(result)));
            }
            if matches!(overload, "index_list" | "index_map") {
                size = self.entries(&call.args[0]).map(|entries| entries.values);
                let step = if overload == "index_list" {
                    "@items"
                } else {
                    "@values"
                };
                let path = self.below(&call.args[0], step);
                self.paths.insert(expr.id, path);
            }
            if size.is_none() {
                size = self.size(expr);
            }
        }
        if let Some(size) = size {
            self.sizes.insert(expr.id, size);
        }
        sum.plus(most)
    }

    // One call, as it was looked at once for all its overloads.
    #[expect(clippy::too_many_arguments)]
    fn overload(
        &mut self,
        expr: &Expr,
        call: &Call,
        overload: &str,
        target: Option<&Node<'_>>,
        args: &[Node<'_>],
        given: Estimate,
        costs: &[Estimate],
    ) -> (Estimate, Option<Estimate>) {
        if let Some((cost, size)) = self.library(&call.function, overload, target, args) {
            return (cost.plus(given), size);
        }
        let known = |node: &Node<'_>| node.size.unwrap_or(UNKNOWN);
        match overload {
            "string_format" => {
                if let Some(target) = target {
                    return (known(target).scaled(TRAVERSAL).plus(given), None);
                }
            }
            "string_to_bytes" => {
                let size = known(&args[0]);
                let made = Estimate {
                    min: size.min,
                    max: size.max.wrapping_mul(4),
                };
                return (size.scaled(TRAVERSAL).plus(given), Some(made));
            }
            "bytes_to_string" => {
                let size = known(&args[0]);
                let made = Estimate {
                    min: size.min / 4,
                    max: size.max,
                };
                return (size.scaled(TRAVERSAL).plus(given), Some(made));
            }
            "strings_quote" => {
                let size = known(&args[0]);
                let made = Estimate {
                    min: size.min.wrapping_add(2),
                    max: size.max.wrapping_mul(2).wrapping_add(2),
                };
                return (size.scaled(TRAVERSAL).plus(given), Some(made));
            }
            "starts_with_string" | "ends_with_string" => {
                return (known(&args[0]).scaled(TRAVERSAL).plus(given), None);
            }
            "in_list" => return (known(&args[1]).plus(given), None),
            "matches_string" | "contains_string" if target.is_some() && args.len() == 1 => {
                let text = target.map_or(UNKNOWN, known);
                let other = known(&args[0]);
                let cost = match overload {
                    "matches_string" => {
                        let text = text.plus(ONE).scaled(TRAVERSAL);
                        text.times(other.scaled(PATTERN))
                    }
                    _ => text.scaled(TRAVERSAL).times(other.scaled(TRAVERSAL)),
                };
                return (cost.plus(given), None);
            }
            "logical_or" | "logical_and" => {
                let cost = Estimate {
                    min: costs[0].min,
                    max: costs[0].plus(costs[1]).max,
                };
                return (cost, None);
            }
            "conditional" => {
                let size = known(&args[1]).or(known(&args[2]));
                if let (Some(a), Some(b)) = (self.entries(args[1].expr), self.entries(args[2].expr))
                {
                    self.unite(expr, a, b);
                }
                return (costs[0].plus(costs[1].or(costs[2])), Some(size));
            }
            "add_string" | "add_bytes" | "add_list" => {
                let size = known(&args[0]).plus(known(&args[1]));
                if let (Some(a), Some(b)) = (self.entries(args[0].expr), self.entries(args[1].expr))
                {
                    self.unite(expr, a, b);
                }
                let cost = match overload {
                    "add_list" => ONE,
                    _ => size.scaled(TRAVERSAL),
                };
                return (cost.plus(given), Some(size));
            }
            "less_string"
            | "greater_string"
            | "less_equals_string"
            | "greater_equals_string"
            | "less_bytes"
            | "greater_bytes"
            | "less_equals_bytes"
            | "greater_equals_bytes"
            | "equals"
            | "not_equals" => {
                let max = known(&args[0]).max.min(known(&args[1]).max);
                let size = Estimate {
                    min: u64::from(max > 0),
                    max,
                };
                return (size.scaled(TRAVERSAL).plus(given), None);
            }
            _ => {}
        }
        (ONE.plus(given), None)
    }

    fn unite(&mut self, expr: &Expr, a: Entries, b: Entries) {
        let entries = Entries {
            list: a.list,
            keys: a.keys.or(b.keys),
            values: a.values.or(b.values),
        };
        self.entries.insert(expr.id, entries);
    }
}
