//! Types of every node: what does not fit is told with its place, before anything is evaluated.

use super::ast::{Call, Expr, Fold, Id, Kind};
use super::functions::{self, Overload};
use super::types::{Known, Object, Type, most_general};
use super::value::Value;
use super::{Env, Issue};
use std::sync::Arc;

/// What checking learnt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checked {
    /// By node.
    pub(crate) types: Vec<Type>,
    /// Overloads that a call may turn out to be, by node.
    pub(crate) overloads: Vec<Vec<&'static str>>,
}

struct Checker<'a> {
    env: &'a Env,
    locals: Vec<(Arc<str>, Type)>,
    known: Known,
    found: Checked,
    issues: Vec<Issue>,
}

/// Checks a tree, and replaces names that stand for functions and types.
pub(crate) fn check(env: &Env, expr: &mut Expr, nodes: Id) -> (Checked, Vec<Issue>) {
    let mut checker = Checker {
        env,
        locals: Vec::new(),
        known: Known::default(),
        found: Checked {
            types: vec![Type::Dyn; nodes as usize],
            overloads: vec![Vec::new(); nodes as usize],
        },
        issues: Vec::new(),
    };
    checker.node(expr);
    let mut found = checker.found;
    for kind in &mut found.types {
        *kind = checker.known.fill(kind, true);
    }
    if checker.issues.is_empty() {
        super::validate::run(expr, &found, &mut checker.issues);
    }
    (found, checker.issues)
}

