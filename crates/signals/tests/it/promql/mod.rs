//! Upstream's test scripts, evaluated over the durable store: whatever is loaded goes through
//! head, log or segments before it is asked for.

#[allow(dead_code)] // the runner uses a part
#[path = "../../../../query/tests/it/promql/extract.rs"]
mod extract;
#[allow(dead_code)] // converts classic histograms here
#[path = "../../../../query/tests/it/promql/store.rs"]
mod memory;
#[path = "../../../../query/tests/it/promql/run.rs"]
mod run;
#[path = "../../../../query/tests/it/promql/script.rs"]
mod script;
mod store;

use std::path::PathBuf;

/// The folder of scripts of the pinned module; none, said aloud, where it is not to be had.
fn scripts() -> Option<PathBuf> {
    let module = "github.com/prometheus/prometheus";
    towpath_testkit::go_module("prometheus", module, "promql/promqltest/testdata")
}

/// Evaluations left out, as file and query: the script gives a sample twice in one load and means
/// the second one; the store keeps the first and says so.
const LEFT_OUT: &[(&str, &str)] = &[
    ("aggregators.test", r#"avg(data{test="inf3"})"#),
    ("aggregators.test", r#"avg(data{test="-inf3"})"#),
];

/// The same where samples moved: what is left of a chunk in the head begins a new one, and of the
/// first histogram of a chunk it is not known whether it is a reset.
const LEFT_OUT_MOVED: &[(&str, &str)] = &[("range_queries.test", "some_metric[2m]")];

#[test]
fn scripts_over_the_head() {
    scripts_over_the_store(false);
}

#[test]
fn scripts_over_restarts_and_segments() {
    scripts_over_the_store(true);
}

fn scripts_over_the_store(moved: bool) {
    store::MOVED.set(moved);
    let Some(folder) = scripts() else { return };
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "test"))
        .collect();
    files.sort();
    let mut passed = 0;
    let mut wrong = Vec::new();
    for path in &files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let outcome = run::run(&std::fs::read_to_string(path).unwrap());
        passed += outcome.passed;
        let known = |query: &str| {
            let query = (name.as_str(), query);
            LEFT_OUT.contains(&query) || (moved && LEFT_OUT_MOVED.contains(&query))
        };
        let failed = outcome.failed.into_iter().filter(|one| !known(&one.1));
        wrong.extend(failed.map(|(line, query, why)| format!("{name}:{line} {query}\n    {why}")));
    }
    println!("{passed} passed, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(files.len() >= 20 && passed > 1500);
}
