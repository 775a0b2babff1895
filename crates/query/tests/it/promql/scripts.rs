//! Upstream's scripts, every evaluation of them.

use super::run::run;
use super::upstream;

/// Evaluations that are left out, as file and query, each with the reason. May only shrink.
const LEFT_OUT: &[(&str, &str, &str)] = &[];

#[test]
fn scripts() {
    let Some(dir) = upstream() else { return };
    let folder = dir.join("promql/promqltest/testdata");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "test"))
        .collect();
    files.sort();
    let mut wrong = Vec::new();
    let (mut passed, mut left_out) = (0, 0);
    for path in &files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let outcome = run(&std::fs::read_to_string(path).unwrap());
        let (known, new): (Vec<_>, Vec<_>) = outcome.failed.into_iter().partition(|failure| {
            LEFT_OUT
                .iter()
                .any(|(file, query, _)| *file == name && *query == failure.1)
        });
        println!(
            "{name}: {} of {}",
            outcome.passed,
            outcome.passed + known.len() + new.len()
        );
        passed += outcome.passed;
        left_out += known.len();
        let new = new.into_iter();
        wrong.extend(new.map(|(line, query, why)| format!("{name}:{line} {query}\n    {why}")));
    }
    println!(
        "all: {passed} passed, {left_out} left out, {} wrong",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(files.len() >= 20 && passed > 1500);
}
