//! Evaluation, one step at a time, each counted.

mod access;

use self::access::{compare, member};
use super::ast::{Call, Expr, Fold, Kind};
use super::env::Program;
use super::macros::RESULT;
use super::value::{Key, Map, Value, canonical, equal};
use super::{cost, format, lists, net, numbers, semver, strings, url};
use indexmap::IndexMap;
use std::sync::Arc;

/// Gives the values of variables; asked each time a variable is named.
pub trait Variables {
    /// Value of a variable; none where there is no such variable now.
    fn get(&self, name: &str) -> Option<Result<Value, Error>>;
}

impl<const N: usize> Variables for [(&str, Value); N] {
    fn get(&self, name: &str) -> Option<Result<Value, Error>> {
        let found = self.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| Ok(value.clone()))
    }
}

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The expression cannot be evaluated with these values.
    Fault(String),
    /// The budget is used up.
    Limit,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Fault(why) => f.write_str(why),
            Error::Limit => f.write_str("operation cancelled: actual cost limit exceeded"),
        }
    }
}

impl std::error::Error for Error {}

/// A value or why there is none, and what it took.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The value.
    pub result: Result<Value, Error>,
    /// Steps taken.
    pub cost: u64,
}

pub(crate) type Result_ = Result<Value, Error>;

pub(crate) fn fault<T>(why: impl Into<String>) -> Result<T, Error> {
    Err(Error::Fault(why.into()))
}

pub(crate) fn no_overload<T>() -> Result<T, Error> {
    fault("no such overload")
}

/// Largest text and list an expression may make.
const TEXT_BYTES: usize = 8 << 20;
const LIST_ITEMS: usize = 2 << 20;
/// Elements looked at beside what costs count; upstream has no such bound, its costs can be far
/// below the work done.
const WORK: u64 = 200_000_000;

pub(crate) struct Run<'a> {
    program: &'a Program,
    variables: &'a dyn Variables,
    locals: Vec<(Arc<str>, Result_)>,
    cost: u64,
    limit: u64,
    work: u64,
}

pub(crate) fn run(program: &Program, variables: &dyn Variables, limit: u64) -> Outcome {
    let mut run = Run {
        program,
        variables,
        locals: Vec::new(),
        cost: 0,
        limit,
        work: 0,
    };
    let result = run.expr(&program.folded);
    Outcome {
        result,
        cost: run.cost,
    }
}

