//! Macros: calls that stand for comprehensions and presence tests. What each expands to is
//! upstream's, node for node, because costs are counted on the expansion.

use super::Issue;
use super::ast::{Call, Expr, Fold, Item, Kind};
use super::parse::{Parsed, Parser, simple_name};
use super::value::Value;
use std::sync::Arc;

/// Name of the variable that collects the result of a comprehension; not spellable by users.
pub(crate) const RESULT: &str = "@result";
const UNUSED: &str = "#unused";
const SORT_INPUT: &str = "@__sortBy_input__";

/// A call: expanded where it is a macro, as it is otherwise.
pub(crate) fn expand(
    parser: &mut Parser,
    at: u32,
    name: &Arc<str>,
    target: Option<Expr>,
    args: Vec<Expr>,
) -> Parsed<Expr> {
    let mut make = Make { parser, at };
    match target {
        None if &**name == "has" && args.len() == 1 => make.has(args),
        None => make.call(name, None, args),
        Some(target) => match (&**name, args.len()) {
            ("all", 2 | 3) => make.all(target, args),
            ("exists", 2 | 3) => make.exists(target, args),
            ("exists_one", 2 | 3) | ("existsOne", 2 | 3) => make.exists_one(target, args),
            ("filter", 2) => make.filter(target, args),
            ("map", 2 | 3) => make.map(target, args, 1),
            ("transformList", 3 | 4) => make.map(target, args, 2),
            ("transformMap", 3 | 4) => make.transform_map(target, args, true),
            ("transformMapEntry", 3 | 4) => make.transform_map(target, args, false),
            ("optMap", 2) => make.optional(target, args, true),
            ("optFlatMap", 2) => make.optional(target, args, false),
            ("sortBy", 2) => make.sort_by(target, args),
            _ => make.call(name, Some(target), args),
        },
    }
}

struct Make<'a> {
    parser: &'a mut Parser,
    at: u32,
}

struct Loop {
    var: Arc<str>,
    second: Option<Arc<str>>,
    init: Expr,
    condition: Expr,
    step: Expr,
    result: Expr,
}

