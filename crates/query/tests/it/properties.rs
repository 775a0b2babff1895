//! Whatever is given: no panic, and an end within the budget.

use proptest::prelude::*;
use towpath_query::cel::{CALL_LIMIT, Env, Type, Value, escape, unescape};

const PIECES: [&str; 60] = [
    "self",
    "x",
    "1",
    "-1",
    "2u",
    "1.5",
    "'a'",
    "\"b\\n\"",
    "b'c'",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    ".",
    ",",
    "?",
    ":",
    "+",
    "-",
    "*",
    "/",
    "%",
    "!",
    "&&",
    "||",
    "==",
    "!=",
    "<",
    "<=",
    " in ",
    "true",
    "null",
    "[1,2,3]",
    "{'a': 1}",
    ".map(x, ",
    ".filter(x, ",
    ".all(x, ",
    ".exists(x, y, ",
    "has(",
    ".size()",
    ".matches(",
    ".split(",
    ".replace(",
    ".format([",
    "duration('1h')",
    "timestamp('2024-01-01T00:00:00Z')",
    "quantity('1Gi')",
    "ip('::1')",
    "url('http://a')",
    ".orValue(",
    "optional.of(",
    "[?",
    ".?",
    "lists.range(",
    ".sortBy(x, ",
    "semver('1.2.3')",
    ".transformMap(k, v, ",
    "9223372036854775807",
];

fn run(text: &str) {
    let env = Env::new().with("self", Type::Dyn);
    if let Ok(program) = env.compile(text) {
        let _ = program.estimate(&[]);
        let value = Value::from_json(&serde_json::json!({"a": [1, 2, 3], "b": "text", "c": null}));
        let outcome = program.eval(&[("self", value)], CALL_LIMIT);
        // One step may go over the limit, none after it.
        assert!(outcome.result.is_err() || outcome.cost <= CALL_LIMIT);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text(text in ".{0,200}") {
        run(&text);
    }

    #[test]
    fn pieces(parts in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..40)) {
        run(&parts.concat());
    }

    #[test]
    fn names(name in "[a-zA-Z_./-][a-zA-Z0-9_./-]{0,20}") {
        if let Some(escaped) = escape(&name) {
            prop_assert_eq!(unescape(&escaped), Some(name));
        }
    }
}

fn bounded(text: &str) {
    let begin = std::time::Instant::now();
    run(text);
    assert!(
        begin.elapsed().as_secs() < 20,
        "{}",
        &text[..text.len().min(80)]
    );
}

/// Deep, long and multiplying expressions end soon, on a small stack.
#[test]
fn bombs() {
    let small = std::thread::Builder::new().stack_size(1536 << 10);
    let all = || {
        for (open, close) in [
            ("(", ")"),
            ("[", "]"),
            ("-", ""),
            ("!", ""),
            ("{'a':", "}"),
            ("f(", ")"),
            ("a?b:", ""),
        ] {
            for depth in [90, 95, 1000, 50_000] {
                bounded(&format!("{}1{}", open.repeat(depth), close.repeat(depth)));
            }
        }
        bounded(&format!("1{}", "+1".repeat(180)));
        bounded(&format!("1{}", "+1".repeat(40_000)));
        bounded(&format!("true{}", "&&true".repeat(15_000)));
        bounded(&format!("self{}", ".a".repeat(180)));
        bounded(&format!("self{}", ".a".repeat(40_000)));
        bounded(&format!("[1]{}.size()", ".map(x, x)".repeat(90)));
        let mut nested = "1".to_string();
        for _ in 0..90 {
            nested = format!("[1,2].map(x, {nested})");
        }
        bounded(&nested);
        bounded("lists.range(900000).map(x, x)");
        bounded("lists.range(100000000000).size() > 0");
        bounded("lists.range(1000).all(x, lists.range(1000).all(y, x + y >= 0))");
        bounded(
            "'a'.replace('', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa').replace('', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb').replace('', 'cccccccccccccccccccccccccccccccccccccccccc').replace('', 'ddddddddddddddddddddddddddddddddd').replace('', 'eeeeeeeeeeeeeeeeeeeeeeeeeeeee')",
        );
        let doubled = ".optMap(a, a + a)".repeat(60);
        bounded(&format!("optional.of([1,2,3]){doubled}.hasValue()"));
        bounded("lists.range(20000).filter(x, lists.range(5) + lists.range(5) == []).size() == 0");
        bounded("'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'.matches('(a*)*(a*)*(a*)*b')");
        bounded("'a'.matches('((a{1000}){1000}){1000}')");
    };
    small.spawn(all).expect("thread").join().expect("no panic");
}