impl Run<'_> {
    pub(crate) fn charge(&mut self, cost: u64) -> Result<(), Error> {
        self.cost = self.cost.saturating_add(cost);
        match self.cost > self.limit {
            true => Err(Error::Limit),
            false => Ok(()),
        }
    }

    /// Counts what is done beyond what costs say.
    pub(crate) fn work(&mut self, steps: u64) -> Result<(), Error> {
        self.work = self.work.saturating_add(steps);
        match self.work > WORK {
            true => Err(Error::Limit),
            false => Ok(()),
        }
    }

    /// Refuses a text that would be too long before it is made.
    pub(crate) fn text(&mut self, bytes: usize) -> Result<(), Error> {
        self.work(bytes as u64 / 8)?;
        match bytes > TEXT_BYTES {
            true => Err(Error::Limit),
            false => Ok(()),
        }
    }

    /// Refuses a list that would be too long before it is made.
    pub(crate) fn items(&mut self, count: usize) -> Result<(), Error> {
        self.work(count as u64)?;
        match count > LIST_ITEMS {
            true => Err(Error::Limit),
            false => Ok(()),
        }
    }

    pub(crate) fn same(&mut self, a: &Value, b: &Value) -> Result<bool, Error> {
        let mut work = 0;
        let same = equal(a, b, &mut work);
        self.work(work)?;
        Ok(same)
    }

    pub(crate) fn canonical(&mut self, value: &Value) -> Result<Vec<u8>, Error> {
        let mut work = 0;
        let bytes = canonical(value, &mut work);
        self.work(work)?;
        Ok(bytes)
    }

    fn expr(&mut self, expr: &Expr) -> Result_ {
        match &expr.kind {
            Kind::Const(value) => Ok(value.clone()),
            Kind::Ident(name) => {
                self.charge(1)?;
                self.variable(name)
            }
            Kind::Select {
                operand,
                field,
                test,
            } => self.select(operand, field, *test),
            Kind::Call(call) => self.call(expr, call),
            Kind::List(items) => {
                let mut found = Vec::with_capacity(items.len());
                for item in items {
                    match (self.expr(&item.value)?, item.optional) {
                        (Value::Optional(inner), true) => {
                            found.extend(inner.map(|value| (*value).clone()));
                        }
                        (_, true) => return no_overload(),
                        (value, false) => found.push(value),
                    }
                }
                self.charge(cost::LIST)?;
                Ok(Value::list(found))
            }
            Kind::Map(_) => self.map(expr),
            Kind::Struct(name, fields) => {
                let mut entries = IndexMap::with_capacity(fields.len());
                for field in fields {
                    let value = match (self.expr(&field.value)?, field.optional) {
                        (Value::Optional(None), true) => continue,
                        (Value::Optional(Some(inner)), true) => (*inner).clone(),
                        (_, true) => return no_overload(),
                        (value, false) => value,
                    };
                    entries.insert(Key::String(field.name.clone()), value);
                }
                self.charge(cost::STRUCT)?;
                Ok(Value::Map(Arc::new(Map {
                    entries,
                    object: Some(name.clone()),
                })))
            }
            Kind::Fold(fold) => self.fold(fold),
        }
    }

    fn variable(&self, name: &str) -> Result_ {
        if let Some((_, value)) = self.locals.iter().rev().find(|(known, _)| &**known == name) {
            return value.clone();
        }
        match self.variables.get(name) {
            Some(result) => result,
            None => fault(format!("no such attribute(s): {name}")),
        }
    }

    #[inline(never)]
    fn map(&mut self, expr: &Expr) -> Result_ {
        let Kind::Map(parts) = &expr.kind else {
            return no_overload();
        };
        let mut entries = IndexMap::with_capacity(parts.len());
        for part in parts {
            let key = self.expr(&part.key)?;
            let value = match (self.expr(&part.value)?, part.optional) {
                (Value::Optional(None), true) => continue,
                (Value::Optional(Some(inner)), true) => (*inner).clone(),
                (_, true) => return no_overload(),
                (value, false) => value,
            };
            let Some(key) = key.key() else {
                return fault(format!("unsupported key type: {}", key.type_name()));
            };
            entries.insert(key, value);
        }
        self.charge(cost::MAP)?;
        Ok(Value::Map(Arc::new(Map {
            entries,
            object: None,
        })))
    }

    #[inline(never)]
    fn select(&mut self, operand: &Expr, field: &Arc<str>, test: bool) -> Result_ {
        let on = self.expr(operand)?;
        if let Value::Optional(inner) = &on {
            let found = inner
                .as_ref()
                .map(|value| member(value, field))
                .transpose()?
                .flatten();
            self.charge(cost::optional(operand, found.is_some()))?;
            return Ok(match test {
                true => Value::Bool(found.is_some()),
                false => Value::Optional(found.map(Arc::new)),
            });
        }
        self.charge(match test {
            true => cost::test(operand),
            false => cost::select(operand),
        })?;
        let found = member(&on, field)?;
        match (test, found) {
            (true, found) => Ok(Value::Bool(found.is_some())),
            (false, Some(value)) => Ok(value),
            (false, None) => fault(format!("no such key: {field}")),
        }
    }

    #[inline(never)]
    fn call(&mut self, expr: &Expr, call: &Call) -> Result_ {
        match &*call.function {
            "_&&_" => return self.logic(call, false),
            "_||_" => return self.logic(call, true),
            "_?_:_" => {
                let branch = match self.expr(&call.args[0])? {
                    Value::Bool(true) => &call.args[1],
                    Value::Bool(false) => &call.args[2],
                    _ => return no_overload(),
                };
                let value = self.expr(branch);
                self.cost -= self.cost.min(cost::inner(branch));
                return value;
            }
            "@not_strictly_false" => {
                let value = match self.expr(&call.args[0]) {
                    Err(Error::Limit) => return Err(Error::Limit),
                    Ok(Value::Bool(value)) => value,
                    _ => true,
                };
                self.charge(1)?;
                return Ok(Value::Bool(value));
            }
            // Appends to what is being collected without a copy of it.
            "_+_" | "cel.@mapInsert" if matches!(&call.args[0].kind, Kind::Ident(name) if &**name == RESULT) =>
            {
                return self.collect(call);
            }
            "or" | "orValue" => {
                if let Some(target) = &call.target {
                    return self.either(call, target);
                }
            }
            _ => {}
        }
        let parts = call.target.iter().chain(&call.args);
        let count = parts.clone().count();
        let mut args = Vec::with_capacity(count);
        let mut failed = None;
        for part in parts {
            match self.expr(part) {
                Ok(value) => args.push(value),
                Err(Error::Limit) => return Err(Error::Limit),
                Err(error) => {
                    failed.get_or_insert(error);
                    // Upstream evaluates both operands of two, and stops at the first of more.
                    if count > 2 {
                        break;
                    }
                }
            }
        }
        if let Some(error) = failed {
            self.charge(u64::from(count <= 2))?;
            return Err(error);
        }
        if matches!(&*call.function, "_[_]" | "_[?_]") {
            self.cost -= self.cost.min(cost::inner(&call.args[1]));
        }
        let result = self.apply(&call.function, &args);
        if result == Err(Error::Limit) {
            return result;
        }
        if &*call.function == "@in" && cost::is_set(&call.args[1]) {
            return result;
        }
        let overloads = &self.program.checked.overloads[expr.id as usize];
        let made = result.as_ref().ok();
        let steps = cost::call(&call.function, overloads, &call.args, &args, made);
        self.charge(steps)?;
        result
    }

    // The second operand is only looked at where the first holds nothing.
    fn either(&mut self, call: &Call, target: &Expr) -> Result_ {
        let first = self.expr(target)?;
        let Value::Optional(inner) = first else {
            return match &*call.function {
                "orValue" => Ok(first),
                _ => no_overload(),
            };
        };
        match (inner, &*call.function) {
            (Some(value), "orValue") => Ok((*value).clone()),
            (Some(value), _) => Ok(Value::Optional(Some(value))),
            (None, _) => self.expr(&call.args[0]),
        }
    }

    fn logic(&mut self, call: &Call, ends: bool) -> Result_ {
        let mut failed = None;
        for arg in &call.args {
            match self.expr(arg) {
                Ok(Value::Bool(value)) if value == ends => return Ok(Value::Bool(ends)),
                Ok(Value::Bool(_)) => {}
                Err(Error::Limit) => return Err(Error::Limit),
                Ok(_) => {
                    failed.get_or_insert(Error::Fault("no such overload".into()));
                }
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(Value::Bool(!ends)),
        }
    }

    #[inline(never)]
    fn collect(&mut self, call: &Call) -> Result_ {
        self.charge(1)?;
        let mut added = Vec::with_capacity(2);
        for arg in &call.args[1..] {
            added.push(self.expr(arg)?);
        }
        self.charge(1)?;
        let slot = self
            .locals
            .iter_mut()
            .rev()
            .find(|(name, _)| &**name == RESULT);
        let Some((_, slot)) = slot else {
            return no_overload();
        };
        let so_far = std::mem::replace(slot, Ok(Value::Null))?;
        match (so_far, added.as_slice()) {
            (Value::List(mut list), [Value::List(more)]) => {
                self.items(more.items.len())?;
                if list.items.len() + more.items.len() > LIST_ITEMS {
                    return Err(Error::Limit);
                }
                Arc::make_mut(&mut list)
                    .items
                    .extend(more.items.iter().cloned());
                Ok(Value::List(list))
            }
            (Value::Map(mut map), [key, value]) => {
                let Some(key) = key.key() else {
                    return fault(format!("unsupported key type: {}", key.type_name()));
                };
                self.work(1)?;
                if map.entries.contains_key(&key) {
                    return repeated(&key);
                }
                Arc::make_mut(&mut map).entries.insert(key, value.clone());
                Ok(Value::Map(map))
            }
            (Value::Map(mut map), [Value::Map(more)]) => {
                self.items(more.entries.len())?;
                let into = Arc::make_mut(&mut map);
                for (key, value) in &more.entries {
                    if into.entries.insert(key.clone(), value.clone()).is_some() {
                        return repeated(key);
                    }
                }
                Ok(Value::Map(map))
            }
            (so_far, [one]) => self.apply(&call.function, &[so_far, one.clone()]),
            _ => no_overload(),
        }
    }

    #[inline(never)]
    pub(crate) fn fold(&mut self, fold: &Fold) -> Result_ {
        let range = self.expr(&fold.range)?;
        let outer = self.locals.len();
        let init = self.expr(&fold.init);
        if init == Err(Error::Limit) {
            return init;
        }
        self.locals.push((fold.accumulator.clone(), init));
        let done = match &range {
            Value::List(list) => self.each(
                fold,
                list.items
                    .iter()
                    .enumerate()
                    .map(|(at, item)| match fold.second {
                        Some(_) => (Value::Int(at as i64), item.clone()),
                        None => (item.clone(), Value::Null),
                    }),
            ),
            Value::Map(map) => self.each(
                fold,
                map.entries
                    .iter()
                    .map(|(key, value)| (key.value(), value.clone())),
            ),
            other => fault(format!(
                "got '{}', expected iterable type",
                strings::go_type(other)
            )),
        };
        let result = match done {
            Ok(()) => self.expr(&fold.result),
            Err(error) => Err(error),
        };
        self.locals.truncate(outer);
        result
    }

    fn each(
        &mut self,
        fold: &Fold,
        range: impl Iterator<Item = (Value, Value)>,
    ) -> Result<(), Error> {
        let accumulator = self.locals.len() - 1;
        for (first, second) in range {
            self.work(1)?;
            self.locals.push((fold.var.clone(), Ok(first)));
            if let Some(name) = &fold.second {
                self.locals.push((name.clone(), Ok(second)));
            }
            let step = match self.expr(&fold.condition) {
                Err(Error::Limit) => return Err(Error::Limit),
                Ok(Value::Bool(false)) => None,
                _ => Some(self.expr(&fold.step)),
            };
            self.locals.truncate(accumulator + 1);
            match step {
                None => break,
                Some(Err(Error::Limit)) => return Err(Error::Limit),
                Some(value) => self.locals[accumulator].1 = value,
            }
        }
        Ok(())
    }

    /// An operator or a function of a library on its arguments.
    #[inline(never)]
    fn apply(&mut self, function: &str, args: &[Value]) -> Result_ {
        match (function, args) {
            ("_==_", [a, b]) => Ok(Value::Bool(self.same(a, b)?)),
            ("_!=_", [a, b]) => Ok(Value::Bool(!self.same(a, b)?)),
            ("!_", [Value::Bool(value)]) => Ok(Value::Bool(!value)),
            ("_<_" | "_<=_" | "_>_" | "_>=_", [a, b]) => compare(function, a, b),
            ("_[_]", [on, index]) => self.index(on, index, false),
            ("_[?_]", [on, index]) => self.index(on, index, true),
            ("_?._", [on, Value::String(field)]) => {
                let found = match on {
                    Value::Optional(None) => None,
                    Value::Optional(Some(inner)) => member(inner, field)?,
                    other => member(other, field)?,
                };
                Ok(Value::Optional(found.map(Arc::new)))
            }
            ("@in", [Value::Null, Value::List(list)]) => {
                Ok(Value::Bool(list.items.contains(&Value::Null)))
            }
            ("@in", [item, Value::List(list)]) => {
                for known in &list.items {
                    if self.same(item, known)? {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
            ("@in", [item, Value::Map(map)]) => Ok(Value::Bool(map.find(item).is_some())),
            ("size", [Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_)]) => {
                Ok(Value::Int(args[0].size() as i64))
            }
            ("type", [value]) => Ok(Value::Type(value.type_name().into())),
            ("dyn", [value]) => Ok(value.clone()),
            ("_+_", [Value::List(a), Value::List(b)]) => self.join(a, b),
            _ => self.library(function, args),
        }
    }

    #[inline(never)]
    fn library(&mut self, function: &str, args: &[Value]) -> Result_ {
        for library in [
            optional,
            numbers::call,
            strings::call,
            lists::call,
            net::call,
            url::call,
            semver::call,
            format::call,
            super::numbers::quantities,
            super::json::authorizer,
        ] {
            if let Some(result) = library(self, function, args) {
                return result;
            }
        }
        let operator = function.starts_with(['_', '-', '!', '@']);
        let types: Vec<&str> = args.iter().map(Value::type_name).collect();
        match function {
            "startsWith" | "endsWith" | "contains" | "matches" => no_overload(),
            "size" | "_<_" | "_<=_" | "_>_" | "_>=_" => {
                fault(format!("no such overload: {function}"))
            }
            _ if operator => no_overload(),
            _ => fault(format!(
                "no such overload: {function}({})",
                types.join(", ")
            )),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        equal(self, other, &mut 0)
    }
}

fn repeated(key: &Key) -> Result_ {
    fault(format!(
        "insert failed: key {} already exists",
        strings::show(&key.value())
    ))
}

fn optional(_: &mut Run<'_>, function: &str, args: &[Value]) -> Option<Result_> {
    Some(match (function, args) {
        ("optional.none", []) => Ok(Value::none()),
        ("optional.of", [value]) => Ok(Value::some(value.clone())),
        ("optional.ofNonZeroValue", [value]) => Ok(match value.is_zero() {
            true => Value::none(),
            false => Value::some(value.clone()),
        }),
        ("hasValue", [Value::Optional(inner)]) => Ok(Value::Bool(inner.is_some())),
        ("value", [Value::Optional(inner)]) => match inner {
            Some(value) => Ok((**value).clone()),
            None => fault("optional.none() dereference"),
        },
        ("cel.@mapInsert", [Value::Map(map), key, value]) => match key.key() {
            None => fault(format!("unsupported key type: {}", key.type_name())),
            Some(key) => {
                let mut map = Map::clone(map);
                match map.entries.insert(key.clone(), value.clone()) {
                    Some(_) => repeated(&key),
                    None => Ok(Value::Map(Arc::new(map))),
                }
            }
        },
        _ => return None,
    })
}

/// A function on values that are known before anything runs.
pub(crate) fn known(function: &str, args: &[Value]) -> Result_ {
    let program = Program::empty();
    let mut run = Run {
        program: &program,
        variables: &[] as &[(&str, Value); 0],
        locals: Vec::new(),
        cost: 0,
        limit: super::CALL_LIMIT,
        work: 0,
    };
    run.apply(function, args)
}
