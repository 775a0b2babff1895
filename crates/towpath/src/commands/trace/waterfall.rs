//! Spans as lines: the tree at the left, time from left to right beside it.

use super::ask::duration;
use std::collections::HashMap;

/// The most columns of names; longer ones are cut.
const NAMES_MAX: usize = 60;
/// The most columns of what went wrong.
const MESSAGE_MAX: usize = 200;
/// The least columns of time.
const TIME_MIN: usize = 20;
/// The deepest indentation; what is below stands as far in.
const INDENT_MAX: usize = 20;

/// A span.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) parent: String,
    pub(super) service: String,
    pub(super) name: String,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) failed: bool,
    pub(super) message: String,
}

/// The lines.
pub(super) fn rows(mut spans: Vec<Row>, width: usize, color: bool) -> Vec<String> {
    spans.sort_by_key(|span| span.start_ns);
    let first = spans.iter().map(|span| span.start_ns).min().unwrap_or(0);
    let last = spans.iter().map(|span| span.end_ns).max().unwrap_or(0);
    let total = last.saturating_sub(first).max(1);
    let order = tree(&spans);
    let labels: Vec<String> = order
        .iter()
        .map(|(at, depth)| {
            let span = &spans[*at];
            let indent = "  ".repeat((*depth).min(INDENT_MAX));
            clip(
                &format!("{indent}{} {}", span.service, span.name),
                NAMES_MAX,
            )
        })
        .collect();
    let names = labels
        .iter()
        .map(|label| label.chars().count())
        .max()
        .unwrap_or(0);
    let time = width.saturating_sub(names + 14).max(TIME_MIN);
    let column = |ns: u64| (u128::from(ns) * time as u128 / u128::from(total)) as usize;
    let line = |(label, (at, _)): (&String, &(usize, usize))| {
        let span = &spans[*at];
        let from = column(span.start_ns - first).min(time - 1);
        let to = column(span.end_ns.saturating_sub(first)).clamp(from + 1, time.max(from + 1));
        let bar = "█".repeat(to - from);
        let bar = match (color, span.failed) {
            (true, true) => format!("\x1b[31m{bar}\x1b[0m"),
            (true, false) => format!("\x1b[36m{bar}\x1b[0m"),
            (false, _) => bar,
        };
        let mark = if span.failed { "!" } else { " " };
        let pad = " ".repeat(names - label.chars().count());
        let took = duration(span.end_ns.saturating_sub(span.start_ns));
        let rest = " ".repeat(time - to);
        let message = if span.failed {
            clip(&span.message, MESSAGE_MAX)
        } else {
            String::new()
        };
        let line = format!(
            "{label}{pad} {mark}{took:>9} |{}{bar}{rest}| {message}",
            " ".repeat(from)
        );
        line.trim_end().to_string()
    };
    let head = format!("{} spans, {}", spans.len(), duration(total));
    std::iter::once(head)
        .chain(labels.iter().zip(&order).map(line))
        .collect()
}

/// Indices with their depth; spans whose parent is not known stand at the left, and what goes
/// around in circles at the end.
fn tree(spans: &[Row]) -> Vec<(usize, usize)> {
    let ids: HashMap<&str, usize> = spans
        .iter()
        .enumerate()
        .map(|(at, s)| (&*s.id, at))
        .collect();
    let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut open = Vec::new();
    for (at, span) in spans.iter().enumerate() {
        match ids.get(&*span.parent).filter(|parent| **parent != at) {
            Some(parent) => children.entry(*parent).or_default().push(at),
            None => open.push((at, 0)),
        }
    }
    open.reverse();
    let mut order = Vec::with_capacity(spans.len());
    let mut seen = vec![false; spans.len()];
    while let Some((at, depth)) = open.pop() {
        if std::mem::replace(&mut seen[at], true) {
            continue;
        }
        order.push((at, depth));
        let below = children.remove(&at).unwrap_or_default();
        open.extend(below.into_iter().rev().map(|child| (child, depth + 1)));
    }
    let circles = (0..spans.len()).filter(|at| !seen[*at]);
    order.extend(circles.map(|at| (at, 0)));
    order
}

fn clip(text: &str, most: usize) -> String {
    // What a sender calls a span must not move the cursor.
    let mut plain: Vec<char> = text.chars().filter(|c| !c.is_control()).collect();
    if plain.len() > most {
        plain.truncate(most - 1);
        plain.push('…');
    }
    plain.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: &str, name: &str, from: u64, to: u64) -> Row {
        Row {
            id: id.into(),
            parent: parent.into(),
            service: "shop".into(),
            name: name.into(),
            start_ns: from * 1_000_000,
            end_ns: to * 1_000_000,
            failed: name == "query",
            message: "no such\x1b table".into(),
        }
    }

    #[test]
    fn spans_stand_below_their_parents() {
        let spans = vec![
            span("c", "b", "read", 5, 6),
            span("b", "a", "query", 5, 8),
            span("a", "", "GET /", 0, 10),
            span("x", "y", "late", 9, 10),
            span("o", "o", "circle", 1, 2),
        ];
        let lines = rows(spans, 46, false);
        let expected = [
            "5 spans, 10.0ms",
            "shop GET /        10.0ms |████████████████████|",
            "  shop query  !    3.0ms |          ██████    | no such table",
            "    shop read      1.0ms |          ██        |",
            "shop circle        1.0ms |  ██                |",
            "shop late          1.0ms |                  ██|",
        ];
        assert_eq!(lines, expected);
    }
}
