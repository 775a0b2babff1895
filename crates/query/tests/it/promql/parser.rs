//! What upstream's parser accepts, refuses and prints.

use towpath_query::promql::{Options, ParseError, format, parse_with};

use super::extract::{blocks, field, literal};
use super::upstream;

fn parser_options() -> Options {
    Options {
        extended_range_selectors: false,
        fill_modifiers: false,
        ..Options::default()
    }
}

/// The message of the first error of a case, where it is a literal.
fn message(block: &str) -> Option<String> {
    let at = block.find("errors.New(")? + "errors.New(".len();
    literal(&block[at..]).map(|(text, _)| text)
}

fn start(block: &str) -> Option<usize> {
    let at = block.find("errors: ParseErrors{")?;
    let rest = &block[at..];
    let rest = &rest[rest.find("Start:")? + 6..];
    rest[..rest.find(',')?].trim().parse().ok()
}

/// What is wrong with a case that must be refused.
fn judge_refusal(input: &str, block: &str, error: &ParseError) -> Option<String> {
    let wanted = message(block)?;
    if error.message != wanted && !wanted.starts_with("error parsing regexp") {
        return Some(format!(
            "{input:?}: got {:?}, want {wanted:?}",
            error.message
        ));
    }
    let start = start(block)?;
    (start != error.span.start).then(|| {
        format!(
            "{input:?}: {wanted:?} at {}, want {start}",
            error.span.start
        )
    })
}

#[test]
fn accepts_and_refuses() {
    let Some(dir) = upstream() else { return };
    let source = std::fs::read_to_string(dir.join("promql/parser/parse_test.go")).unwrap();
    let (mut accepted, mut refused, mut unread) = (0, 0, 0);
    let mut wrong = Vec::new();
    for block in blocks(&source, "var testExpr", "func makeInt64Pointer", "\t") {
        let Some(input) = field(block, "input") else {
            unread += 1;
            continue;
        };
        let fails = block.contains("\t\tfail:") && block.contains("true,");
        match (fails, parse_with(&input, parser_options())) {
            (false, Ok(_)) => accepted += 1,
            (true, Err(error)) => {
                refused += 1;
                wrong.extend(judge_refusal(&input, block, &error));
            }
            (false, Err(error)) => wrong.push(format!("{input:?} is refused: {error}")),
            (true, Ok(_)) => {
                wrong.push(format!("{input:?} is accepted, want {:?}", message(block)))
            }
        }
    }
    println!("parser: {accepted} accepted, {refused} refused, {unread} not readable here");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(accepted >= 199 && refused >= 140);
}

/// Checks printed forms of a file; `print` is what upstream calls there.
fn prints(
    file: &str,
    from: &str,
    to: &str,
    print: impl Fn(&towpath_query::promql::Expr) -> String,
) {
    let Some(dir) = upstream() else { return };
    let source = std::fs::read_to_string(dir.join(file)).unwrap();
    let mut good = 0;
    let mut wrong = Vec::new();
    for block in blocks(&source, from, to, "\t\t") {
        let Some(input) = field(block, "in") else {
            continue;
        };
        let wanted = field(block, "out").unwrap_or_else(|| input.clone());
        match parse_with(&input, Options::default()) {
            Ok(expr) if print(&expr) == wanted => good += 1,
            Ok(expr) => wrong.push(format!("{input}\n got {}\nwant {wanted}", print(&expr))),
            Err(error) => wrong.push(format!("{input}: {error}")),
        }
    }
    println!("{file} {from}: {good} printed");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(good > 5);
}

#[test]
fn prints_on_one_line() {
    prints(
        "promql/parser/printer_test.go",
        "func TestExprString",
        "\nfunc ",
        ToString::to_string,
    );
}

#[test]
fn prints_over_lines() {
    let source = "promql/parser/prettier_test.go";
    for table in [
        "TestAggregateExprPretty",
        "TestBinaryExprPretty",
        "TestCallExprPretty",
    ] {
        prints_short(source, &format!("func {table}"));
    }
}

/// Upstream wraps at ten characters in these tests, a width that only they can set: what is
/// compared is that wrapping keeps the meaning.
fn prints_short(file: &str, from: &str) {
    let Some(dir) = upstream() else { return };
    let source = std::fs::read_to_string(dir.join(file)).unwrap();
    for block in blocks(&source, from, "\nfunc ", "\t\t") {
        let Some(input) = field(block, "in") else {
            continue;
        };
        let expr = parse_with(&input, Options::default()).unwrap();
        let again = parse_with(&format(&expr), Options::default()).unwrap();
        assert_eq!(expr.to_string(), again.to_string());
    }
}
