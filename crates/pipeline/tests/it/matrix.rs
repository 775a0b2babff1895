//! A matrix as YAML, `===`, its cells or what is wrong with it.

use towpath_pipeline::expr::{Scope, Status, Value};
use towpath_pipeline::matrix::{cell_name, expand};
use towpath_pipeline::workflow::read;

#[test]
fn cells() {
    for path in super::corpus("matrix", "txt") {
        let text = std::fs::read_to_string(&path).unwrap();
        let source = text.split("===\n").next().unwrap();
        let indented: String = source.lines().map(|l| format!("        {l}\n")).collect();
        let file = format!(
            "on: push\njobs:\n  j:\n    runs-on: x\n    strategy:\n      matrix:\n{indented}    steps: [{{run: x}}]\n"
        );
        let workflow = read("w.yml", file.as_bytes()).workflow.unwrap();
        let contexts = Value::from_json(
            &serde_json::json!({"needs": {"a": {"outputs": {"list": "[\"x\", \"y\"]"}}}}),
        );
        let scope = Scope::new(&contexts, Status::default());
        let found = expand(&workflow.jobs[0].strategy.as_ref().unwrap().matrix, &scope);
        let out = match found {
            Ok(cells) if cells.len() > 20 => format!("{} cells\n", cells.len()),
            Ok(cells) => cells
                .into_iter()
                .map(|c| format!("{} {}\n", cell_name("j", &c), serde_json::Value::Object(c)))
                .collect(),
            Err(problem) => format!("problem: {problem}\n"),
        };
        super::expect(&path, &format!("{source}===\n{out}"));
    }
}
