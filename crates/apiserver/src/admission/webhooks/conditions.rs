//! `matchConditions`: a hook is asked only where all of them hold.

use crate::admission::expressions::{CONDITIONS_LIMIT, ENV, Scene};
use serde_json::Value;
use towpath_query::cel::{self, CALL_LIMIT, Program, Type, Variables};

/// One condition, compiled when its hook was read.
pub(super) struct Condition {
    expression: String,
    program: Result<Program, String>,
}

/// Reads the conditions of a hook.
pub(super) fn read(hook: &Value) -> Vec<Condition> {
    let all = hook["matchConditions"].as_array().into_iter().flatten();
    let expressions = all.map(|condition| condition["expression"].as_str().unwrap_or_default());
    expressions
        .map(|expression| Condition {
            expression: expression.into(),
            program: compile(expression),
        })
        .collect()
}

/// Why an expression can be no condition.
pub(super) fn compile(expression: &str) -> Result<Program, String> {
    let program = ENV
        .compile(expression)
        .map_err(|issues| format!("compilation failed: {issues}"))?;
    match program.output() {
        Type::Bool | Type::Dyn => Ok(program),
        other => Err(format!("must evaluate to bool but got {other}")),
    }
}

/// Whether all hold. One that does not decides, also where another has failed.
pub(super) fn hold(conditions: &[Condition], scene: &Scene) -> Result<bool, String> {
    let mut left = CONDITIONS_LIMIT;
    let mut wrong = Vec::new();
    for condition in conditions {
        match evaluate(condition, scene, &mut left) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(why) => wrong.push(why),
        }
    }
    match wrong.as_slice() {
        [] => Ok(true),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

fn evaluate(condition: &Condition, scene: &dyn Variables, left: &mut u64) -> Result<bool, String> {
    let about = |why: String| {
        format!(
            "expression '{}' resulted in error: {why}",
            condition.expression
        )
    };
    let program = condition
        .program
        .as_ref()
        .map_err(|why| about(why.clone()))?;
    let outcome = program.eval(scene, CALL_LIMIT.min(*left));
    *left = left.saturating_sub(outcome.cost);
    match outcome.result {
        Ok(cel::Value::Bool(holds)) => Ok(holds),
        Ok(_) => Err(about("it is neither true nor false".into())),
        Err(error) => Err(about(error.to_string())),
    }
}