impl Checker<'_> {
    fn issue(&mut self, at: u32, message: String) {
        self.issues.push(Issue::new(at, message));
    }

    fn of(&self, expr: &Expr) -> Type {
        self.found.types[expr.id as usize].clone()
    }

    fn fits(&mut self, given: &Type, wanted: &Type) -> bool {
        self.known
            .assignable(std::slice::from_ref(given), std::slice::from_ref(wanted))
    }

    fn open(&mut self) -> Type {
        Type::Param(self.known.fresh())
    }

    fn lookup(&self, name: &str) -> Option<Type> {
        let local = self.locals.iter().rev().find(|(known, _)| &**known == name);
        match local {
            Some((_, kind)) => Some(kind.clone()),
            None => self.env.variable(name).cloned(),
        }
    }

    fn node(&mut self, expr: &mut Expr) {
        let kind = self.kind(expr);
        self.found.types[expr.id as usize] = kind;
    }

    fn kind(&mut self, expr: &mut Expr) -> Type {
        let (id, at) = (expr.id, expr.at);
        match &mut expr.kind {
            Kind::Const(value) => value.static_type(),
            Kind::Ident(name) => {
                // A leading dot names what is outermost, past variables of macros.
                if let Some(outer) = name.strip_prefix('.')
                    && let Some(kind) = self.env.variable(outer).cloned()
                {
                    *name = outer.into();
                    return kind;
                }
                if let Some(kind) = self.lookup(name) {
                    return kind;
                }
                if let Some(kind) = functions::type_value(name) {
                    expr.kind = Kind::Const(Value::Type(Arc::from(&**name)));
                    return Type::Type(Arc::new(kind));
                }
                let message = format!("undeclared reference to '{name}' (in container '')");
                self.issue(at, message);
                Type::Error
            }
            Kind::Select { test: false, .. } => {
                if let Some(name) = expr.qualified_name() {
                    if !self
                        .locals
                        .iter()
                        .any(|(known, _)| name.starts_with(&format!("{known}.")))
                        && let Some(kind) = self.env.variable(&name).cloned()
                    {
                        expr.kind = Kind::Ident(name.into());
                        return kind;
                    }
                    if let Some(kind) = functions::type_value(&name) {
                        expr.kind = Kind::Const(Value::Type(name.into()));
                        return Type::Type(Arc::new(kind));
                    }
                }
                let Kind::Select { operand, field, .. } = &mut expr.kind else {
                    return Type::Error;
                };
                let field = field.clone();
                let found = self.select(at, operand, &field, false);
                self.known.fill(&found, false)
            }
            Kind::Select {
                operand,
                field,
                test: true,
            } => {
                let field = field.clone();
                self.select(at, operand, &field, false);
                Type::Bool
            }
            Kind::Call(call) => self.call(id, at, call),
            Kind::List(items) => {
                let mut joined = None;
                for item in items {
                    self.node(&mut item.value);
                    let found = self.of(&item.value);
                    let found = self.unwrapped(&item.value, found, item.optional);
                    joined = Some(self.join(joined, found));
                }
                let item = joined.unwrap_or_else(|| self.open());
                Type::list(item)
            }
            Kind::Map(entries) => {
                let (mut keys, mut values) = (None, None);
                for entry in entries {
                    self.node(&mut entry.key);
                    let key = self.of(&entry.key);
                    keys = Some(self.join(keys, key));
                    self.node(&mut entry.value);
                    let value = self.of(&entry.value);
                    let value = self.unwrapped(&entry.value, value, entry.optional);
                    values = Some(self.join(values, value));
                }
                let key = keys.unwrap_or_else(|| self.open());
                let value = values.unwrap_or_else(|| self.open());
                Type::map(key, value)
            }
            Kind::Struct(name, fields) => {
                let Some(object) = self.env.message(name) else {
                    let message = format!("undeclared reference to '{name}' (in container '')");
                    self.issue(at, message);
                    for field in fields {
                        self.node(&mut field.value);
                    }
                    return Type::Error;
                };
                for field in fields {
                    self.node(&mut field.value);
                    let given = self.of(&field.value);
                    let given = self.unwrapped(&field.value, given, field.optional);
                    let wanted = match object.fields.get(&*field.name) {
                        Some(wanted) => wanted.clone(),
                        None if object.fields.is_empty() => Type::Dyn,
                        None => {
                            self.issue(field.at, format!("undefined field '{}'", field.name));
                            Type::Error
                        }
                    };
                    if !self.fits(&wanted, &given) {
                        let message = format!(
                            "expected type of field '{}' is '{}' but provided type is '{}'",
                            field.name,
                            wanted.told(),
                            given.told()
                        );
                        self.issue(field.at, message);
                    }
                }
                Type::Object(object)
            }
            Kind::Fold(fold) => self.fold(fold),
        }
    }

    fn unwrapped(&mut self, expr: &Expr, found: Type, optional: bool) -> Type {
        match found {
            Type::Optional(inner) if optional => (*inner).clone(),
            other => {
                if optional && !other.is_dyn() {
                    let told = other.told();
                    let message =
                        format!("expected type 'optional_type({told})' but found '{told}'");
                    self.issue(expr.at, message);
                }
                other
            }
        }
    }

    fn join(&mut self, before: Option<Type>, now: Type) -> Type {
        let Some(before) = before else {
            return now;
        };
        if self.fits(&before, &now) {
            return most_general(&before, &now).clone();
        }
        // Refused afterwards, but where the list is the arguments of a format.
        Type::Dyn
    }

    fn select(&mut self, at: u32, operand: &mut Expr, field: &str, optional: bool) -> Type {
        self.node(operand);
        let on = self.of(operand);
        let on = self.known.fill(&on, false);
        let (on, wrapped) = match on {
            Type::Optional(inner) => ((*inner).clone(), true),
            other => (other, false),
        };
        let found = match &on {
            Type::Map(_, value) => (**value).clone(),
            Type::Object(object) => self.field(at, object, field),
            Type::Param(_) => {
                self.fits(&Type::Dyn, &on);
                Type::Dyn
            }
            Type::Dyn | Type::Error => Type::Dyn,
            Type::Library(_) => {
                self.issue(at, format!("undefined field '{field}'"));
                Type::Error
            }
            other => {
                let message = format!("type '{}' does not support field selection", other.told());
                self.issue(at, message);
                Type::Dyn
            }
        };
        match wrapped || optional {
            true => Type::optional(found),
            false => found,
        }
    }

    fn field(&mut self, at: u32, object: &Object, field: &str) -> Type {
        match object.fields.get(field) {
            Some(kind) => kind.clone(),
            // A message that takes any field.
            None if object.fields.is_empty() && self.env.message(&object.name).is_some() => {
                Type::Dyn
            }
            None => {
                self.issue(at, format!("undefined field '{field}'"));
                Type::Error
            }
        }
    }

    fn call(&mut self, id: Id, at: u32, call: &mut Call) -> Type {
        if &*call.function == "_?._" {
            let Some(Kind::Const(Value::String(field))) = call.args.get(1).map(|a| a.kind.clone())
            else {
                return Type::Error;
            };
            let found = self.select(at, &mut call.args[0], &field, true);
            self.found.overloads[id as usize] = vec!["select_optional_field"];
            return self.known.fill(&found, false);
        }
        for arg in &mut call.args {
            self.node(arg);
        }
        let namespaced = call.target.as_ref().and_then(|target| {
            let name = format!("{}.{}", target.qualified_name()?, call.function);
            self.env.overloads(&name).map(|found| (name, found))
        });
        let overloads = match namespaced {
            Some((name, found)) => {
                call.function = name.into();
                call.target = None;
                found
            }
            None => {
                if let Some(target) = &mut call.target {
                    self.node(target);
                }
                let Some(found) = self.env.overloads(&call.function) else {
                    let message = format!(
                        "undeclared reference to '{}' (in container '')",
                        call.function
                    );
                    self.issue(at, message);
                    return Type::Error;
                };
                found
            }
        };
        self.resolve(id, at, call, overloads)
    }

    fn resolve(&mut self, id: Id, at: u32, call: &Call, overloads: &[Arc<Overload>]) -> Type {
        let given: Vec<Type> = call
            .target
            .iter()
            .chain(&call.args)
            .map(|arg| self.of(arg))
            .collect();
        if matches!(&*call.function, "_&&_" | "_||_") {
            let mut wrong = false;
            for (arg, kind) in call.args.iter().zip(&given) {
                if !self.fits(kind, &Type::Bool) {
                    let kind = self.known.fill(kind, true).told();
                    self.issue(arg.at, format!("expected type 'bool' but found '{kind}'"));
                    wrong = true;
                }
            }
            if wrong {
                return Type::Error;
            }
            self.found.overloads[id as usize] = overloads.iter().map(|o| o.id).collect();
            return Type::Bool;
        }
        let mut result: Option<Type> = None;
        for overload in overloads {
            if overload.member != call.target.is_some() {
                continue;
            }
            let first = (0..overload.params)
                .map(|_| self.known.fresh())
                .min()
                .unwrap_or(0);
            let wanted: Vec<Type> = overload.args.iter().map(|t| shift(t, first)).collect();
            if !self.known.assignable(&given, &wanted) {
                continue;
            }
            self.found.overloads[id as usize].push(overload.id);
            let this = self.known.fill(&shift(&overload.result, first), false);
            result = Some(match result {
                None => this,
                Some(before) if before == Type::Dyn || before == this => before,
                Some(_) => Type::Dyn,
            });
        }
        result.unwrap_or_else(|| {
            let given: Vec<String> = given
                .iter()
                .map(|kind| self.known.fill(kind, true).told())
                .collect();
            let signature = match call.target {
                Some(_) => format!("{}.({})", given[0], given[1..].join(", ")),
                None => format!("({})", given.join(", ")),
            };
            let message = format!(
                "found no matching overload for '{}' applied to '{signature}'",
                call.function
            );
            self.issue(at, message);
            Type::Error
        })
    }

    fn fold(&mut self, fold: &mut Fold) -> Type {
        self.node(&mut fold.range);
        self.node(&mut fold.init);
        let range = self.of(&fold.range);
        let range = self.known.fill(&range, false);
        let (first, second) = match &range {
            Type::List(item) => match fold.second {
                Some(_) => (Type::Int, (**item).clone()),
                None => ((**item).clone(), Type::Dyn),
            },
            Type::Map(key, value) => ((**key).clone(), (**value).clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.fits(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let other = other.told();
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.issue(fold.range.at, message);
                (Type::Error, Type::Error)
            }
        };
        let accumulated = self.of(&fold.init);
        let outer = self.locals.len();
        self.locals
            .push((fold.accumulator.clone(), accumulated.clone()));
        let inner = self.locals.len();
        self.locals.push((fold.var.clone(), first));
        if let Some(name) = &fold.second {
            self.locals.push((name.clone(), second));
        }
        self.node(&mut fold.condition);
        self.assert(&fold.condition, &Type::Bool);
        self.node(&mut fold.step);
        self.assert(&fold.step, &accumulated);
        self.locals.truncate(inner);
        self.node(&mut fold.result);
        self.locals.truncate(outer);
        let result = self.of(&fold.result);
        self.known.fill(&result, false)
    }

    fn assert(&mut self, expr: &Expr, wanted: &Type) {
        let found = self.of(expr);
        if !self.fits(wanted, &found) {
            let (wanted, found) = (self.known.fill(wanted, true), self.known.fill(&found, true));
            let (wanted, found) = (wanted.told(), found.told());
            let message = format!("expected type '{wanted}' but found '{found}'");
            self.issue(expr.at, message);
        }
    }
}

/// Open types of an overload, numbered for one call.
fn shift(kind: &Type, first: u32) -> Type {
    match kind {
        Type::Param(number) => Type::Param(number + first),
        Type::List(item) => Type::list(shift(item, first)),
        Type::Map(key, value) => Type::map(shift(key, first), shift(value, first)),
        Type::Optional(inner) => Type::optional(shift(inner, first)),
        Type::Type(inner) => Type::Type(Arc::new(shift(inner, first))),
        other => other.clone(),
    }
}
