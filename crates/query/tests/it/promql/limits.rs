//! Whatever is given: no panic, an end, and a printed form that reads back as itself.

use proptest::prelude::*;
use towpath_query::promql::{MAX_BYTES, MAX_DEPTH, format, parse, parse_selector};

const PIECES: [&str; 74] = [
    "up",
    "foo:bar",
    "1",
    "0x1f",
    "1e3",
    "5m",
    "1h30m",
    "Inf",
    "nan",
    "\"a\\n\"",
    "'b'",
    "`c`",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "[5m]",
    "[1h:1m]",
    "[5m:]",
    ",",
    ":",
    "=",
    "!=",
    "=~",
    "!~",
    "==",
    "<",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "@",
    "and",
    "or",
    "unless",
    "atan2",
    "bool",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "fill",
    "fill_left",
    "offset",
    "anchored",
    "smoothed",
    "by",
    "without",
    "sum",
    "topk",
    "count_values",
    "quantile",
    "start()",
    "end()",
    "step()",
    "range()",
    "min(",
    "rate(",
    "abs(",
    "histogram_quantile(",
    "label_replace(",
    "info(",
    "time()",
    "{a=\"b\"}",
    "{\"utf.8\"}",
    "(a)",
    "# c\n",
    " ",
    "é",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn never_panics(source in "\\PC{0,60}") {
        let _ = parse(&source);
        let _ = parse_selector(&source);
    }

    #[test]
    fn printed_form_is_a_fixpoint(at in prop::collection::vec(0..PIECES.len(), 0..16)) {
        let source = at.iter().map(|at| PIECES[*at]).collect::<Vec<_>>().join(" ");
        if let Ok(expr) = parse(&source) {
            let printed = expr.to_string();
            let again = parse(&printed).map_err(|e| TestCaseError::fail(format!("{printed}: {e}")))?;
            prop_assert_eq!(&printed, &again.to_string());
            let wrapped = format(&expr);
            let again = parse(&wrapped).map_err(|e| TestCaseError::fail(format!("{wrapped}: {e}")))?;
            prop_assert_eq!(&printed, &again.to_string());
        }
    }
}

/// A sign binds weaker than a power, so an infinity that is raised to one is printed without it.
#[test]
fn infinities_that_are_raised_read_as_printed() {
    let wide = format!("Inf ^ {}", "x".repeat(100));
    for (source, printed) in [
        ("Inf ^ x", "Inf ^ x"),
        ("-Inf ^ x", "-Inf ^ x"),
        ("(-Inf) ^ x", "(-Inf) ^ x"),
        ("x ^ Inf", "x ^ +Inf"),
        ("Inf * x", "+Inf * x"),
        (&wide, &wide),
    ] {
        let expr = parse(source).unwrap();
        assert_eq!(expr.to_string(), printed);
        assert_eq!(parse(&format(&expr)).unwrap().to_string(), printed);
    }
}

#[test]
fn depth_and_size_are_bounded() {
    let deep = [
        "(".repeat(100_000),
        "-".repeat(100_000) + "1",
        "1".to_owned() + &"+1".repeat(100_000),
        "1".to_owned() + &"^1".repeat(100_000),
        "a[".to_owned() + &"(".repeat(100_000),
        "a".to_owned() + &"[1m:1m]".repeat(100_000),
        "sum(".repeat(100_000),
    ];
    for source in &deep {
        let error = parse(source).unwrap_err();
        assert!(
            error.message.contains("nested deeper") || error.message.contains("unclosed"),
            "{error}"
        );
    }
    let fits = "1".to_owned() + &"+1".repeat(MAX_DEPTH - 2);
    assert!(parse(&fits).is_ok());
    let long = " ".repeat(MAX_BYTES + 1);
    assert!(parse(&long).unwrap_err().message.contains("longer than"));
}
