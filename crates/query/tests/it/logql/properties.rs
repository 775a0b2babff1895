//! Any text is parsed or refused; what is printed reads back as the same; no line costs a panic.

use proptest::prelude::*;
use towpath_query::logql::{MAX_DEPTH, Pipeline, Row, format, parse, parse_log};
use towpath_query::promql::Labels;

const PIECES: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "|",
    "|=",
    "!=",
    "|~",
    "!~",
    "|>",
    "!>",
    "=",
    "==",
    ">=",
    "<",
    ",",
    "+",
    "-",
    "*",
    "/",
    "^",
    "app",
    "level",
    "json",
    "logfmt",
    "--strict",
    "regexp",
    "pattern",
    "unwrap",
    "duration",
    "bytes",
    "by",
    "without",
    "sum",
    "topk",
    "rate",
    "count_over_time",
    "sum_over_time",
    "quantile_over_time",
    "and",
    "or",
    "unless",
    "on",
    "group_left",
    "bool",
    "ip",
    "drop",
    "keep",
    "label_format",
    "decolorize",
    "unpack",
    "offset",
    "vector",
    "label_replace",
    "\"a\"",
    "\"<a> <_>\"",
    "\"(?P<x>a)\"",
    "`b`",
    "5m",
    "1.5s",
    "20KB",
    "3",
    "0.99",
    "é",
    "#",
];

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..40).prop_map(|words| words.join(" "))
}

fn stage() -> impl Strategy<Value = String> {
    let text = "[a-z\"\\\\é\n]{0,6}".prop_map(|text| format!("{text:?}"));
    let fixed = prop::sample::select(vec![
        "| json",
        "| logfmt",
        "| logfmt --strict --keep-empty",
        "| unpack",
        "| decolorize",
        "| json a=\"b[0].c\", d",
        "| logfmt a, b=\"c\"",
        "| regexp \"(?P<a>x+)\"",
        "| pattern \"<a> <_> <b>\"",
        "|> \"a <_>\"",
        "!> \"<_> b <_>\"",
        "| label_format a=b",
        "| drop a, b=\"c\"",
        "| keep a, b=~\"c.*\"",
        "| a=\"b\"",
        "| a >= 5 and b < 1h30m",
        "| (a != 2KB or b =~ \"x\") , c == 1e3",
        "| a = ip(\"10.0.0.0/8\")",
        "|= ip(\"::1\")",
        "|= \"a\" or \"b\" or `c`",
        "| a>1.5 b<=2",
    ]);
    prop_oneof![
        4 => fixed.prop_map(str::to_owned),
        1 => (prop::sample::select(vec!["|=", "!="]), text).prop_map(|(op, text)| format!("{op} {text}")),
    ]
}

fn log() -> impl Strategy<Value = String> {
    prop::collection::vec(stage(), 0..6)
        .prop_map(|stages| format!("{{app=\"a\", b!~\"c\"}} {}", stages.join(" ")))
}

fn metric() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (
            prop::sample::select(vec!["rate", "count_over_time", "bytes_rate"]),
            log()
        )
            .prop_map(|(op, log)| format!("{op}({log} [5m] offset -1h)")),
        log().prop_map(|log| format!(
            "quantile_over_time(0.9, {log} | unwrap duration(a) | b > 1 [90s]) by (x, y)"
        )),
        Just("vector(2.5)".to_owned()),
        Just("3".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let vector = inner
            .clone()
            .prop_map(|inner| format!("sum without (a) ({inner})"));
        prop_oneof![
            vector.clone(),
            inner
                .clone()
                .prop_map(|inner| format!("topk by (z) (3, {inner})")),
            inner.clone().prop_map(|inner| format!("({inner})")),
            inner.clone().prop_map(|inner| format!(
                "label_replace({inner}, \"a\", \"$1\", \"b\", \"(.*)\")"
            )),
            (
                inner.clone(),
                prop::sample::select(vec!["+", "-", "*", "^", ">", "== bool"]),
                inner
            )
                .prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (vector.clone(), vector).prop_map(|(a, b)| format!("{a} / on (x) group_left (y) {b}")),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_words_are_parsed_or_refused(text in soup()) {
        if let Ok(expr) = parse(&text) {
            let printed = format(&expr);
            let again = parse(&printed).expect("what is printed can be read");
            prop_assert_eq!(expr.to_string(), again.to_string());
        }
    }

    #[test]
    fn what_is_printed_reads_back(text in prop_oneof![log(), metric()]) {
        let expr = parse(&text).map_err(|e| TestCaseError::fail(format!("{e}: {text}")))?;
        let printed = format(&expr);
        let again = parse(&printed).map_err(|e| TestCaseError::fail(format!("{e}: {printed}")))?;
        prop_assert_eq!(expr.to_string(), again.to_string());
        prop_assert_eq!(&printed, &format(&again));
    }

    #[test]
    fn no_line_costs_a_panic(query in log(), line in "[ -~é\u{1b}]{0,80}") {
        let query = parse_log(&query).expect("a query");
        let pipeline = Pipeline::new(&query).expect("a pipeline");
        let labels: Labels = [("app", "a")].into_iter().collect();
        let row = Row { at: 1, line: &line, metadata: &[("a", "1")] };
        let _ = pipeline.run(&labels, &row);
    }
}

#[test]
fn depth_is_bounded() {
    let deep = format!(
        "{}1{}",
        "(".repeat(MAX_DEPTH + 1),
        ")".repeat(MAX_DEPTH + 1)
    );
    assert!(parse(&deep).is_err());
    assert!(parse(&vec!["1"; MAX_DEPTH * 2].join("+")).is_err());
    assert!(parse(&format!("{{a=\"b\"}} | {}a=\"b\"", "(".repeat(10_000))).is_err());
    let long = format!("{{a=\"{}\"}}", "b".repeat(200_000));
    assert!(parse(&long).is_err());
}
