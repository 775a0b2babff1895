//! Files and their findings; no input panics.

use proptest::prelude::*;
use towpath_pipeline::workflow::read;

#[test]
fn findings() {
    for path in super::corpus("workflow", "yml") {
        let content = std::fs::read(&path).unwrap();
        let name = format!(
            ".github/workflows/{}",
            path.file_name().unwrap().to_str().unwrap()
        );
        let read = read(&name, &content);
        let mut out = format!("{}\n", if read.runs() { "runs" } else { "does not run" });
        for f in &read.findings {
            out.push_str(&format!(
                "{}:{} {:?} {}: {}",
                f.line, f.column, f.severity, f.rule, f.message
            ));
            out.push_str(&if f.hint.is_empty() {
                "\n".into()
            } else {
                format!(" ({})\n", f.hint)
            });
        }
        super::expect(&path.with_extension("findings"), &out);
    }
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,200}") {
        let _ = read("w.yml", text.as_bytes());
    }

    #[test]
    fn never_panics_on_likely_text(words in proptest::collection::vec(0usize..26, 0..60)) {
        const WORDS: [&str; 26] = ["on", "push", "jobs", "a", "steps", "run", "uses", "needs", ": ", "\n", "  ", "    ", "- ", "[", "]",
            "{", "}", "${{", "}}", "'", "\"", "&x ", "*x", "if", "matrix", "| \n"];
        let text: String = words.into_iter().map(|w| WORDS[w]).collect();
        let _ = read("w.yml", text.as_bytes());
    }
}

#[test]
fn the_samples_workflows_run() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/hello/.github/workflows");
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        let read = read(".github/workflows/w.yml", &std::fs::read(&path).unwrap());
        assert!(
            read.findings.is_empty(),
            "{}: {:#?}",
            path.display(),
            read.findings
        );
    }
}
