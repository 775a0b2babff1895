//! Templates, beside Go's own package (`tests/peers/template`).

mod corpus;
mod peer;
mod random;

use serde_json::Value as Json;
use towpath_query::template::{Functions, Kind, Limits, MissingKey, Templates, Time, Value};

/// A template, its data and what missing keys stand for.
#[derive(Clone, Debug)]
struct Case {
    text: String,
    data: Json,
    missing: String,
}

/// The functions that the peer has too.
fn functions() -> Functions<'static> {
    let mut functions = Functions::new();
    functions.add("upper", &[Kind::Text], None, |_, v| {
        Ok(Value::text(v[0].as_str().unwrap().to_uppercase()))
    });
    functions.add("repeat", &[Kind::Int, Kind::Text], None, |_, v| {
        let Value::Int(count) = v[0] else { panic!() };
        let Ok(count) = usize::try_from(count) else {
            return Err("strings: negative Repeat count".to_owned());
        };
        Ok(Value::text(v[1].as_str().unwrap().repeat(count)))
    });
    functions.add("half", &[Kind::Float], None, |_, v| match v[0] {
        Value::Float(value) => Ok(Value::Float(value / 2.0)),
        _ => panic!(),
    });
    functions.add("negate", &[Kind::Bool], None, |_, v| {
        Ok(Value::Bool(!v[0].truth()))
    });
    functions.add("same", &[Kind::Any], None, |_, v| Ok(v[0].clone()));
    functions.add("words", &[Kind::Text], None, |_, v| {
        Ok(Value::texts(v[0].as_str().unwrap().split_whitespace()))
    });
    functions.add("join", &[Kind::Text, Kind::Texts], None, |_, v| {
        let Value::List(list) = &v[1] else { panic!() };
        let items: Vec<&str> = list.items.iter().map(|i| i.as_str().unwrap()).collect();
        Ok(Value::text(items.join(v[0].as_str().unwrap())))
    });
    functions.add("labels", &[], None, |_, _| {
        Ok(Value::text_map([("job", "node"), ("zone", "a")]))
    });
    functions.add("at", &[Kind::Int], None, |_, v| match v[0] {
        Value::Int(ms) => Ok(Value::Time(Time::from_millis(ms))),
        _ => panic!(),
    });
    functions.add("span", &[Kind::Int], None, |_, v| match v[0] {
        Value::Int(nanos) => Ok(Value::Duration(nanos)),
        _ => panic!(),
    });
    functions.add("fail", &[Kind::Text], None, |_, v| {
        Err(v[0].as_str().unwrap().to_owned())
    });
    functions
}

fn run(case: &Case) -> Result<String, String> {
    let functions = functions();
    let missing = match case.missing.as_str() {
        "zero" => MissingKey::Zero,
        "error" => MissingKey::Error,
        _ => MissingKey::Invalid,
    };
    let mut templates = Templates::new("t").missing_key(missing);
    templates
        .add("t", &case.text, &functions)
        .map_err(|e| e.message)?;
    templates
        .run(&functions, &Value::from(&case.data), Limits::default())
        .map_err(|e| e.message)
}

/// What a run shows in a corpus.
fn shown(result: &Result<String, String>) -> String {
    match result {
        Ok(text) => format!("=> {}", Json::from(text.as_str())),
        Err(message) => format!("!! {}", message.replace('\n', "⏎")),
    }
}

#[test]
fn limits_hold() {
    let functions = functions();
    let run = |text: &str| {
        let templates = Templates::parse("t", text, &functions).unwrap();
        let data = Value::map([("list", Value::list(vec![Value::Int(1); 1000]))]);
        let error = templates.run(&functions, &data, Limits::default());
        error.unwrap_err().message
    };
    let recursion = run(r#"{{define "r"}}{{template "r"}}{{end}}{{template "r"}}"#);
    assert!(
        recursion.contains("exceeded maximum template depth"),
        "{recursion}"
    );
    let steps = run("{{range .list}}{{range $.list}}{{range $.list}}{{end}}{{end}}{{end}}");
    assert!(steps.contains("steps"), "{steps}");
    let doubling = run("{{$x := `ab`}}{{range .list}}{{$x = print $x $x}}{{end}}");
    assert!(doubling.contains("longer than"), "{doubling}");
    let wide = run("{{range .list}}{{printf `%1000000d` 1}}{{end}}");
    assert!(wide.contains("longer than"), "{wide}");
    let deep = "(".repeat(5000);
    assert!(Templates::parse("t", &format!("{{{{{deep}"), &functions).is_err());
    let nested = "{{if 1}}".repeat(5000);
    let error = Templates::parse("t", &nested, &functions).unwrap_err();
    assert!(error.message.contains("max expression depth"), "{error}");
    let chain = "{{if 1}}".to_owned() + &"{{else if 1}}".repeat(5000) + "{{end}}";
    assert!(Templates::parse("t", &chain, &functions).is_err());
}
