//! Rules in the Common Expression Language within the schema of a custom resource
//! (`x-kubernetes-validations`): what a definition may say ([`definition`]), and what objects are
//! held to ([`Validator`]).
//!
//! Rules are compiled against the shape their schema has ([`shape`]); a definition whose rules do
//! not compile, or could cost too much for some object, is refused.

mod definition;
mod path;
mod shape;
mod validator;

pub use definition::{check as check_definition, schema_path};
pub use shape::shape;
pub use validator::Validator;

use serde_json::Value;
use std::sync::Arc;
use towpath_query::cel::{Env, Estimate, Issues, Program, Shape, Type};

/// The key of rules in a schema.
pub(crate) const KEY: &str = "x-kubernetes-validations";

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// One rule, ready to be evaluated.
#[derive(Debug)]
struct Rule {
    rule: String,
    message: String,
    reason: String,
    /// Where it points to beneath the value, `a.b`.
    field: String,
    optional_old: bool,
    uses_old: bool,
    program: Program,
    message_program: Option<Program>,
}

/// Why a rule is no rule.
enum Wrong {
    Rule(String),
    Message(String),
}

/// What a rule can cost at most, and its message expression.
struct Costs {
    rule: u64,
    message: Option<u64>,
}

fn refusal(issues: &Issues, what: &str) -> String {
    match issues.unplaced {
        true => format!("{what}instantiation failed: {issues}"),
        false => format!("{what}compilation failed: {issues}"),
    }
}

/// Compiles one rule; nothing where it is empty.
fn compile(
    source: &Value,
    schema: &Value,
    shape: &Arc<Shape>,
) -> Option<(Result<Rule, Wrong>, Costs)> {
    let rule = text(source, "rule");
    if rule.trim().is_empty() {
        return None;
    }
    let optional_old = source["optionalOldSelf"] == true;
    let old = match optional_old {
        true => Type::optional(shape.kind.clone()),
        false => shape.kind.clone(),
    };
    let env = Env::new()
        .with("self", shape.kind.clone())
        .with("oldSelf", old);
    let mut costs = Costs {
        rule: 0,
        message: None,
    };
    let program = match env.compile(rule) {
        Ok(program) => program,
        Err(issues) => {
            let why = match issues.unplaced {
                true => refusal(&issues, "program "),
                false => refusal(&issues, ""),
            };
            return Some((Err(Wrong::Rule(why)), costs));
        }
    };
    if *program.output() != Type::Bool {
        let why = "cel expression must evaluate to a bool".to_string();
        return Some((Err(Wrong::Rule(why)), costs));
    }
    let most = |program: &Program| -> u64 {
        let Estimate { max, .. } = program.estimate(&[("self", shape), ("oldSelf", shape)]);
        max
    };
    costs.rule = most(&program);
    let mut message_program = None;
    let expression = text(source, "messageExpression");
    if !expression.is_empty() {
        match env.compile(expression) {
            Err(issues) => {
                let why = refusal(&issues, "messageExpression ");
                return Some((Err(Wrong::Message(why)), costs));
            }
            Ok(found) if *found.output() != Type::String => {
                let why = "messageExpression must evaluate to a string".to_string();
                return Some((Err(Wrong::Message(why)), costs));
            }
            Ok(found) => {
                costs.message = Some(most(&found));
                message_program = Some(found);
            }
        }
    }
    let field = path::normalized(text(source, "fieldPath"), schema).unwrap_or_default();
    let rule = Rule {
        rule: rule.trim().to_string(),
        message: text(source, "message").trim().to_string(),
        reason: text(source, "reason").to_string(),
        field,
        optional_old,
        uses_old: program.names("oldSelf"),
        program,
        message_program,
    };
    Some((Ok(rule), costs))
}
