//! `label_replace` and `label_join`: series under other labels.

use super::super::window::Steps;
use super::super::{Eval, EvalError, Stream, stream};
use crate::promql::ast::{Expr, Node};
use crate::promql::labels::{Labels, NAME};
use crate::promql::matcher::whole;
use crate::promql::text::is_label_name;

/// The text of an argument.
pub(super) fn text(arg: &Expr) -> Result<&str, EvalError> {
    match &arg.unwrapped().node {
        Node::String(text) => Ok(text),
        _ => EvalError::query("argument is no text"),
    }
}

pub(super) fn replace<'e>(
    eval: &'e Eval<'_>,
    args: &'e [Expr],
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    let (target, replacement) = (text(&args[1])?, text(&args[2])?);
    let (source, pattern) = (text(&args[3])?, text(&args[4])?);
    let Ok(regex) = whole(pattern) else {
        return EvalError::query(format!(
            "invalid regular expression in label_replace(): {pattern}"
        ));
    };
    if !is_label_name(target) {
        return EvalError::query(format!(
            "invalid destination label name in label_replace(): {target}"
        ));
    }
    relabel(eval, &args[0], steps, target, move |labels| {
        let mut value = String::new();
        regex
            .captures(labels.get(source))?
            .expand(replacement, &mut value);
        Some(value)
    })
}

pub(super) fn join<'e>(
    eval: &'e Eval<'_>,
    args: &'e [Expr],
    steps: Steps,
) -> Result<Stream<'e>, EvalError> {
    let (target, separator) = (text(&args[1])?, text(&args[2])?);
    let sources = args[3..]
        .iter()
        .map(text)
        .collect::<Result<Vec<&str>, _>>()?;
    if let Some(source) = sources.iter().find(|source| !is_label_name(source)) {
        return EvalError::query(format!(
            "invalid source label name in label_join(): {source}"
        ));
    }
    if !is_label_name(target) {
        return EvalError::query(format!(
            "invalid destination label name in label_join(): {target}"
        ));
    }
    relabel(eval, &args[0], steps, target, move |labels| {
        let values: Vec<&str> = sources.iter().map(|source| labels.get(source)).collect();
        Some(values.join(separator))
    })
}

/// Sets one label where `value` gives one.
fn relabel<'e>(
    eval: &'e Eval<'_>,
    vector: &'e Expr,
    steps: Steps,
    target: &'e str,
    value: impl Fn(&Labels) -> Option<String> + 'e,
) -> Result<Stream<'e>, EvalError> {
    let series = stream::stream(eval, vector, steps)?.map(move |one| {
        let mut one = one?;
        if let Some(value) = value(&one.labels) {
            one.labels = one.labels.with(target, &value);
            if target == NAME {
                one.drop_name = false;
            }
        }
        Ok(one)
    });
    eval.unify(Box::new(series))
}
