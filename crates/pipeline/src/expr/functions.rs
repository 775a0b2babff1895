//! The functions: name, number of arguments, meaning.

use super::eval::Machine;
use super::parse::Expr;
use super::value::Value;
use std::sync::Arc;

/// Name, least and most arguments.
pub const FUNCTIONS: [(&str, usize, usize); 13] = [
    ("always", 0, 0),
    ("cancelled", 0, 0),
    ("contains", 2, 2),
    ("endsWith", 2, 2),
    ("failure", 0, 0),
    ("format", 1, 255),
    ("fromJSON", 1, 1),
    ("hashFiles", 1, 255),
    ("join", 1, 2),
    ("startsWith", 2, 2),
    ("success", 0, 0),
    ("toJSON", 1, 1),
    ("case", 3, 255),
];

/// Functions that answer how earlier work ended.
pub const STATUS_FUNCTIONS: [&str; 4] = ["always", "cancelled", "failure", "success"];

pub(super) fn call(
    machine: &mut Machine<'_>,
    name: &str,
    arguments: &[Expr],
) -> Result<Value, String> {
    let Some((known, least, most)) = FUNCTIONS
        .iter()
        .find(|(f, _, _)| name.eq_ignore_ascii_case(f))
    else {
        return Err(format!("unknown function {name:?}"));
    };
    if arguments.len() < *least || arguments.len() > *most {
        return Err(format!(
            "{known} takes {least} to {most} arguments, not {}",
            arguments.len()
        ));
    }
    let status = machine.scope.status;
    match *known {
        "always" => return Ok(Value::Bool(true)),
        "cancelled" => return Ok(Value::Bool(status.cancelled)),
        "failure" => return Ok(Value::Bool(status.failed && !status.cancelled)),
        "success" => {
            return Ok(Value::Bool(
                !status.failed && !status.cancelled && !status.incomplete,
            ));
        }
        "case" => return case(machine, arguments),
        _ => {}
    }
    let mut values = Vec::with_capacity(arguments.len());
    for argument in arguments {
        values.push(machine.eval(argument)?);
    }
    let first = &values[0];
    let value = match *known {
        "contains" => Value::Bool(contains(first, &values[1])),
        "startsWith" => Value::Bool(affix(first, &values[1], |a, b| a.starts_with(b))),
        "endsWith" => Value::Bool(affix(first, &values[1], |a, b| a.ends_with(b))),
        "format" => Value::text(format(machine, &first.to_text(), &values[1..])?),
        "join" => join(first, values.get(1)),
        "toJSON" => Value::text(to_json(first)?),
        "fromJSON" => from_json(&first.to_text())?,
        "hashFiles" => {
            let patterns: Vec<String> = values.iter().map(Value::to_text).collect();
            let hash = machine
                .scope
                .hash_files
                .ok_or("hashFiles needs a workspace")?;
            Value::text(hash(&patterns)?)
        }
        other => return Err(format!("unknown function {other:?}")),
    };
    machine.spend(value.size())?;
    Ok(value)
}

// case(condition, value, condition, value, …, otherwise)
fn case(machine: &mut Machine<'_>, arguments: &[Expr]) -> Result<Value, String> {
    if arguments.len().is_multiple_of(2) {
        return Err("case takes pairs of condition and value, then a default".into());
    }
    for pair in arguments.chunks(2) {
        match pair {
            [condition, value] if machine.eval(condition)?.truthy() => {
                return machine.eval(value);
            }
            [otherwise] => return machine.eval(otherwise),
            _ => {}
        }
    }
    Ok(Value::Null)
}

fn is_plain(value: &Value) -> bool {
    !matches!(value, Value::Array(_) | Value::Object(_))
}

fn contains(within: &Value, what: &Value) -> bool {
    match within {
        Value::Array(items) => items.iter().any(|item| item.loosely_equals(what)),
        Value::Object(_) => false,
        _ => {
            is_plain(what)
                && within
                    .to_text()
                    .to_lowercase()
                    .contains(&what.to_text().to_lowercase())
        }
    }
}

fn affix(text: &Value, part: &Value, test: impl Fn(&str, &str) -> bool) -> bool {
    is_plain(text)
        && is_plain(part)
        && test(
            &text.to_text().to_lowercase(),
            &part.to_text().to_lowercase(),
        )
}

fn format(machine: &mut Machine<'_>, pattern: &str, values: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' if chars.peek() == Some(&'{') => {
                chars.next();
                out.push('{');
            }
            '}' if chars.peek() == Some(&'}') => {
                chars.next();
                out.push('}');
            }
            '{' => {
                let mut index = String::new();
                for digit in chars.by_ref() {
                    if digit == '}' {
                        break;
                    }
                    index.push(digit);
                }
                let value = index.parse::<usize>().ok().and_then(|i| values.get(i));
                let value = value
                    .ok_or_else(|| format!("format has no argument {{{index}}} in {pattern:?}"))?;
                let text = value.to_text();
                machine.spend(text.len())?;
                out.push_str(&text);
            }
            '}' => return Err(format!("format has a lone }} in {pattern:?}")),
            c => out.push(c),
        }
    }
    Ok(out)
}

fn join(value: &Value, separator: Option<&Value>) -> Value {
    let separator = separator.map_or(",".to_string(), Value::to_text);
    match value {
        Value::Array(items) => Value::text(
            items
                .iter()
                .map(Value::to_text)
                .collect::<Vec<_>>()
                .join(&separator),
        ),
        Value::Object(_) => Value::text(""),
        plain => Value::text(plain.to_text()),
    }
}

fn to_json(value: &Value) -> Result<String, String> {
    match value {
        // GitHub prints NaN and the infinities as bare words would not parse again; null does.
        Value::Number(n) if !n.is_finite() => Ok("null".into()),
        _ => serde_json::to_string_pretty(&value.to_json()).map_err(|e| e.to_string()),
    }
}

fn from_json(text: &str) -> Result<Value, String> {
    let json: serde_json::Value = serde_json::from_str(text).map_err(|e| {
        format!(
            "fromJSON: not JSON at line {} column {}",
            e.line(),
            e.column()
        )
    })?;
    Ok(match Value::from_json(&json) {
        Value::Array(items) => Value::Array(Arc::new(items.to_vec())),
        other => other,
    })
}
