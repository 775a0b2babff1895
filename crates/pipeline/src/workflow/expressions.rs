//! Expressions in a file: syntax, known functions, and contexts allowed in their place.

use super::check::Checker;
use super::contexts::Allowed;
use crate::expr::{self, Expr, FUNCTIONS, Part, Problem, STATUS_FUNCTIONS};
use crate::yaml::{Kind, Node, Place};

/// Every context there is, for messages.
const CONTEXTS: [&str; 12] = [
    "env", "github", "inputs", "job", "jobs", "matrix", "needs", "runner", "secrets", "steps",
    "strategy", "vars",
];

/// Checks the expressions in a scalar.
pub(super) fn template(checker: &mut Checker<'_>, node: &Node, allowed: Allowed) {
    let Some(text) = node.text() else { return };
    match expr::parts(text) {
        Err(problem) => report(checker, node, text, problem),
        Ok(parts) => {
            for part in parts {
                if let Part::Expression(expr) = part {
                    uses(checker, node, &expr, allowed);
                }
            }
        }
    }
}

/// Checks an `if:`.
pub(super) fn condition(checker: &mut Checker<'_>, node: &Node, allowed: Allowed) {
    let Some(text) = node.text() else {
        let message = format!("\"if\" must be a condition, not {}", node.shape());
        return checker.error(node.at, "type", message, "");
    };
    match expr::condition_expr(text) {
        Err(problem) => report(checker, node, text, problem),
        Ok(expr) => {
            uses(checker, node, &expr, allowed);
            if text.contains("${{") && !super::check::is_one_expression(text) {
                let message = "text around ${{ }} makes this condition always true";
                checker.warn(
                    node.at,
                    "always-true",
                    message,
                    "put the whole condition inside one ${{ }}",
                );
            }
        }
    }
}

fn report(checker: &mut Checker<'_>, node: &Node, text: &str, problem: Problem) {
    let at = locate(checker.source, node, text, problem.offset);
    checker.error(
        at,
        "expression",
        format!("expression: {}", problem.message),
        "",
    );
}

fn uses(checker: &mut Checker<'_>, node: &Node, expr: &Expr, allowed: Allowed) {
    let mut problems: Vec<(&'static str, String, String)> = Vec::new();
    expr.walk(&mut |expr| match expr {
        Expr::Context(name, _) => {
            let lower = name.to_ascii_lowercase();
            if !CONTEXTS.contains(&lower.as_str()) {
                let hint = format!("contexts here: {}", allowed.contexts.join(", "));
                problems.push(("context", format!("there is no context {name:?}"), hint));
            } else if !allowed.contexts.contains(&lower.as_str()) {
                let hint = if allowed.contexts.is_empty() {
                    "no expression is allowed here".to_string()
                } else {
                    format!("contexts here: {}", allowed.contexts.join(", "))
                };
                problems.push((
                    "context",
                    format!("context {name:?} is not available here"),
                    hint,
                ));
            }
        }
        Expr::Call(name, arguments, _) => {
            let known = FUNCTIONS
                .iter()
                .find(|(f, _, _)| f.eq_ignore_ascii_case(name));
            let Some((function, least, most)) = known else {
                let names: Vec<&str> = FUNCTIONS.iter().map(|(f, _, _)| *f).collect();
                let hint = format!("functions: {}", names.join(", "));
                return problems.push(("function", format!("there is no function {name:?}"), hint));
            };
            if arguments.len() < *least || arguments.len() > *most {
                let message = format!(
                    "{function} takes {least} to {most} arguments, not {}",
                    arguments.len()
                );
                problems.push(("function", message, String::new()));
            }
            if STATUS_FUNCTIONS.contains(function) && !allowed.status {
                problems.push((
                    "function",
                    format!("{function}() can only be used in \"if\""),
                    String::new(),
                ));
            }
            if *function == "hashFiles" && !allowed.hash_files {
                problems.push((
                    "function",
                    "hashFiles() can only be used in steps".into(),
                    String::new(),
                ));
            }
        }
        _ => {}
    });
    for (rule, message, hint) in problems {
        let at = expression_start(checker.source, node);
        checker.error(at, rule, message, &hint);
    }
}

fn expression_start(source: &str, node: &Node) -> Place {
    match node
        .text()
        .and_then(|text| text.find("${{").map(|i| (text, i)))
    {
        Some((text, offset)) => locate(source, node, text, offset),
        None => node.at,
    }
}

/// Place in the file of a byte offset in a scalar's text. The n-th `${{` of the text is the
/// n-th after the scalar's start in the file, however the scalar was quoted or folded.
fn locate(source: &str, node: &Node, text: &str, offset: usize) -> Place {
    let offset = (0..=offset.min(text.len()))
        .rev()
        .find(|&i| text.is_char_boundary(i))
        .unwrap_or(0);
    let before = &text[..offset];
    let opened = if text[offset..].starts_with("${{") {
        text.get(..offset + 3)
    } else {
        Some(before)
    };
    let count = opened.unwrap_or(before).matches("${{").count();
    if count == 0 {
        let Kind::Scalar { plain, block, .. } = &node.kind else {
            return node.at;
        };
        if *block || before.contains('\n') {
            return node.at;
        }
        let quote = u32::from(!plain);
        return Place {
            column: node.at.column + quote + before.chars().count() as u32,
            ..node.at
        };
    }
    let start_line = node.at.line.saturating_sub(1) as usize;
    let mut left = count;
    for (number, line) in source.lines().enumerate().skip(start_line) {
        let skip = if number == start_line {
            node.at.column.saturating_sub(1) as usize
        } else {
            0
        };
        let from = line.char_indices().nth(skip).map_or(line.len(), |(i, _)| i);
        for (i, _) in line[from..].match_indices("${{") {
            left -= 1;
            if left == 0 {
                let opening = before
                    .rfind("${{")
                    .filter(|_| opened == Some(before))
                    .unwrap_or(offset);
                let within = text[opening..offset].chars().count() as u32;
                let column = line[..from + i].chars().count() as u32 + 1;
                return Place {
                    line: number as u32 + 1,
                    column: column + within,
                };
            }
        }
    }
    node.at
}
