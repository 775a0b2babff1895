//! The small languages in texts of requests and objects: selectors, quantities and times,
//! expressions, paths of columns.

use super::words::EXPRESSIONS;
use super::{corpus, parsed};
use crate::mutate;
use serde_json::json;
use towpath_api::{jsonpath, quantity, selector, table, time};

#[test]
fn selectors() {
    mutate::run(
        &corpus("selectors"),
        &[
            " in (", " notin (", "!", "=", "==", "!=", ",", ")", ">", "<", "a.b/c",
        ],
        |input| {
            let Ok(words) = std::str::from_utf8(input) else {
                return "no text".to_string();
            };
            let field = selector::Field::parse(words)
                .map(|field| field.matches(&json!({"metadata": {"name": "a"}})));
            let label = match selector::Label::parse(words) {
                Ok(label) => {
                    let again =
                        selector::Label::parse(&label.to_string()).expect("what was written");
                    assert_eq!(again.to_string(), label.to_string());
                    label.matches(&json!({"a": "b"})).to_string()
                }
                Err(error) => error.to_string(),
            };
            format!("{label} {:?}", field.map_err(|error| error.to_string()))
        },
    );
}

#[test]
fn small_grammars() {
    mutate::run(
        &corpus("grammars"),
        &["Ki", "e", "E", "m", "h", "µs", "-", "+", "T", "Z", ":"],
        |input| {
            let Ok(words) = std::str::from_utf8(input) else {
                return "no text".to_string();
            };
            let mut said = String::new();
            if let Ok(amount) = quantity::Quantity::parse(words) {
                let shown = amount.to_string();
                let again = quantity::Quantity::parse(&shown).expect("what was written");
                assert_eq!(again.units(), amount.units(), "{words} {shown}");
                said.push_str("quantity ");
            }
            if let Some(seconds) = time::parse_rfc3339(words) {
                said.push_str("time ");
                if let Some(shown) = time::rfc3339(seconds) {
                    assert_eq!(time::parse_rfc3339(&shown), Some(seconds));
                }
                assert!(time::fraction_nanos(words) < 1_000_000_000);
            }
            if let Some(nanos) = time::parse_go_duration(words) {
                assert_eq!(
                    time::parse_go_duration(&time::go_duration(nanos)),
                    Some(nanos)
                );
                said.push_str("duration");
            }
            said
        },
    );
}

#[test]
fn expressions() {
    use towpath_query::cel::{CALL_LIMIT, Env, Type, Value as Cel};
    let env = Env::new()
        .with("self", Type::Dyn)
        .with("oldSelf", Type::Dyn);
    let object =
        json!({"a": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", "b": [1, 2, 3], "c": {"d": null}});
    mutate::run(&corpus("cel"), EXPRESSIONS, |input| {
        let Ok(words) = std::str::from_utf8(input) else {
            return "no text".to_string();
        };
        match env.compile(words) {
            Ok(program) => {
                let _ = program.estimate(&[]);
                let made = program.eval(
                    &[
                        ("self", Cel::from_json(&object)),
                        ("oldSelf", Cel::from_json(&object)),
                    ],
                    CALL_LIMIT / 10,
                );
                match made.result {
                    Ok(value) => value.type_name().to_string(),
                    Err(error) => format!("{error:?}"),
                }
            }
            Err(issues) => format!("{issues:?}"),
        }
    });
}

#[test]
fn columns_and_paths() {
    let object = json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"n": 1, "list": [{"a": 1}, {"a": "b"}]}});
    mutate::run(
        &corpus("columns"),
        &[
            "jsonPath",
            "type",
            "date",
            "integer",
            "{.",
            "..",
            "[*]",
            "[?(@.a==\"b\")]",
            "[-1:]",
            "[0:9:0]",
            "{range ",
            "{end}",
            "\\.",
        ],
        |input| {
            let Ok(words) = std::str::from_utf8(input) else {
                return "no text".to_string();
            };
            let mut said = match jsonpath::Path::parse(words) {
                Ok(path) => format!("{} ", path.find(&object).len()),
                Err(error) => error.to_string(),
            };
            if let Ok(columns) = parsed(input) {
                let printer = table::Printer::custom(Some(&columns));
                said.push_str(&format!("{:?}", printer.cells(&object, 7).len()));
            }
            said
        },
    );
}
