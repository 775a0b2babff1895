//! Text with expressions in it, and conditions, where the `${{ }}` may be left out.

use super::eval::{Scope, eval};
use super::parse::{Expr, parse};
use super::value::Value;
use super::{Operator, Problem};

/// A piece of text with expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// As it stands.
    Literal(String),
    /// Between `${{` and `}}`.
    Expression(Expr),
}

/// Splits text at its expressions. Offsets of problems count from the start of `text`.
pub fn parts(text: &str) -> Result<Vec<Part>, Problem> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find("${{").map(|i| i + at) {
        if start > at {
            out.push(Part::Literal(text[at..start].to_string()));
        }
        let inner = start + 3;
        let length = closing(&text[inner..]).ok_or_else(|| Problem {
            offset: start,
            message: "this ${{ has no closing }}".into(),
        })?;
        let expr = parse(&text[inner..inner + length]).map_err(|p| Problem {
            offset: inner + p.offset,
            message: p.message,
        })?;
        out.push(Part::Expression(expr));
        at = inner + length + 2;
    }
    if at < text.len() {
        out.push(Part::Literal(text[at..].to_string()));
    }
    Ok(out)
}

// Offset of the `}}` that is not inside quotes.
fn closing(text: &str) -> Option<usize> {
    let mut quoted = false;
    let bytes = text.as_bytes();
    (0..bytes.len()).find(|&i| {
        if bytes[i] == b'\'' {
            quoted = !quoted;
        }
        !quoted && bytes[i] == b'}' && bytes.get(i + 1) == Some(&b'}')
    })
}

/// The text with every expression replaced by its value.
pub fn interpolate(text: &str, scope: &Scope<'_>) -> Result<String, String> {
    if !text.contains("${{") {
        return Ok(text.to_string());
    }
    let mut out = String::new();
    for part in parts(text).map_err(|p| p.message)? {
        match part {
            Part::Literal(text) => out.push_str(&text),
            Part::Expression(expr) => out.push_str(&eval(&expr, scope)?.to_text()),
        }
    }
    Ok(out)
}

/// The value of a text that is one expression and nothing else keeps its type; other text is
/// interpolated.
pub fn value_of(text: &str, scope: &Scope<'_>) -> Result<Value, String> {
    match parts(text.trim()).map_err(|p| p.message)?.as_slice() {
        [Part::Expression(expr)] => eval(expr, scope),
        _ => Ok(Value::text(interpolate(text, scope)?)),
    }
}

/// The tree of an `if:`. Mixed text and expressions become a comparison of the whole text with
/// the empty one, which is what GitHub makes of it.
pub fn condition_expr(text: &str) -> Result<Expr, Problem> {
    let trimmed = text.trim();
    let lead = text.len() - text.trim_start().len();
    if trimmed.is_empty() {
        return Ok(Expr::Call("success".into(), Vec::new(), 0));
    }
    if !trimmed.contains("${{") {
        return parse(trimmed).map_err(|p| Problem {
            offset: p.offset + lead,
            ..p
        });
    }
    let mut parts = parts(trimmed).map_err(|p| Problem {
        offset: p.offset + lead,
        ..p
    })?;
    if parts.len() == 1
        && let Some(Part::Expression(expr)) = parts.pop()
    {
        return Ok(expr);
    }
    let mut pattern = String::new();
    let mut arguments = Vec::new();
    for part in self::parts(trimmed)? {
        match part {
            Part::Literal(text) => pattern.push_str(&text.replace('{', "{{").replace('}', "}}")),
            Part::Expression(expr) => {
                pattern.push_str(&format!("{{{}}}", arguments.len()));
                arguments.push(expr);
            }
        }
    }
    arguments.insert(0, Expr::Text(pattern));
    let text = Expr::Call("format".into(), arguments, lead);
    Ok(Expr::Binary(
        Operator::NotEqual,
        Box::new(text),
        Box::new(Expr::Text(String::new())),
    ))
}

/// Whether an `if:` holds; without a status function, `success() &&` is implied.
pub fn condition(text: &str, scope: &Scope<'_>) -> Result<bool, String> {
    let expr = condition_expr(text).map_err(|p| p.message)?;
    let status = scope.status;
    if !expr.has_status_function() && (status.failed || status.cancelled || status.incomplete) {
        return Ok(false);
    }
    Ok(eval(&expr, scope)?.truthy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Status;

    #[test]
    fn text_keeps_its_parts() {
        let contexts = Value::from_json(&serde_json::json!({"a": {"b": [1, 2.5, "x"]}}));
        let scope = Scope::new(&contexts, Status::default());
        let text = "v=${{ a.b[1] }} ${{ 'it''s }}' }}!";
        assert_eq!(interpolate(text, &scope).unwrap(), "v=2.5 it's }}!");
        assert!(matches!(
            value_of("${{ a.b }}", &scope).unwrap(),
            Value::Array(_)
        ));
        assert_eq!(parts("x ${{ a").unwrap_err().offset, 2);
    }

    #[test]
    fn success_is_implied() {
        let contexts = Value::Null;
        let failed = Scope::new(
            &contexts,
            Status {
                failed: true,
                ..Status::default()
            },
        );
        let well = Scope::new(&contexts, Status::default());
        assert!(!condition("true", &failed).unwrap());
        assert!(condition("true", &well).unwrap());
        assert!(condition("${{ always() }}", &failed).unwrap());
        assert!(condition("failure() || false", &failed).unwrap());
        assert!(condition("${{ false }} == 'b'", &well).unwrap());
        assert!(!condition("", &failed).unwrap());
    }
}