impl Make<'_> {
    fn node(&mut self, kind: Kind) -> Parsed<Expr> {
        self.parser.node(self.at, kind)
    }

    fn value(&mut self, value: Value) -> Parsed<Expr> {
        self.node(Kind::Const(value))
    }

    fn ident(&mut self, name: &str) -> Parsed<Expr> {
        self.node(Kind::Ident(name.into()))
    }

    fn result(&mut self) -> Parsed<Expr> {
        self.ident(RESULT)
    }

    fn operator(&mut self, function: &str, args: Vec<Expr>) -> Parsed<Expr> {
        self.parser.call(self.at, function, args)
    }

    fn call(&mut self, name: &Arc<str>, target: Option<Expr>, args: Vec<Expr>) -> Parsed<Expr> {
        self.node(Kind::Call(Box::new(Call {
            function: name.clone(),
            target,
            args,
        })))
    }

    fn list(&mut self, values: Vec<Expr>) -> Parsed<Expr> {
        let items = values.into_iter().map(|value| Item {
            value,
            optional: false,
        });
        let items = items.collect();
        self.node(Kind::List(items))
    }

    fn fold(&mut self, range: Expr, parts: Loop) -> Parsed<Expr> {
        self.node(Kind::Fold(Box::new(Fold {
            range,
            var: parts.var,
            second: parts.second,
            accumulator: RESULT.into(),
            init: parts.init,
            condition: parts.condition,
            step: parts.step,
            result: parts.result,
        })))
    }

    /// A copy of a tree with numbers of its own.
    fn copy(&mut self, expr: &Expr) -> Parsed<Expr> {
        let mut kind = expr.kind.clone();
        match &mut kind {
            Kind::Const(_) | Kind::Ident(_) => {}
            Kind::Select { operand, .. } => **operand = self.copy(operand)?,
            Kind::Call(call) => {
                if let Some(target) = &mut call.target {
                    *target = self.copy(target)?;
                }
                for arg in &mut call.args {
                    *arg = self.copy(arg)?;
                }
            }
            Kind::List(items) => {
                for item in items {
                    item.value = self.copy(&item.value)?;
                }
            }
            Kind::Map(entries) => {
                for entry in entries {
                    entry.key = self.copy(&entry.key)?;
                    entry.value = self.copy(&entry.value)?;
                }
            }
            Kind::Struct(_, fields) => {
                for field in fields {
                    field.value = self.copy(&field.value)?;
                }
            }
            Kind::Fold(fold) => {
                fold.range = self.copy(&fold.range)?;
                fold.init = self.copy(&fold.init)?;
                fold.condition = self.copy(&fold.condition)?;
                fold.step = self.copy(&fold.step)?;
                fold.result = self.copy(&fold.result)?;
            }
        }
        self.parser.node(expr.at, kind)
    }

    fn has(&mut self, mut args: Vec<Expr>) -> Parsed<Expr> {
        match args.pop() {
            Some(Expr {
                kind:
                    Kind::Select {
                        operand,
                        field,
                        test: false,
                    },
                ..
            }) => self.node(Kind::Select {
                operand,
                field,
                test: true,
            }),
            other => Err(Issue::new(
                other.map_or(self.at, |expr| expr.at),
                "invalid argument to has() macro",
            )),
        }
    }

    /// The variables in front of the other arguments.
    fn variables(
        &self,
        args: &mut Vec<Expr>,
        count: usize,
    ) -> Parsed<(Arc<str>, Option<Arc<str>>)> {
        let mut names = Vec::new();
        for arg in args.drain(..count) {
            let name = simple_name(&arg).ok_or_else(|| {
                Issue::new(
                    arg.at,
                    match count {
                        1 => "argument must be a simple name",
                        _ => "argument must be an identifier",
                    },
                )
            })?;
            if matches!(&*name, RESULT | "__result__") {
                return Err(Issue::new(
                    arg.at,
                    "iteration variable overwrites accumulator variable",
                ));
            }
            if names.contains(&name) {
                return Err(Issue::new(
                    arg.at,
                    format!("duplicate variable name: {name}"),
                ));
            }
            names.push(name);
        }
        let second = (count == 2).then(|| names.pop()).flatten();
        let first = names
            .pop()
            .ok_or_else(|| Issue::new(self.at, "argument must be a simple name"))?;
        Ok((first, second))
    }

    fn last(&self, args: &mut Vec<Expr>) -> Parsed<Expr> {
        args.pop()
            .ok_or_else(|| Issue::new(self.at, "argument is missing"))
    }

    fn all(&mut self, target: Expr, mut args: Vec<Expr>) -> Parsed<Expr> {
        let count = args.len() - 1;
        let (var, second) = self.variables(&mut args, count)?;
        let predicate = self.last(&mut args)?;
        let init = self.value(Value::Bool(true))?;
        let so_far = self.result()?;
        let condition = self.operator("@not_strictly_false", vec![so_far])?;
        let so_far = self.result()?;
        let step = self.operator("_&&_", vec![so_far, predicate])?;
        let result = self.result()?;
        self.fold(
            target,
            Loop {
                var,
                second,
                init,
                condition,
                step,
                result,
            },
        )
    }

    fn exists(&mut self, target: Expr, mut args: Vec<Expr>) -> Parsed<Expr> {
        let count = args.len() - 1;
        let (var, second) = self.variables(&mut args, count)?;
        let predicate = self.last(&mut args)?;
        let init = self.value(Value::Bool(false))?;
        let so_far = self.result()?;
        let not = self.operator("!_", vec![so_far])?;
        let condition = self.operator("@not_strictly_false", vec![not])?;
        let so_far = self.result()?;
        let step = self.operator("_||_", vec![so_far, predicate])?;
        let result = self.result()?;
        self.fold(
            target,
            Loop {
                var,
                second,
                init,
                condition,
                step,
                result,
            },
        )
    }

    fn exists_one(&mut self, target: Expr, mut args: Vec<Expr>) -> Parsed<Expr> {
        let count = args.len() - 1;
        let (var, second) = self.variables(&mut args, count)?;
        let predicate = self.last(&mut args)?;
        let init = self.value(Value::Int(0))?;
        let condition = self.value(Value::Bool(true))?;
        let so_far = self.result()?;
        let one = self.value(Value::Int(1))?;
        let more = self.operator("_+_", vec![so_far, one])?;
        let so_far = self.result()?;
        let step = self.operator("_?_:_", vec![predicate, more, so_far])?;
        let so_far = self.result()?;
        let one = self.value(Value::Int(1))?;
        let result = self.operator("_==_", vec![so_far, one])?;
        self.fold(
            target,
            Loop {
                var,
                second,
                init,
                condition,
                step,
                result,
            },
        )
    }

    fn filter(&mut self, target: Expr, mut args: Vec<Expr>) -> Parsed<Expr> {
        let var_id = args.first().map_or(self.at, |arg| arg.at);
        let (var, second) = self.variables(&mut args, 1)?;
        let predicate = self.last(&mut args)?;
        let element = self.parser.node(var_id, Kind::Ident(var.clone()))?;
        let one = self.list(vec![element])?;
        self.collect(target, (var, second), Some(predicate), one)
    }

    fn map(&mut self, target: Expr, mut args: Vec<Expr>, count: usize) -> Parsed<Expr> {
        let variables = self.variables(&mut args, count)?;
        let transform = self.last(&mut args)?;
        let predicate = args.pop();
        let one = self.list(vec![transform])?;
        self.collect(target, variables, predicate, one)
    }

    fn collect(
        &mut self,
        target: Expr,
        (var, second): (Arc<str>, Option<Arc<str>>),
        predicate: Option<Expr>,
        one: Expr,
    ) -> Parsed<Expr> {
        let init = self.list(Vec::new())?;
        let condition = self.value(Value::Bool(true))?;
        let so_far = self.result()?;
        let mut step = self.operator("_+_", vec![so_far, one])?;
        if let Some(predicate) = predicate {
            let so_far = self.result()?;
            step = self.operator("_?_:_", vec![predicate, step, so_far])?;
        }
        let result = self.result()?;
        self.fold(
            target,
            Loop {
                var,
                second,
                init,
                condition,
                step,
                result,
            },
        )
    }

    fn transform_map(&mut self, target: Expr, mut args: Vec<Expr>, keyed: bool) -> Parsed<Expr> {
        let (var, second) = self.variables(&mut args, 2)?;
        let transform = self.last(&mut args)?;
        let predicate = args.pop();
        let init = self.node(Kind::Map(Vec::new()))?;
        let condition = self.value(Value::Bool(true))?;
        let so_far = self.result()?;
        let mut insert = vec![so_far];
        if keyed {
            insert.push(self.ident(&var)?);
        }
        insert.push(transform);
        let mut step = self.operator("cel.@mapInsert", insert)?;
        if let Some(predicate) = predicate {
            let so_far = self.result()?;
            step = self.operator("_?_:_", vec![predicate, step, so_far])?;
        }
        let result = self.result()?;
        self.fold(
            target,
            Loop {
                var,
                second,
                init,
                condition,
                step,
                result,
            },
        )
    }

    /// `cel.bind` as upstream expands it: a loop over nothing.
    fn bind(&mut self, name: &Arc<str>, value: Expr, body: Expr) -> Parsed<Expr> {
        let range = self.list(Vec::new())?;
        let condition = self.value(Value::Bool(false))?;
        let step = self.ident(name)?;
        self.node(Kind::Fold(Box::new(Fold {
            range,
            var: UNUSED.into(),
            second: None,
            accumulator: name.clone(),
            init: value,
            condition,
            step,
            result: body,
        })))
    }

    fn optional(&mut self, target: Expr, mut args: Vec<Expr>, wrap: bool) -> Parsed<Expr> {
        let (var, _) = self.variables(&mut args, 1)?;
        let body = self.last(&mut args)?;
        let again = self.copy(&target)?;
        let has = self.call(&"hasValue".into(), Some(target), Vec::new())?;
        let value = self.call(&"value".into(), Some(again), Vec::new())?;
        let mut then = self.bind(&var, value, body)?;
        if wrap {
            then = self.operator("optional.of", vec![then])?;
        }
        let none = self.operator("optional.none", Vec::new())?;
        self.operator("_?_:_", vec![has, then, none])
    }

    fn sort_by(&mut self, target: Expr, args: Vec<Expr>) -> Parsed<Expr> {
        let input: Arc<str> = SORT_INPUT.into();
        let list = self.ident(&input)?;
        let again = self.ident(&input)?;
        let keys = self.map(again, args, 1)?;
        let call = self.call(&"@sortByAssociatedKeys".into(), Some(list), vec![keys])?;
        self.bind(&input, target, call)
    }
}
