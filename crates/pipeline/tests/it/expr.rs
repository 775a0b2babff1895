//! `expression => value as JSON`, or `expression =! problem`.

use proptest::prelude::*;
use serde_json::json;
use towpath_pipeline::expr::{Scope, Status, Value, eval, parse};

fn contexts() -> Value {
    Value::from_json(&json!({
        "github": {"ref": "refs/heads/main", "event_name": "push", "event": {"labels": [{"name": "bug"}, {"name": "ui"}], "n": 5}},
        "env": {"EMPTY": "", "Mixed": "CaSe", "NUMBER": "42", "TRUE": "true"},
        "matrix": {"os": "linux", "versions": [1, 2.5, "x"], "deep": {"a": {"b": 1}, "c": {"b": 2}}},
        "needs": {"build": {"result": "success", "outputs": {"json": "{\"a\": [1, 2]}"}}},
    }))
}

#[test]
fn values() {
    let contexts = contexts();
    let scope = Scope::new(&contexts, Status::default());
    for path in super::corpus("expr", "txt") {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut out = String::new();
        for line in text.lines() {
            let source = line
                .split(" => ")
                .next()
                .unwrap()
                .split(" =! ")
                .next()
                .unwrap()
                .trim_end();
            if source.is_empty() || source.starts_with('#') {
                out.push_str(&format!("{line}\n"));
                continue;
            }
            match parse(source)
                .map_err(|p| format!("{}: {}", p.offset, p.message))
                .and_then(|e| eval(&e, &scope))
            {
                Ok(value) => out.push_str(&format!("{source} => {}\n", value.to_json())),
                Err(problem) => out.push_str(&format!("{source} =! {problem}\n")),
            }
        }
        super::expect(&path, &out);
    }
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,100}") {
        let contexts = contexts();
        if let Ok(expr) = parse(&text) {
            let _ = eval(&expr, &Scope::new(&contexts, Status::default()));
        }
    }

    #[test]
    fn never_panics_on_likely_text(words in proptest::collection::vec(0usize..24, 0..40)) {
        const WORDS: [&str; 24] = ["github", "matrix", ".", "*", "[", "]", "(", ")", "!", "&&", "||", "==", "<", "'a'", "1", "0x1F", "-1.5e3", ",",
            "format(", "contains(", "fromJSON(", "toJSON(", "versions", " "];
        let text: String = words.into_iter().map(|w| WORDS[w]).collect();
        let contexts = contexts();
        if let Ok(expr) = parse(&text) {
            let _ = eval(&expr, &Scope::new(&contexts, Status::default()));
        }
    }

    #[test]
    fn numbers_round_trip(number in -1.0e12f64..1.0e12) {
        let text = towpath_pipeline::expr::number_text(number);
        let back: f64 = text.parse().unwrap();
        prop_assert!((back - number).abs() <= number.abs() * 1e-14 + 1e-14, "{} {}", number, text);
    }
}
